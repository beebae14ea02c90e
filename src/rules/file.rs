//! Rule files as Prometheus reads them, and what can be wrong with one.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::config::{ConfigDuration, Problems};
use crate::model::labels::METRIC_NAME;
use crate::promql;
use crate::rules::spec::parse_alert_template;

/// A rule file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleFile {
    /// The groups.
    pub groups: Vec<RuleGroup>,
}

/// In which language the expressions of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// PromQL, over metrics.
    #[default]
    Metrics,
    /// LogQL, over logs.
    Logs,
}

/// Rules that are evaluated one after the other at the same times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleGroup {
    /// Its name, once in a file.
    pub name: String,
    /// `metrics` or `logs`.
    #[serde(rename = "type")]
    pub kind: GroupKind,
    /// How often; without it the global `evaluation_interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<ConfigDuration>,
    /// How far in the past the expressions are evaluated; without it the global `rule_query_offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_offset: Option<ConfigDuration>,
    /// The most alerts or series that one rule may produce; 0 and less is no limit.
    pub limit: i64,
    /// Labels for all rules; a rule's own win.
    pub labels: BTreeMap<String, String>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A recording rule (`record`) or an alerting rule (`alert`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The name of the series it records.
    pub record: String,
    /// The name of the alert.
    pub alert: String,
    /// The expression.
    pub expr: String,
    /// How long the expression must hold before the alert fires.
    #[serde(rename = "for")]
    pub hold: ConfigDuration,
    /// How long a firing alert goes on after the expression stopped to hold.
    pub keep_firing_for: ConfigDuration,
    /// Labels that are set on the result; templates in alerting rules.
    pub labels: BTreeMap<String, String>,
    /// Texts for people, as templates; alerting rules only.
    pub annotations: BTreeMap<String, String>,
}

impl Rule {
    /// The name, whichever kind it is.
    pub fn name(&self) -> &str {
        if self.alert.is_empty() { &self.record } else { &self.alert }
    }
}

/// Says what is wrong with an expression of a group.
pub type Check<'a> = &'a dyn Fn(GroupKind, &str) -> Result<(), String>;

impl RuleFile {
    /// Collects everything that is wrong, by paths such as `groups[0].rules[2].expr`. `check` parses the
    /// expressions in the language of their group.
    pub fn validate_with(&self, problems: &mut Problems, check: Check<'_>) {
        let mut names = HashSet::new();
        for (g, group) in self.groups.iter().enumerate() {
            let path = format!("groups[{g}]");
            if group.name.is_empty() {
                problems.add(format!("{path}.name"), "group name must not be empty");
            } else if !names.insert(group.name.as_str()) {
                problems
                    .add(format!("{path}.name"), format!("group name {:?} is repeated in the same file", group.name));
            }
            validate_labels(&group.labels, &format!("{path}.labels"), problems);
            for (r, rule) in group.rules.iter().enumerate() {
                validate_rule(rule, group.kind, &format!("{path}.rules[{r}]"), problems, check);
            }
        }
    }

    /// [`RuleFile::validate_with`] where log expressions are only checked to be there.
    pub fn validate(&self, problems: &mut Problems) {
        self.validate_with(problems, &|kind, expr| match kind {
            GroupKind::Metrics => promql::parse(expr).map(drop).map_err(|e| e.to_string()),
            GroupKind::Logs => Ok(()),
        });
    }

    /// Rules that record or alert under the same name and labels as an earlier one: allowed, but their results mix.
    /// Each is given as the path of the later rule and its name.
    pub fn duplicates(&self) -> Vec<(String, String)> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for (g, group) in self.groups.iter().enumerate() {
            for (r, rule) in group.rules.iter().enumerate() {
                let mut labels = group.labels.clone();
                labels.extend(rule.labels.clone());
                if !seen.insert((rule.record.is_empty(), rule.name().to_owned(), labels)) {
                    found.push((format!("groups[{g}].rules[{r}]"), rule.name().to_owned()));
                }
            }
        }
        found
    }
}

fn validate_rule(rule: &Rule, kind: GroupKind, path: &str, problems: &mut Problems, check: Check<'_>) {
    match (rule.record.is_empty(), rule.alert.is_empty()) {
        (false, false) => problems.add(path, "only one of 'record' and 'alert' must be set"),
        (true, true) => problems.add(path, "one of 'record' or 'alert' must be set"),
        _ => {}
    }
    let checked = check(kind, &rule.expr);
    if rule.expr.is_empty() {
        problems.add(path, "field 'expr' must be set in rule");
    } else if let Err(e) = checked {
        problems.add(format!("{path}.expr"), format!("could not parse expression: {e}"));
    }
    if !rule.record.is_empty() {
        for (key, set) in [
            ("annotations", !rule.annotations.is_empty()),
            ("for", rule.hold.as_ms() != 0),
            ("keep_firing_for", rule.keep_firing_for.as_ms() != 0),
        ] {
            if set {
                problems.add(format!("{path}.{key}"), format!("invalid field '{key}' in recording rule"));
            }
        }
        if rule.record.contains(['{', '}']) {
            let text = format!("braces present in the recording rule name; should it be in expr?: {}", rule.record);
            problems.add(format!("{path}.record"), text);
        }
    }
    validate_labels(&rule.labels, &format!("{path}.labels"), problems);
    for name in rule.annotations.keys().filter(|n| n.is_empty()) {
        problems.add(format!("{path}.annotations"), format!("invalid annotation name: {name:?}"));
    }
    if !rule.alert.is_empty() {
        for (what, map) in [("label", &rule.labels), ("annotation", &rule.annotations)] {
            for (name, text) in map {
                if let Err(e) = parse_alert_template(&rule.alert, text) {
                    problems.add(format!("{path}.{what}s.{name}"), format!("{what} {name:?}: {e}"));
                }
            }
        }
    }
}

fn validate_labels(labels: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for name in labels.keys().filter(|n| n.is_empty() || *n == METRIC_NAME) {
        problems.add(path, format!("invalid label name: {name}"));
    }
}
