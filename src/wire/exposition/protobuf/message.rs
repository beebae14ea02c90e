//! The messages of `metrics.proto`, read without copying texts.

use super::histogram::NativePart;
use crate::model::{MetricType, TimestampMs};
use crate::wire::protobuf::{Field, ProtobufError, next_field};

/// `MetricFamily`.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    pub name: &'a str,
    pub help: Option<&'a str>,
    pub unit: Option<&'a str>,
    pub metric_type: MetricType,
    pub metrics: Vec<Metric<'a>>,
}

/// `Metric`, whatever its kind.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub labels: Vec<(&'a str, &'a str)>,
    pub timestamp: Option<TimestampMs>,
    /// `created_timestamp` of its kind.
    pub start: Option<TimestampMs>,
    /// Of gauges, counters and untyped ones.
    pub value: f64,
    /// Of a counter.
    pub exemplar: Option<WireExemplar<'a>>,
    /// Of summaries and histograms.
    pub count: f64,
    /// Of summaries and histograms.
    pub sum: f64,
    pub quantiles: Vec<(f64, f64)>,
    pub buckets: Vec<Bucket<'a>>,
    pub native: NativePart<'a>,
}

/// `Bucket` of a classic histogram.
#[derive(Debug, Default)]
pub(super) struct Bucket<'a> {
    /// Cumulative.
    pub count: f64,
    pub upper_bound: f64,
    pub exemplar: Option<WireExemplar<'a>>,
}

/// `Exemplar`.
#[derive(Debug, Default)]
pub(super) struct WireExemplar<'a> {
    pub labels: Vec<(&'a str, &'a str)>,
    pub value: f64,
    pub timestamp: Option<TimestampMs>,
}

pub(super) fn bytes<'a>(field: Field<'a>) -> Result<&'a [u8], ProtobufError> {
    match field {
        Field::Bytes(b) => Ok(b),
        Field::Varint(_) | Field::Fixed64(_) | Field::Fixed32(_) => Err(ProtobufError::WireType),
    }
}

pub(super) fn integer(field: Field<'_>) -> Result<u64, ProtobufError> {
    match field {
        Field::Varint(v) => Ok(v),
        Field::Bytes(_) | Field::Fixed64(_) | Field::Fixed32(_) => Err(ProtobufError::WireType),
    }
}

pub(super) fn double(field: Field<'_>) -> Result<f64, ProtobufError> {
    match field {
        Field::Fixed64(bits) => Ok(f64::from_bits(bits)),
        Field::Varint(_) | Field::Bytes(_) | Field::Fixed32(_) => Err(ProtobufError::WireType),
    }
}

fn text<'a>(field: Field<'a>, what: &'static str) -> Result<&'a str, ProtobufError> {
    std::str::from_utf8(bytes(field)?).map_err(|_| ProtobufError::Utf8(what))
}

/// Gives the fields of a message in order.
pub(super) fn each_field<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), ProtobufError>,
) -> Result<(), ProtobufError> {
    while let Some((number, field)) = next_field(&mut message)? {
        each(number, field)?;
    }
    Ok(())
}

