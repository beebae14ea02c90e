//! `campanile check`: every problem of a file, with its place.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::app::load_checked;
use crate::config::Problem;
use crate::rules::load::{GroupDefaults, LoadedRules, load_file, load_files};

/// What is checked.
#[derive(Subcommand)]
pub enum CheckCommand {
    /// Check configuration files and everything they include.
    Config(Files),
    /// Check rule files.
    Rules(Files),
}

/// The files to check.
#[derive(Args)]
pub struct Files {
    /// Files to check.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Intervals stand in no rule file's way; these are Prometheus' defaults.
const DEFAULTS: GroupDefaults = GroupDefaults { interval_ms: 60_000, query_offset_ms: 0 };

pub(super) fn run(command: &CheckCommand) -> ExitCode {
    let mut failed = false;
    let mut report = |file: &PathBuf, outcome: Result<String, Vec<Problem>>| match outcome {
        Ok(text) => println!("{}: {text}", file.display()),
        Err(problems) => {
            failed = true;
            for p in problems {
                eprintln!("{p}");
            }
        }
    };
    match command {
        CheckCommand::Config(Files { files }) => {
            for file in files {
                report(file, check_config(file));
            }
        }
        CheckCommand::Rules(Files { files }) => {
            for file in files {
                let outcome = load_file(file, DEFAULTS).map(|loaded| {
                    warn(&loaded.warnings);
                    format!("{} rules in {} groups", count(&loaded), loaded.groups.len())
                });
                report(file, outcome);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check_config(file: &PathBuf) -> Result<String, Vec<Problem>> {
    // A server starts without a file; whoever asks to check one means it to be there.
    if let Err(e) = std::fs::metadata(file) {
        let message = format!("cannot be read: {e}");
        return Err(vec![Problem {
            file: file.display().to_string(),
            line: 0,
            column: 0,
            path: String::new(),
            message,
        }]);
    }
    let loaded = load_checked(file)?;
    let rules = load_files(&loaded.rule_files, DEFAULTS)?;
    warn(&loaded.warnings);
    warn(&rules.warnings);
    Ok(format!("valid, {} rule files with {} rules", loaded.rule_files.len(), count(&rules)))
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn count(rules: &LoadedRules) -> usize {
    rules.groups.iter().map(|g| g.rules.len()).sum()
}
