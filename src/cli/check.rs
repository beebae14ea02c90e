//! `campanile check`: every problem of a file, with its place.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::app::load_checked;
use crate::config::Problem;
use crate::config::features::Features;
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
    /// Experimental features that the server will be started with, by commas.
    #[arg(long = "enable-feature", value_name = "NAMES")]
    enable_feature: Vec<String>,
}

impl Files {
    /// Intervals stand in no rule file's way; these are Prometheus' defaults.
    fn defaults(&self) -> GroupDefaults {
        let (features, remarks) = Features::parse(&self.enable_feature);
        for remark in remarks {
            eprintln!("warning: {remark}");
        }
        GroupDefaults { interval_ms: 60_000, query_offset_ms: 0, syntax: features.syntax }
    }
}

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
        CheckCommand::Config(args) => {
            let defaults = args.defaults();
            for file in &args.files {
                report(file, check_config(file, defaults));
            }
        }
        CheckCommand::Rules(args) => {
            let defaults = args.defaults();
            for file in &args.files {
                let outcome = load_file(file, defaults).map(|loaded| {
                    warn(&loaded.warnings);
                    format!("{} rules in {} groups", count(&loaded), loaded.groups.len())
                });
                report(file, outcome);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check_config(file: &PathBuf, defaults: GroupDefaults) -> Result<String, Vec<Problem>> {
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
    let rules = load_files(&loaded.rule_files, defaults)?;
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
