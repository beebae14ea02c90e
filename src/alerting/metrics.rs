//! Counters and gauges of the alertmanager.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics;

/// Notifications by how they ended: `ok`, `failed`.
pub static NOTIFICATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_notifications_total",
        "Notifications by receiver, integration and how they ended.",
        &["receiver", "integration", "outcome"],
    )
});
/// Attempts that failed, by reason.
pub static FAILED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_notification_attempts_failed_total",
        "Attempts to notify that failed, by integration and reason.",
        &["integration", "reason"],
    )
});
/// All attempts.
pub static ATTEMPTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_notification_attempts_total",
        "Attempts to notify by receiver, integration and how they ended.",
        &["receiver", "integration", "outcome"],
    )
});
/// How long one attempt took.
pub static LATENCY: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::seconds_vec(
        "campanile_alerting_notification_latency_seconds",
        "Time of one attempt to notify.",
        &["integration"],
    )
});
/// How late receivers are told.
pub static TOLD_DELAY: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::delays_vec(
        "campanile_alerting_told_delay_seconds",
        "Time from the begin (or end) of an alert until a receiver was told of it.",
        &["receiver", "integration", "status"],
    )
});
/// What happened to silences.
pub static SILENCE_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_silence_events_total",
        "Silences that were created, changed, expired, began or ended.",
        &["event"],
    )
});
/// Alerts that were taken in, by whether they fired.
pub static RECEIVED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_alerting_alerts_received_total", "Alerts taken in, by status.", &["status"])
});
/// Alerts that were refused, by reason.
pub static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_alerting_alerts_refused_total", "Alerts not taken in, by reason.", &["reason"])
});
/// Known alerts by state.
pub static ALERTS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauge_vec("campanile_alerting_alerts", "Known alerts by state.", &["state"]));
/// Silences by state.
pub static SILENCES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauge_vec("campanile_alerting_silences", "Silences by state.", &["state"]));
/// Groups.
pub static GROUPS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("campanile_alerting_groups", "Groups of alerts that exist now."));
/// Notifications whose outcome is not known yet.
pub static INTENTS_OPEN: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge("campanile_alerting_intents_open", "Notifications that are to be sent and have no outcome yet.")
});
/// Alerts left out of a notification, by what kept them quiet.
pub static SUPPRESSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_suppressed_total",
        "Alerts left out of a flush, by what kept them quiet.",
        &["by"],
    )
});
/// Changes of what keeps an alert quiet; an alert that is in several groups counts in each.
pub static SUPPRESSION_CHANGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_suppression_changes_total",
        "Alerts that began or ceased to be kept quiet, by what.",
        &["by", "change"],
    )
});
/// Alerts of clients that went over into another state.
pub static TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_alert_transitions_total",
        "Alerts of clients that began to fire or ended, by how that is known; those of rules are counted with the rules.",
        &["to", "because"],
    )
});
/// Writes to the state file that failed; the notification goes out all the same.
pub static STATE_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_alerting_state_write_failures_total", "Writes to the state file that failed.")
});
/// Intents found at start, by what became of them.
pub static RECOVERED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_alerting_intents_recovered_total",
        "Notifications without an outcome that were found at start, by what became of them.",
        &["outcome"],
    )
});
