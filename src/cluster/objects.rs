//! Objects: get, list, apply, wait.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Cluster, Error, kinds::Resource, request::Ask};
use crate::net::{Method, printable};

/// How many objects one page of a list holds: kubectl's own size.
const PAGE: usize = 500;
/// How many objects a list may have; the largest supported clusters have 150,000 pods.
const MAX_ITEMS: usize = 200_000;
/// The first pause between two looks at an object that is waited for.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// The longest pause between two looks.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// The longest name of a field manager (apimachinery, `FieldManagerMaxLength`).
const MAX_MANAGER: usize = 128;

/// Says how an object is applied.
#[derive(Clone, Copy, Debug)]
pub struct Apply<'a> {
    /// Who owns the fields that are set, such as `bundle`.
    pub manager: &'a str,
    /// Whether fields that others own are taken over.
    pub force: bool,
    /// Whether the server checks everything and changes nothing.
    pub dry_run: bool,
}

/// Narrows a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The namespace; all of them without it.
    pub namespace: Option<&'a str>,
    /// A label selector, such as `app=web`.
    pub labels: Option<&'a str>,
    /// A field selector, such as `status.phase=Running`.
    pub fields: Option<&'a str>,
}

fn named(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Returns the status, reason and message of a condition of an object.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

/// Tells whether an object has the condition `Ready`, true of its newest generation.
pub fn is_ready(object: &Value) -> bool {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let observed = condition["observedGeneration"].as_i64();
        let newest = observed.is_none() || generation.is_none() || observed >= generation;
        condition["type"] == "Ready" && condition["status"] == "True" && newest
    })
}

fn last_seen(object: Option<&Value>) -> String {
    let Some(object) = object else { return "it is not there".to_owned() };
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let each: Vec<String> = conditions
        .into_iter()
        .flatten()
        .map(|condition| {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
        })
        .collect();
    if each.is_empty() { "it says nothing of its state".to_owned() } else { printable(&each.join("; "), 500) }
}

impl Cluster {
    fn placed<'a>(&'a self, resource: &Resource, namespace: Option<&'a str>) -> Option<&'a str> {
        resource.namespaced.then(|| namespace.unwrap_or(self.namespace()))
    }

    /// Returns an object, or none when it is not there. Without a namespace, a namespaced object is looked for in the
    /// namespace of the context.
    ///
    /// # Errors
    /// [`Error::NoSuchKind`] when the cluster does not serve the kind at all; those of a request.
    pub async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Error> {
        let resource = self.resource(api_version, kind).await?;
        let namespace = self.placed(&resource, namespace);
        let what = named(kind, namespace, name);
        let reply = self.0.reply(&Ask::get(resource.path(namespace, Some(name)), what.clone())).await?;
        if reply.says_not_found() {
            return Ok(None);
        }
        reply.object(&self.0.place, &what).map(Some)
    }

