//! The `bundle` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    airgap_bundler::cli::main()
}
