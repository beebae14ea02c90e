//! Remote write 1.0: a snappy block around a protobuf `WriteRequest` (prometheus.io/docs/specs/prw/remote_write_spec).
//!
//! The reader walks the decompressed bytes and lends the strings out; nothing is copied per label.

use crate::disk::varint;
use crate::model::histogram::{CounterResetHint, Span};
use crate::model::{FloatHistogram, MetricType, TimestampMs};
use crate::wire::protobuf::{self, Field};

/// Why a body is no write request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The snappy block is damaged.
    #[error("snappy: {0}")]
    Snappy(String),
    /// The block says it is larger than allowed; it was not decompressed.
    #[error("the request is {len} bytes when decompressed, over the limit of {limit}; send smaller batches")]
    TooLarge {
        /// What the block says.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The protobuf message is cut off or not well formed.
    #[error("damaged protobuf message in {0}")]
    Protobuf(&'static str),
    /// A name or value that is not UTF-8.
    #[error("{0} is not valid utf-8")]
    Utf8(&'static str),
}

/// Decompresses a snappy block into `out` (emptied first). The length in the block's header is checked before anything is allocated.
pub fn decompress(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let broken = |e: snap::Error| DecodeError::Snappy(e.to_string());
    let len = snap::raw::decompress_len(body).map_err(broken)?;
    if len > limit {
        return Err(DecodeError::TooLarge { len, limit });
    }
    out.clear();
    out.resize(len, 0);
    let written = snap::raw::Decoder::new().decompress(body, out).map_err(broken)?;
    out.truncate(written);
    Ok(())
}

/// Takes the next field off the front; `Ok(None)` at the end.
pub(super) fn next_field<'a>(
    input: &mut &'a [u8],
    what: &'static str,
) -> Result<Option<(u64, Field<'a>)>, DecodeError> {
    match protobuf::next_field(input) {
        Ok(Some((0, _))) | Err(_) => Err(DecodeError::Protobuf(what)),
        Ok(field) => Ok(field),
    }
}

pub(super) fn double(field: &Field<'_>) -> Option<f64> {
    if let Field::Fixed64(bits) = field { Some(f64::from_bits(*bits)) } else { None }
}

pub(super) fn int(field: &Field<'_>) -> Option<u64> {
    if let Field::Varint(v) = field { Some(*v) } else { None }
}

pub(super) fn bytes<'a>(field: &Field<'a>) -> Option<&'a [u8]> {
    if let Field::Bytes(b) = field { Some(b) } else { None }
}

pub(super) fn wrong<T>(value: Option<T>, what: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Protobuf(what))
}

pub(super) fn utf8<'a>(text: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(text).map_err(|_| DecodeError::Utf8(what))
}

fn zigzag(v: u64) -> i64 {
    ((v >> 1) as i64) ^ -((v & 1) as i64)
}

/// An exemplar of a time series.
#[derive(Clone, Debug, PartialEq)]
pub struct WireExemplar<'a> {
    /// Its labels, in the order sent.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The value.
    pub value: f64,
    /// When, 0 for not given.
    pub timestamp: TimestampMs,
}

/// One series of a request. Meant to be kept and filled again: the vectors keep their memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeSeries<'a> {
    /// Labels in the order sent (the specification asks for sorted ones; the receiver checks).
    pub labels: Vec<(&'a str, &'a str)>,
    /// Float samples.
    pub samples: Vec<(TimestampMs, f64)>,
    /// Exemplars.
    pub exemplars: Vec<WireExemplar<'a>>,
    /// Native histograms, counts made absolute.
    pub histograms: Vec<(TimestampMs, FloatHistogram)>,
    /// Since when the series has been counted up; 0 for not given. Only remote write 2.0 has it.
    pub start: TimestampMs,
}

impl TimeSeries<'_> {
    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.samples.clear();
        self.exemplars.clear();
        self.histograms.clear();
        self.start = 0;
    }
}

