//! Helm's renderer: charts, values and templates to manifests, as helm 4 does it.
//!
//! ```text
//!  Tree ─ chart ─→ Chart ─ dependency, values, schema ─→ values ─ render (template, funcs) ─→ Rendered ─→ text
//! ```
//!
//! # Invariants
//! - Pure: no file, no network, no clock; now and random bytes come in as [`Ambient`].
//! - Bounded by [`Limits`]: a hostile chart ends in an error.

pub mod capabilities;
pub mod chart;
mod dependency;
pub mod error;
pub mod explore;
pub mod funcs;
pub mod glob;
pub mod goyaml;
pub mod index;
mod keys;
mod manifest;
pub mod metadata;
pub mod output;
pub mod overrides;
pub mod package;
pub mod render;
mod schema;
pub mod semver;
mod strvals;
pub mod template;
pub mod text;
mod unused;
mod values;

pub use capabilities::Capabilities;
pub use chart::{Chart, Origin};
pub use error::Error;
pub use explore::{Session, Switch, explore};
pub use index::Index;
pub use keys::KeySource;
pub use output::{Show, to_helm_template_output};
pub use overrides::Overrides;
pub use package::Package;
pub use render::{Options, Release, Rendered, computed_values, render};
pub use template::clock::Time;

/// What enters from outside the chart.
#[derive(Clone, Debug)]
pub struct Ambient {
    /// The current time.
    pub now: Time,
    /// The seed of everything random.
    pub random: [u8; 32],
    /// Where the keys that charts generate come from.
    pub keys: KeySource,
}

/// Bounds of a rendering.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Steps of work: evaluated nodes, calls, text made.
    pub steps: u64,
    /// Bytes of any one text.
    pub output: usize,
    /// How deep templates may call each other.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 50_000_000, output: 64 << 20, nesting: 3000 }
    }
}
