//! When things go wrong: kills, bad networks, full disks, tampered archives. The program itself runs, as a user would run
//! it; whatever happens, the same command run again ends with the same archive or the same registry.
//!
//! | file | what goes wrong |
//! |---|---|
//! | `kills.rs` | the process is killed, at any moment |
//! | `network.rs` | the registry fails, lies, stalls, cuts, slows down, forgets tokens |
//! | `disk.rs` | the disk is full, read-only, or somebody else writes |
//! | `tamper.rs` | one bit of the archive is not what was signed |
//! | `enclave.rs` | there is no network but the loopback interface |
//! | `memory.rs` | the image is larger than the memory that was promised to suffice |

mod disk;
mod enclave;
mod kills;
mod machine;
mod memory;
mod namespace;
mod network;
mod tamper;
