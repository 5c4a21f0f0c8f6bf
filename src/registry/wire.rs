//! What registries say in headers and error bodies, read without any I/O.

use serde::Deserialize;

use crate::{
    net::{Refusal, Secret, Url, check_step, printable},
    oci::Digest,
};

/// Headers longer than this are not read.
const MAX_LENGTH: usize = 16 << 10;

/// Holds what a registry said when it refused (distribution specification, "Error Codes"); bounded and fit to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The error code, such as `MANIFEST_UNKNOWN`.
    pub code: Option<String>,
    /// The message for people.
    pub message: Option<String>,
}

impl Answer {
    /// Reads an error body; anything that is not one leaves only the status. Secrets that the registry was shown are cut
    /// out: it may send back what it got.
    pub fn parse(status: u16, body: &[u8], hidden: &[Secret]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<One>,
            // Token servers: OAuth 2.0 section 5.2, and Docker's own {"details": …}.
            error: Option<serde_json::Value>,
            error_description: Option<String>,
            details: Option<String>,
            message: Option<String>,
        }
        #[derive(Deserialize)]
        struct One {
            code: Option<serde_json::Value>,
            message: Option<String>,
            detail: Option<serde_json::Value>,
        }
        let mut answer = Answer { status, ..Answer::default() };
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return answer };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Null => None,
            other => Some(other.to_string()),
        };
        if let Some(one) = body.errors.into_iter().next() {
            answer.code = one.code.and_then(text);
            let detail = one.detail.and_then(text).filter(|detail| !detail.is_empty() && detail != "{}");
            answer.message = match (one.message.filter(|message| !message.is_empty()), detail) {
                (Some(message), Some(detail)) => Some(format!("{message} ({detail})")),
                (message, detail) => message.or(detail),
            };
        } else {
            answer.code = body.error.and_then(text);
            answer.message = body.error_description.or(body.details).or(body.message);
        }
        let fit = |text: String, max| {
            let hide = |text: String, secret: &Secret| match secret.expose() {
                "" => text,
                secret => text.replace(secret, "…"),
            };
            Some(printable(&hidden.iter().fold(text, hide), max)).filter(|text| !text.is_empty())
        };
        answer.code = answer.code.and_then(|code| fit(code, 64));
        answer.message = answer.message.and_then(|message| fit(message, 300));
        answer
    }

    /// Tells whether the registry gave one of these codes.
    pub fn has_code(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

/// Finds the target of `rel="next"` in `Link` headers (RFC 8288 section 3).
pub fn next_link<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    headers.into_iter().filter(|header| header.len() <= MAX_LENGTH).find_map(|header| {
        let mut rest = header;
        while let Some(start) = rest.find('<') {
            let after = &rest[start + 1..];
            let end = after.find('>')?;
            let (target, params) = (&after[..end], &after[end + 1..]);
            let mut quoted = false;
            let stop = params
                .find(|c| {
                    quoted ^= c == '"';
                    c == ',' && !quoted
                })
                .unwrap_or(params.len());
            let is_next = params[..stop].split(';').any(|param| {
                param.split_once('=').is_some_and(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("rel")
                        && value
                            .trim()
                            .trim_matches('"')
                            .split_ascii_whitespace()
                            .any(|rel| rel.eq_ignore_ascii_case("next"))
                })
            });
            if is_next {
                return Some(target.trim().to_owned());
            }
            rest = &params[stop..];
        }
        None
    })
}