pub(super) fn read_family(message: &[u8]) -> Result<Family<'_>, ProtobufError> {
    // The first value of the enumeration is the default, and is not written.
    let mut family = Family { metric_type: MetricType::Counter, ..Family::default() };
    each_field(message, |number, field| {
        match number {
            1 => family.name = text(field, "a metric name")?,
            2 => family.help = Some(text(field, "a help text")?),
            3 => {
                family.metric_type = match integer(field)? {
                    0 => MetricType::Counter,
                    1 => MetricType::Gauge,
                    2 => MetricType::Summary,
                    4 => MetricType::Histogram,
                    5 => MetricType::GaugeHistogram,
                    _ => MetricType::Unknown,
                }
            }
            4 => family.metrics.push(read_metric(bytes(field)?)?),
            5 => family.unit = Some(text(field, "a unit")?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(family)
}

fn read_metric(message: &[u8]) -> Result<Metric<'_>, ProtobufError> {
    let mut m = Metric::default();
    each_field(message, |number, field| {
        match number {
            1 => m.labels.push(read_label(bytes(field)?)?),
            2 | 5 => each_field(bytes(field)?, |number, field| {
                if number == 1 {
                    m.value = double(field)?;
                }
                Ok(())
            })?,
            3 => each_field(bytes(field)?, |number, field| {
                match number {
                    1 => m.value = double(field)?,
                    2 => m.exemplar = Some(read_exemplar(bytes(field)?)?),
                    3 => m.start = Some(read_timestamp(bytes(field)?)?),
                    _ => {}
                }
                Ok(())
            })?,
            4 => each_field(bytes(field)?, |number, field| {
                match number {
                    1 => m.count = integer(field)? as f64,
                    2 => m.sum = double(field)?,
                    3 => m.quantiles.push(read_quantile(bytes(field)?)?),
                    4 => m.start = Some(read_timestamp(bytes(field)?)?),
                    _ => {}
                }
                Ok(())
            })?,
            6 => m.timestamp = Some(integer(field)? as i64).filter(|t| *t != 0),
            7 => each_field(bytes(field)?, |number, field| read_histogram_field(&mut m, number, field))?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(m)
}

fn read_histogram_field<'a>(m: &mut Metric<'a>, number: u64, field: Field<'a>) -> Result<(), ProtobufError> {
    match number {
        1 => m.count = m.count.max(integer(field)? as f64),
        2 => m.sum = double(field)?,
        3 => m.buckets.push(read_bucket(bytes(field)?)?),
        4 => {
            let count = double(field)?;
            m.native.float = count > 0.0;
            m.count = if count > 0.0 { count } else { m.count };
        }
        15 => m.start = Some(read_timestamp(bytes(field)?)?),
        16 => m.native.exemplars.push(read_exemplar(bytes(field)?)?),
        _ => m.native.read_field(number, field)?,
    }
    Ok(())
}

fn read_label(message: &[u8]) -> Result<(&str, &str), ProtobufError> {
    let mut label = ("", "");
    each_field(message, |number, field| {
        match number {
            1 => label.0 = text(field, "a label name")?,
            2 => label.1 = text(field, "a label value")?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(label)
}

fn read_quantile(message: &[u8]) -> Result<(f64, f64), ProtobufError> {
    let mut quantile = (0.0, 0.0);
    each_field(message, |number, field| {
        match number {
            1 => quantile.0 = double(field)?,
            2 => quantile.1 = double(field)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(quantile)
}

fn read_bucket(message: &[u8]) -> Result<Bucket<'_>, ProtobufError> {
    let mut bucket = Bucket::default();
    each_field(message, |number, field| {
        match number {
            1 => bucket.count = bucket.count.max(integer(field)? as f64),
            2 => bucket.upper_bound = double(field)?,
            3 => bucket.exemplar = Some(read_exemplar(bytes(field)?)?),
            4 => bucket.count = Some(double(field)?).filter(|c| *c > 0.0).unwrap_or(bucket.count),
            _ => {}
        }
        Ok(())
    })?;
    Ok(bucket)
}

fn read_exemplar(message: &[u8]) -> Result<WireExemplar<'_>, ProtobufError> {
    let mut e = WireExemplar::default();
    each_field(message, |number, field| {
        match number {
            1 => e.labels.push(read_label(bytes(field)?)?),
            2 => e.value = double(field)?,
            3 => e.timestamp = Some(read_timestamp(bytes(field)?)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(e)
}

/// `google.protobuf.Timestamp` in milliseconds.
fn read_timestamp(message: &[u8]) -> Result<TimestampMs, ProtobufError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    each_field(message, |number, field| {
        match number {
            1 => seconds = integer(field)? as i64,
            2 => nanos = integer(field)? as i64,
            _ => {}
        }
        Ok(())
    })?;
    let ms = seconds.checked_mul(1000).and_then(|ms| ms.checked_add(nanos.div_euclid(1_000_000)));
    ms.ok_or(ProtobufError::Range("a timestamp"))
}
