//! `| unpack`: undoes Promtail's `pack` stage, which wraps labels and line into one JSON object.

use crate::logql::labels::LineLabels;
use crate::logql::stages::json::{Scanner, Value, members, push_sanitized, unescape};

/// The member that holds the line.
const ENTRY: &str = "_entry";

/// Turns the string members into labels and gives the packed line, if the object holds one. A line that is no JSON object is
/// marked and stays as it is.
pub fn unpack(text: &str, labels: &mut LineLabels) -> Option<String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut entry = None;
    let result = members(&mut Scanner::new(text), &mut |key, scanner| {
        if let Value::String(raw) = scanner.value()? {
            let mut value = String::new();
            unescape(raw, &mut value);
            if key == ENTRY {
                entry = Some(value);
            } else {
                let mut name = String::new();
                push_sanitized(key, true, &mut name);
                found.push((name, value));
            }
        }
        Ok(())
    });
    if let Err(e) = result {
        // Where no label is wanted it only matters what the line is.
        if !labels.is_complete() {
            labels.fail("JSONParserErr", e);
        }
        return None;
    }
    // Without the line's member it is no packed line, and its members are nobody's labels.
    entry.as_ref()?;
    if !labels.is_complete() {
        for (name, value) in &found {
            labels.extract(name, value);
        }
    }
    entry
}
