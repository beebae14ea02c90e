//! The log line of each run: what was seen, under the labels of the series.

use serde_json::{Map, Value, json};

use crate::config::probe::ProbeKind;
use crate::model::{Labels, LogEntry, LogStream, TimestampNs};
use crate::probe::result::ProbeResult;

/// The line of one run as JSON: outcome, reason, phases, address, certificate, status, start of the body.
pub fn line(kind: ProbeKind, target: &str, result: &ProbeResult) -> String {
    let mut out = Map::new();
    let message = if result.success { "probe succeeded" } else { "probe failed" };
    out.insert("msg".into(), message.into());
    out.insert("level".into(), level(result).into());
    out.insert("kind".into(), kind.as_str().into());
    out.insert("target".into(), target.into());
    out.insert("success".into(), result.success.into());
    if let Some(failure) = &result.failure {
        out.insert("failure".into(), failure.as_str().into());
    }
    out.insert("duration_seconds".into(), rounded(result.duration.as_secs_f64()));
    let phases: Map<String, Value> = result
        .gauges
        .iter()
        .filter_map(|g| match g.labels.as_slice() {
            [(name, phase)] if name == "phase" => Some((phase.clone(), rounded(g.value))),
            _ => None,
        })
        .collect();
    if !phases.is_empty() {
        out.insert("phases".into(), phases.into());
    }
    out.extend(result.details.clone());
    Value::Object(out).to_string()
}

/// The stream that holds one run's line. The level goes with the line, too, where Grafana looks for it.
pub fn stream(labels: &Labels, kind: ProbeKind, target: &str, result: &ProbeResult, at: TimestampNs) -> LogStream {
    let metadata = Labels::from_pairs([("level", level(result))]);
    let entry = LogEntry { timestamp: at, line: line(kind, target, result), metadata };
    LogStream { labels: labels.clone(), entries: vec![entry] }
}

fn level(result: &ProbeResult) -> &'static str {
    if result.success { "info" } else { "error" }
}

/// Microseconds are enough for a person.
fn rounded(seconds: f64) -> Value {
    json!((seconds * 1e6).round() / 1e6)
}
