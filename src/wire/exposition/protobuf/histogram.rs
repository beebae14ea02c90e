//! The native part of a `Histogram` message.

use super::message::{WireExemplar, bytes, double, each_field, integer};
use crate::disk::varint::take_i64;
use crate::model::FloatHistogram;
use crate::model::histogram::{CounterResetHint, Span};
use crate::wire::protobuf::{Field, ProtobufError};

/// See the module. Counts of integer histograms come as differences, those of float histograms as they are.
#[derive(Debug, Default)]
pub(super) struct NativePart<'a> {
    /// Whether the counts are floats.
    pub float: bool,
    schema: i32,
    zero_threshold: f64,
    zero_count: f64,
    negative_spans: Vec<Span>,
    negative_deltas: Vec<i64>,
    negative_counts: Vec<f64>,
    positive_spans: Vec<Span>,
    positive_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    pub exemplars: Vec<WireExemplar<'a>>,
}

fn zigzag(v: u64) -> i64 {
    ((v >> 1) as i64) ^ -((v & 1) as i64)
}

fn read_span(message: &[u8]) -> Result<Span, ProtobufError> {
    let mut span = Span { offset: 0, length: 0 };
    each_field(message, |number, field| {
        match number {
            1 => span.offset = zigzag(integer(field)?) as i32,
            2 => span.length = u32::try_from(integer(field)?).map_err(|_| ProtobufError::Range("a span"))?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

/// Zigzag integers, packed or single.
fn read_deltas(field: Field<'_>, out: &mut Vec<i64>) -> Result<(), ProtobufError> {
    let mut packed = match field {
        Field::Varint(v) => {
            out.push(zigzag(v));
            return Ok(());
        }
        other => bytes(other)?,
    };
    while !packed.is_empty() {
        out.push(take_i64(&mut packed).ok_or(ProtobufError::Cut)?);
    }
    Ok(())
}

/// Doubles, packed or single.
fn read_counts(field: Field<'_>, out: &mut Vec<f64>) -> Result<(), ProtobufError> {
    let packed = match field {
        Field::Fixed64(_) => {
            out.push(double(field)?);
            return Ok(());
        }
        other => bytes(other)?,
    };
    let (chunks, rest) = packed.as_chunks::<8>();
    out.extend(chunks.iter().map(|c| f64::from_le_bytes(*c)));
    if rest.is_empty() { Ok(()) } else { Err(ProtobufError::Cut) }
}

/// The absolute counts of the buckets of some spans.
fn absolute(float: bool, spans: &[Span], deltas: &[i64], counts: &[f64]) -> Result<Vec<f64>, ProtobufError> {
    let mut sum = 0i64;
    let mut add = |d: &i64| {
        sum = sum.saturating_add(*d);
        sum as f64
    };
    let all: Vec<f64> = if float { counts.to_vec() } else { deltas.iter().map(&mut add).collect() };
    let buckets: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
    // The specification: no count is negative, and the gaps between spans are not either.
    let good =
        buckets == all.len() as u64 && all.iter().all(|c| *c >= 0.0) && spans.iter().skip(1).all(|s| s.offset >= 0);
    if good { Ok(all) } else { Err(ProtobufError::Range("buckets of a native histogram")) }
}

impl NativePart<'_> {
    /// Whether there is one: a classic histogram has neither spans nor a zero bucket.
    pub(super) fn is_native(&self) -> bool {
        !self.positive_spans.is_empty()
            || !self.negative_spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0.0
    }

    pub(super) fn read_field(&mut self, number: u64, field: Field<'_>) -> Result<(), ProtobufError> {
        match number {
            5 => self.schema = zigzag(integer(field)?) as i32,
            6 => self.zero_threshold = double(field)?,
            7 => self.zero_count = self.zero_count.max(integer(field)? as f64),
            8 => {
                let count = double(field)?;
                self.float |= count > 0.0;
                self.zero_count = if count > 0.0 { count } else { self.zero_count };
            }
            9 => self.negative_spans.push(read_span(bytes(field)?)?),
            10 => read_deltas(field, &mut self.negative_deltas)?,
            11 => read_counts(field, &mut self.negative_counts)?,
            12 => self.positive_spans.push(read_span(bytes(field)?)?),
            13 => read_deltas(field, &mut self.positive_deltas)?,
            14 => read_counts(field, &mut self.positive_counts)?,
            _ => {}
        }
        Ok(())
    }

    /// The histogram as the store takes it.
    pub(super) fn histogram(&self, count: f64, sum: f64, gauge: bool) -> Result<FloatHistogram, ProtobufError> {
        if !(-4..=8).contains(&self.schema) {
            return Err(ProtobufError::Range("the schema of a native histogram"));
        }
        let float = self.float;
        // A histogram without observations says that it is native with one empty span.
        let spans =
            |all: &[Span]| -> Vec<Span> { all.iter().copied().filter(|s| s.length > 0 || s.offset != 0).collect() };
        let (positive_spans, negative_spans) = (spans(&self.positive_spans), spans(&self.negative_spans));
        Ok(FloatHistogram {
            counter_reset_hint: if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count,
            sum,
            positive_buckets: absolute(float, &positive_spans, &self.positive_deltas, &self.positive_counts)?,
            negative_buckets: absolute(float, &negative_spans, &self.negative_deltas, &self.negative_counts)?,
            positive_spans,
            negative_spans,
            custom_values: Vec::new(),
        })
    }
}
