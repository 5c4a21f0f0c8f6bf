//! The local disk: the only module that uses `std::fs`.
//!
//! | file | owns |
//! |---|---|
//! | `folder.rs` | [`Folder`]: a directory of our own, with atomic writes, growing files and bounded readers |

mod folder;

pub use folder::{Arriving, Entry, Folder, FolderError, Lock};
