//! Tokens: what is asked, what is answered, how long it lasts; without any I/O.

use std::time::Duration;

use serde::Deserialize;

use super::scope::Scopes;
use crate::net::{Secret, Url};

/// How long a token lasts when its server does not say (Docker token authentication, "Token Response Fields").
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// How long a token is used at most, whatever its server says.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Says where and how to ask for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scopes: Scopes,
}

impl Ask {
    /// Returns the address for a GET request.
    pub(super) fn get_url(&self) -> Url {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes.iter() {
                query.append_pair("scope", &scope);
            }
        }
        url
    }

    /// Returns the body of a POST request that exchanges a refresh token (OAuth 2.0 section 6, Docker "OAuth2").
    pub(super) fn refresh_form(&self, refresh: &Secret) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", "bundle");
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        form.append_pair("scope", &self.scopes.to_string()).append_pair("refresh_token", refresh.expose());
        form.finish()
    }
}

/// Reads a token server's answer: the token and how long to use it.
pub(super) fn parse(body: &[u8]) -> Option<(Secret, Duration)> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<serde_json::Value>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty())?;
    // Visible characters only: it becomes part of a header.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let seconds = match answer.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_f64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let life = match seconds {
        Some(seconds) if seconds >= 1.0 => Duration::from_secs_f64(seconds.min(LONGEST_LIFE.as_secs_f64())),
        _ => DEFAULT_LIFE,
    };
    // Renewed before it ends, so that a request on its way does not outlive it.
    Some((Secret::new(token), life.mul_f64(0.8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_both_names_and_odd_lifetimes() {
        let life = |body: &str| parse(body.as_bytes()).map(|(token, life)| (token.expose().to_owned(), life.as_secs()));
        assert_eq!(life(r#"{"token":"a"}"#), Some(("a".into(), 48)));
        assert_eq!(life(r#"{"access_token":"b","expires_in":300}"#), Some(("b".into(), 240)));
        assert_eq!(life(r#"{"token":"","access_token":"b","expires_in":"300"}"#), Some(("b".into(), 240)));
        assert_eq!(life(r#"{"token":"a","expires_in":0}"#), Some(("a".into(), 48)));
        assert_eq!(life(r#"{"token":"a","expires_in":-7}"#), Some(("a".into(), 48)));
        assert_eq!(life(r#"{"token":"a","expires_in":1099511627776}"#), Some(("a".into(), 2880)));
        for bad in [r#"{"token":"a\nb"}"#, "{}", "", r#"{"token":""}"#, "[]"] {
            assert_eq!(life(bad), None, "{bad}");
        }
    }

    #[test]
    fn asks_with_one_scope_parameter_each() {
        let mut scopes = Scopes::repository("a", &["pull", "push"]);
        scopes.merge(&Scopes::repository("b", &["pull"]));
        let realm: Url = "https://auth.example/token?x=1".parse().unwrap();
        let ask = Ask { realm, service: Some("r.example".into()), scopes };
        assert_eq!(
            ask.get_url().query(),
            Some("x=1&service=r.example&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull")
        );
        let form = ask.refresh_form(&Secret::new("s/e"));
        assert!(form.contains("grant_type=refresh_token") && form.ends_with("refresh_token=s%2Fe"), "{form}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in ".{0,60}", life in any::<f64>(), whole in any::<i64>()) {
            let _ = parse(text.as_bytes());
            for life in [serde_json::json!(life), serde_json::json!(whole), serde_json::json!(text)] {
                let body = serde_json::json!({"token": "x", "expires_in": life}).to_string();
                let (_, life) = parse(body.as_bytes()).unwrap();
                prop_assert!(life >= Duration::from_millis(800) && life <= LONGEST_LIFE);
            }
        }
    }
}
