//! Parses a body and stores it as one batch. Blocking; runs on its own thread.

use std::time::Instant;

use crate::config::relabel::Relabel;
use crate::config::scrape::{Limits, NameValidation};
use crate::model::labels::METRIC_NAME;
use crate::model::sample::stale_nan;
use crate::model::{Exemplar, FloatHistogram, Labels, LabelsBuilder, MetricType, TimestampMs};
use crate::scrape::cache::{Lookup, SeriesCache};
use crate::scrape::client::Body;
use crate::scrape::histogram_limits::{TooManyBuckets, fitted};
use crate::scrape::metrics;
use crate::scrape::report::{Extra, Report, Reporter};
use crate::tsdb::{AppendError, Appender, Db, SeriesRef};
use crate::wire::exposition::labels::{self, LabelError, Pair};
use crate::wire::exposition::protobuf::{DecodedBody, Histograms};
use crate::wire::exposition::{Entry, ParseError, Parser, RawExemplar};

/// Put in front of a label of the body that the target has as well (`exported_job`).
const EXPORTED_PREFIX: &str = "exported_";

/// Why nothing of a body was stored.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The labels of a series cannot be used.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Relabelling took the name away.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// Names outside the configured character set.
    #[error("invalid metric name or label names: {0}")]
    Names(Labels),
    /// Too many samples.
    #[error("sample limit exceeded")]
    SampleLimit,
    /// Too many labels.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    LabelLimit {
        /// The metric.
        metric: String,
        /// Its labels.
        count: usize,
        /// Those allowed.
        limit: u64,
    },
    /// A native histogram has too many buckets at any resolution.
    #[error(
        "native_histogram_bucket_limit exceeded (metric: {metric}, buckets at the lowest resolution: {buckets}, limit: {limit})"
    )]
    HistogramBuckets {
        /// The metric.
        metric: String,
        /// Buckets that it needs.
        buckets: usize,
        /// Those allowed.
        limit: u64,
    },
    /// A label too long.
    #[error(
        "label_{part}_length_limit exceeded (metric: {metric}, label {part}: {text}, length: {length}, limit: {limit})"
    )]
    LabelLength {
        /// `name` or `value`.
        part: &'static str,
        /// The metric.
        metric: String,
        /// The start of the name or value.
        text: String,
        /// Its length in bytes.
        length: usize,
        /// The length allowed.
        limit: u64,
    },
    /// The store failed.
    #[error("the store cannot write: {0}")]
    Store(#[from] crate::tsdb::Error),
}

/// What a job asks for when samples are stored.
#[derive(Clone, Debug)]
pub struct StoreRules {
    /// See [`ScrapeJob`](crate::config::scrape::ScrapeJob), likewise all that follow.
    pub honor_labels: bool,
    /// Timestamps of the body count.
    pub honor_timestamps: bool,
    /// Series with own timestamps get staleness markers.
    pub track_timestamps_staleness: bool,
    /// Bounds.
    pub limits: Limits,
    /// Names allowed.
    pub names: NameValidation,
    /// Rules for samples.
    pub relabel: Vec<Relabel>,
    /// More report series.
    pub extra_metrics: bool,
    /// Stored while the disk is nearly full.
    pub vital: bool,
    /// What of native histograms is read.
    pub histograms: Histograms,
}

/// What a loop keeps between scrapes.
#[derive(Default)]
pub struct TargetState {
    /// The series.
    pub cache: SeriesCache,
    reporter: Reporter,
}

/// What came of a scrape.
pub struct Stored {
    /// The numbers written as report series.
    pub report: Report,
    /// Why the scrape failed, if it did.
    pub error: Option<String>,
}

/// One scrape on its way to the store.
pub struct Scrape<'a> {
    /// The store.
    pub db: &'a Db,
    /// What the job asks for.
    pub rules: &'a StoreRules,
    /// The target's labels.
    pub target: &'a Labels,
    /// The target's timeout, for the report.
    pub timeout_seconds: f64,
    /// The time of the scrape, given to samples without an own.
    pub t: TimestampMs,
}

