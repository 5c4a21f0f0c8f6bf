//! The `bundle` command.

use std::process::ExitCode;

/// Rendering allocates in small pieces on a thread of its own, where the C library's allocator costs twice as much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    airgap_bundler::cli::main()
}
