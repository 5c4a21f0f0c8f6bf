//! The enclave's own certificate authority, from the first key to a cluster that signs by itself.
//!
//! ```text
//!  init ─→ Home (folder) ─ issue ─→ certificates of servers, the registry first
//!   │        │  └─ manifests ─→ YAML ─ apply ─→ cert-manager signs for the rest
//!   │        └─ status, rotate, revoke
//!   └ on two machines: request ─(paper or stick)→ sign ─→ install
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `home.rs` | [`Home`]: the folder with its keys, certificates and state |
//! | `make.rs` | [`init`], and the way over two machines: [`request`], [`sign`], [`install`] |
//! | `issue.rs` | [`issue`]: certificates of servers, and the record of them; revocation |
//! | `manifests.rs` | [`manifests`]: what a cluster needs, from the files of `manifests/` |
//! | `apply.rs` | [`apply`]: the same through the Kubernetes API |
//! | `rotate.rs` | [`rotate_issuing`], [`rotate_root`]: successors, step by step |
//! | `status.rs` | [`status`]: what there is, how long it lasts, what needs attention |
//!
//! # Invariants
//! - Private keys of authorities are written under a password only, with mode 0600. The root's never leaves the folder;
//!   the issuing authority's leaves it only into the cluster's Secret.
//! - The state file is written last: a folder without it is no authority, and one with it is a whole one.
//! - No step of a rotation takes away trust that a client of the step before needs.
//! - Nothing here opens a network connection, except [`apply`] and the look into a cluster, to the cluster that is named.
//!
//! # Failure
//! [`Error`]. What is wrong with a request is said before anything is signed or written.

mod apply;
mod error;
mod home;
mod issue;
mod make;
mod manifests;
mod rotate;
mod status;

pub use apply::{Applied, Job, LookFor, Outcome, apply, in_use};
pub use error::Error;
pub use home::{Home, Step};
pub use issue::{Ask, Issued, Record, crl, issue, records, revoke, save};
pub use make::{Plan, Signed, init, install, request, sign};
pub use manifests::{Document, Options, Registry, Shadow, manifests};
pub use rotate::{rotate_issuing, rotate_root};
pub use status::{Line, Status, status};