/// Metadata of one metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireMetadata<'a> {
    /// The family.
    pub family: &'a str,
    /// Its type.
    pub metric_type: MetricType,
    /// Its help text.
    pub help: &'a str,
    /// Its unit.
    pub unit: &'a str,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A time series; [`read_series`] reads it.
    Series(&'a [u8]),
    /// Metadata; [`read_metadata`] reads it.
    Metadata(&'a [u8]),
}

/// Walks over the parts of a decompressed `WriteRequest`.
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Starts at the first part.
    pub fn new(message: &'a [u8]) -> Self {
        Parts { rest: message }
    }

    /// The next part, `None` at the end. Unknown fields are passed over, as protobuf demands.
    pub fn next_part(&mut self) -> Result<Option<Part<'a>>, DecodeError> {
        const WHAT: &str = "WriteRequest";
        while let Some((number, field)) = next_field(&mut self.rest, WHAT)? {
            match number {
                1 => return Ok(Some(Part::Series(wrong(bytes(&field), WHAT)?))),
                3 => return Ok(Some(Part::Metadata(wrong(bytes(&field), WHAT)?))),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn read_label(mut m: &[u8]) -> Result<(&str, &str), DecodeError> {
    let (mut name, mut value) = ("", "");
    while let Some((number, field)) = next_field(&mut m, "Label")? {
        match number {
            1 => name = utf8(wrong(bytes(&field), "Label")?, "a label name")?,
            2 => value = utf8(wrong(bytes(&field), "Label")?, "a label value")?,
            _ => {}
        }
    }
    Ok((name, value))
}

pub(super) fn read_sample(mut m: &[u8]) -> Result<(TimestampMs, f64), DecodeError> {
    let (mut t, mut v) = (0i64, 0.0);
    while let Some((number, field)) = next_field(&mut m, "Sample")? {
        match number {
            1 => v = wrong(double(&field), "Sample")?,
            2 => t = wrong(int(&field), "Sample")? as i64,
            _ => {}
        }
    }
    Ok((t, v))
}

fn read_exemplar(mut m: &[u8]) -> Result<WireExemplar<'_>, DecodeError> {
    let mut e = WireExemplar { labels: Vec::new(), value: 0.0, timestamp: 0 };
    while let Some((number, field)) = next_field(&mut m, "Exemplar")? {
        match number {
            1 => e.labels.push(read_label(wrong(bytes(&field), "Exemplar")?)?),
            2 => e.value = wrong(double(&field), "Exemplar")?,
            3 => e.timestamp = wrong(int(&field), "Exemplar")? as i64,
            _ => {}
        }
    }
    Ok(e)
}

/// Reads one time series into `out` (emptied first).
pub fn read_series<'a>(mut m: &'a [u8], out: &mut TimeSeries<'a>) -> Result<(), DecodeError> {
    const WHAT: &str = "TimeSeries";
    out.clear();
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            1 => out.labels.push(read_label(wrong(bytes(&field), WHAT)?)?),
            2 => out.samples.push(read_sample(wrong(bytes(&field), WHAT)?)?),
            3 => out.exemplars.push(read_exemplar(wrong(bytes(&field), WHAT)?)?),
            4 => out.histograms.push(read_histogram(wrong(bytes(&field), WHAT)?)?),
            _ => {}
        }
    }
    Ok(())
}

/// The part of a time series that holds its first fields if they are labels, and the rest. Senders write all labels first, and the same
/// bytes each time.
pub fn split_labels(m: &[u8]) -> (&[u8], &[u8]) {
    /// Field 1, bytes.
    const LABEL: u8 = 1 << 3 | 2;
    let mut rest = m;
    while let Some((&LABEL, mut body)) = rest.split_first() {
        let len = varint::take_u64(&mut body).and_then(|n| usize::try_from(n).ok());
        match len.and_then(|n| body.get(n..)) {
            Some(next) => rest = next,
            // Cut off: whoever reads it says so.
            None => break,
        }
    }
    m.split_at_checked(m.len() - rest.len()).unwrap_or((&[], m))
}

