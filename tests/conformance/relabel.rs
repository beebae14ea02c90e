//! Relabelling: the pure function, whole targets, and which rules are accepted (area `relabel`).

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a broken case file must end the test")]

use std::collections::BTreeMap;
use std::path::Path;

use campanile::config::Problems;
use campanile::config::global::GlobalConfig;
use campanile::config::relabel::{Relabel, RelabelConfig, compile_all};
use campanile::config::scrape::{NameValidation, ScrapeConfig, validate_all};
use campanile::discovery::static_config;
use campanile::model::{Labels, LabelsBuilder};
use campanile::scrape::target::populate;
use serde_json::{Value, json};

use crate::report::AreaReport;

/// How many cases fail.
pub const KNOWN_FAILURES: usize = 0;

pub fn replay(folder: &Path) -> AreaReport {
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("cases.json");
    let all: Value = serde_json::from_str(&text).expect("cases.json is JSON");
    let mut report = AreaReport::default();
    for case in all["cases"].as_array().expect("a list of cases") {
        let outcome = match case["group"].as_str().unwrap_or("") {
            "target" => target(case),
            "config" => config(case),
            _ => labels(case),
        };
        report.count(case["id"].as_str().unwrap_or("?"), outcome);
    }
    report
}

/// Reads a part of a case as the YAML it was recorded from; JSON is YAML.
fn from_yaml<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_saphyr::from_str(&value.to_string()).map_err(|e| e.to_string())
}

fn same(what: &str, got: &Value, want: &Value) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got}, want {want}")) }
}

fn builder(labels: &Value) -> LabelsBuilder {
    let map: BTreeMap<String, String> = serde_json::from_value(labels.clone()).expect("labels");
    Labels::from_pairs(map).to_builder()
}

fn shown(labels: &LabelsBuilder) -> Value {
    labels.iter().map(|(n, v)| (n.to_owned(), Value::from(v))).collect::<serde_json::Map<_, _>>().into()
}

fn labels(case: &Value) -> Result<(), String> {
    let rules: Vec<Option<RelabelConfig>> = from_yaml(&case["relabel_configs"])?;
    let rules = compile_all(&rules, NameValidation::Utf8).map_err(|e| e.to_string())?;
    let mut all = builder(&case["labels"]);
    let kept = Relabel::apply_all(&rules, &mut all);
    let expect = &case["expect"];
    same("dropped", &json!(!kept), &expect["dropped"])?;
    if kept {
        same("labels", &shown(&all), &expect["labels"])?;
    }
    let mut labels = builder(&case["labels"]);
    let mut keep = true;
    for (i, (rule, step)) in rules.iter().zip(expect["steps"].as_array().into_iter().flatten()).enumerate() {
        keep = keep && rule.apply(&mut labels);
        same(&format!("step {i} keeps"), &json!(keep), &step["keep"])?;
        if keep {
            same(&format!("step {i}"), &shown(&labels), &step["labels"])?;
        }
    }
    Ok(())
}

fn global() -> GlobalConfig {
    serde_json::from_value(json!({"scrape_interval": "1h", "scrape_timeout": "10s"})).expect("global")
}

fn target(case: &Value) -> Result<(), String> {
    let config: ScrapeConfig = from_yaml(&case["job"])?;
    let job = config.job(&global());
    let rules = compile_all(&job.relabel_configs, job.names).map_err(|e| e.to_string())?;
    let found = populate(&job, &rules, &static_config::groups(&job.static_configs));
    let mut active: Vec<Value> = found
        .active
        .iter()
        .map(|t| {
            json!({
                "discovered_labels": t.discovered,
                "labels": t.labels,
                "scrape_url": t.url,
                "scrape_interval": t.interval_text(),
                "scrape_timeout": t.timeout_text(),
            })
        })
        .collect();
    let mut want = case["expect"]["active"].as_array().cloned().unwrap_or_default();
    for list in [&mut active, &mut want] {
        list.sort_by_key(|v| v.to_string());
    }
    same("active", &json!(active), &json!(want))?;
    same("dropped", &json!(found.dropped), &case["expect"]["dropped"])?;
    match case["check_config_message"].as_str() {
        Some(message) if found.refused.is_empty() => Err(format!("nothing refused, want: {message}")),
        _ => Ok(()),
    }
}

fn config(case: &Value) -> Result<(), String> {
    let mut job = case.get("job").cloned().unwrap_or_else(|| json!({}));
    job["job_name"] = json!("j");
    for key in ["relabel_configs", "static_configs"] {
        if let Some(list) = case.get(key) {
            job[key] = list.clone();
        }
    }
    let mut problems = Problems::default();
    match from_yaml::<ScrapeConfig>(&job) {
        Ok(config) => validate_all(&[config], &GlobalConfig::default(), "scrape_configs", &mut problems),
        Err(e) => problems.add("scrape_configs[0]", e),
    }
    let found = problems.into_vec();
    match (case["expect"]["accepted"].as_bool(), found.is_empty()) {
        (Some(want), got) if want == got => Ok(()),
        (want, _) => Err(format!("accepted should be {want:?}: {found:?}")),
    }
}
