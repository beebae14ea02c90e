//! The command line: one file for each subcommand.

mod alertmanager_client;
mod check;
mod notify;
mod query;
mod query_logs;
mod routes;
mod serve;
mod silence;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Metrics, logs, probes and alerting in one process.
#[derive(Parser)]
#[command(name = "campanile", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// Check configuration and rule files; every problem with file:line:column, exit 1.
    #[command(subcommand)]
    Check(check::CheckCommand),
    /// Try receivers and notification templates.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Ask a running server.
    #[command(subcommand)]
    Query(query::QueryCommand),
    /// Make, list, end and import silences of a running server.
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Show the route tree, or who is told of an alert.
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Run unit tests of rules and scripts of the query language; exit 1 when one fails.
    #[command(subcommand)]
    Test(test::TestCommand),
}

/// Runs the program with the process' arguments and gives its exit code: 0 done, 1 failed, 2 wrong arguments.
pub fn run() -> ExitCode {
    // One TLS provider for the whole process; a second call (in tests) finds it installed, which is fine.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { 2 } else { 0 };
            // Nothing is left to do if even the help cannot be printed.
            let _closed = e.print();
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(command) => check::run(&command),
        Command::Notify(command) => notify::run(&command),
        Command::Query(command) => query::run(&command),
        Command::Silence(command) => silence::run(&command),
        Command::Routes(command) => routes::run(&command),
        Command::Test(command) => test::run(&command),
    }
}

/// A runtime for commands that talk over the network, with as many workers as there are cores.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("runtime").build()
}

/// Prints an error with its causes and gives exit code 1.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("campanile: {error:#}");
    ExitCode::FAILURE
}
