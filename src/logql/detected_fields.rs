//! What fields the lines of an answer have: structured metadata, and what JSON or logfmt lines hold.

use std::collections::{BTreeMap, HashSet};

use crate::logql::engine::ResultEntry;
use crate::logql::labels::{Category, ERROR, ERROR_DETAILS, LineLabels};
use crate::logql::lex::{parse_bytes, parse_go_duration_ns};
use crate::logql::stages::{json, logfmt};
use crate::model::Labels;

/// What the values of a field look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Whole numbers.
    Int,
    /// Other numbers.
    Float,
    /// `true` and `false`.
    Boolean,
    /// `1m30s`
    Duration,
    /// `5MB`
    Bytes,
    /// Anything else.
    String,
}

impl FieldType {
    /// The type of one value, tried in the order of the variants.
    pub fn of(value: &str) -> Self {
        if value.parse::<i64>().is_ok() {
            FieldType::Int
        } else if value.parse::<f64>().is_ok() {
            FieldType::Float
        } else if matches!(value, "t" | "T" | "true" | "TRUE" | "True" | "f" | "F" | "false" | "FALSE" | "False") {
            FieldType::Boolean
        } else if parse_go_duration_ns(value).is_some() {
            FieldType::Duration
        } else if parse_bytes(value).is_some() {
            FieldType::Bytes
        } else {
            FieldType::String
        }
    }

    /// The word in Loki's answers.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::Int => "int",
            FieldType::Float => "float",
            FieldType::Boolean => "boolean",
            FieldType::Duration => "duration",
            FieldType::Bytes => "bytes",
            FieldType::String => "string",
        }
    }
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The type of the value seen last.
    pub kind: FieldType,
    /// All values.
    pub values: HashSet<String>,
    /// The parsers that find it, `json` or `logfmt`; none for structured metadata and for what the query's own stages made.
    pub parsers: Vec<&'static str>,
    /// The way to it in JSON lines.
    pub json_path: Vec<String>,
}

/// The fields of some lines by name, `limit` of them at most.
pub fn detect(entries: &[ResultEntry], limit: usize) -> BTreeMap<String, Field> {
    let mut order: Vec<&ResultEntry> = entries.iter().collect();
    // Stream by stream, as the types of the last values count.
    order.sort_by(|a, b| (&a.stream, &a.metadata).cmp(&(&b.stream, &b.metadata)));
    let mut fields = Fields { found: BTreeMap::new(), limit };
    let mut labels = LineLabels::default();
    let (mut name, mut value) = (String::new(), String::new());
    for e in order {
        for (n, v) in &e.metadata {
            fields.add(n, v, None, &e.line);
        }
        let (stream, metadata) =
            (Labels::from_pairs(e.stream.iter().cloned()), Labels::from_pairs(e.metadata.iter().cloned()));
        labels.reset(&stream, &metadata);
        json::extract_all(&e.line, &mut labels, &mut name, &mut value);
        let mut parser = "json";
        if labels.has_error() {
            labels.reset(&stream, &metadata);
            logfmt::extract_all(&e.line, false, false, &mut labels, &mut name, &mut value);
            parser = "logfmt";
        }
        labels.for_each(|n, v, category| {
            if category == Category::Parsed && n != ERROR && n != ERROR_DETAILS {
                fields.add(n, v, Some(parser), &e.line);
            }
        });
        let made = e.parsed.iter().filter(|(n, _)| n != ERROR && n != ERROR_DETAILS && labels.get(n).is_none());
        for (n, v) in made {
            fields.add(n, v, None, &e.line);
        }
    }
    fields.found
}

struct Fields {
    found: BTreeMap<String, Field>,
    limit: usize,
}

impl Fields {
    fn add(&mut self, name: &str, value: &str, parser: Option<&'static str>, line: &str) {
        if !self.found.contains_key(name) {
            if self.found.len() >= self.limit {
                return;
            }
            let empty =
                Field { kind: FieldType::String, values: HashSet::new(), parsers: Vec::new(), json_path: Vec::new() };
            self.found.insert(name.to_owned(), empty);
        }
        let Some(field) = self.found.get_mut(name) else { return };
        field.kind = FieldType::of(value);
        if !field.values.contains(value) {
            field.values.insert(value.to_owned());
        }
        if let Some(p) = parser
            && !field.parsers.contains(&p)
        {
            field.parsers.push(p);
            if p == "json" {
                field.json_path = json::path_of(line, name).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> ResultEntry {
        ResultEntry {
            timestamp: 0,
            line: line.to_owned(),
            stream: vec![("app".to_owned(), "x".to_owned())],
            metadata: vec![("trace".to_owned(), "1".to_owned())],
            parsed: Vec::new(),
        }
    }

    #[test]
    fn fields_of_lines() {
        let lines = [r#"{"a":{"b-c":1},"d":"1.5s"}"#, "size=5kB ok=true app=y", "plain words"].map(entry);
        let found = detect(&lines, 100);
        let rows: Vec<_> = found.iter().map(|(n, f)| (n.as_str(), f.kind.as_str(), f.parsers.as_slice())).collect();
        assert_eq!(
            rows,
            [
                ("a_b_c", "int", ["json"].as_slice()),
                ("app_extracted", "string", &["logfmt"]),
                ("d", "duration", &["json"]),
                ("ok", "boolean", &["logfmt"]),
                ("size", "bytes", &["logfmt"]),
                ("trace", "int", &[]),
            ]
        );
        assert_eq!(found["a_b_c"].json_path, ["a", "b-c"]);
        assert_eq!(detect(&lines, 2).len(), 2);
    }
}
