//! What every area shares: where its folder is, what is counted, and when that is a failure.
//!
//! A new area adds a module with `pub fn replay(folder: &Path) -> AreaReport` and calls [`replay`] from its test.

use std::path::{Path, PathBuf};

/// A case that did not come out as recorded.
#[derive(Debug)]
pub struct FailedCase {
    /// How the case is found again: its id, or file and line.
    pub id: String,
    /// What was different.
    pub message: String,
}

/// What came of an area.
#[derive(Debug, Default)]
pub struct AreaReport {
    /// How many cases came out as recorded.
    pub passed: usize,
    /// The others.
    pub failed: Vec<FailedCase>,
}

impl AreaReport {
    /// Counts a case: passed, or failed with what was different.
    pub fn count(&mut self, id: impl Into<String>, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(message) => self.failed.push(FailedCase { id: id.into(), message }),
        }
    }
}

/// The folder of an area, if it is there.
pub fn area_folder(area: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("CONFORMANCE_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"),
    };
    let folder = root.join(area);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("{area}: SKIPPED, there is no folder {} (set CONFORMANCE_DIR)", folder.display());
    None
}

/// Replays an area and compares the number of failures with what is known. Fails when there are more; fails too when there are
/// fewer, so that the known number is true.
pub fn replay(area: &str, known_failures: usize, replay: impl FnOnce(&Path) -> AreaReport) {
    // "promql language" is a part of the area "promql".
    let Some(folder) = area_folder(area.split(' ').next().unwrap_or(area)) else { return };
    let report = replay(&folder);
    let text = describe(area, &report);
    eprint!("{text}");
    if let Some(complaint) = complaint(area, known_failures, &report) {
        // Without --nocapture, cargo shows the output of failed tests only; the list is in the message for other runners.
        panic!("{complaint}\n{text}");
    }
}

/// The failing cases, one line each, and the line with the counts.
fn describe(area: &str, report: &AreaReport) -> String {
    let mut text = String::new();
    for case in &report.failed {
        text.push_str(&format!("{area}: FAILED {}: {}\n", case.id, case.message.replace('\n', " ")));
    }
    text.push_str(&format!("{area}: {} passed, {} failed\n", report.passed, report.failed.len()));
    text
}

fn complaint(area: &str, known_failures: usize, report: &AreaReport) -> Option<String> {
    let failed = report.failed.len();
    if report.passed + failed == 0 {
        return Some(format!("{area}: the folder holds no cases"));
    }
    match failed.cmp(&known_failures) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(format!("{area}: {failed} cases fail, {known_failures} are known to")),
        std::cmp::Ordering::Less => Some(format!(
            "{area}: only {failed} cases fail, not the {known_failures} known ones; lower the constant to {failed}"
        )),
    }
}

#[test]
fn the_number_of_failures_must_be_true() {
    let report = |passed, failed: usize| AreaReport {
        passed,
        failed: (0..failed).map(|i| FailedCase { id: i.to_string(), message: "different".into() }).collect(),
    };
    assert_eq!(complaint("a", 2, &report(5, 2)), None);
    assert!(complaint("a", 2, &report(5, 3)).is_some_and(|c| c.contains("3 cases fail, 2 are known")));
    assert!(complaint("a", 2, &report(5, 1)).is_some_and(|c| c.contains("lower the constant to 1")));
    assert!(complaint("a", 0, &report(0, 0)).is_some_and(|c| c.contains("no cases")));
    assert_eq!(describe("a", &report(1, 1)), "a: FAILED 0: different\na: 1 passed, 1 failed\n");
}
