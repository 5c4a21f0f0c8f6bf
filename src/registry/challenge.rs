//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 section 11.6.1).

/// Holds one challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case, such as `bearer`.
    pub scheme: String,
    /// Parameters in order, names in lower case.
    pub params: Vec<(String, String)>,
}

/// Headers longer than this are not read; real ones have a few hundred bytes.
const MAX_LENGTH: usize = 16 << 10;
/// More challenges or parameters than this are not read.
const MAX_ITEMS: usize = 64;

impl Challenge {
    /// Returns a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the challenges of every `WWW-Authenticate` header. One header may hold several, separated by the same commas
    /// that separate parameters: a word followed by `=` is a parameter, any other word begins a challenge. What cannot be
    /// read is left out.
    pub fn parse_all<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
        let mut found = Vec::new();
        for header in headers {
            if header.len() <= MAX_LENGTH {
                parse_into(header, &mut found);
            }
        }
        found
    }
}

fn is_word(byte: u8) -> bool {
    // token of RFC 9110 section 5.6.2, and the rest of token68 except "=".
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte)
}

fn parse_into(header: &str, found: &mut Vec<Challenge>) {
    let mut rest = header.as_bytes();
    let mut open = false;
    while let Some(&first) = rest.first() {
        if !is_word(first) {
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        let word = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        rest = &rest[end..];
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if rest.get(spaces) == Some(&b'=') {
            let (value, after) = value(&rest[spaces + 1..]);
            rest = after;
            if let Some(challenge) = found.last_mut().filter(|_| open)
                && challenge.params.len() < MAX_ITEMS
                && challenge.param(&word).is_none()
            {
                challenge.params.push((word, value));
            }
        } else if found.len() < MAX_ITEMS {
            found.push(Challenge { scheme: word, params: Vec::new() });
            open = true;
        }
    }
}

/// Reads a quoted string or a word; returns it and what follows.
fn value(text: &[u8]) -> (String, &[u8]) {
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let text = &text[spaces..];
    if text.first() != Some(&b'"') {
        // Some servers leave the quotes out, even around addresses.
        let end = text.iter().position(|byte| matches!(byte, b',' | b' ' | b'\t')).unwrap_or(text.len());
        return (String::from_utf8_lossy(&text[..end]).into_owned(), &text[end..]);
    }
    let mut value = Vec::new();
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                if let Some(&escaped) = text.get(at) {
                    value.push(escaped);
                    at += 1;
                }
            }
            _ => value.push(byte),
        }
    }
    (String::from_utf8_lossy(&value).into_owned(), &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_registries_send() {
        let docker = Challenge::parse_all([
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        ]);
        assert_eq!(docker.len(), 1);
        assert_eq!(docker[0].param("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(docker[0].param("realm"), Some("https://auth.docker.io/token"));
        // Nexus writes the scheme in capitals; others put spaces around "=" or leave quotes out.
        let odd = Challenge::parse_all([r#"BASIC realm = "Sonatype Nexus""#, "Bearer realm=https://x/y?z=1,service=a"]);
        assert_eq!((odd[0].scheme.as_str(), odd[0].param("realm")), ("basic", Some("Sonatype Nexus")));
        assert_eq!((odd[1].param("realm"), odd[1].param("service")), (Some("https://x/y?z=1"), Some("a")));
    }

    #[test]
    fn reads_several_challenges_in_one_header() {
        let all = Challenge::parse_all([
            r#"Negotiate, Basic realm="a, b=\"c\"", Bearer realm="r",error="invalid_token" , Digest x=y"#,
        ]);
        assert_eq!(
            all.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(),
            ["negotiate", "basic", "bearer", "digest"]
        );
        assert_eq!(all[1].param("realm"), Some("a, b=\"c\""));
        assert_eq!(all[2].param("error"), Some("invalid_token"));
        assert!(Challenge::parse_all([r#"realm="before any scheme""#]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in r#"[ -~]{0,60}|([Bb]earer|basic|,|=|"|\\|[a-z ]{0,3}){0,20}|.{0,40}"#) {
            let _ = Challenge::parse_all([text.as_str(), &text]);
        }

        #[test]
        fn what_is_written_is_read(
            realm in r#"[ -~]{0,30}"#, scope in r#"[a-z:/,* ]{0,30}"#, scheme in "[A-Za-z]{1,8}", spaces in " {0,2}",
        ) {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!(
                r#"{scheme} realm{spaces}={spaces}"{}",{spaces}Scope="{}" , Other x="1""#, quote(&realm), quote(&scope)
            );
            let all = Challenge::parse_all([header.as_str()]);
            prop_assert_eq!(all.len(), 2);
            prop_assert_eq!(&all[0].scheme, &scheme.to_lowercase());
            prop_assert_eq!(all[0].param("realm"), Some(realm.as_str()));
            prop_assert_eq!(all[0].param("scope"), Some(scope.as_str()));
        }
    }
}
