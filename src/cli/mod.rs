//! The command line.
/// Runs the program with the process' arguments.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
