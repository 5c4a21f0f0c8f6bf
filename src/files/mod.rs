//! The disk: the only module that touches files, and the only one that reads foreign tar and gzip.
//!
//! | file | owns |
//! |---|---|
//! | `error.rs` | [`Error`]: what failed, on which path, and how much room is missing |
//! | `positional.rs` | [`Positional`]: reads and writes at offsets, from many tasks at once |
//! | `read.rs` | whole files and folders into memory, with limits |
//! | `write.rs` | files that appear complete or not at all |
//! | `tarball.rs` | small foreign tars (also gzip) into a [`Tree`](crate::tree::Tree), never onto the disk |
//! | `arriving.rs` | [`Arriving`]: a file that grows while bytes arrive |
//! | `folder.rs` | [`Folder`]: a directory of our own, with atomic writes, growing files and bounded readers |
//! | `expand.rs` | large gzip inputs into an anonymous temporary file |
//!
//! # Invariants
//! - Nothing is read without a limit, and no size that a file claims is allocated before it was checked.
//! - No name from inside a folder or a tar reaches the disk; it becomes a [`RelPath`](crate::tree::RelPath) or an error.
//! - A file under its final name is complete: it is written beside, synced and renamed.
//!
//! # Failure
//! Every error names its path. A full disk is [`Error::NoRoom`], which says how much to free.

mod arriving;
mod error;
mod expand;
mod folder;
mod positional;
mod read;
mod tarball;
mod write;

pub use arriving::Arriving;
pub use error::{Action, Error};
pub use expand::expand_gzip;
pub use folder::{Entry, Folder, FolderError, Lock};
pub use positional::{Positional, blocking, free_space};
pub use read::{Limits, file_names, is_folder, is_gzip, list, read_limited, read_tree, walk_files};
pub use tarball::{Unpacked, read_tarball};
pub use write::{
    Appender, atomic_write, create_folder, create_new, create_new_private, exists, quick_write, remove, rename_durably,
};
