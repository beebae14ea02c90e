//! The command line.

use std::process::ExitCode;

/// Runs the program with the process' arguments.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