/// Says which bytes an answer to a range request holds (RFC 9110 section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// First and last byte; none when the range could not be satisfied.
    pub bytes: Option<(u64, u64)>,
    /// The size of the whole, if the server tells.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads a `Content-Range` header.
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim().split_once('/')?;
        let total = if total.trim() == "*" { None } else { Some(number(total.trim())?) };
        if range.trim() == "*" {
            return Some(ContentRange { bytes: None, total });
        }
        let (first, last) = range.trim().split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        if first > last || total.is_some_and(|total| last >= total) {
            return None;
        }
        Some(ContentRange { bytes: Some((first, last)), total })
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads the `Range` of an upload session, `0-LAST`, with or without `bytes=`; returns how many bytes the registry has.
/// `0-0` is how registries write that they have none (distribution specification, "Pushing a blob in chunks").
pub fn upload_range(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("bytes=").or_else(|| text.strip_prefix("bytes ")).unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    match (number(first.trim())?, number(last.trim())?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// Says why an upload `Location` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It is no address.
    #[error("it is no address")]
    NotAnAddress,
    /// It leads where nobody should go.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Resolves a `Location` against the address that gave it; its query is kept byte for byte.
///
/// # Errors
/// The reason for which it must not be used.
pub fn location(from: &Url, text: &str) -> Result<Url, LocationError> {
    if text.len() > MAX_LENGTH {
        return Err(LocationError::NotAnAddress);
    }
    let mut to = from.join(text.trim()).map_err(|_| LocationError::NotAnAddress)?;
    // A registry behind a proxy that ends TLS often believes that it is asked by http, and says so.
    let believes = from.scheme() == "https" && to.scheme() == "http" && from.host() == to.host();
    if believes && (to.port().is_none() || to.port() == from.port()) && to.set_scheme("https").is_ok() {
        to.set_port(from.port()).map_err(|()| LocationError::NotAnAddress)?;
    }
    check_step(from, &to)?;
    Ok(to)
}

/// Adds the digest to the address of an upload session, after whatever query it has.
pub fn with_digest(session: &Url, digest: &Digest) -> Url {
    let mut url = session.clone();
    let query = match session.query() {
        Some(query) if !query.is_empty() => format!("{query}&digest={digest}"),
        _ => format!("digest={digest}"),
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn reads_error_bodies() {
        let body = br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown\nto registry","detail":"sha256:x"}]}"#;
        let answer = Answer::parse(400, body, &[]);
        assert!(answer.has_code(&["MANIFEST_BLOB_UNKNOWN"]));
        assert_eq!(answer.to_string(), "status 400, MANIFEST_BLOB_UNKNOWN: blob unknown\\u{a}to registry (sha256:x)");
        assert_eq!(Answer::parse(502, b"<html>", &[]).to_string(), "status 502");
        assert_eq!(
            Answer::parse(400, br#"{"error":"invalid_grant","error_description":"no"}"#, &[]).code.unwrap(),
            "invalid_grant"
        );
        assert_eq!(
            Answer::parse(401, br#"{"details":"incorrect username or password"}"#, &[]).message.unwrap().len(),
            30
        );
    }

    #[test]
    fn secrets_do_not_come_back() {
        let body =
            format!(r#"{{"errors":[{{"code":"DENIED","message":"{}bad token hunter2 for u"}}]}}"#, "x".repeat(280));
        let shown = Answer::parse(403, body.as_bytes(), &[Secret::new("hunter2"), Secret::new("")]).to_string();
        assert!(shown.contains("bad token … for") && !shown.contains("hunt"), "{shown}");
    }

    #[test]
    fn finds_the_next_page() {
        assert_eq!(
            next_link([r#"</v2/a/tags/list?n=2&last=b>; rel="next""#]).as_deref(),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_link([r#"<a>; rel=prev, <b,c>; title="x,y"; REL="last next""#]).as_deref(), Some("b,c"));
        assert_eq!(next_link(["<a>; rel=prev", "<z>;rel=next"]).as_deref(), Some("z"));
        for none in ["", "<a", "a; rel=next", "<a>; rel=nextish", "<a>"] {
            assert_eq!(next_link([none]), None, "{none}");
        }
    }

    #[test]
    fn reads_ranges() {
        let range = |text| ContentRange::parse(text);
        assert_eq!(range("bytes 0-9/10"), Some(ContentRange { bytes: Some((0, 9)), total: Some(10) }));
        assert_eq!(range("Bytes 5-9/*"), Some(ContentRange { bytes: Some((5, 9)), total: None }));
        assert_eq!(range("bytes */10"), Some(ContentRange { bytes: None, total: Some(10) }));
        for bad in [
            "",
            "bytes",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "items 0-1/2",
            "bytes -1-2/3",
            "bytes 0-99999999999999999999/*",
        ] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(
            (upload_range("0-0"), upload_range("0-9"), upload_range("bytes=0-9")),
            (Some(0), Some(10), Some(10))
        );
        assert_eq!(
            (upload_range("5-9"), upload_range("x"), upload_range("0-18446744073709551615")),
            (None, None, None)
        );
    }

    #[test]
    fn locations_are_absolute_or_relative_and_keep_their_query() {
        let base = url("https://r.example/v2/a/blobs/uploads/");
        let digest = Digest::sha256(b"x");
        let session = location(&base, "/v2/a/blobs/uploads/1?_state=a%2Fb%3D%3D&x=+").unwrap();
        assert_eq!(
            with_digest(&session, &digest).as_str(),
            format!("https://r.example/v2/a/blobs/uploads/1?_state=a%2Fb%3D%3D&x=+&digest={digest}")
        );
        assert_eq!(location(&base, "2").unwrap().path(), "/v2/a/blobs/uploads/2");
        assert_eq!(with_digest(&url("http://x/y?"), &digest).query().unwrap(), format!("digest={digest}"));
        assert!(location(&base, "https://other.example/u").is_ok());
        assert_eq!(location(&base, "http://other.example/u"), Err(LocationError::Refused(Refusal::Downgrade)));
        assert_eq!(location(&base, "http://r.example:81/u"), Err(LocationError::Refused(Refusal::Downgrade)));
        // The registry itself, which does not know that it is asked by https.
        assert_eq!(location(&base, "http://r.example/u?s=%2F").unwrap().as_str(), "https://r.example/u?s=%2F");
        let port = url("https://r.example:8443/v2/");
        assert_eq!(location(&port, "http://r.example/u").unwrap().as_str(), "https://r.example:8443/u");
        assert_eq!(location(&port, "http://r.example:8443/u").unwrap().as_str(), "https://r.example:8443/u");
        assert_eq!(location(&base, "https://"), Err(LocationError::NotAnAddress));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parsers_never_panic(text in r#"[ -~]{0,60}|.{0,30}|bytes [0-9*/-]{0,24}|(<|>|;|,|"|rel=|next| |a){0,24}"#) {
            let _ = next_link([text.as_str()]);
            let _ = ContentRange::parse(&text);
            let _ = upload_range(&text);
            let _ = Answer::parse(400, text.as_bytes(), &[]);
            if let Ok(session) = location(&url("https://r.example/v2/a?b"), &text) {
                prop_assert_eq!(session.scheme(), "https");
                let with = with_digest(&session, &Digest::sha256(b""));
                prop_assert!(with.query().is_some_and(|query| query.starts_with(session.query().unwrap_or_default())));
            }
        }

        #[test]
        fn error_bodies_never_panic(code in ".{0,80}", message in ".{0,400}", detail in any::<i64>()) {
            let body = serde_json::json!({"errors": [{"code": code, "message": message, "detail": detail}]}).to_string();
            let shown = Answer::parse(400, body.as_bytes(), &[]).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }

        #[test]
        fn ranges_come_back(first in 0u64..1000, length in 1u64..1000, more in 0u64..1000) {
            let (last, total) = (first + length - 1, first + length + more);
            let range = ContentRange::parse(&format!("bytes {first}-{last}/{total}"));
            prop_assert_eq!(range, Some(ContentRange { bytes: Some((first, last)), total: Some(total) }));
        }

        #[test]
        fn links_come_back(target in "[a-zA-Z0-9/?&=._~%,;-]{1,40}") {
            let found = next_link([format!(r#"<x>; rel="prev", <{target}>; title="a; rel=next, <"; rel="next""#).as_str()]);
            prop_assert_eq!(found, Some(target));
        }
    }
}