impl Scrape<'_> {
    /// Stores what was fetched, or that nothing was: samples, staleness markers and report in one batch. `started` is when the
    /// request went out.
    pub fn store(&self, state: &mut TargetState, fetched: Result<Body, String>, started: Instant) -> Stored {
        let mut report = Report { duration_seconds: started.elapsed().as_secs_f64(), ..Report::default() };
        let timer = metrics::APPEND_SECONDS.start_timer();
        let error = match fetched {
            Err(e) => {
                metrics::SCRAPES.with_label_values(&["fetch_failed"]).inc();
                Some(e)
            }
            Ok(body) => match self.store_body(state, &body, &mut report) {
                Ok(()) => {
                    metrics::SCRAPES.with_label_values(&["ok"]).inc();
                    None
                }
                Err(e) => {
                    let outcome = if matches!(e, BodyError::Store(_)) { "store_failed" } else { "body_refused" };
                    metrics::SCRAPES.with_label_values(&[outcome]).inc();
                    report.up = false;
                    report.added = 0;
                    Some(e.to_string())
                }
            },
        };
        if error.is_some() {
            self.store_failure(state, &report);
        }
        timer.observe_duration();
        Stored { report, error }
    }

    fn appender(&self) -> Appender<'_> {
        let appender = self.db.appender();
        if self.rules.vital { appender.vital() } else { appender }
    }

    fn extra(&self) -> Option<Extra> {
        let sample_limit = self.rules.limits.samples;
        self.rules.extra_metrics.then_some(Extra { timeout_seconds: self.timeout_seconds, sample_limit })
    }

    fn store_body(&self, state: &mut TargetState, body: &Body, report: &mut Report) -> Result<(), BodyError> {
        report.body_bytes = body.bytes.len() as u64;
        state.cache.begin();
        let mut decoded = DecodedBody::default();
        let mut parser = Parser::new(&body.bytes, body.format, self.rules.histograms, &mut decoded)?;
        let mut batch =
            Batch { scrape: self, app: self.appender(), pairs: Vec::new(), report, appended: 0, limited: false };
        batch.read(&mut state.cache, &mut parser)?;
        let Batch { mut app, limited, appended, .. } = batch;
        if limited {
            return Err(BodyError::SampleLimit);
        }
        self.mark_stale(&mut app, &state.cache, &state.cache.vanished(), self.t);
        report.up = true;
        state.reporter.write(&mut app, self.target, self.t, report, self.extra());
        app.commit()?;
        state.cache.settle();
        metrics::SAMPLES.inc_by(appended);
        Ok(())
    }

    /// The batch of a failed scrape: every living series ends, `up` is 0.
    fn store_failure(&self, state: &mut TargetState, report: &Report) {
        let mut app = self.appender();
        self.mark_stale(&mut app, &state.cache, &state.cache.living(), self.t);
        state.reporter.write(&mut app, self.target, self.t, report, self.extra());
        match app.commit() {
            Ok(_) => state.cache.settle_failed(),
            // Living series stay noted as such and get their marker with the next batch that can be written.
            Err(e) => {
                tracing::warn!(error = %e, target = %self.target, "the report of a failed scrape cannot be stored")
            }
        }
    }

    /// Ends all series of a target that is no more, report series included.
    pub fn end(&self, state: &mut TargetState) {
        let mut app = self.appender();
        self.mark_stale(&mut app, &state.cache, &state.cache.living(), self.t);
        state.reporter.write_stale(&mut app, self.target, self.t, self.rules.extra_metrics);
        match app.commit() {
            Ok(_) => state.cache.settle_failed(),
            Err(e) => tracing::warn!(error = %e, target = %self.target, "staleness markers cannot be stored"),
        }
    }

    fn mark_stale(&self, app: &mut Appender<'_>, cache: &SeriesCache, due: &[u32], t: TimestampMs) {
        for s in due.iter().filter_map(|i| cache.series(*i)) {
            let first = app.float(s.reference, t, stale_nan(), 0);
            let result = match first {
                Err(AppendError::UnknownRef) => app.series(&s.labels).and_then(|r| app.float(r, t, stale_nan(), 0)),
                other => other,
            };
            // A marker older than a sample with an own timestamp is refused; that is no loss of data.
            if let Err(e) = result {
                metrics::REFUSED.with_label_values(&[e.reason()]).inc();
            }
        }
    }
}

/// The value of a sample.
enum Value<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

/// A sample of a body.
struct Sample<'a> {
    value: Value<'a>,
    timestamp: Option<TimestampMs>,
    start: Option<TimestampMs>,
}

impl Sample<'_> {
    fn append(&self, app: &mut Appender<'_>, series: SeriesRef, t: TimestampMs) -> Result<(), AppendError> {
        // A start after the sample is a clock that is wrong.
        let start = self.start.filter(|s| *s <= t).unwrap_or(0);
        match &self.value {
            Value::Float(v) => app.float(series, t, *v, start),
            Value::Histogram(h) => app.histogram(series, t, h, start),
        }
    }
}

