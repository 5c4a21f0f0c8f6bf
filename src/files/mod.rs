//! The disk: the only module that touches files, and the only one that reads foreign tar and gzip.
//!
//! | file | owns |
//! |---|---|
//! | `error.rs` | [`Error`]: what failed, on which path, and how much room is missing |
//! | `positional.rs` | [`Positional`]: reads and writes at offsets, from many tasks at once |
//! | `direct.rs` | reads and writes past the page cache, and [`Buffer`] whose memory lies as they need it |
//! | `read.rs` | whole files and folders into memory, with limits |
//! | `write.rs` | files that appear complete or not at all |
//! | `tarball.rs` | small foreign tars (also gzip) into a [`Tree`](crate::tree::Tree), never onto the disk |
//! | `arriving.rs` | [`Arriving`]: a file that grows while bytes arrive |
//! | `pack.rs` | small tars and gzip streams of our own |
//! | `scratch.rs` | [`Scratch`]: folders that a command makes for itself |
//! | `folder.rs` | [`Folder`]: a directory of our own, with atomic writes, growing files and bounded readers |
//! | `tarindex.rs` | where the files of a large foreign tar stand |
//! | `expand.rs` | large gzip inputs into an anonymous temporary file |
//! | `machine.rs` | how busy the machine is, where it tells |
//!
//! # Invariants
//! - Nothing is read without a limit, and no size that a file claims is allocated before it was checked.
//! - No name from inside a folder or a tar reaches the disk; it becomes a [`RelPath`](crate::tree::RelPath) or an error.
//! - A file under its final name is complete: it is written beside, synced and renamed.
//!
//! # Failure
//! Every error names its path. A full disk is [`Error::NoRoom`], which says how much to free.

mod arriving;
mod direct;
mod error;
mod expand;
mod folder;
mod machine;
mod pack;
mod positional;
mod read;
mod scratch;
mod tarball;
mod tarindex;
mod write;

pub use arriving::Arriving;
pub use direct::Buffer;
pub use error::{Action, Error};
pub use expand::expand_gzip;
pub use folder::{Entry, Folder, FolderError, Lock};
pub use machine::Load;
pub use pack::{gzip, pack};
pub use positional::{Positional, blocking, free_space, stream_range};
pub use read::{
    Limits, file_names, is_file, is_folder, is_gzip, list, modified, read_below, read_limited, read_tree, walk_files,
};
pub use scratch::{Scratch, make_empty_folder};
pub use tarball::{Unpacked, read_tarball};
pub use tarindex::{Place, TarIndex};
pub use write::{
    Appender, atomic_write, create_folder, create_new, create_new_private, exists, make_way_below, quick_write, remove,
    rename_durably, way_below,
};
