//! The protobuf form; field numbers are those of opentelemetry-proto.

use super::{
    Attributes, Buckets, Data, ExponentialPoint, HistogramPoint, Metric, NumberPoint, OtlpMetricsError, PointExemplar,
    ResourceMetrics, SummaryPoint, Temporality,
};
use crate::disk::varint::take_u64;
use crate::wire::otlp_value::{AnyValue, hex, key_value};
use crate::wire::protobuf::{Field, ProtobufError, next_field};

type Decoded<T> = Result<T, ProtobufError>;

/// Reads `ExportMetricsServiceRequest`. Unknown fields are passed over.
pub fn decode_protobuf(mut body: &[u8]) -> Result<Vec<ResourceMetrics>, OtlpMetricsError> {
    let mut out = Vec::new();
    while let Some(field) = next_field(&mut body)? {
        if let (1, Field::Bytes(m)) = field {
            out.push(resource_metrics(m)?);
        }
    }
    Ok(out)
}

fn resource_metrics(mut m: &[u8]) -> Decoded<ResourceMetrics> {
    let mut out = ResourceMetrics::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Bytes(mut resource)) => {
                while let Some(field) = next_field(&mut resource)? {
                    if let (1, Field::Bytes(pair)) = field {
                        attribute(pair, &mut out.attributes)?;
                    }
                }
            }
            (2, Field::Bytes(mut scope)) => {
                while let Some(field) = next_field(&mut scope)? {
                    if let (2, Field::Bytes(one)) = field {
                        out.metrics.push(metric(one)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn metric(mut m: &[u8]) -> Decoded<Metric> {
    let mut out = Metric::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Bytes(b)) => out.name = text(b),
            (2, Field::Bytes(b)) => out.description = text(b),
            (3, Field::Bytes(b)) => out.unit = text(b),
            (5, Field::Bytes(b)) => out.data = Data::Gauge(points(b, number_point)?.0),
            (7, Field::Bytes(b)) => {
                let (points, temporality, monotonic) = points(b, number_point)?;
                out.data = Data::Sum(points, temporality, monotonic);
            }
            (9, Field::Bytes(b)) => {
                let (points, temporality, _) = points(b, histogram_point)?;
                out.data = Data::Histogram(points, temporality);
            }
            (10, Field::Bytes(b)) => {
                let (points, temporality, _) = points(b, exponential_point)?;
                out.data = Data::Exponential(points, temporality);
            }
            (11, Field::Bytes(b)) => out.data = Data::Summary(points(b, summary_point)?.0),
            _ => {}
        }
    }
    Ok(out)
}

/// All kinds of data have their points in (1), the temporality in (2) and, for sums, whether they only rise in (3).
fn points<T>(mut m: &[u8], read: fn(&[u8]) -> Decoded<T>) -> Decoded<(Vec<T>, Temporality, bool)> {
    let (mut all, mut temporality, mut monotonic) = (Vec::new(), Temporality::Unspecified, false);
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Bytes(b)) => all.push(read(b)?),
            (2, Field::Varint(v)) => temporality = Temporality::of(v),
            (3, Field::Varint(v)) => monotonic = v != 0,
            _ => {}
        }
    }
    Ok((all, temporality, monotonic))
}

fn number_point(mut m: &[u8]) -> Decoded<NumberPoint> {
    let mut out = NumberPoint::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (2, Field::Fixed64(t)) => out.head.start_ns = t,
            (3, Field::Fixed64(t)) => out.head.time_ns = t,
            (4, Field::Fixed64(bits)) => out.value = f64::from_bits(bits),
            (5, Field::Bytes(b)) => out.exemplars.push(exemplar(b)?),
            (6, Field::Fixed64(v)) => out.value = v as i64 as f64,
            (7, Field::Bytes(b)) => attribute(b, &mut out.head.attributes)?,
            (8, Field::Varint(v)) => out.head.flags = v as u32,
            _ => {}
        }
    }
    Ok(out)
}

/// Adds eight-byte numbers, packed or single.
fn fixed<T>(field: &Field<'_>, out: &mut Vec<T>, read: fn(u64) -> T) -> Decoded<()> {
    match field {
        Field::Fixed64(v) => out.push(read(*v)),
        Field::Bytes(b) => {
            let (whole, rest) = b.as_chunks::<8>();
            out.extend(whole.iter().map(|c| read(u64::from_le_bytes(*c))));
            if !rest.is_empty() {
                return Err(ProtobufError::Cut);
            }
        }
        Field::Varint(_) | Field::Fixed32(_) => {}
    }
    Ok(())
}

