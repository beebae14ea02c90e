//! The JSON form: lower camel case, ids in hexadecimal, 64-bit numbers as texts or numbers, enumerations as numbers or names.

use serde::Deserialize;
use serde_json::Value;

use super::protobuf::shown;
use super::{
    Attributes, Buckets, Data, ExponentialPoint, Head, HistogramPoint, Metric, NumberPoint, OtlpMetricsError,
    PointExemplar, ResourceMetrics, SummaryPoint, Temporality,
};
use crate::wire::otlp_value::{KeyValue, id};

/// Reads the JSON form of `ExportMetricsServiceRequest`. Unknown keys are passed over; depth is bounded by the parser (128).
pub fn decode_json(body: &[u8]) -> Result<Vec<ResourceMetrics>, OtlpMetricsError> {
    let request: Value = serde_json::from_slice(body).map_err(|e| OtlpMetricsError::Json(e.to_string()))?;
    if !request.is_object() {
        return Err(OtlpMetricsError::Json("an object with resourceMetrics is wanted".to_owned()));
    }
    Ok(list(&request, "resourceMetrics").map(resource_metrics).collect())
}

fn list<'a>(v: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    v.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number that is not negative.
fn whole(v: &Value) -> u64 {
    match v {
        Value::String(s) => s.parse().unwrap_or(0),
        other => other.as_u64().or_else(|| other.as_f64().map(|f| f as u64)).unwrap_or(0),
    }
}

fn whole_at(v: &Value, key: &str) -> u64 {
    v.get(key).map_or(0, whole)
}

/// Any number; `NaN` and infinities are texts.
fn float(v: &Value) -> f64 {
    match v {
        Value::String(s) => s.parse().unwrap_or(f64::NAN),
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

fn resource_metrics(v: &Value) -> ResourceMetrics {
    let resource = v.get("resource").unwrap_or(&Value::Null);
    ResourceMetrics {
        attributes: attributes(resource, "attributes"),
        metrics: list(v, "scopeMetrics").flat_map(|s| list(s, "metrics")).map(metric).collect(),
    }
}

fn metric(v: &Value) -> Metric {
    let data = if let Some(d) = v.get("gauge") {
        Data::Gauge(points(d).map(number_point).collect())
    } else if let Some(d) = v.get("sum") {
        let monotonic = d.get("isMonotonic").and_then(Value::as_bool).unwrap_or(false);
        Data::Sum(points(d).map(number_point).collect(), temporality(d), monotonic)
    } else if let Some(d) = v.get("histogram") {
        Data::Histogram(points(d).map(histogram_point).collect(), temporality(d))
    } else if let Some(d) = v.get("exponentialHistogram") {
        Data::Exponential(points(d).map(exponential_point).collect(), temporality(d))
    } else if let Some(d) = v.get("summary") {
        Data::Summary(points(d).map(summary_point).collect())
    } else {
        Data::None
    };
    let string = |key: &str| text(v, key).to_owned();
    Metric { name: string("name"), description: string("description"), unit: string("unit"), data }
}

fn points(v: &Value) -> impl Iterator<Item = &Value> {
    list(v, "dataPoints")
}

fn temporality(v: &Value) -> Temporality {
    match v.get("aggregationTemporality") {
        Some(Value::String(s)) if s == "AGGREGATION_TEMPORALITY_DELTA" => Temporality::Delta,
        Some(Value::String(s)) if s == "AGGREGATION_TEMPORALITY_CUMULATIVE" => Temporality::Cumulative,
        Some(n) => Temporality::of(whole(n)),
        None => Temporality::Unspecified,
    }
}

fn head(v: &Value) -> Head {
    Head {
        attributes: attributes(v, "attributes"),
        start_ns: whole_at(v, "startTimeUnixNano"),
        time_ns: whole_at(v, "timeUnixNano"),
        flags: whole_at(v, "flags") as u32,
    }
}

/// `asInt` or `asDouble`.
fn value(v: &Value) -> f64 {
    v.get("asDouble").or_else(|| v.get("asInt")).map_or(0.0, float)
}

fn number_point(v: &Value) -> NumberPoint {
    NumberPoint { head: head(v), value: value(v), exemplars: exemplars(v) }
}

fn histogram_point(v: &Value) -> HistogramPoint {
    HistogramPoint {
        head: head(v),
        count: whole_at(v, "count"),
        sum: v.get("sum").map(float),
        bucket_counts: list(v, "bucketCounts").map(whole).collect(),
        bounds: list(v, "explicitBounds").map(float).collect(),
        exemplars: exemplars(v),
    }
}

fn exponential_point(v: &Value) -> ExponentialPoint {
    let buckets = |key: &str| {
        let b = v.get(key).unwrap_or(&Value::Null);
        Buckets {
            offset: b.get("offset").and_then(Value::as_i64).unwrap_or(0) as i32,
            counts: list(b, "bucketCounts").map(whole).collect(),
        }
    };
    ExponentialPoint {
        head: head(v),
        count: whole_at(v, "count"),
        sum: v.get("sum").map(float),
        scale: v.get("scale").and_then(Value::as_i64).unwrap_or(0) as i32,
        zero_count: whole_at(v, "zeroCount"),
        zero_threshold: v.get("zeroThreshold").map_or(0.0, float),
        positive: buckets("positive"),
        negative: buckets("negative"),
        exemplars: exemplars(v),
    }
}

fn summary_point(v: &Value) -> SummaryPoint {
    let number = |v: &Value, key: &str| v.get(key).map_or(0.0, float);
    SummaryPoint {
        head: head(v),
        count: whole_at(v, "count"),
        sum: number(v, "sum"),
        quantiles: list(v, "quantileValues").map(|q| (number(q, "quantile"), number(q, "value"))).collect(),
    }
}

fn exemplars(v: &Value) -> Vec<PointExemplar> {
    let one = |e: &Value| PointExemplar {
        attributes: attributes(e, "filteredAttributes"),
        time_ns: whole_at(e, "timeUnixNano"),
        value: value(e),
        trace_id: id(text(e, "traceId")),
        span_id: id(text(e, "spanId")),
    };
    list(v, "exemplars").map(one).collect()
}

/// What cannot be read is left out, as what is empty makes no label.
fn attributes(v: &Value, key: &str) -> Attributes {
    let pair = |a| {
        KeyValue::deserialize(a).ok().map(|p| (p.key.0.into_owned(), p.value.map_or_else(String::new, |v| shown(v.0))))
    };
    list(v, key).filter_map(pair).collect()
}