    /// Returns every object of a kind that a selection leaves, read page by page.
    ///
    /// # Errors
    /// [`Error::NoSuchKind`], [`Error::TooMany`], those of a request.
    pub async fn list(&self, api_version: &str, kind: &str, selection: &Selection<'_>) -> Result<Vec<Value>, Error> {
        let resource = self.resource(api_version, kind).await?;
        let what = match selection.namespace.filter(|_| resource.namespaced) {
            Some(namespace) => format!("the list of {} in {namespace}", resource.name),
            None => format!("the list of {}", resource.name),
        };
        let mut items: Vec<Value> = Vec::new();
        let mut next: Option<String> = None;
        let mut restarted = false;
        loop {
            let mut ask = Ask::get(resource.path(selection.namespace, None), what.clone());
            ask.query.push(("limit", PAGE.to_string()));
            ask.query.extend(selection.labels.map(|labels| ("labelSelector", labels.to_owned())));
            ask.query.extend(selection.fields.map(|fields| ("fieldSelector", fields.to_owned())));
            ask.query.extend(next.take().map(|token| ("continue", token)));
            let reply = self.0.reply(&ask).await?;
            // The server forgot the state of the list (etcd was compacted): once more from the start.
            if reply.status == 410 && !restarted {
                restarted = true;
                items.clear();
                continue;
            }
            let mut page = reply.object(&self.0.place, &what)?;
            let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) else {
                let problem = "there are no items in it".to_owned();
                return Err(Error::Foreign { place: Box::new(self.0.place.clone()), what, problem });
            };
            let empty = found.is_empty();
            for mut item in found {
                // Items of a list do not repeat what the list says.
                if let Some(item) = item.as_object_mut() {
                    item.entry("apiVersion").or_insert_with(|| api_version.into());
                    item.entry("kind").or_insert_with(|| kind.into());
                }
                items.push(item);
            }
            if items.len() > MAX_ITEMS {
                return Err(Error::TooMany { place: Box::new(self.0.place.clone()), what, limit: MAX_ITEMS });
            }
            let token = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default();
            if token.is_empty() || empty {
                return Ok(items);
            }
            next = Some(token.to_owned());
        }
    }

    /// Applies an object (server-side apply, kubernetes.io/docs/reference/using-api/server-side-apply) and returns it as
    /// the server has it afterwards. Unknown fields are refused. Applying the same again changes nothing.
    ///
    /// # Errors
    /// [`Error::NoObject`], [`Error::NoSuchKind`], [`Error::Conflict`] with the managers that own the fields,
    /// [`Error::Invalid`] with the server's words, those of a request.
    pub async fn apply(&self, object: &Value, how: &Apply<'_>) -> Result<Value, Error> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let api_version = text("/apiVersion").ok_or(Error::NoObject("it has no apiVersion"))?;
        let kind = text("/kind").ok_or(Error::NoObject("it has no kind"))?;
        let name = text("/metadata/name").ok_or(Error::NoObject("it has no metadata.name"))?;
        if how.manager.is_empty() || how.manager.len() > MAX_MANAGER {
            return Err(Error::NoObject("the name of the field manager is empty or longer than 128 characters"));
        }
        let resource = self.resource(api_version, kind).await?;
        let namespace = self.placed(&resource, text("/metadata/namespace"));
        let what = named(kind, namespace, name);
        let mut body = object.clone();
        // The server refuses them in an apply; who applies what was read from a cluster means the rest.
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
        }
        let mut query = vec![("fieldManager", how.manager.to_owned()), ("fieldValidation", "Strict".to_owned())];
        query.extend(how.force.then(|| ("force", "true".to_owned())));
        query.extend(how.dry_run.then(|| ("dryRun", "All".to_owned())));
        let ask = Ask {
            method: Method::PATCH,
            path: resource.path(namespace, Some(name)),
            query,
            // JSON is YAML; there is a media type of its own only for YAML.
            body: Some(("application/apply-patch+yaml", body)),
            what: what.clone(),
        };
        self.0.object(&ask).await
    }

    /// Looks at an object again and again until a condition holds, and returns it then. Failures that may pass count as
    /// not yet.
    ///
    /// # Errors
    /// [`Error::Waited`] with what was last seen; those of a request that waiting does not help.
    pub async fn wait(
        &self,
        (api_version, kind): (&str, &str),
        namespace: Option<&str>,
        name: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        use crate::error::Classify as _;
        let start = Instant::now();
        let mut pause = FIRST_LOOK;
        loop {
            let last = match self.get(api_version, kind, namespace, name).await {
                Ok(Some(object)) if holds(&object) => return Ok(object),
                Ok(seen) => last_seen(seen.as_ref()),
                Err(error @ Error::NoSuchKind { .. }) => error.to_string(),
                Err(error) if error.kind().is_transient() => error.to_string(),
                Err(error) => return Err(error),
            };
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                let what = named(kind, namespace, name);
                return Err(Error::Waited { place: Box::new(self.0.place.clone()), what, limit, last });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }
}
