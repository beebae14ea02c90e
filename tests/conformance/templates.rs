//! Templates: those of alerting rules with Prometheus' functions, and those of notifications with Alertmanager's
//! (area `templates`).

mod notifications;
mod rules;

use std::path::Path;

use serde_json::Value as Json;

use crate::report::AreaReport;

/// How many cases fail.
pub const KNOWN_FAILURES: usize = 0;

pub fn replay(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    for (file, run) in
        [("prometheus.json", rules::replay as fn(&Json, &mut AreaReport)), ("alertmanager.json", notifications::replay)]
    {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else { continue };
        let all: Json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file} is no JSON: {e}"));
        run(&all, &mut report);
    }
    report
}

/// Compares text with `{output}` or `{output_matches}`.
fn compare(got: &str, expect: &Json) -> Result<(), String> {
    if let Some(pattern) = expect["output_matches"].as_str() {
        let re = regex::Regex::new(pattern).map_err(|e| e.to_string())?;
        return if re.is_match(got) { Ok(()) } else { Err(format!("got {got:?}, want a match of {pattern}")) };
    }
    match expect["output"].as_str() {
        Some(want) if want == got => Ok(()),
        want => Err(format!("got {got:?}, want {want:?} ({expect})")),
    }
}

fn pairs(map: &Json) -> Vec<(String, String)> {
    let map = map.as_object();
    map.into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned())).collect()
}
