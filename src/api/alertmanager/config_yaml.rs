//! The configuration as YAML that Alertmanager's clients can read; secrets are masked.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::config::AlertmanagerConfig;

/// The configuration in force. Where there is no route yet, one to a receiver that tells nobody stands in its place, because
/// clients refuse a configuration without.
pub fn render(config: &AlertmanagerConfig) -> String {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(map) = &mut value
        && config.route.is_none()
    {
        map.insert("route".to_owned(), json!({ "receiver": "nobody" }));
        map.insert("receivers".to_owned(), json!([{ "name": "nobody" }]));
    }
    let mut out = String::new();
    if let Value::Object(map) = &value {
        write_map(&mut out, map, 0, false);
    }
    out
}

fn write_map(out: &mut String, map: &Map<String, Value>, indent: usize, in_list: bool) {
    for (i, (key, value)) in map.iter().enumerate() {
        let pad = if i == 0 && in_list { 0 } else { indent };
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let key = if plain { key.clone() } else { Value::from(key.as_str()).to_string() };
        let _to_memory = write!(out, "{:pad$}{key}:", "");
        write_value(out, value, indent);
    }
}

fn write_value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write_map(out, map, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                let _to_memory = write!(out, "{:indent$}- ", "");
                match item {
                    Value::Object(map) if !map.is_empty() => write_map(out, map, indent + 2, true),
                    scalar => {
                        let _to_memory = writeln!(out, "{scalar}");
                    }
                }
            }
        }
        // JSON's scalars, and empty collections, are YAML as they stand.
        scalar => {
            let _to_memory = writeln!(out, " {scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_as_yaml() {
        let json = r#"{"global":{"smtp_auth_password":"hush"},"route":{"receiver":"a b","group_by":["x"],"routes":[{"matchers":["a=~\"b|\\\\d\""],"continue":true,"match":{"my.label":"é: #"}}]},
            "receivers":[{"name":"a b","webhook_configs":[{"url":"http://x/","max_alerts":3}]},{"name":"c"}],
            "time_intervals":[{"name":"t","time_intervals":[{"times":[{"start_time":"01:00","end_time":"24:00"}],"weekdays":["monday:friday"]}]}]}"#;
        let config: AlertmanagerConfig = serde_json::from_str(json).unwrap();
        let yaml = render(&config);
        assert!(!yaml.contains("hush") && yaml.contains("\nreceivers:\n- name: \"a b\"\n"), "{yaml}");
        let back: AlertmanagerConfig = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        assert_eq!(back.route, config.route);
        assert_eq!(back.time_intervals, config.time_intervals);
        assert_eq!(back.receivers.len(), 2);
        assert!(render(&AlertmanagerConfig::default()).contains("route:\n  receiver: \"nobody\""));
    }
}
