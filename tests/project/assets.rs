//! Every expression in the shipped dashboards, alerts and examples is one that campanile understands.

use std::path::{Path, PathBuf};

use campanile::config::features::Features;
use campanile::rules::load::{GroupDefaults, load_file};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join(dir))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {extension} files in {dir}");
    found
}

#[test]
fn bundled_alerts_are_valid() {
    for file in files("alerts", "yml") {
        let defaults = GroupDefaults { interval_ms: 60_000, query_offset_ms: 0, syntax: Features::default().syntax };
        if let Err(problems) = load_file(&file, defaults) {
            panic!("{problems:#?}");
        }
    }
}

#[test]
fn examples_are_valid() {
    for file in files("examples", "yml") {
        if let Err(problems) = campanile::config::load(Some(&file)) {
            panic!("{problems:#?}");
        }
    }
}

/// What Grafana puts in place of its variables.
fn interpolated(expr: &str) -> String {
    let mut out = expr.to_owned();
    for (variable, value) in
        [("$__rate_interval", "1m"), ("$__auto", "1m"), ("$__interval", "15s"), ("$instance", ".*")]
    {
        out = out.replace(variable, value);
    }
    assert!(!out.contains('$'), "an unknown variable in {expr}");
    out
}

/// Every target of every panel and annotation, with the type of its data source.
fn targets(value: &Value, source: &str, out: &mut Vec<(String, String)>) {
    let source = value["datasource"]["type"].as_str().unwrap_or(source);
    if let Some(expr) = value["expr"].as_str() {
        out.push((source.to_owned(), expr.to_owned()));
    }
    match value {
        Value::Array(items) => items.iter().for_each(|v| targets(v, source, out)),
        Value::Object(map) => map.values().for_each(|v| targets(v, source, out)),
        _ => {}
    }
}

#[test]
fn dashboards_ask_what_can_be_answered() {
    for file in files("dashboards", "json") {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut found = Vec::new();
        targets(&dashboard, "", &mut found);
        assert!(found.len() > 5, "{}: no targets", file.display());
        for (source, expr) in found {
            let text = interpolated(&expr);
            let problem = match source.as_str() {
                "prometheus" => {
                    campanile::promql::parse_with(&text, Features::default().syntax).err().map(|e| e.to_string())
                }
                "loki" => campanile::logql::parse(&text).err().map(|e| e.to_string()),
                other => Some(format!("unknown data source {other:?}")),
            };
            assert_eq!(problem, None, "{}: {expr}", file.display());
        }
    }
}

/// The alerts and the overview speak of campanile's own metrics; those names must exist.
#[test]
fn own_metrics_named_by_alerts_exist() {
    fn sources(dir: &Path, out: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    let shipped = files("alerts", "yml").into_iter().chain(files("dashboards", "json"));
    for file in shipped {
        let text = std::fs::read_to_string(&file).unwrap();
        let names =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("campanile_"));
        for name in names {
            assert!(code.contains(&format!("\"{name}\"")), "{}: no metric {name}", file.display());
        }
    }
}
