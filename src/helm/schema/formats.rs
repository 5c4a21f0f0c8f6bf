//! Formats of strings.

use crate::helm::{funcs::regexes, template::clock::Time};

/// Checks the formats that the validator below helm checks; others are descriptions.
pub(super) fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => Time::parse("2006-01-02T15:04:05.999999999Z07:00", &text.to_ascii_uppercase()).is_ok(),
        "date" => Time::parse("2006-01-02", text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "regex" => regexes::compile(text).is_ok(),
        "email" => text.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && is_host(host)),
        "hostname" => is_host(text),
        "uri" => {
            text.split_once(':').is_some_and(|(scheme, _)| {
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            }) && !text.contains([' ', '\\'])
        }
        "uri-reference" => !text.contains([' ', '\\']),
        _ => true,
    }
}

fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}
