//! What scraping counts about itself.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use crate::telemetry::metrics;

/// Scrapes by outcome (`ok`, `fetch_failed`, `body_refused`, `store_failed`).
pub static SCRAPES: LazyLock<IntCounterVec> =
    LazyLock::new(|| metrics::counter_vec("campanile_scrape_scrapes_total", "Scrapes by outcome.", &["outcome"]));

/// Samples of good scrapes that were not stored, by reason.
pub static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_scrape_samples_refused_total",
        "Samples of successful scrapes that were not stored, by reason.",
        &["reason"],
    )
});

/// Exemplars that were not stored, by reason.
pub static EXEMPLARS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_scrape_exemplars_refused_total",
        "Exemplars that were not stored, by reason.",
        &["reason"],
    )
});

/// Scrapes refused for a native histogram with too many buckets.
pub static HISTOGRAMS_TOO_LARGE: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_scrape_histogram_bucket_limit_exceeded_total",
        "Scrapes refused because a native histogram has more buckets than native_histogram_bucket_limit at any resolution.",
    )
});

/// Samples handed to the store.
pub static SAMPLES: LazyLock<IntCounter> =
    LazyLock::new(|| metrics::counter("campanile_scrape_samples_total", "Samples handed to the store."));

/// Targets of each pool that are scraped.
pub static TARGETS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauge_vec("campanile_scrape_targets", "Targets that are scraped, by pool.", &["pool"]));

/// Target definitions that cannot be scraped (no address, bad interval).
pub static BAD_TARGETS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    metrics::gauge_vec(
        "campanile_scrape_targets_refused",
        "Targets that relabelling left unusable, by pool.",
        &["pool"],
    )
});

/// How long a body takes to be parsed and stored.
pub static APPEND_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    metrics::seconds("campanile_scrape_append_seconds", "Time to parse and store the body of one scrape.")
});

/// Rounds a loop skipped because the one before took too long.
pub static SKIPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_scrape_rounds_skipped_total",
        "Scrapes left out because the one before was still running.",
    )
});
