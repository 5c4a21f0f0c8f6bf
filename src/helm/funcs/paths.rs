//! Slash-separated paths, as Go's `path`; on the systems that charts are rendered on, `path/filepath` is the same.

use super::{Func, Param, func};
use crate::helm::template::value::Value;

use Param::Str as Text;

pub(super) const FUNCS: &[Func] = &[
    func("base", &[Text], |_, args| Ok(Value::str(base(&args.text(0))))),
    func("dir", &[Text], |_, args| Ok(Value::str(dir(&args.text(0))))),
    func("clean", &[Text], |_, args| Ok(Value::str(clean(&args.text(0))))),
    func("ext", &[Text], |_, args| Ok(Value::str(ext(&args.text(0))))),
    func("isAbs", &[Text], |_, args| Ok(Value::Bool(args.bytes(0).starts_with(b"/")))),
    func("osBase", &[Text], |_, args| Ok(Value::str(base(&args.text(0))))),
    func("osDir", &[Text], |_, args| Ok(Value::str(dir(&args.text(0))))),
    func("osClean", &[Text], |_, args| Ok(Value::str(clean(&args.text(0))))),
    func("osExt", &[Text], |_, args| Ok(Value::str(ext(&args.text(0))))),
    func("osIsAbs", &[Text], |_, args| Ok(Value::Bool(args.bytes(0).starts_with(b"/")))),
];

/// Returns the last element.
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        Some("") | None => "/",
        Some(last) => last,
    }
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').map_or("", |at| &name[at..])
}

/// Returns the shortest path that means the same.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
                None if rooted => {}
                None => parts.push(".."),
            },
            other => parts.push(other),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}
