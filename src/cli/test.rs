//! `campanile test`: rules against made-up series, and scripts of the query language.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::promql::engine::EngineBackend;
use crate::promql::script::{self, Failure};
use crate::rules::unit_test::run_file;

/// What is tested.
#[derive(Subcommand)]
pub enum TestCommand {
    /// Unit tests of rules, in promtool's format.
    Rules(Files),
    /// PromQL scripts: series to load, expressions to evaluate, what must come out.
    Promql(Files),
}

/// The files to run.
#[derive(Args)]
pub struct Files {
    /// Test files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(command: &TestCommand) -> ExitCode {
    let all_passed = match command {
        // Every file is run, whatever came of those before.
        TestCommand::Rules(Files { files }) => files.iter().filter(|f| !rules(f)).count() == 0,
        TestCommand::Promql(Files { files }) => promql(files),
    };
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rules(file: &Path) -> bool {
    println!("Unit Testing:  {}", file.display());
    let report = run_file(file);
    for warning in &report.warnings {
        eprintln!("  WARNING: {warning}");
    }
    if report.failures.is_empty() {
        println!("  SUCCESS");
    } else {
        eprintln!("  FAILED:");
        for failure in &report.failures {
            eprintln!("{failure}");
        }
    }
    println!();
    report.failures.is_empty()
}

fn promql(files: &[PathBuf]) -> bool {
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let name = file.display().to_string();
        let failures = match std::fs::read_to_string(file) {
            Ok(text) => {
                let report = script::run(&name, &text, &mut EngineBackend::default());
                passed += report.passed;
                report.failures
            }
            Err(e) => vec![Failure { line: 0, expr: String::new(), message: format!("cannot be read: {e}") }],
        };
        failed += failures.len();
        for failure in &failures {
            println!("{}", describe(&name, failure));
        }
    }
    println!("{passed} passed, {failed} failed");
    failed == 0
}

/// `file:line: expr: message`; without what is not known.
fn describe(file: &str, failure: &Failure) -> String {
    let mut text = file.to_owned();
    if failure.line > 0 {
        text.push_str(&format!(":{}", failure.line));
    }
    if !failure.expr.is_empty() {
        text.push_str(&format!(": {}", failure.expr));
    }
    format!("{text}: {}", failure.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_name_their_place() {
        let failure =
            |line, expr: &str| Failure { line, expr: expr.to_owned(), message: "expected 1, got 2".to_owned() };
        assert_eq!(describe("a.test", &failure(3, "up")), "a.test:3: up: expected 1, got 2");
        assert_eq!(describe("a.test", &failure(3, "")), "a.test:3: expected 1, got 2");
        assert_eq!(describe("a.test", &failure(0, "")), "a.test: expected 1, got 2");
    }

    #[test]
    fn scripts_pass_and_fail() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = write("good.test", "load 1m\n  a 1+1x5\n\neval instant at 2m a\n  a 3\n");
        let bad = write("bad.test", "load 1m\n  a 1+1x5\n\neval instant at 2m a\n  a 4\n");
        assert!(promql(std::slice::from_ref(&good)));
        assert!(!promql(&[bad, good]));
        assert!(!promql(&[dir.path().join("none.test")]));
    }
}