fn metadata(cache: &mut SeriesCache, family: &[u8], change: impl FnOnce(&mut crate::model::Metadata)) {
    // A family whose name is not UTF-8 has no sample that could be stored; it fails the scrape there.
    if let Ok(family) = std::str::from_utf8(family) {
        cache.change_metadata(family, change);
    }
}

/// The body while it is read.
struct Batch<'s, 'a, 'r> {
    scrape: &'s Scrape<'s>,
    app: Appender<'a>,
    pairs: Vec<Pair<'r>>,
    report: &'s mut Report,
    appended: u64,
    limited: bool,
}

impl<'r> Batch<'_, '_, 'r> {
    fn read(&mut self, cache: &mut SeriesCache, parser: &mut Parser<'r>) -> Result<(), BodyError> {
        while let Some(entry) = parser.next_entry_expecting(cache.expected_text())? {
            match entry {
                Entry::Series(s) => {
                    let sample = Sample { value: Value::Float(s.value), timestamp: s.timestamp, start: s.start };
                    self.series(cache, (s.raw, s.last_type), &sample, s.exemplar.as_slice())?;
                }
                Entry::Histogram(h) => {
                    let sample =
                        Sample { value: Value::Histogram(&h.histogram), timestamp: h.timestamp, start: h.start };
                    self.series(cache, (h.raw, MetricType::Histogram), &sample, &h.exemplars)?;
                }
                Entry::Type(family, t) => metadata(cache, family, |m| m.metric_type = t),
                Entry::Help(family, help) => metadata(cache, family, |m| {
                    if m.help != help {
                        m.help = help.into_owned();
                    }
                }),
                Entry::Unit(family, unit) => metadata(cache, family, |m| m.unit = unit.into_owned()),
            }
        }
        for (family, m) in cache.untold_metadata() {
            self.app.metadata(family, m);
        }
        Ok(())
    }

