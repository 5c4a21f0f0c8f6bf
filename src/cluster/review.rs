//! What this user may do (`authorization.k8s.io/v1`, SelfSubjectAccessReview).

use serde_json::{Value, json};

use super::{Cluster, Error, request::Ask};
use crate::net::{Method, printable};

/// Tells whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is.
    pub allowed: bool,
    /// Why, where the server says so.
    pub reason: String,
}

impl Cluster {
    /// Asks whether this user may do something. `group` is empty for the core; `resource` is the plural of paths, such as
    /// `secrets`. Changes nothing: the server keeps no reviews.
    ///
    /// # Errors
    /// Those of a request.
    pub async fn may(&self, verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Result<Answer, Error> {
        let mut attributes = json!({"verb": verb, "group": group, "resource": resource});
        if let Some(namespace) = namespace {
            attributes["namespace"] = namespace.into();
        }
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let mut ask = Ask::get(
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"],
            format!("whether {verb} {resource} is allowed"),
        );
        ask.method = Method::POST;
        ask.body = Some(("application/json", body));
        let review = self.0.object(&ask).await?;
        let Some(allowed) = review.pointer("/status/allowed").and_then(Value::as_bool) else {
            let problem = "no status.allowed in it".to_owned();
            return Err(Error::Foreign { place: Box::new(self.0.place.clone()), what: ask.what, problem });
        };
        let reason = review.pointer("/status/reason").and_then(Value::as_str).unwrap_or_default();
        Ok(Answer { allowed, reason: printable(reason, 300) })
    }
}
