//! The series a scrape writes about itself: `up` and its companions.

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, TimestampMs};
use crate::scrape::metrics;
use crate::tsdb::{AppendError, Appender, SeriesRef};

/// The numbers of one scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Whether the scrape succeeded.
    pub up: bool,
    /// How long it took.
    pub duration_seconds: f64,
    /// Samples in the body.
    pub scraped: u64,
    /// Samples left after relabelling.
    pub post_relabel: u64,
    /// Series that were new.
    pub added: u64,
    /// Bytes of the body, for `extra_scrape_metrics`.
    pub body_bytes: u64,
}

/// Names of the series every scrape writes, in the order of [`Report::values`].
const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
/// Names of those `extra_scrape_metrics` adds.
const EXTRA_NAMES: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// What the extra series tell of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extra {
    /// The timeout of the target.
    pub timeout_seconds: f64,
    /// The sample limit of the job.
    pub sample_limit: u64,
}

impl Report {
    fn values(&self) -> [f64; 5] {
        let up = if self.up { 1.0 } else { 0.0 };
        [up, self.duration_seconds, self.scraped as f64, self.post_relabel as f64, self.added as f64]
    }
}

/// Writes reports; keeps the references of its series.
#[derive(Default)]
pub struct Reporter {
    references: [Option<SeriesRef>; NAMES.len() + EXTRA_NAMES.len()],
}

impl Reporter {
    /// Adds the report's samples to a batch.
    pub fn write(
        &mut self,
        app: &mut Appender<'_>,
        target: &Labels,
        t: TimestampMs,
        report: &Report,
        extra: Option<Extra>,
    ) {
        let mut values = report.values().to_vec();
        if let Some(e) = extra {
            values.extend([e.timeout_seconds, e.sample_limit as f64, report.body_bytes as f64]);
        }
        self.write_values(app, target, t, &values);
    }

    /// Adds staleness markers for the report's own series.
    pub fn write_stale(&mut self, app: &mut Appender<'_>, target: &Labels, t: TimestampMs, extra: bool) {
        let n = NAMES.len() + if extra { EXTRA_NAMES.len() } else { 0 };
        self.write_values(app, target, t, &vec![crate::model::sample::stale_nan(); n]);
    }

    fn write_values(&mut self, app: &mut Appender<'_>, target: &Labels, t: TimestampMs, values: &[f64]) {
        let names = NAMES.iter().chain(&EXTRA_NAMES);
        for ((value, name), reference) in values.iter().zip(names).zip(&mut self.references) {
            if let Err(e) = append(app, target, name, reference, t, *value) {
                metrics::REFUSED.with_label_values(&[e.reason()]).inc();
            }
        }
    }
}

fn append(
    app: &mut Appender<'_>,
    target: &Labels,
    name: &str,
    reference: &mut Option<SeriesRef>,
    t: TimestampMs,
    value: f64,
) -> Result<(), AppendError> {
    if let Some(r) = *reference {
        match app.float(r, t, value, 0) {
            Err(AppendError::UnknownRef) => {}
            other => return other,
        }
    }
    let r = app.series(&target.to_builder().set(METRIC_NAME, name).build())?;
    *reference = Some(r);
    app.float(r, t, value, 0)
}
