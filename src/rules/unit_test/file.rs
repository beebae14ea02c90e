//! The format of unit tests of rules: promtool's.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::ConfigDuration;

/// A test file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitTestFile {
    /// The rule files under test, by pattern, relative to the test file.
    pub rule_files: Vec<String>,
    /// Between evaluations of all groups, whatever their own interval; 0 is one minute.
    pub evaluation_interval: ConfigDuration,
    /// Names of groups in the order in which they are evaluated; those that are not named come first.
    pub group_eval_order: Vec<String>,
    /// Whether floats may differ by their last bit.
    pub fuzzy_compare: bool,
    /// The tests.
    pub tests: Vec<TestGroup>,
}

/// Series, and what the rules and expressions must make of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TestGroup {
    /// For messages.
    pub name: String,
    /// Between the samples of the series; 0 is `evaluation_interval`.
    pub interval: ConfigDuration,
    /// The series.
    pub input_series: Vec<InputSeries>,
    /// Which alerts must fire.
    pub alert_rule_test: Vec<AlertTest>,
    /// What expressions must give.
    pub promql_expr_test: Vec<ExprTest>,
    /// For templates.
    pub external_labels: BTreeMap<String, String>,
    /// For templates.
    pub external_url: String,
    /// The time of the first sample, as RFC 3339 or in seconds since 1970; without it, 1970.
    pub start_timestamp: String,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSeries {
    /// Its labels, as `up{job="a"}`.
    pub series: String,
    /// Its samples, as `1 2+1x5 _ stale`.
    pub values: String,
}

/// The alerts of one name that must fire at one time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertTest {
    /// When, since the start.
    pub eval_time: ConfigDuration,
    /// The rule's name.
    pub alertname: String,
    /// All of them, in any order.
    pub exp_alerts: Vec<ExpectedAlert>,
}

/// An alert that must fire.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedAlert {
    /// Its labels; `alertname` need not be among them.
    pub exp_labels: BTreeMap<String, String>,
    /// Its annotations.
    pub exp_annotations: BTreeMap<String, String>,
}

/// What an expression must give at one time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExprTest {
    /// The expression.
    pub expr: String,
    /// When, since the start.
    pub eval_time: ConfigDuration,
    /// All samples, in any order.
    pub exp_samples: Vec<ExpectedSample>,
}

/// A sample of a result.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedSample {
    /// Its labels, as `up{job="a"}`.
    pub labels: String,
    /// Its value, if it is a float.
    pub value: f64,
    /// Its value, if it is a native histogram, as `{{count:4 sum:5 buckets:[1 2 1]}}`.
    pub histogram: String,
}
