//! What goes wrong while a template runs.
//!
//! # Invariants
//! - An [`ExecError`] knows its place; errors of included templates are nested in it, so the whole include chain is there.

use std::fmt;

use super::parser::ParseError;

/// Names the bound that a template broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More work than any chart needs.
    #[error("the template does more than {0} steps of work")]
    Steps(u64),
    /// More output than any chart needs.
    #[error("the template makes a text of more than {0} bytes")]
    Output(usize),
    /// Templates that call templates without end.
    #[error("templates are nested more than {0} deep")]
    Nesting(usize),
    /// Values inside values without end, or a value inside itself.
    #[error("a value is nested more than {0} deep")]
    Depth(usize),
}

/// Says why a call of a function failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The function's own message.
    #[error("{0}")]
    Function(String),
    /// The wrong number or type of arguments; not prefixed with the function.
    #[error("{0}")]
    Arity(String),
    /// `fail` or `required`: the chart's author speaks.
    #[error("{0}")]
    Refused(String),
    /// The text that `tpl` got is no template.
    #[error("cannot parse template {text:?}: {error}")]
    Parse {
        /// The text, shortened.
        text: String,
        /// What it breaks.
        error: ParseError,
    },
    /// A template that was called failed.
    #[error("{0}")]
    Exec(Box<ExecError>),
    /// A bound was broken.
    #[error("{0}")]
    Limit(#[from] Limit),
}

impl CallError {
    /// Makes a function's own error.
    pub fn function(message: impl Into<String>) -> CallError {
        CallError::Function(message.into())
    }
}

impl From<ExecError> for CallError {
    fn from(error: ExecError) -> Self {
        CallError::Exec(Box::new(error))
    }
}

/// Tells where evaluation was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in bytes, from 0 as Go counts.
    pub column: u32,
    /// The template inside the file.
    pub template: String,
    /// The code, shortened as Go shortens it.
    pub code: String,
    /// The code, longer.
    pub expression: String,
    /// The line of the file, without the white space around it.
    pub text: String,
}

impl Site {
    /// Returns the dotted paths below `.Values` that a text names, each once.
    fn values_in(text: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for (at, mark) in text.match_indices(".Values.") {
            // `$x.Values` and `(f).Values` are values of something else.
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | '.')) {
                continue;
            }
            let rest = &text[at + mark.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.').to_owned();
            if !path.is_empty() && !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }

    /// Returns the path of subcharts that a template's file lies in, as a prefix of values: `a.b.` for what is below
    /// `charts/a/charts/b`.
    fn prefix(&self) -> String {
        let above = self.file.split("/templates/").next().unwrap_or_default();
        above.split("/charts/").skip(1).map(|name| format!("{name}.")).collect()
    }
}

/// Tells what a value path lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset {
    /// The value that the template reads, as a path from the values of the chart that is rendered.
    pub wanted: String,
    /// The part of the path where there is nothing; the same as `wanted` when only the last step is missing.
    pub missing: String,
}

/// Says what failed.
#[derive(Debug)]
pub enum Cause {
    /// The evaluator's own message.
    Message(String),
    /// A call failed.
    Call {
        /// The function or method.
        function: String,
        /// Why.
        error: CallError,
    },
}

/// An error with the place where it happened.
#[derive(Debug)]
pub struct ExecError {
    /// Where.
    pub site: Site,
    /// What.
    pub cause: Cause,
    /// How many errors are nested in this one.
    links: usize,
}

/// How many places an include chain lists: an endless recursion would otherwise make an error too deep to drop.
const LINKS: usize = 50;

impl ExecError {
    /// Makes an error that starts a chain.
    pub fn new(site: Site, message: impl Into<String>) -> ExecError {
        ExecError { site, cause: Cause::Message(message.into()), links: 0 }
    }

    /// Makes the error of a call. Of a long chain the outermost and the innermost places are kept.
    pub fn call(site: Site, function: &str, error: CallError) -> ExecError {
        let mut error = error;
        let mut links = 0;
        if let CallError::Exec(inner) = &mut error {
            links = inner.links + 1;
            if links > LINKS
                && let Cause::Call { error: below, .. } = &mut inner.cause
                && matches!(below, CallError::Exec(_))
            {
                let below = std::mem::replace(below, CallError::Function(String::new()));
                error = below;
                links = LINKS;
            }
        }
        ExecError { site, cause: Cause::Call { function: function.to_owned(), error }, links }
    }