/// The type that 1.0 and 2.0 both mean by a number.
pub(super) fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Reads the metadata of one family.
pub fn read_metadata(mut m: &[u8]) -> Result<WireMetadata<'_>, DecodeError> {
    const WHAT: &str = "MetricMetadata";
    let mut out = WireMetadata { family: "", metric_type: MetricType::Unknown, help: "", unit: "" };
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            1 => {
                out.metric_type = metric_type(wrong(int(&field), WHAT)?);
            }
            2 => out.family = utf8(wrong(bytes(&field), WHAT)?, "a metric family name")?,
            4 => out.help = utf8(wrong(bytes(&field), WHAT)?, "a help text")?,
            5 => out.unit = utf8(wrong(bytes(&field), WHAT)?, "a unit")?,
            _ => {}
        }
    }
    Ok(out)
}

const HISTOGRAM: &str = "Histogram";

fn read_span(mut m: &[u8]) -> Result<Span, DecodeError> {
    let mut span = Span { offset: 0, length: 0 };
    while let Some((number, field)) = next_field(&mut m, "BucketSpan")? {
        match number {
            1 => span.offset = zigzag(wrong(int(&field), "BucketSpan")?) as i32,
            2 => span.length = wrong(int(&field), "BucketSpan")? as u32,
            _ => {}
        }
    }
    Ok(span)
}

/// Adds doubles, packed or single.
fn doubles(field: &Field<'_>, out: &mut Vec<f64>) -> Result<(), DecodeError> {
    if let Some(v) = double(field) {
        out.push(v);
        return Ok(());
    }
    let packed = wrong(bytes(field), HISTOGRAM)?;
    let (chunks, rest) = packed.as_chunks::<8>();
    out.extend(chunks.iter().map(|c| f64::from_le_bytes(*c)));
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Protobuf(HISTOGRAM)) }
}

/// Adds zigzag integers, packed or single.
fn deltas(field: &Field<'_>, out: &mut Vec<i64>) -> Result<(), DecodeError> {
    if let Some(v) = int(field) {
        out.push(zigzag(v));
        return Ok(());
    }
    let mut packed = wrong(bytes(field), HISTOGRAM)?;
    while !packed.is_empty() {
        out.push(wrong(varint::take_i64(&mut packed), HISTOGRAM)?);
    }
    Ok(())
}

/// Turns the deltas of integer histograms into counts.
fn counts(deltas: &[i64]) -> Vec<f64> {
    let mut sum = 0i64;
    deltas
        .iter()
        .map(|d| {
            sum = sum.saturating_add(*d);
            sum as f64
        })
        .collect()
}

