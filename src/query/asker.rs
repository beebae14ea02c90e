//! Who asked a query, for the logs of queries.

use serde_json::{Map, Value};

/// Headers that tell where a query comes from, and the field they become. Grafana sets most of them.
pub const HEADERS: [(&str, &str); 15] = [
    ("user-agent", "user_agent"),
    ("x-forwarded-for", "forwarded_for"),
    ("x-scope-orgid", "tenant"),
    ("x-grafana-user", "grafana_user"),
    ("x-grafana-org-id", "grafana_org"),
    ("x-dashboard-uid", "dashboard"),
    ("x-dashboard-title", "dashboard_title"),
    ("x-panel-id", "panel"),
    ("x-panel-title", "panel_title"),
    ("x-panel-plugin-id", "panel_plugin"),
    ("x-query-group-id", "query_group"),
    ("x-query-tags", "query_tags"),
    ("x-rule-uid", "grafana_rule"),
    ("x-rule-name", "grafana_rule_name"),
    ("fromalert", "from_alert"),
];

/// What of a header is kept, in bytes: titles are short, and a log line must stay one.
const MAX_VALUE: usize = 200;

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    fields: Vec<(&'static str, String)>,
}

impl Asker {
    /// A part of campanile itself, such as `rules`.
    pub fn inside(part: &str) -> Self {
        let mut asker = Asker::default();
        asker.set("component", part);
        asker
    }

    /// Notes one field; a long value is cut.
    pub fn set(&mut self, field: &'static str, value: &str) {
        if !value.is_empty() {
            self.fields.push((field, cut(value, MAX_VALUE).to_owned()));
        }
    }

    /// The value of a field, empty if it is not known.
    pub fn get(&self, field: &str) -> &str {
        self.fields.iter().find(|(n, _)| *n == field).map_or("", |(_, v)| v)
    }

    /// All fields, in the order they were noted.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(n, v)| (*n, v.as_str()))
    }

    /// All fields as a JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.fields.iter().map(|(n, v)| ((*n).to_owned(), Value::String(v.clone()))).collect::<Map<_, _>>(),
        )
    }
}

/// The longest beginning of `text` of at most `most` bytes that ends at a character.
pub fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_characters() {
        let mut asker = Asker::inside("rules");
        asker.set("panel_title", &"é".repeat(150));
        asker.set("panel", "");
        assert_eq!(asker.get("panel_title").len(), 200);
        assert_eq!((asker.get("component"), asker.get("panel")), ("rules", ""));
        assert_eq!(cut("aé", 2), "a");
    }
}