    fn series(
        &mut self,
        cache: &mut SeriesCache,
        text: (&'r [u8], MetricType),
        s: &Sample<'_>,
        exemplars: &[RawExemplar<'r>],
    ) -> Result<(), BodyError> {
        let rules = self.scrape.rules;
        self.report.scraped += 1;
        let own_time = s.timestamp.filter(|_| rules.honor_timestamps);
        let tracked = own_time.is_none() || rules.track_timestamps_staleness;
        let index = match cache.look_up(text.0) {
            Lookup::Dropped => return Ok(()),
            Lookup::Series(i) => i,
            Lookup::New => match self.resolve(cache, text)? {
                Some(i) => i,
                None => return Ok(()),
            },
        };
        self.report.post_relabel += 1;
        let again = cache.mark(index, tracked);
        if self.limited {
            return Ok(());
        }
        if rules.limits.samples > 0 && self.appended >= rules.limits.samples {
            // Counting goes on, so that the report tells how many there were.
            self.limited = true;
            return Ok(());
        }
        if again && own_time.is_none() {
            metrics::REFUSED.with_label_values(&[AppendError::Duplicate.reason()]).inc();
            return Ok(());
        }
        let t = own_time.unwrap_or(self.scrape.t);
        let fit = match &s.value {
            Value::Float(_) => None,
            Value::Histogram(h) => fitted(&rules.limits, h).map_err(|e| too_large(cache, index, e, rules))?,
        };
        let coarser;
        let s = match &fit {
            None => s,
            Some(h) => {
                coarser = Sample { value: Value::Histogram(h), ..*s };
                &coarser
            }
        };
        match self.append(cache, index, t, s) {
            Ok(reference) => {
                self.appended += 1;
                for e in exemplars {
                    self.exemplar(reference, e, t)?;
                }
            }
            Err(e) => metrics::REFUSED.with_label_values(&[e.reason()]).inc(),
        }
        Ok(())
    }

    fn append(
        &mut self,
        cache: &mut SeriesCache,
        index: u32,
        t: TimestampMs,
        s: &Sample<'_>,
    ) -> Result<SeriesRef, AppendError> {
        let Some(state) = cache.series(index) else { return Err(AppendError::UnknownRef) };
        let reference = state.reference;
        match s.append(&mut self.app, reference, t) {
            Ok(()) => Ok(reference),
            Err(AppendError::UnknownRef) => {
                // The store dropped the series between two scrapes; it is made again.
                let labels = state.labels.clone();
                let reference = self.app.series(&labels)?;
                cache.set_reference(index, reference);
                s.append(&mut self.app, reference, t).map(|()| reference)
            }
            Err(e) => Err(e),
        }
    }

    /// The slow way, for texts not seen before. `None`: relabelling drops it, or the store refuses the series.
    fn resolve(
        &mut self,
        cache: &mut SeriesCache,
        (raw, last_type): (&'r [u8], MetricType),
    ) -> Result<Option<u32>, BodyError> {
        let rules = self.scrape.rules;
        labels::parse(raw, last_type, &mut self.pairs)?;
        let mut builder = LabelsBuilder::new();
        for (n, v) in &self.pairs {
            builder.set(n, v.as_ref());
        }
        self.add_target_labels(&mut builder);
        if !Relabel::apply_all(&rules.relabel, &mut builder) || builder.iter().next().is_none() {
            cache.insert_dropped(raw);
            return Ok(None);
        }
        let labels = builder.build();
        check(&labels, rules)?;
        match self.app.series(&labels) {
            Ok(reference) => {
                let (index, new) = cache.insert(raw, reference, &labels);
                self.report.added += u64::from(new);
                Ok(Some(index))
            }
            Err(e) => {
                self.report.post_relabel += 1;
                metrics::REFUSED.with_label_values(&[e.reason()]).inc();
                Ok(None)
            }
        }
    }

    /// Merges the target's labels in: with `honor_labels` those of the body win (even empty ones), else theirs are renamed `exported_...`.
    fn add_target_labels(&self, builder: &mut LabelsBuilder) {
        let in_body = |name: &str| self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_ref());
        if self.scrape.rules.honor_labels {
            for (n, v) in self.scrape.target {
                if in_body(n).is_none() {
                    builder.set(n, v);
                }
            }
            return;
        }
        let mut conflicts: Vec<(&str, &str)> = Vec::new();
        for (n, v) in self.scrape.target {
            if let Some(own) = in_body(n).filter(|own| !own.is_empty()) {
                conflicts.push((n, own));
            }
            builder.set(n, v);
        }
        // Short names first, as in Prometheus, so that the outcome does not depend on chance.
        conflicts.sort_by_key(|(n, _)| n.len());
        for (name, value) in conflicts {
            let mut renamed = format!("{EXPORTED_PREFIX}{name}");
            while !builder.get(&renamed).is_empty() {
                renamed.insert_str(0, EXPORTED_PREFIX);
            }
            builder.set(&renamed, value);
        }
    }

    fn exemplar(&mut self, series: SeriesRef, raw: &RawExemplar<'_>, t: TimestampMs) -> Result<(), BodyError> {
        let Some(labels) = labels::parse_exemplar(raw.labels)? else {
            metrics::EXEMPLARS_REFUSED.with_label_values(&["too_long"]).inc();
            return Ok(());
        };
        let exemplar = Exemplar { labels, value: raw.value, timestamp: Some(raw.timestamp.unwrap_or(t)) };
        if let Err(e) = self.app.exemplar(series, &exemplar) {
            metrics::EXEMPLARS_REFUSED.with_label_values(&[e.reason()]).inc();
        }
        Ok(())
    }
}

fn too_large(cache: &SeriesCache, index: u32, e: TooManyBuckets, rules: &StoreRules) -> BodyError {
    metrics::HISTOGRAMS_TOO_LARGE.inc();
    let metric = cache.series(index).map_or_else(String::new, |s| s.labels.metric_name().to_owned());
    BodyError::HistogramBuckets { metric, buckets: e.buckets, limit: rules.limits.histogram_buckets }
}

/// Names and limits of a new series.
fn check(labels: &Labels, rules: &StoreRules) -> Result<(), BodyError> {
    let metric = labels.metric_name();
    if metric.is_empty() {
        return Err(BodyError::NoName);
    }
    let valid = rules.names.is_metric_name(metric)
        && labels.iter().all(|(n, _)| n == METRIC_NAME || rules.names.is_label_name(n));
    if !valid {
        return Err(BodyError::Names(labels.clone()));
    }
    let limits = &rules.limits;
    let count = labels.len();
    if limits.labels > 0 && count as u64 > limits.labels {
        return Err(BodyError::LabelLimit { metric: metric.to_owned(), count, limit: limits.labels });
    }
    for (n, v) in labels {
        for (part, text, limit) in [("name", n, limits.label_name_length), ("value", v, limits.label_value_length)] {
            if limit > 0 && text.len() as u64 > limit {
                // Enough to recognise it.
                let start = text.chars().take(50).collect();
                return Err(BodyError::LabelLength {
                    part,
                    metric: metric.to_owned(),
                    text: start,
                    length: text.len(),
                    limit,
                });
            }
        }
    }
    Ok(())
}
