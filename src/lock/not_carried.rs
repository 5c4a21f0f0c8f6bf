//! What was found and is not carried, with the decision: it stays in sight of whoever reviews the lock.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::{discover::Finding, oci::Reference};

/// An image that was found and is not carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotCarried {
    /// The image.
    pub image: Reference,
    /// What it is.
    pub why: Why,
    /// The entry of the spec that decides so; none when nothing but the default does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, as the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it was found; never empty.
    pub because: Vec<Finding>,
}

/// Says why something is not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Only other values bring it.
    Optional,
    /// It looks like an image, and guesses are left out.
    Guess,
    /// The spec says that it does not count.
    Ignored,
}

impl Why {
    /// Returns the word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Optional => "optional",
            Why::Guess => "guess",
            Why::Ignored => "ignored",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl NotCarried {
    /// Writes an item of the list in a lock.
    pub(super) fn write(&self, out: &mut String) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let _ = writeln!(out, "  - image: {}\n    why: {}", quoted(&self.image.to_string()), self.why);
        if let Some(by) = &self.by {
            let _ = writeln!(out, "    by: {}", quoted(by));
        }
        if let Some(reason) = &self.reason {
            let _ = writeln!(out, "    reason: {}", quoted(reason));
        }
        out.push_str("    because:\n");
        for finding in &self.because {
            let _ = writeln!(out, "      - {}", serde_json::to_string(finding).unwrap_or_default());
        }
    }
}
