//! The JSON form: lower camel case, ids in hexadecimal, 64-bit numbers as texts or numbers, enumerations as numbers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::{AnyValue, LogRecord, OtlpError, ResourceLogs, ScopeLogs};
use crate::wire::json_text::Text;
use crate::wire::otlp_value::{JsonValue, KeyValue, attributes, id};

/// Reads the JSON form of `ExportLogsServiceRequest`. Unknown keys are passed over; depth is bounded by the parser (128).
pub fn decode_json(body: &[u8]) -> Result<Vec<ResourceLogs<'_>>, OtlpError> {
    let request: Request<'_> = serde_json::from_slice(body).map_err(|e| OtlpError::Json(e.to_string()))?;
    Ok(request.resource_logs.into_iter().flatten().map(ResourceLogs::from).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_logs: Option<Vec<JsonResourceLogs<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceLogs<'a> {
    #[serde(borrow)]
    resource: Option<JsonResource<'a>>,
    scope_logs: Option<Vec<JsonScopeLogs<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct JsonResource<'a> {
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'a>>>,
    dropped_attributes_count: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeLogs<'a> {
    #[serde(borrow)]
    scope: Option<JsonScope<'a>>,
    log_records: Option<Vec<JsonRecord<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct JsonScope<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    version: Option<Text<'a>>,
    attributes: Option<Vec<KeyValue<'a>>>,
    dropped_attributes_count: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRecord<'a> {
    time_unix_nano: Option<Number>,
    observed_time_unix_nano: Option<Number>,
    severity_number: Option<Number>,
    #[serde(borrow)]
    severity_text: Option<Text<'a>>,
    body: Option<JsonValue<'a>>,
    attributes: Option<Vec<KeyValue<'a>>>,
    dropped_attributes_count: Option<u32>,
    flags: Option<u32>,
    trace_id: Option<Text<'a>>,
    span_id: Option<Text<'a>>,
    event_name: Option<Text<'a>>,
}

fn text(value: Option<Text<'_>>) -> Cow<'_, str> {
    value.unwrap_or_default().0
}

impl<'a> From<JsonResourceLogs<'a>> for ResourceLogs<'a> {
    fn from(r: JsonResourceLogs<'a>) -> Self {
        let resource = r.resource.unwrap_or_default();
        ResourceLogs {
            attributes: attributes(resource.attributes),
            dropped_attributes: resource.dropped_attributes_count.unwrap_or(0),
            scopes: r.scope_logs.into_iter().flatten().map(ScopeLogs::from).collect(),
        }
    }
}

impl<'a> From<JsonScopeLogs<'a>> for ScopeLogs<'a> {
    fn from(s: JsonScopeLogs<'a>) -> Self {
        let scope = s.scope.unwrap_or_default();
        ScopeLogs {
            name: text(scope.name),
            version: text(scope.version),
            attributes: attributes(scope.attributes),
            dropped_attributes: scope.dropped_attributes_count.unwrap_or(0),
            records: s.log_records.into_iter().flatten().map(LogRecord::from).collect(),
        }
    }
}

impl<'a> From<JsonRecord<'a>> for LogRecord<'a> {
    fn from(r: JsonRecord<'a>) -> Self {
        let number = |n: Option<Number>| n.map_or(0, |n| n.0);
        LogRecord {
            time_ns: number(r.time_unix_nano),
            observed_ns: number(r.observed_time_unix_nano),
            severity_number: i32::try_from(number(r.severity_number)).unwrap_or(0),
            severity_text: text(r.severity_text),
            body: r.body.map_or(AnyValue::Empty, |v| v.0),
            attributes: attributes(r.attributes),
            dropped_attributes: r.dropped_attributes_count.unwrap_or(0),
            flags: r.flags.unwrap_or(0),
            trace_id: id(&text(r.trace_id)),
            span_id: id(&text(r.span_id)),
            event_name: text(r.event_name),
        }
    }
}

/// A number that is not negative, as a number or as its digits in a text.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or its digits in a string")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v as u64))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                v.parse().map(Number).map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        d.deserialize_any(NumberVisitor)
    }
}
