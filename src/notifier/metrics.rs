//! What sending alerts to the outside counts about itself.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics;

const ALERTMANAGER: &[&str] = &["alertmanager"];

pub(super) static SENT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_notifier_sent_total", "Alerts that an outside Alertmanager took.", ALERTMANAGER)
});
pub(super) static ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_notifier_errors_total",
        "Requests to an outside Alertmanager that failed.",
        ALERTMANAGER,
    )
});
/// Reasons: `queue_full`, `refused` (a 4xx answer, which trying again does not help), `stopped`.
pub(super) static DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_notifier_dropped_total",
        "Alerts that were given up for an outside Alertmanager, by reason.",
        &["alertmanager", "reason"],
    )
});
pub(super) static QUEUED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    metrics::gauge_vec("campanile_notifier_queue_length", "Alerts that wait for an outside Alertmanager.", ALERTMANAGER)
});
pub(super) static CAPACITY: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge("campanile_notifier_queue_capacity", "Alerts that may wait for one outside Alertmanager.")
});
pub(super) static LATENCY: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::seconds_vec(
        "campanile_notifier_latency_seconds",
        "Time of one request to an outside Alertmanager.",
        ALERTMANAGER,
    )
});
pub(super) static DISCOVERED: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge("campanile_notifier_alertmanagers", "Outside Alertmanagers that alerts are sent to.")
});

/// Forgets the series of an Alertmanager that is gone.
pub(super) fn forget(alertmanager: &str) {
    for vec in [&*SENT, &*ERRORS] {
        // One that was never counted has no series to remove.
        let _absent = vec.remove_label_values(&[alertmanager]);
    }
    for reason in ["queue_full", "refused", "stopped"] {
        let _absent = DROPPED.remove_label_values(&[alertmanager, reason]);
    }
    let _absent = QUEUED.remove_label_values(&[alertmanager]);
    let _absent = LATENCY.remove_label_values(&[alertmanager]);
}