pub(super) fn read_histogram(mut m: &[u8]) -> Result<(TimestampMs, FloatHistogram), DecodeError> {
    let mut h = FloatHistogram::default();
    let mut t = 0i64;
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    while let Some((number, f)) = next_field(&mut m, HISTOGRAM)? {
        match number {
            1 => h.count = wrong(int(&f), HISTOGRAM)? as f64,
            2 => h.count = wrong(double(&f), HISTOGRAM)?,
            3 => h.sum = wrong(double(&f), HISTOGRAM)?,
            4 => h.schema = zigzag(wrong(int(&f), HISTOGRAM)?) as i32,
            5 => h.zero_threshold = wrong(double(&f), HISTOGRAM)?,
            6 => h.zero_count = wrong(int(&f), HISTOGRAM)? as f64,
            7 => h.zero_count = wrong(double(&f), HISTOGRAM)?,
            8 => h.negative_spans.push(read_span(wrong(bytes(&f), HISTOGRAM)?)?),
            9 => deltas(&f, &mut negative)?,
            10 => doubles(&f, &mut h.negative_buckets)?,
            11 => h.positive_spans.push(read_span(wrong(bytes(&f), HISTOGRAM)?)?),
            12 => deltas(&f, &mut positive)?,
            13 => doubles(&f, &mut h.positive_buckets)?,
            14 => {
                h.counter_reset_hint = match wrong(int(&f), HISTOGRAM)? {
                    1 => CounterResetHint::Reset,
                    2 => CounterResetHint::NotReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                };
            }
            15 => t = wrong(int(&f), HISTOGRAM)? as i64,
            16 => doubles(&f, &mut h.custom_values)?,
            _ => {}
        }
    }
    if !negative.is_empty() {
        h.negative_buckets = counts(&negative);
    }
    if !positive.is_empty() {
        h.positive_buckets = counts(&positive);
    }
    for (spans, buckets) in [(&h.positive_spans, &h.positive_buckets), (&h.negative_spans, &h.negative_buckets)] {
        let length: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
        if length != buckets.len() as u64 {
            return Err(DecodeError::Protobuf("Histogram: spans and buckets differ in length"));
        }
    }
    Ok((t, h))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
        varint::put_u64(out, number << 3 | 2);
        varint::put_bytes(out, bytes);
    }

    fn double(out: &mut Vec<u8>, number: u64, v: f64) {
        varint::put_u64(out, number << 3 | 1);
        out.extend_from_slice(&v.to_le_bytes());
    }

    fn int(out: &mut Vec<u8>, number: u64, v: u64) {
        varint::put_u64(out, number << 3);
        varint::put_u64(out, v);
    }

    #[test]
    fn reads_a_series_and_metadata() {
        let mut label = Vec::new();
        field(&mut label, 1, b"__name__");
        field(&mut label, 2, b"up");
        let mut sample = Vec::new();
        double(&mut sample, 1, 1.5);
        int(&mut sample, 2, 1000);
        let (mut span, mut packed, mut histogram) = (Vec::new(), Vec::new(), Vec::new());
        int(&mut span, 1, 2);
        int(&mut span, 2, 3);
        for d in [3, -1, 4] {
            varint::put_i64(&mut packed, d);
        }
        int(&mut histogram, 1, 11);
        field(&mut histogram, 11, &span);
        field(&mut histogram, 12, &packed);
        int(&mut histogram, 15, 2000);
        let mut series = Vec::new();
        field(&mut series, 1, &label);
        field(&mut series, 2, &sample);
        field(&mut series, 4, &histogram);
        let mut metadata = Vec::new();
        int(&mut metadata, 1, 2);
        field(&mut metadata, 2, b"up");
        field(&mut metadata, 4, b"help");
        let mut request = Vec::new();
        field(&mut request, 1, &series);
        field(&mut request, 3, &metadata);
        let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        let mut plain = Vec::new();
        decompress(&body, 1 << 20, &mut plain).unwrap();
        assert!(matches!(decompress(&body, request.len() - 1, &mut Vec::new()), Err(DecodeError::TooLarge { .. })));

        let mut parts = Parts::new(&plain);
        let Some(Part::Series(bytes)) = parts.next_part().unwrap() else { panic!("no series") };
        let mut out = TimeSeries::default();
        read_series(bytes, &mut out).unwrap();
        assert_eq!(out.labels, [("__name__", "up")]);
        assert_eq!(out.samples, [(1000, 1.5)]);
        let (t, h) = &out.histograms[0];
        assert_eq!((*t, h.count, h.positive_spans[0].offset), (2000, 11.0, 1));
        assert_eq!(h.positive_buckets, [3.0, 2.0, 6.0]);
        let Some(Part::Metadata(bytes)) = parts.next_part().unwrap() else { panic!("no metadata") };
        let want = WireMetadata { family: "up", metric_type: MetricType::Gauge, help: "help", unit: "" };
        assert_eq!(read_metadata(bytes).unwrap(), want);
        assert_eq!(parts.next_part().unwrap(), None);
    }

    #[test]
    fn a_cut_message_is_refused_at_every_length() {
        let mut label = Vec::new();
        field(&mut label, 1, b"name");
        let mut series = Vec::new();
        field(&mut series, 1, &label);
        for n in 1..series.len() {
            assert!(read_series(&series[..n], &mut TimeSeries::default()).is_err(), "{n}");
        }
    }
}
