//! blackbox_exporter's modules and answers, against `/probe` of the built binary.

use std::path::Path;

use serde_json::Value;

use super::replay_script::{PYTHON, run, shell_script};
use super::report::AreaReport;

/// How many cases fail. May only go down.
pub const KNOWN_FAILURES: usize = 12;

/// Why campanile refuses the module of a case when it loads the configuration. One such module would keep the server of all
/// cases from starting, so these cases fail without being asked.
fn refused(case: &Value) -> Option<&'static str> {
    let module = &case["module"];
    if module["prober"] == "grpc" {
        return Some("there is no gRPC prober");
    }
    let http = module["http"].as_object()?;
    http.keys().any(|k| k.ends_with("_cel")).then_some("CEL expressions are not supported")
}

/// The cases under `folder`, all of them.
pub fn replay(folder: &Path) -> AreaReport {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = shell_script(
        dir.path(),
        "server.sh",
        &format!(
            "printf 'probe_modules_file: %s\\nself_scrape: false\\nhost: {{enabled: false}}\\n' \"$1\" > \"$1.campanile.yml\"\n\
             exec {} serve --config.file=\"$1.campanile.yml\" --storage.path={}/data --web.listen-address=127.0.0.1:\"$2\"\n",
            env!("CARGO_BIN_EXE_campanile"),
            dir.path().display()
        ),
    );
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("probes/cases.json can be read");
    let all: Value = serde_json::from_str(&text).expect("probes/cases.json is JSON");
    let mut report = AreaReport::default();
    let mut asked = Vec::new();
    for case in all["cases"].as_array().into_iter().flatten() {
        let id = case["id"].as_str().unwrap_or_default();
        match refused(case) {
            Some(why) => report.count(id, Err(why.to_owned())),
            None => asked.push(id),
        }
    }
    let command = format!("sh {} {{config}} {{port}}", server.display());
    let answered = run(PYTHON, folder, &["--command", &command, "--only", &asked.join(",")]);
    report.passed += answered.passed;
    report.failed.extend(answered.failed);
    report
}
