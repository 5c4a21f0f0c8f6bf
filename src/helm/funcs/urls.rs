//! URLs, as Go's `net/url` takes them apart.

use super::{Args, Func, Outcome, Param, func};
use crate::helm::template::{
    error::CallError,
    exec::Interp,
    value::{Map, Str, Value},
};

use Param::{Dict, Str as Text};

pub(super) const FUNCS: &[Func] = &[func("urlParse", &[Text], parse), func("urlJoin", &[Dict], join)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    User,
    Fragment,
}

fn unescape(text: &str, host: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            match digits
                .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            {
                Some(byte) if !host || byte >= 0x80 || byte == b'%' => out.push(byte),
                _ => {
                    let shown: String = text[at..].chars().take(3).collect();
                    return Err(format!("invalid URL escape {shown:?}"));
                }
            }
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn escape(text: &str, part: Part) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => true,
            b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
                Part::Path => byte != b'?',
                Part::User => !matches!(byte, b'@' | b'/' | b'?' | b':'),
                Part::Fragment => true,
            },
            b'!' | b'(' | b')' | b'*' => part == Part::Fragment,
            _ => false,
        };
        if plain {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

struct Url {
    scheme: String,
    opaque: String,
    user: Option<(String, Option<String>)>,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

impl Url {
    fn user_text(&self) -> String {
        match &self.user {
            None => String::new(),
            Some((name, None)) => escape(name, Part::User),
            Some((name, Some(password))) => format!("{}:{}", escape(name, Part::User), escape(password, Part::User)),
        }
    }

    fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }
}

fn split_scheme(text: &str) -> Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn read(text: &str) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut url = Url {
        scheme: String::new(),
        opaque: String::new(),
        user: None,
        host: String::new(),
        path: String::new(),
        query: String::new(),
        fragment: unescape(fragment, false)?,
    };
    if text == "*" {
        url.path = "*".to_owned();
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(text)?;
    url.scheme = scheme;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_owned();
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if rest.split('/').next().unwrap_or_default().contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//")
        && (!url.scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = after.find('/').unwrap_or(after.len());
        let authority = &after[..end];
        path = &after[end..];
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if let Some(user) = user {
            url.user = Some(match user.split_once(':') {
                Some((name, password)) => (unescape(name, false)?, Some(unescape(password, false)?)),
                None => (unescape(user, false)?, None),
            });
        }
        let port = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((_, port)) => port,
                None => return Err("missing ']' in host".to_owned()),
            },
            None => host.rfind(':').map_or("", |at| &host[at..]),
        };
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())) {
            return Err(format!("invalid port {port:?} after host"));
        }
        if host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']) && !host.starts_with('[') {
            let bad = host.chars().find(|c| " <>\"\\^`{|}".contains(*c)).unwrap_or(' ');
            return Err(format!("invalid character {:?} in host name", bad.to_string()));
        }
        url.host = unescape(host, true)?;
    }
    url.path = unescape(path, false)?;
    Ok(url)
}

fn parse(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let text = args.text(0);
    let url = read(&text).map_err(|why| CallError::function(format!("unable to parse url: parse {text:?}: {why}")))?;
    let mut map = Map::new();
    let user = url.user_text();
    let hostname = url.hostname().to_owned();
    for (key, value) in [
        ("scheme", url.scheme),
        ("host", url.host),
        ("hostname", hostname),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
        ("userinfo", user),
    ] {
        map.insert(Str::from(key), Value::from(value));
    }
    Ok(Value::dict(map))
}

fn join(_: &mut Interp<'_>, args: Args<'_>) -> Outcome {
    let part = |key: &str| match args.dict(0).and_then(|dict| dict.get(key.as_bytes())) {
        None => Ok(String::new()),
        Some(Value::Str(text)) => Ok(text.text().into_owned()),
        Some(other) => Err(CallError::function(format!(
            "unable to parse {key} key, must be of type string, but {} found",
            other.kind_name()
        ))),
    };
    let (scheme, host, path) = (part("scheme")?, part("host")?, part("path")?);
    let (query, opaque, fragment, user) = (part("query")?, part("opaque")?, part("fragment")?, part("userinfo")?);
    let user = match user.as_str() {
        "" => None,
        user => Some(
            read(&format!("proto://{user}@host"))
                .map_err(|why| CallError::function(format!("unable to parse userinfo in dict: {why}")))?
                .user_text(),
        ),
    };
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(&scheme);
        out.push(':');
    }
    if !opaque.is_empty() {
        out.push_str(&opaque);
    } else {
        if !scheme.is_empty() || !host.is_empty() || user.is_some() {
            if !host.is_empty() || !path.is_empty() || user.is_some() {
                out.push_str("//");
            }
            if let Some(user) = user {
                out.push_str(&user);
                out.push('@');
            }
            out.push_str(&host);
        }
        let path = escape(&path, Part::Path);
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        if out.is_empty() && path.split('/').next().unwrap_or_default().contains(':') {
            out.push_str("./");
        }
        out.push_str(&path);
    }
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&escape(&fragment, Part::Fragment));
    }
    Ok(Value::from(out))
}
