//! Questions about what a bundle holds: each returns a report, and prints nothing.
//!
//! | file | answers |
//! |---|---|
//! | `snapshot.rs` | what a lock or an archive holds, in one shape |
//! | `diff.rs` | what changed between two of them |
//! | `coverage.rs` | what a list that people keep misses, and what in it is stale |
//!
//! # Invariants
//! - A report depends on its inputs alone, and is sorted: the same inputs give the same bytes.
//! - What cannot be compared is in the report and says so; it never counts as equal.

mod coverage;
mod diff;
mod snapshot;

pub use coverage::{Coverage, Listed, Needed, Other, OtherVersion, OtherWay, coverage};
pub use diff::{
    Changed, ChartAt, ChartChange, Decision, Diff, FileChange, ImageAt, ImageMoved, ImageReasons, ImageVersions, Jump,
    Property, SizeChange, diff,
};
pub use snapshot::{ImageSeen, Snapshot};
