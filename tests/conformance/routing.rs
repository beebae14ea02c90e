//! Route trees and label sets, with the receivers that an alert with these labels reaches.

use std::path::Path;

use campanile::alerting::route::RouteTree;
use campanile::config::alerting::RouteConfig;
use campanile::model::Labels;
use serde_json::Value;

use crate::report::AreaReport;

/// Replays `cases.json`.
pub fn replay(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("routing/cases.json can be read");
    let all: Value = serde_json::from_str(&text).expect("routing/cases.json is JSON");
    for case in all["cases"].as_array().into_iter().flatten() {
        let id = case["id"].as_str().unwrap_or("?");
        report.count(id, replay_case(&all["trees"], case));
    }
    report
}

fn replay_case(trees: &Value, case: &Value) -> Result<(), String> {
    let name = case["tree"].as_str().unwrap_or_default();
    let config: RouteConfig = serde_json::from_value(trees[name]["route"].clone()).map_err(|e| e.to_string())?;
    let tree = RouteTree::compile(Some(&config))?;
    let labels: Labels = serde_json::from_value(case["labels"].clone()).map_err(|e| e.to_string())?;
    let got: Vec<String> = tree.matching(&labels).iter().map(|r| r.options.receiver.clone()).collect();
    let want: Vec<String> = serde_json::from_value(case["expect"].clone()).map_err(|e| e.to_string())?;
    if got == want { Ok(()) } else { Err(format!("{labels} reaches {got:?}, want {want:?}")) }
}
