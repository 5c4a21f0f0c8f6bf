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
    /// The code, shortened.
    pub code: String,
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
