//! Writes the protobuf format of targets: floats without a type, and native histograms with float counts.

use crate::disk::varint::{put_bytes, put_i64, put_u64};
use crate::model::histogram::{CounterResetHint, Span};
use crate::model::{FloatHistogram, TimestampMs};
use crate::wire::protobuf::{put_double, put_doubles, put_field_bytes, put_field_varint};
use crate::wire::remote_read::put_spans;

/// What a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Floats of unknown type.
    Untyped,
    /// Histograms that count.
    Histogram,
    /// Histograms that may go down.
    GaugeHistogram,
}

impl FamilyKind {
    /// The kind of family that a histogram belongs to.
    pub fn of(h: &FloatHistogram) -> FamilyKind {
        match h.counter_reset_hint {
            CounterResetHint::Gauge => FamilyKind::GaugeHistogram,
            CounterResetHint::Unknown | CounterResetHint::Reset | CounterResetHint::NotReset => FamilyKind::Histogram,
        }
    }
}

/// A family that is being put together.
#[derive(Debug, Default)]
pub struct FamilyWriter {
    message: Vec<u8>,
    metric: Vec<u8>,
    part: Vec<u8>,
    bucket: Vec<u8>,
}

impl FamilyWriter {
    /// Begins a family; what was not [ended](Self::end) is forgotten.
    pub fn begin(&mut self, name: &str, kind: FamilyKind) {
        self.message.clear();
        put_field_bytes(&mut self.message, 1, name.as_bytes());
        let kind = match kind {
            FamilyKind::Untyped => 3,
            FamilyKind::Histogram => 4,
            FamilyKind::GaugeHistogram => 5,
        };
        put_field_varint(&mut self.message, 3, kind);
    }

    /// Adds a float.
    pub fn float<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, t: TimestampMs, v: f64) {
        self.labels(labels);
        self.part.clear();
        put_double(&mut self.part, 1, v);
        put_field_bytes(&mut self.metric, 5, &self.part);
        self.metric(t);
    }

    /// Adds a histogram. The format has no native form for custom bounds: such a one goes as a classic histogram with its bounds.
    pub fn histogram<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        t: TimestampMs,
        h: &FloatHistogram,
    ) {
        self.labels(labels);
        self.part.clear();
        put_double(&mut self.part, 2, h.sum);
        put_double(&mut self.part, 4, h.count);
        if h.uses_custom_buckets() {
            self.classic(h)
        } else {
            self.native(h)
        }
        put_field_bytes(&mut self.metric, 7, &self.part);
        self.metric(t);
    }

    /// Appends the family to a body.
    pub fn end(&mut self, body: &mut Vec<u8>) {
        put_bytes(body, &self.message);
    }

    fn labels<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>) {
        self.metric.clear();
        for (name, value) in labels {
            self.part.clear();
            put_field_bytes(&mut self.part, 1, name.as_bytes());
            put_field_bytes(&mut self.part, 2, value.as_bytes());
            put_field_bytes(&mut self.metric, 1, &self.part);
        }
    }

    fn metric(&mut self, t: TimestampMs) {
        put_field_varint(&mut self.metric, 6, t as u64);
        put_field_bytes(&mut self.message, 4, &self.metric);
    }

    fn classic(&mut self, h: &FloatHistogram) {
        let mut counts = h.positive().into_iter().peekable();
        let mut total = 0.0;
        for (i, bound) in h.custom_values.iter().enumerate() {
            while let Some((_, count)) = counts.next_if(|(at, _)| usize::try_from(*at).is_ok_and(|at| at <= i)) {
                total += count;
            }
            self.bucket.clear();
            put_double(&mut self.bucket, 2, *bound);
            put_double(&mut self.bucket, 4, total);
            put_field_bytes(&mut self.part, 3, &self.bucket);
        }
    }

    fn native(&mut self, h: &FloatHistogram) {
        put_u64(&mut self.part, 5 << 3);
        put_i64(&mut self.part, i64::from(h.schema));
        put_double(&mut self.part, 6, h.zero_threshold);
        // Readers tell float counts by a count above zero, and a native histogram without observations by an empty span.
        if h.count <= 0.0 {
            return put_spans(&mut self.part, 12, &[Span { offset: 0, length: 0 }]);
        }
        put_double(&mut self.part, 8, h.zero_count);
        put_spans(&mut self.part, 9, &h.negative_spans);
        put_doubles(&mut self.part, 11, &h.negative_buckets);
        put_spans(&mut self.part, 12, &h.positive_spans);
        put_doubles(&mut self.part, 14, &h.positive_buckets);
        if h.positive_spans.is_empty() && h.negative_spans.is_empty() {
            put_spans(&mut self.part, 12, &[Span { offset: 0, length: 0 }]);
        }
    }
}