    /// Returns the places from the outermost template to the failing line.
    pub fn chain(&self) -> Vec<&Site> {
        let mut chain = vec![&self.site];
        let mut error = self;
        while let Cause::Call { error: CallError::Exec(inner), .. } = &error.cause {
            chain.push(&inner.site);
            error = inner;
        }
        chain
    }

    /// Returns the innermost error.
    pub fn root(&self) -> &ExecError {
        let mut error = self;
        while let Cause::Call { error: CallError::Exec(inner), .. } = &error.cause {
            error = inner;
        }
        error
    }

    /// Returns what the chart's author says through `fail` or `required`.
    pub fn refusal(&self) -> Option<&str> {
        match &self.root().cause {
            Cause::Call { error: CallError::Refused(message), .. } => Some(message),
            _ => None,
        }
    }

    /// Returns the value that is not set, where the error follows from one and the template names it.
    pub fn unset(&self) -> Option<Unset> {
        let root = self.root();
        // Values belong to the chart of the outermost template; helpers of a library see those of their caller.
        let prefix = self.site.prefix();
        match &root.cause {
            Cause::Message(message) => {
                let step = message.strip_prefix("nil pointer evaluating interface {}.")?;
                let path = Site::values_in(&root.site.expression).into_iter().next()?;
                let steps: Vec<&str> = path.split('.').collect();
                let at = steps.iter().position(|name| *name == step)?;
                let missing = format!("{prefix}{}", steps[..at].join("."));
                Some(Unset { wanted: format!("{prefix}{path}"), missing })
            }
            Cause::Call { function, error: CallError::Refused(_) } if function == "required" => {
                match Site::values_in(&root.site.text).as_slice() {
                    [path] => Some(Unset { wanted: format!("{prefix}{path}"), missing: format!("{prefix}{path}") }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Returns the values that the failing line reads, as paths from the values of the chart that is rendered.
    pub fn values(&self) -> Vec<String> {
        let prefix = self.site.prefix();
        Site::values_in(&self.root().site.text).into_iter().map(|path| format!("{prefix}{path}")).collect()
    }

    /// Says in one sentence what is wrong, without the places: a chart's own words where it speaks.
    pub fn sentence(&self) -> String {
        match &self.root().cause {
            Cause::Message(message) => match self.unset() {
                Some(Unset { wanted, missing }) => {
                    format!("the template reads the value {wanted}, but {missing} is not set: {message}")
                }
                None => message.clone(),
            },
            Cause::Call {
                error: error @ (CallError::Refused(_) | CallError::Arity(_) | CallError::Limit(_)), ..
            } => error.to_string(),
            Cause::Call { function, error } => format!("{function}: {error}"),
        }
    }

    /// Returns the bound that was broken.
    pub fn limit(&self) -> Option<Limit> {
        match &self.root().cause {
            Cause::Call { error: CallError::Limit(limit), .. } => Some(*limit),
            _ => None,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = self.refusal() {
            write!(f, "execution error at ({}): {message}", self.site)?;
            let chain = self.chain();
            if chain.len() > 1 {
                let inner: Vec<String> = chain[1..].iter().map(|site| site.to_string()).collect();
                write!(f, " [through {}]", inner.join(", "))?;
            }
            return Ok(());
        }
        let Site { template, code, .. } = &self.site;
        write!(f, "template: {}: executing {template:?} at <{code}>: ", self.site)?;
        match &self.cause {
            Cause::Message(message) => f.write_str(message),
            Cause::Call { error: CallError::Arity(message), .. } => f.write_str(message),
            Cause::Call { function, error } => write!(f, "error calling {function}: {error}"),
        }
    }
}

impl std::error::Error for ExecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Call { error, .. } => Some(error),
            Cause::Message(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_paths_are_found_in_code() {
        for (text, paths) in [
            ("{{ .Values.a.b | quote }}-{{ $.Values.c_d }}", &["a.b", "c_d"][..]),
            ("{{ .Values.a }}{{ .Values.a }}", &["a"]),
            ("{{ $x.Values.a }}{{ (f).Values.b }}{{ .Values }}", &[]),
            ("{{ (.Values.a).b }}", &["a"]),
        ] {
            assert_eq!(Site::values_in(text), paths, "{text}");
        }
    }
}
