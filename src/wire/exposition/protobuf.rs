//! The protobuf format of targets: `io.prometheus.client.MetricFamily` messages, each behind its length (client_model's `metrics.proto`).
//!
//! A body is read whole: series get the text that the text formats would give them, so that the scraper's cache works the same, and what borrows from a
//! body borrows from that text.

mod histogram;
mod message;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::ops::Range;

use super::number::canonical_float;
use super::{Entry, HistogramSeries, RawExemplar, Series};
use crate::disk::varint::take_bytes;
use crate::model::labels::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
use crate::model::{FloatHistogram, MetricType, TimestampMs};
use crate::wire::protobuf::ProtobufError;
pub use write::{FamilyKind, FamilyWriter};

use message::{Bucket, Family, Metric, WireExemplar, read_family};

/// What of histograms that are native and classic at once is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histograms {
    /// The native part.
    pub native: bool,
    /// The classic part even where the native one is read.
    pub classic: bool,
}

/// A body that was read.
#[derive(Debug, Default)]
pub struct DecodedBody {
    text: Vec<u8>,
    items: Vec<Item>,
}

type Part = Range<usize>;

#[derive(Debug)]
struct ExemplarItem {
    labels: Part,
    value: f64,
    timestamp: Option<TimestampMs>,
}

#[derive(Debug)]
enum Item {
    Type(Part, MetricType),
    Help(Part, Part),
    Unit(Part, Part),
    Sample {
        raw: Part,
        value: f64,
        timestamp: Option<TimestampMs>,
        start: Option<TimestampMs>,
        of: MetricType,
        exemplar: Option<ExemplarItem>,
    },
    Histogram {
        raw: Part,
        histogram: Box<FloatHistogram>,
        timestamp: Option<TimestampMs>,
        start: Option<TimestampMs>,
        exemplars: Vec<ExemplarItem>,
    },
}

/// Reads a body.
pub fn decode(mut body: &[u8], histograms: Histograms) -> Result<DecodedBody, ProtobufError> {
    let mut out = DecodedBody::default();
    while !body.is_empty() {
        let message = take_bytes(&mut body).ok_or(ProtobufError::Cut)?;
        let family = read_family(message)?;
        out.family(&family, histograms)?;
    }
    Ok(out)
}

/// The entries of a body, in its order.
pub struct ProtobufEntries<'a> {
    body: &'a DecodedBody,
    next: usize,
}

impl<'a> ProtobufEntries<'a> {
    /// Begins at the first.
    pub fn new(body: &'a DecodedBody) -> Self {
        ProtobufEntries { body, next: 0 }
    }

    /// The next entry, `None` at the end.
    pub fn next_entry(&mut self) -> Option<Entry<'a>> {
        let item = self.body.items.get(self.next)?;
        self.next += 1;
        let bytes = |part: &Part| self.body.text.get(part.clone()).unwrap_or_default();
        let words = |part: &Part| String::from_utf8_lossy(bytes(part));
        let exemplar =
            |e: &ExemplarItem| RawExemplar { labels: bytes(&e.labels), value: e.value, timestamp: e.timestamp };
        Some(match item {
            Item::Type(family, of) => Entry::Type(bytes(family), *of),
            Item::Help(family, text) => Entry::Help(bytes(family), words(text)),
            Item::Unit(family, text) => Entry::Unit(bytes(family), words(text)),
            Item::Sample { raw, value, timestamp, start, of, exemplar: e } => Entry::Series(Series {
                raw: bytes(raw),
                value: if value.is_nan() { f64::NAN } else { *value },
                timestamp: *timestamp,
                start: *start,
                last_type: *of,
                exemplar: e.as_ref().map(exemplar),
            }),
            Item::Histogram { raw, histogram, timestamp, start, exemplars } => {
                Entry::Histogram(Box::new(HistogramSeries {
                    raw: bytes(raw),
                    histogram: Cow::Borrowed(histogram),
                    timestamp: *timestamp,
                    start: *start,
                    exemplars: exemplars.iter().map(exemplar).collect(),
                }))
            }
        })
    }
}

/// A label with a number for its value, written as everywhere.
type Bound<'a> = Option<(&'static str, &'a str)>;

impl DecodedBody {
    fn add(&mut self, text: &str) -> Part {
        let from = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        from..self.text.len()
    }

    fn quoted(&mut self, text: &str) {
        self.text.push(b'"');
        for b in text.bytes() {
            match b {
                b'\\' => self.text.extend_from_slice(b"\\\\"),
                b'"' => self.text.extend_from_slice(b"\\\""),
                b'\n' => self.text.extend_from_slice(b"\\n"),
                b => self.text.push(b),
            }
        }
        self.text.push(b'"');
    }

