//! The registry of campanile's own metrics.
//!
//! A module keeps its metrics in statics made by the functions here, so that a metric exists from the first touch:
//! `static SAMPLES: LazyLock<IntCounter> = LazyLock::new(|| metrics::counter("campanile_tsdb_samples_appended_total", "..."));`

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// The one registry.
pub fn registry() -> &'static Registry {
    prometheus::default_registry()
}

fn register<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    #[allow(
        clippy::expect_used,
        reason = "names are constants of this program; a bad one fails in every test that touches it"
    )]
    let metric = made.expect("a metric's name and labels are well formed");
    if let Err(e) = registry().register(Box::new(metric.clone())) {
        tracing::error!(error = %e, "metric registered twice");
    }
    metric
}

/// A counter.
pub fn counter(name: &str, help: &str) -> IntCounter {
    register(IntCounter::new(name, help))
}

/// A counter for each set of label values.
pub fn counter_vec(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(Opts::new(name, help), labels))
}

/// A gauge of whole numbers.
pub fn gauge(name: &str, help: &str) -> IntGauge {
    register(IntGauge::new(name, help))
}

/// A gauge of whole numbers for each set of label values.
pub fn gauge_vec(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A gauge of floats.
pub fn float_gauge(name: &str, help: &str) -> Gauge {
    register(Gauge::new(name, help))
}

/// Bucket bounds in seconds for things that take from a millisecond to ten seconds.
pub const SECONDS_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A histogram of seconds with [`SECONDS_BUCKETS`].
pub fn seconds(name: &str, help: &str) -> Histogram {
    register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec())))
}

/// A histogram of seconds for each set of label values.
pub fn seconds_vec(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    register(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec()), labels))
}

/// Bucket bounds in seconds for what people wait for: from a second to a day.
pub const DELAY_BUCKETS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21_600.0, 86_400.0];

/// A histogram of seconds with [`DELAY_BUCKETS`] for each set of label values.
pub fn delays_vec(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    register(HistogramVec::new(HistogramOpts::new(name, help).buckets(DELAY_BUCKETS.to_vec()), labels))
}

/// All metrics in the Prometheus text format 0.0.4.
pub fn render() -> String {
    TextEncoder::new()
        .encode_to_string(&registry().gather())
        .unwrap_or_else(|e| format!("# metrics cannot be encoded: {e}\n"))
}
