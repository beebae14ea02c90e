//! Who may import whom, as data. Imports point downwards; `app` and `cli` see everything and are imported by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules it may name after `crate::`. The ground comes first; each list holds only what is really used.
const ALLOWED: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("model", &["text"]),
    ("disk", &["model"]),
    ("exec", &["model"]),
    ("telemetry", &["model", "exec"]),
    ("wire", GROUND),
    ("tsdb", ENGINE),
    ("logs", ENGINE),
    ("promql", ENGINE),
    ("logql", &["model", "text", "exec", "telemetry", "wire", "promql"]),
    ("state", ENGINE),
    ("config", &["model", "text", "disk", "exec", "telemetry", "wire", "promql", "logql"]),
    ("host", ENGINE),
    ("query", &["model", "text", "disk", "exec", "telemetry", "wire", "promql", "logql", "tsdb", "logs"]),
    ("discovery", &["telemetry", "config"]),
    ("scrape", &["model", "text", "disk", "exec", "telemetry", "wire", "config", "tsdb", "logs", "state", "discovery"]),
    ("probe", SERVICE),
    ("ingest", SERVICE),
    (
        "rules",
        &["model", "text", "disk", "exec", "telemetry", "wire", "config", "query", "tsdb", "state", "promql", "logql"],
    ),
    ("alerting", &["model", "text", "disk", "exec", "telemetry", "wire", "config", "state"]),
    ("notifier", &["model", "exec", "telemetry", "config", "discovery"]),
    ("api", API),
];

const GROUND: &[&str] = &["model", "text", "disk", "exec", "telemetry"];
const ENGINE: &[&str] = &["model", "text", "disk", "exec", "telemetry", "wire"];
const SERVICE: &[&str] = &["model", "text", "disk", "exec", "telemetry", "wire", "config", "tsdb", "logs", "state"];
const API: &[&str] = &[
    "model",
    "text",
    "disk",
    "exec",
    "telemetry",
    "wire",
    "config",
    "query",
    "tsdb",
    "logs",
    "promql",
    "logql",
    "state",
    "discovery",
    "scrape",
    "probe",
    "ingest",
    "rules",
    "alerting",
    "notifier",
    "host",
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The modules a source file names after `crate::`, test modules included.
fn imports(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .flat_map(|l| l.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .filter(|m| !m.is_empty())
        .collect()
}

#[test]
fn imports_point_downwards() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["main", "lib", "app", "cli"].contains(&name.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(name.as_str()) else {
            wrong.push(format!("{name} is not in the table of tests/project/architecture.rs"));
            continue;
        };
        let mut files = Vec::new();
        if path.is_dir() {
            sources(&path, &mut files)
        } else {
            files.push(path.clone())
        }
        for file in files {
            for module in imports(&fs::read_to_string(&file).unwrap()) {
                let known = allowed.contains_key(module.as_str()) || ["app", "cli"].contains(&module.as_str());
                if known && module != name && !may.contains(&module.as_str()) {
                    wrong.push(format!("{} imports {module}", file.strip_prefix(&src).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the direction of the design:\n  {}", wrong.join("\n  "));
}

#[test]
fn files_stay_readable() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|f| (f, fs::read_to_string(f).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 800)
        .map(|(f, lines)| format!("{} has {lines} lines", f.strip_prefix(&src).unwrap().display()))
        .collect();
    assert!(long.is_empty(), "past 800 lines a file is two things:\n  {}", long.join("\n  "));
}

#[test]
fn no_catch_all_names() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let bad: Vec<_> = files
        .iter()
        .filter(|f| ["utils", "helpers", "common", "types", "misc"].contains(&f.file_stem().unwrap().to_str().unwrap()))
        .collect();
    assert!(bad.is_empty(), "name a file for what it does: {bad:?}");
}
