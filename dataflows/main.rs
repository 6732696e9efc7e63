//! The command `trueup`: reads what is asked for, does it, and tells by its exit code how it went.
//!
//! Each command is a file in `cli/`; what a server is configured with is in `config.rs`.

mod cli;
mod config;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
