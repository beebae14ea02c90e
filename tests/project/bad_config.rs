//! Every message about a bad configuration: `tests/bad_config/NAME.yml` must be refused with the text of
//! `NAME.expected`. `UPDATE_EXPECTED=1 cargo test --test project bad_config` writes the texts anew; read the difference.

use std::fmt::Write;
use std::path::Path;

#[test]
fn each_message() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_config");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut failures = String::new();
    let mut cases = 0;
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|p| p.extension().is_some_and(|e| e == "yml")) {
        cases += 1;
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let shown = match campanile::config::load(Some(file)) {
            Ok(_) => "accepted\n".to_owned(),
            Err(problems) => problems.iter().fold(String::new(), |mut text, p| {
                writeln!(text, "{p}").unwrap();
                text
            }),
        };
        let shown = shown.replace(&format!("{}/", dir.display()), "");
        assert!(!shown.contains("hunter"), "{name} shows a secret:\n{shown}");
        let expected_file = file.with_extension("expected");
        if update {
            std::fs::write(&expected_file, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if shown != expected || shown == "accepted\n" {
            writeln!(failures, "{name}\n  expected:\n{expected}\n  got:\n{shown}").unwrap();
        }
    }
    assert!(cases >= 40, "only {cases} cases found");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_stock_prometheus_yml_is_taken() {
    let text = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
alerting:
  alertmanagers:
    - static_configs:
        - targets:
          # - alertmanager:9093
rule_files:
  # - "first_rules.yml"
scrape_configs:
  - job_name: "prometheus"
    static_configs:
      - targets: ["localhost:9090"]
        labels:
          app: "prometheus"
"#;
    let loaded = campanile::config::load::from_text("prometheus.yml", text, Path::new("")).unwrap();
    assert_eq!(loaded.config.scrape_configs.len(), 1);
    assert!(loaded.masked_yaml().contains("job_name: prometheus"));
}
