//! The bundle file: an OCI image layout in an uncompressed tar of which every bit is accounted for.
//!
//! ```text
//!   oci-layout  index.json  bundle.json  signatures │ blobs/sha256/… sorted │ end
//!   └───────────── control part, kilobytes ───────┘ └ parallel, in place ┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `header.rs` | the one way to write a tar header |
//! | `time.rs` | points in time as they are written |
//! | `json.rs` | strict JSON: no duplicate keys, no floats, bounded depth |
//! | `inventory.rs` | [`Inventory`]: what `bundle.json` says |
//! | `index.rs` | `index.json`, derived from the inventory, for stock tools |
//! | `chart.rs` | [`Chart`]: what `bundle.json` says of charts, and how they are planned |
//! | `plan.rs` | [`Draft`]: from images, charts, files and lock to an inventory, before the first layer is fetched |
//! | `layout.rs` | [`Layout`]: where every byte goes |
//! | `journal.rs` | hints that let a killed `create` go on |
//! | `writer.rs` | [`Writer`]: blobs in parallel straight to their final offset |
//! | `reader.rs` | [`Unverified`] and [`Archive`]: only what was admitted serves bytes |
//! | `artifact.rs` | [`FileArtifact`]: files as artifacts of a registry |
//! | `signed.rs` | what the signatures must cover |
//! | `admission.rs` | [`admit`]: from a file to a trusted archive |
//! | `verify.rs` | hashes everything and names all that is damaged |
//!
//! The format itself is described in `docs/format.md`, so that a stranger can write a reader.
//!
//! # Invariants
//! - The signatures cover `bundle.json`; `bundle.json` covers every blob, `oci-layout` and `index.json`; tar headers,
//!   padding and end must equal what this module would write. No bit is left over.
//! - The same inputs give the same bytes, at any concurrency and on any host.
//! - A file under its final name is complete and verified.
//!
//! # Failure
//! [`Error`]: damage names the entry, a newer format names the features that are missing here.

mod admission;
mod artifact;
mod chart;
mod error;
mod header;
mod index;
mod inventory;
mod journal;
mod json;
mod layout;
mod plan;
mod reader;
mod signed;
mod time;
mod verify;
mod writer;

pub use admission::{AdmissionError, admit};
pub use artifact::FileArtifact;
pub use chart::{CHARTS, Chart, PlannedChart, Vendored};
pub use error::{Error, Fault};
pub use inventory::{
    Attachment, Entry, FORMAT, Features, FileEntry, Image, Inventory, LeftOut, PlatformManifest, Role,
};
pub use layout::{Blob, Layout};
pub use plan::{Draft, Plan, PlannedAttachment, PlannedFile, PlannedImage};
pub use reader::{Archive, ArchiveSource, Control, Unverified};
pub use time::{Time, TimeError};
pub use verify::{Damage, Verified};
pub use writer::{Finished, Writer};