    fn labels<'l>(&mut self, mut first: bool, labels: impl Iterator<Item = (&'l str, &'l str)>) {
        for (name, value) in labels {
            if !std::mem::take(&mut first) {
                self.text.push(b',');
            }
            if is_legacy_label_name(name) && name != METRIC_NAME {
                self.text.extend_from_slice(name.as_bytes());
            } else {
                self.quoted(name);
            }
            self.text.push(b'=');
            self.quoted(value);
        }
        self.text.push(b'}');
    }

    /// The text of a series.
    fn series(&mut self, name: &str, suffix: &str, metric: &Metric<'_>, bound: Bound<'_>) -> Part {
        let from = self.text.len();
        let name = if suffix.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(format!("{name}{suffix}")) };
        let legacy = is_legacy_metric_name(&name);
        if legacy {
            self.text.extend_from_slice(name.as_bytes());
            self.text.push(b'{');
        } else {
            self.text.push(b'{');
            self.quoted(&name);
        }
        self.labels(legacy, metric.labels.iter().copied().chain(bound));
        from..self.text.len()
    }

    fn exemplar(&mut self, e: &WireExemplar<'_>) -> ExemplarItem {
        let from = self.text.len();
        self.text.push(b'{');
        self.labels(true, e.labels.iter().copied());
        ExemplarItem { labels: from..self.text.len(), value: e.value, timestamp: e.timestamp }
    }

    fn sample(&mut self, raw: Part, value: f64, of: MetricType, metric: &Metric<'_>, e: Option<&WireExemplar<'_>>) {
        let exemplar = e.map(|e| self.exemplar(e));
        let (timestamp, start) = (metric.timestamp, metric.start);
        self.items.push(Item::Sample { raw, value, timestamp, start, of, exemplar });
    }

    fn family(&mut self, family: &Family<'_>, histograms: Histograms) -> Result<(), ProtobufError> {
        let name = self.add(family.name);
        if let Some(help) = family.help {
            let help = self.add(help);
            self.items.push(Item::Help(name.clone(), help));
        }
        self.items.push(Item::Type(name.clone(), family.metric_type));
        if let Some(unit) = family.unit.filter(|u| !u.is_empty()) {
            let unit = self.add(unit);
            self.items.push(Item::Unit(name, unit));
        }
        for metric in &family.metrics {
            match family.metric_type {
                MetricType::Summary => self.summary(family, metric),
                MetricType::Histogram | MetricType::GaugeHistogram => self.histogram(family, metric, histograms)?,
                MetricType::Counter
                | MetricType::Gauge
                | MetricType::Unknown
                | MetricType::Info
                | MetricType::StateSet => {
                    let raw = self.series(family.name, "", metric, None);
                    self.sample(raw, metric.value, family.metric_type, metric, metric.exemplar.as_ref());
                }
            }
        }
        Ok(())
    }

    fn summary(&mut self, family: &Family<'_>, metric: &Metric<'_>) {
        for (suffix, value) in [("_count", metric.count), ("_sum", metric.sum)] {
            let raw = self.series(family.name, suffix, metric, None);
            self.sample(raw, value, MetricType::Summary, metric, None);
        }
        for (quantile, value) in &metric.quantiles {
            let quantile = canonical_float(*quantile);
            let raw = self.series(family.name, "", metric, Some(("quantile", &quantile)));
            self.sample(raw, *value, MetricType::Summary, metric, None);
        }
    }

    fn histogram(&mut self, family: &Family<'_>, metric: &Metric<'_>, read: Histograms) -> Result<(), ProtobufError> {
        let native = metric.native.is_native();
        if read.native && native {
            let gauge = family.metric_type == MetricType::GaugeHistogram;
            let histogram = metric.native.histogram(metric.count, metric.sum, gauge)?;
            let raw = self.series(family.name, "", metric, None);
            // Exemplars without a time cannot be put in order: those of the classic buckets are left out then.
            let own = metric.native.exemplars.iter();
            let of_buckets = metric.buckets.iter().filter_map(|b| b.exemplar.as_ref());
            let all: Vec<&WireExemplar<'_>> =
                if metric.native.exemplars.is_empty() { of_buckets.collect() } else { own.collect() };
            let mut exemplars: Vec<ExemplarItem> =
                all.into_iter().filter(|e| e.timestamp.is_some()).map(|e| self.exemplar(e)).collect();
            exemplars.sort_by_key(|e| e.timestamp);
            let (timestamp, start) = (metric.timestamp, metric.start);
            self.items.push(Item::Histogram { raw, histogram: Box::new(histogram), timestamp, start, exemplars });
            if !read.classic || metric.buckets.is_empty() {
                return Ok(());
            }
        }
        let of = family.metric_type;
        for (suffix, value) in [("_count", metric.count), ("_sum", metric.sum)] {
            let raw = self.series(family.name, suffix, metric, None);
            self.sample(raw, value, of, metric, None);
        }
        let infinite = metric.buckets.iter().any(|b| b.upper_bound == f64::INFINITY);
        let last = Bucket { count: metric.count, upper_bound: f64::INFINITY, exemplar: None };
        for b in metric.buckets.iter().chain((!infinite).then_some(&last)) {
            let bound = canonical_float(b.upper_bound);
            let raw = self.series(family.name, "_bucket", metric, Some(("le", &bound)));
            self.sample(raw, b.count, of, metric, b.exemplar.as_ref());
        }
        Ok(())
    }
}
