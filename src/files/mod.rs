//! The local disk: the only module that uses `std::fs`.
//!
//! | file | owns |
//! |---|---|
//! | `folder.rs` | [`Folder`]: a directory of our own, with atomic writes and bounded readers |
//! | `arriving.rs` | [`Arriving`]: a file that grows until it gets its name |

mod arriving;
mod folder;

pub use arriving::Arriving;
pub use folder::{Entry, Folder, FolderError, Lock};
