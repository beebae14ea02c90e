//! Groups and rules, compiled: what a group is evaluated from. Two equal specs are the same group, unchanged.

use std::collections::BTreeMap;

use crate::model::Labels;
use crate::rules::file::{GroupKind, Rule, RuleGroup};
use crate::text::go_template::{Template, TemplateError, prometheus};

/// What stands before each template of an alert, so that the short variables exist. Columns in errors count from here,
/// as in Prometheus.
const PRELUDE: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A compiled group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSpec {
    /// The file it came from.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The language of its expressions.
    pub kind: GroupKind,
    /// Milliseconds between evaluations, at least 1.
    pub interval_ms: i64,
    /// How many milliseconds in the past the expressions are evaluated.
    pub query_offset_ms: i64,
    /// The most results of one rule, if there is a limit.
    pub limit: Option<usize>,
    /// The rules, in order.
    pub rules: Vec<RuleSpec>,
}

/// A compiled rule.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleSpec {
    /// Writes its result as series.
    Recording(RecordingSpec),
    /// Makes alerts of its result.
    Alerting(AlertingSpec),
}

/// A compiled recording rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingSpec {
    /// The name of the series.
    pub name: String,
    /// The expression.
    pub expr: String,
    /// Labels to set, in order of names; an empty one removes that label from the result.
    pub labels: Vec<(String, String)>,
}

/// A compiled alerting rule.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertingSpec {
    /// The alert's name.
    pub name: String,
    /// The expression.
    pub expr: String,
    /// Milliseconds of `for`.
    pub hold_ms: i64,
    /// Milliseconds of `keep_firing_for`.
    pub keep_firing_ms: i64,
    /// Labels, in order of names.
    pub labels: Vec<(String, AlertText)>,
    /// Annotations, in order of names.
    pub annotations: Vec<(String, AlertText)>,
}

/// A text that may be a template.
#[derive(Clone, Debug)]
pub struct AlertText {
    /// As written.
    pub source: String,
    /// Parsed, if it has actions at all.
    pub(super) template: Option<Template>,
}

impl PartialEq for AlertText {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Parses a text of an alert's label or annotation.
pub fn parse_alert_template(alert: &str, text: &str) -> Result<AlertText, TemplateError> {
    let template = if text.contains("{{") {
        let name = format!("__alert_{alert}");
        let funcs = prometheus::function_names();
        Some(Template::parse(&name, &format!("{PRELUDE}{text}"), &funcs)?)
    } else {
        None
    };
    Ok(AlertText { source: text.to_owned(), template })
}

impl GroupSpec {
    /// Compiles a group of a file. The file must have been validated; only templates can still be refused.
    pub fn compile(
        file: &str,
        group: &RuleGroup,
        default_interval_ms: i64,
        default_query_offset_ms: i64,
    ) -> Result<GroupSpec, TemplateError> {
        let interval = group.interval.map_or(0, |i| i.as_ms());
        let rules: Result<Vec<RuleSpec>, TemplateError> =
            group.rules.iter().map(|r| compile_rule(r, &group.labels)).collect();
        Ok(GroupSpec {
            file: file.to_owned(),
            name: group.name.clone(),
            kind: group.kind,
            interval_ms: if interval > 0 { interval } else { default_interval_ms }.max(1),
            query_offset_ms: group.query_offset.map_or(default_query_offset_ms, |o| o.as_ms()),
            limit: usize::try_from(group.limit).ok().filter(|l| *l > 0),
            rules: rules?,
        })
    }

    /// Identity of a group: its file and its name.
    pub fn key(&self) -> (String, String) {
        (self.file.clone(), self.name.clone())
    }

    /// The label value that names the group in metrics.
    pub fn metric_label(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// The offset of its evaluations inside the interval, in nanoseconds: a hash of name and file spreads groups over
    /// time and keeps each at the same moments over restarts (and at the same as Prometheus).
    fn offset_ns(&self) -> i64 {
        let hash = Labels::from_pairs([("name", self.name.as_str()), ("file", self.file.as_str())]).prometheus_hash();
        let interval = self.interval_ns();
        i64::try_from(hash % interval.unsigned_abs().max(1)).unwrap_or(0)
    }

    /// Nanoseconds between evaluations.
    pub fn interval_ns(&self) -> i64 {
        self.interval_ms.saturating_mul(1_000_000)
    }

    /// The last time of evaluation at or before `now_ns`.
    pub fn slot_before_ns(&self, now_ns: i64) -> i64 {
        let offset = self.offset_ns();
        let shifted = now_ns.saturating_sub(offset);
        shifted - shifted.rem_euclid(self.interval_ns()) + offset
    }
}

impl RuleSpec {
    /// The rule's name.
    pub fn name(&self) -> &str {
        match self {
            RuleSpec::Recording(r) => &r.name,
            RuleSpec::Alerting(a) => &a.name,
        }
    }

    /// The expression.
    pub fn expr(&self) -> &str {
        match self {
            RuleSpec::Recording(r) => &r.expr,
            RuleSpec::Alerting(a) => &a.expr,
        }
    }

    /// The labels as written.
    pub fn labels(&self) -> Labels {
        match self {
            RuleSpec::Recording(r) => Labels::from_pairs(r.labels.iter().map(|(n, v)| (n, v))),
            RuleSpec::Alerting(a) => Labels::from_pairs(a.labels.iter().map(|(n, t)| (n, &t.source))),
        }
    }

    /// What makes a rule the same rule after a reload: kind, name and labels.
    pub fn identity(&self) -> (bool, String, Labels) {
        (matches!(self, RuleSpec::Alerting(_)), self.name().to_owned(), self.labels())
    }
}

fn compile_rule(rule: &Rule, group_labels: &BTreeMap<String, String>) -> Result<RuleSpec, TemplateError> {
    let mut labels = group_labels.clone();
    labels.extend(rule.labels.clone());
    let expr = rule.expr.trim().to_owned();
    if rule.alert.is_empty() {
        let labels = labels.into_iter().collect();
        return Ok(RuleSpec::Recording(RecordingSpec { name: rule.record.clone(), expr, labels }));
    }
    let parse = |map: &BTreeMap<String, String>| -> Result<Vec<(String, AlertText)>, TemplateError> {
        map.iter().map(|(n, t)| Ok((n.clone(), parse_alert_template(&rule.alert, t)?))).collect()
    };
    Ok(RuleSpec::Alerting(AlertingSpec {
        name: rule.alert.clone(),
        expr,
        hold_ms: rule.hold.as_ms(),
        keep_firing_ms: rule.keep_firing_for.as_ms(),
        labels: parse(&labels)?,
        annotations: parse(&rule.annotations)?,
    }))
}
