//! Records as newline-delimited JSON: one object a line.
//!
//! One field holds the time, one the message, some name the stream; the rest becomes structured metadata. Objects inside objects
//! are flattened, their names joined by dots.

use serde_json::{Map, Value};

use crate::model::TimestampNs;
use crate::model::time::parse_rfc3339_ns;

/// Which fields mean what. The first of a list that is in a record counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldNames {
    /// The time: RFC 3339, or a number of seconds, milli-, micro- or nanoseconds (told apart by size).
    pub time: Vec<String>,
    /// The message; without any the whole record is the line.
    pub message: Vec<String>,
    /// The labels of the stream; all that are there.
    pub stream: Vec<String>,
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When; `None` if the record does not say.
    pub timestamp: Option<TimestampNs>,
    /// The line.
    pub line: String,
    /// Labels of the stream.
    pub labels: Vec<(String, String)>,
    /// Everything else, names as they are.
    pub metadata: Vec<(String, String)>,
}

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No JSON object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// The time cannot be read.
    #[error(
        "field {field:?}: {value} is no time; write RFC 3339 or a number of seconds, milli-, micro- or nanoseconds"
    )]
    Time {
        /// Which field.
        field: String,
        /// What it holds.
        value: String,
    },
}

/// Reads one line.
pub fn decode(line: &str, names: &FieldNames) -> Result<Record, RecordError> {
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| RecordError::Json(e.to_string()))?;
    let mut flat = Vec::with_capacity(object.len());
    flatten(&mut flat, "", object);
    let mut record = Record::default();
    let mut take = |wanted: &[String]| {
        let place = wanted.iter().find_map(|w| flat.iter().position(|(n, _)| n == w))?;
        Some(flat.remove(place))
    };
    if let Some((field, value)) = take(&names.time) {
        let found = time_of(&value).ok_or_else(|| RecordError::Time { field, value: value.to_string() })?;
        record.timestamp = Some(found);
    }
    record.line = match take(&names.message) {
        Some((_, value)) => text_of(value),
        None => line.trim().to_owned(),
    };
    for (name, value) in flat {
        let value = text_of(value);
        if names.stream.contains(&name) {
            record.labels.push((name, value));
        } else {
            record.metadata.push((name, value));
        }
    }
    Ok(record)
}

/// Depth is bounded by the JSON parser (128).
fn flatten(out: &mut Vec<(String, Value)>, prefix: &str, object: Map<String, Value>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) => flatten(out, &name, inner),
            Value::Null => {}
            other => out.push((name, other)),
        }
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(s) => s,
        other => other.to_string(),
    }
}

fn time_of(value: &Value) -> Option<TimestampNs> {
    match value {
        Value::String(s) => {
            let s = s.trim();
            if let Ok(n) = s.parse::<i64>() {
                return scaled(n);
            }
            // ISO 8601 with a space, as many writers have it.
            let with_t = || s.replacen(' ', "T", 1);
            parse_rfc3339_ns(s).or_else(|| parse_rfc3339_ns(&with_t())).or_else(|| s.parse().ok().and_then(seconds))
        }
        Value::Number(n) => match n.as_i64() {
            Some(n) => scaled(n),
            None => n.as_f64().and_then(seconds),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whole numbers: what lies before the year 5138 read as seconds are seconds, and so on by thousands.
fn scaled(n: i64) -> Option<TimestampNs> {
    let factor = match n.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1000,
        _ => 1,
    };
    n.checked_mul(factor)
}

/// Numbers with a fraction are seconds. Microseconds are what a double holds of today's time.
fn seconds(n: f64) -> Option<TimestampNs> {
    let micros = (n * 1e6).round();
    (micros.abs() < 9.2e15).then_some(micros as i64 * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> FieldNames {
        let v = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        FieldNames { time: v(&["_time", "ts"]), message: v(&["_msg", "msg"]), stream: v(&["app", "k8s.pod"]) }
    }

    #[test]
    fn records() {
        let line = r#"{"ts":"2026-01-15T13:00:01.5Z","msg":"hi","app":"a","k8s":{"pod":"p","ns":"n"},"n":1.5,"b":true,"z":null,"l":[1]}"#;
        let pairs = |v: &[(&str, &str)]| v.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let record = decode(line, &names()).unwrap();
        assert_eq!(record.timestamp, Some(1_768_482_001_500_000_000));
        assert_eq!(record.line, "hi");
        assert_eq!(record.labels, pairs(&[("app", "a"), ("k8s.pod", "p")]));
        let mut metadata = record.metadata;
        metadata.sort();
        assert_eq!(metadata, pairs(&[("b", "true"), ("k8s.ns", "n"), ("l", "[1]"), ("n", "1.5")]));
        let whole = decode(r#" {"a":1} "#, &names()).unwrap();
        assert_eq!((whole.line.as_str(), whole.timestamp), (r#"{"a":1}"#, None));
        for bad in ["", "x", "[1]", r#"{"ts":"yesterday"}"#, r#"{"ts":true}"#, r#"{"a":1} {"#] {
            assert!(decode(bad, &names()).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        for (value, ns) in [
            ("1768482001", 1_768_482_001_000_000_000),
            ("1768482001.25", 1_768_482_001_250_000_000),
            ("1768482001250", 1_768_482_001_250_000_000),
            ("1768482001250000", 1_768_482_001_250_000_000),
            ("1768482001250000001", 1_768_482_001_250_000_001),
            (r#""1768482001""#, 1_768_482_001_000_000_000),
            (r#""1768482001.25""#, 1_768_482_001_250_000_000),
            (r#""2026-01-15 14:00:01+01:00""#, 1_768_482_001_000_000_000),
        ] {
            let record = decode(&format!("{{\"_time\":{value}}}"), &names()).unwrap();
            assert_eq!(record.timestamp, Some(ns), "{value}");
        }
    }
}
