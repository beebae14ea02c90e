//! Rule files, configuration files and unit tests of rules (area `rules`): the built binary stands in for promtool and
//! must give its exit status.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::report::AreaReport;

/// How many cases fail.
pub const KNOWN_FAILURES: usize = 0;

pub fn replay(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    for file in ["check_rules.json", "check_config.json", "tests.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let all: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file} is no JSON: {e}"));
        let area = file.trim_end_matches(".json");
        for case in all["cases"].as_array().expect("a list of cases") {
            let id = case["id"].as_str().expect("a case has an id");
            report.count(format!("{area}/{id}"), run(case));
        }
    }
    report
}

fn run(case: &Value) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (name, content) in case["files"].as_object().into_iter().flatten() {
        let path = dir.path().join(name);
        let folder = path.parent().unwrap_or(dir.path());
        std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        std::fs::write(&path, content.as_str().unwrap_or("")).map_err(|e| e.to_string())?;
    }
    let command = case["command"].as_str().and_then(|c| c.strip_prefix("promtool ")).ok_or("not a promtool command")?;
    let output = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(command.split(' '))
        .current_dir(dir.path())
        .output()
        .map_err(|e| e.to_string())?;
    let want = case["expect"]["exit_status"].as_i64();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code().map(i64::from) == want {
        return same_findings(case["expect"]["output"].as_str().unwrap_or(""), &printed);
    }
    Err(format!("exit {:?}, want {want:?}: {printed}; promtool: {}", output.status.code(), case["expect"]["output"]))
}

/// A unit test must fail for the reason for which it fails in promtool: the lines that name an alert, a rule or an
/// expression, and those that show alerts, are the same.
fn same_findings(want: &str, printed: &str) -> Result<(), String> {
    let tells = |line: &&str| {
        let start = line.trim_start();
        ["alertname:", "rule:", "expr:", "Labels:", "Annotations:"].iter().any(|w| start.starts_with(w))
    };
    let clean = |text: &str| text.lines().filter(tells).map(|l| l.trim().to_owned()).collect::<Vec<_>>();
    let (want, got) = (clean(want), clean(printed));
    if want == got { Ok(()) } else { Err(format!("told {got:?}, promtool: {want:?}")) }
}