fn histogram_point(mut m: &[u8]) -> Decoded<HistogramPoint> {
    let mut out = HistogramPoint::default();
    while let Some((number, field)) = next_field(&mut m)? {
        match (number, &field) {
            (2, Field::Fixed64(t)) => out.head.start_ns = *t,
            (3, Field::Fixed64(t)) => out.head.time_ns = *t,
            (4, Field::Fixed64(n)) => out.count = *n,
            (5, Field::Fixed64(bits)) => out.sum = Some(f64::from_bits(*bits)),
            (6, f) => fixed(f, &mut out.bucket_counts, |v| v)?,
            (7, f) => fixed(f, &mut out.bounds, f64::from_bits)?,
            (8, Field::Bytes(b)) => out.exemplars.push(exemplar(b)?),
            (9, Field::Bytes(b)) => attribute(b, &mut out.head.attributes)?,
            (10, Field::Varint(v)) => out.head.flags = *v as u32,
            _ => {}
        }
    }
    Ok(out)
}

fn zigzag(v: u64) -> i32 {
    (((v >> 1) as i64) ^ -((v & 1) as i64)) as i32
}

fn exponential_point(mut m: &[u8]) -> Decoded<ExponentialPoint> {
    let mut out = ExponentialPoint::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Bytes(b)) => attribute(b, &mut out.head.attributes)?,
            (2, Field::Fixed64(t)) => out.head.start_ns = t,
            (3, Field::Fixed64(t)) => out.head.time_ns = t,
            (4, Field::Fixed64(n)) => out.count = n,
            (5, Field::Fixed64(bits)) => out.sum = Some(f64::from_bits(bits)),
            (6, Field::Varint(v)) => out.scale = zigzag(v),
            (7, Field::Fixed64(n)) => out.zero_count = n,
            (8, Field::Bytes(b)) => out.positive = buckets(b)?,
            (9, Field::Bytes(b)) => out.negative = buckets(b)?,
            (10, Field::Varint(v)) => out.head.flags = v as u32,
            (11, Field::Bytes(b)) => out.exemplars.push(exemplar(b)?),
            (14, Field::Fixed64(bits)) => out.zero_threshold = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok(out)
}

fn buckets(mut m: &[u8]) -> Decoded<Buckets> {
    let mut out = Buckets::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Varint(v)) => out.offset = zigzag(v),
            (2, Field::Varint(v)) => out.counts.push(v),
            (2, Field::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    out.counts.push(take_u64(&mut packed).ok_or(ProtobufError::Cut)?);
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

fn summary_point(mut m: &[u8]) -> Decoded<SummaryPoint> {
    let mut out = SummaryPoint::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (2, Field::Fixed64(t)) => out.head.start_ns = t,
            (3, Field::Fixed64(t)) => out.head.time_ns = t,
            (4, Field::Fixed64(n)) => out.count = n,
            (5, Field::Fixed64(bits)) => out.sum = f64::from_bits(bits),
            (6, Field::Bytes(mut b)) => {
                let (mut quantile, mut value) = (0.0, 0.0);
                while let Some(field) = next_field(&mut b)? {
                    match field {
                        (1, Field::Fixed64(bits)) => quantile = f64::from_bits(bits),
                        (2, Field::Fixed64(bits)) => value = f64::from_bits(bits),
                        _ => {}
                    }
                }
                out.quantiles.push((quantile, value));
            }
            (7, Field::Bytes(b)) => attribute(b, &mut out.head.attributes)?,
            (8, Field::Varint(v)) => out.head.flags = v as u32,
            _ => {}
        }
    }
    Ok(out)
}

fn exemplar(mut m: &[u8]) -> Decoded<PointExemplar> {
    let mut out = PointExemplar::default();
    while let Some(field) = next_field(&mut m)? {
        match field {
            (2, Field::Fixed64(t)) => out.time_ns = t,
            (3, Field::Fixed64(bits)) => out.value = f64::from_bits(bits),
            (4, Field::Bytes(id)) => out.span_id = hex(id),
            (5, Field::Bytes(id)) => out.trace_id = hex(id),
            (6, Field::Fixed64(v)) => out.value = v as i64 as f64,
            (7, Field::Bytes(b)) => attribute(b, &mut out.attributes)?,
            _ => {}
        }
    }
    Ok(out)
}

fn attribute(pair: &[u8], out: &mut Attributes) -> Decoded<()> {
    let (key, value) = key_value(pair, 0)?;
    out.push((key.into_owned(), shown(value)));
    Ok(())
}

/// A value as label: texts as they are, lists and maps as JSON.
pub(super) fn shown(mut value: AnyValue<'_>) -> String {
    value.sort();
    value.text().into_owned()
}
