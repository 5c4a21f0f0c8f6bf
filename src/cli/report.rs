//! Turns errors into text, JSON and exit codes; the only place that knows hints for kinds of failure.
//!
//! # Invariants
//! - Every mistake of an input is shown, each with its line when the file can be read.
//! - The causes of an error are shown once each, from the outside in, and cleaned of control characters.

use std::io::{self, IsTerminal, Write};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::ui;
use crate::error::{Classify, Diagnostic, Kind, Severity};

/// Returns what to do about a kind of failure, when the error itself does not say it.
fn hint(error: &dyn Classify) -> Option<&'static str> {
    match error.kind() {
        Kind::Answer | Kind::Usage | Kind::Incomplete => None,
        // What is missing on this machine needs no login.
        Kind::NotFound if error.side().is_none() => None,
        Kind::NotFound => {
            Some("check the name, and the credentials for that registry (docker login, REGISTRY_AUTH_FILE)")
        }
        Kind::Unavailable => Some("nothing is lost: run the same command again to continue where it stopped"),
        Kind::Corrupt => Some("the bytes are not what they must be; nothing of them was used"),
        Kind::Untrusted => None,
        Kind::Internal => Some("this is a bug of bundle; please report it with the command and this text"),
    }
}

fn renderer() -> Renderer {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colour { Renderer::styled() } else { Renderer::plain() }
}

/// Writes one diagnostic as compilers do, with the line that it speaks of.
pub fn diagnostic(diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let message = ui::clean_lines(&diagnostic.message);
    let title = level.primary_title(message.as_str()).id(diagnostic.code);
    let hint = diagnostic.hint.as_deref().map(ui::clean);
    let source = diagnostic.at.as_ref().and_then(|at| {
        // Only the line is needed, but offsets count from the start of the file.
        let text = crate::files::read_limited(std::path::Path::new(&at.file), 64 << 20).ok()?;
        let text = String::from_utf8(text.into()).ok()?;
        let start = text.split_inclusive('\n').take(at.line.saturating_sub(1) as usize).map(str::len).sum::<usize>();
        let line = text[start..].lines().next()?;
        let from =
            line.char_indices().nth(at.column.saturating_sub(1) as usize).map_or(line.len(), |(offset, _)| offset);
        let word = line[from..].find([' ', ',', '}', ']', '#']).unwrap_or(line.len() - from).max(1);
        let word = line[from..].trim_end().len().min(word);
        Some((clean_line(line), at.file.clone(), at.line, from, from + word))
    });
    let mut group = Group::with_title(title);
    if let Some((line, file, number, from, to)) = &source {
        let annotation = AnnotationKind::Primary.span(*from..*to);
        group = group.element(
            Snippet::source(line.as_str()).line_start(*number as usize).path(file.as_str()).annotation(annotation),
        );
    } else if let Some(at) = &diagnostic.at {
        group = group.element(
            annotate_snippets::Origin::path(at.file.as_str()).line(at.line as usize).char_column(at.column as usize),
        );
    }
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer().render(&[group])
}

fn clean_line(line: &str) -> String {
    // Byte offsets into the line stay valid: only control characters of one byte are replaced, by one byte.
    line.chars().map(|c| if c.is_control() && c.len_utf8() == 1 { ' ' } else { c }).collect()
}

/// Shows an error on stderr, as text or as one JSON object, and returns the exit code.
pub fn failure(error: &dyn Classify, as_json: bool) -> u8 {
    let kind = error.kind();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = ui::clean(&cause.to_string());
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    let message = ui::clean_lines(&error.to_string());
    causes.retain(|cause| !message.contains(cause.as_str()));
    let mut out = io::stderr().lock();
    if as_json {
        let object = json!({"error": {
            "kind": kind, "exitCode": kind.exit_code(), "message": message, "side": error.side(),
            "causes": causes, "diagnostics": error.diagnostics(),
        }});
        let _ = writeln!(out, "{object}");
        return kind.exit_code();
    }
    for one in error.diagnostics() {
        let _ = writeln!(out, "{}\n", diagnostic(one));
    }
    let title = Level::ERROR.primary_title(message.as_str());
    let mut group = Group::with_title(title);
    for cause in &causes {
        group = group.element(Level::NOTE.message(cause.as_str()));
    }
    if let Some(hint) = hint(error) {
        group = group.element(Level::HELP.message(hint));
    }
    let _ = writeln!(out, "{}", renderer().render(&[group]));
    kind.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Location;

    #[test]
    fn a_diagnostic_shows_its_line_and_its_hint() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "kind: Bundle\nimagse:\n  - nginx\n").unwrap();
        let at = Location::new(file.path().to_str().unwrap(), 2, 1);
        let text =
            diagnostic(&Diagnostic::error("unknown-key", "unknown key `imagse`").at(at).hint("did you mean `images`?"));
        assert!(text.starts_with("error[unknown-key]: unknown key `imagse`"), "{text}");
        assert!(
            text.contains("2 | imagse:") && text.contains("^^^^^^") && text.contains("help: did you mean `images`?"),
            "{text}"
        );
    }

    #[test]
    fn a_diagnostic_without_a_readable_file_still_says_where() {
        let text = diagnostic(&Diagnostic::warning("x", "y").at(Location::new("gone.yaml", 3, 4)));
        assert!(text.contains("gone.yaml:3:4"), "{text}");
    }
}
