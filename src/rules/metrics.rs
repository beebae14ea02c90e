//! The rules' own metrics.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics;

const GROUP: &[&str] = &["rule_group"];

pub(super) static EVALUATIONS: LazyLock<IntCounterVec> =
    LazyLock::new(|| metrics::counter_vec("campanile_rules_evaluations_total", "Rule evaluations.", GROUP));
pub(super) static FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_rules_evaluation_failures_total", "Rule evaluations that failed.", GROUP)
});
pub(super) static ITERATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_rules_iterations_total",
        "Evaluations of groups that were due, done or missed.",
        GROUP,
    )
});
pub(super) static MISSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_rules_iterations_missed_total",
        "Evaluations of groups that were left out because the one before took too long.",
        GROUP,
    )
});
pub(super) static RULE_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| metrics::seconds("campanile_rules_evaluation_seconds", "How long the evaluation of a rule took."));
pub(super) static GROUP_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    metrics::seconds("campanile_rules_group_evaluation_seconds", "How long the evaluation of a whole group took.")
});
pub(super) static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_rules_samples_refused_total",
        "Results that the store refused as out of order, too old or duplicate.",
        GROUP,
    )
});
pub(super) static RULES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauge_vec("campanile_rules_group_rules", "Rules in a group.", GROUP));
pub(super) static GROUPS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("campanile_rules_groups", "Groups that are being evaluated."));
pub(super) static TEMPLATE_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_rules_template_failures_total", "Label and annotation templates that failed.")
});
pub(super) static NOT_KEPT: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_rules_state_write_failures_total",
        "Times that the state of alerts could not be written for a restart.",
    )
});
pub(super) static TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_rules_alert_transitions_total", "Alerts that changed their state.", &["to"])
});

/// Forgets the series of a group that is gone.
pub(super) fn forget(group: &str) {
    for vec in [&*EVALUATIONS, &*FAILURES, &*ITERATIONS, &*MISSED, &*REFUSED] {
        // A group that was never counted has no series to remove.
        let _absent = vec.remove_label_values(&[group]);
    }
    let _absent = RULES.remove_label_values(&[group]);
}
