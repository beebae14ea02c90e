//! Logs of OpenTelemetry's protocol: `ExportLogsServiceRequest` as protobuf and as JSON
//! (opentelemetry.io/docs/specs/otlp, opentelemetry-proto `logs/v1/logs.proto`), and what is answered.

mod json;
mod protobuf;
mod response;

use std::borrow::Cow;

pub use json::decode_json;
pub use protobuf::decode_protobuf;
pub use response::{Refused, Status, response_json, response_protobuf, status_json, status_protobuf};

use crate::wire::otlp_value::{AnyValue, Attributes};
use crate::wire::protobuf::ProtobufError;

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// Not the JSON expected.
    #[error("OTLP request is not valid JSON: {0}")]
    Json(String),
    /// Not a protobuf message of this form.
    #[error("OTLP request is not a valid protobuf message: {0}")]
    Protobuf(#[from] ProtobufError),
}

/// The records of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceLogs<'a> {
    /// What the resource is.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
    /// Its records, by what made them.
    pub scopes: Vec<ScopeLogs<'a>>,
}

/// The records of one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeLogs<'a> {
    /// The scope's name, often that of the logger or library.
    pub name: Cow<'a, str>,
    /// Its version.
    pub version: Cow<'a, str>,
    /// What else is said of it.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
    /// The records.
    pub records: Vec<LogRecord<'a>>,
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRecord<'a> {
    /// When it happened, in nanoseconds since the epoch; 0 if that is not known.
    pub time_ns: u64,
    /// When it was seen; 0 if that is not known.
    pub observed_ns: u64,
    /// From 1 (trace) to 24 (fatal); 0 if there is none.
    pub severity_number: i32,
    /// The source's own word for it.
    pub severity_text: Cow<'a, str>,
    /// The message.
    pub body: AnyValue<'a>,
    /// What else is said.
    pub attributes: Attributes<'a>,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
    /// W3C trace flags in the lowest byte.
    pub flags: u32,
    /// In hexadecimal, empty if there is none.
    pub trace_id: String,
    /// In hexadecimal, empty if there is none.
    pub span_id: String,
    /// The kind of event, for records that are events.
    pub event_name: Cow<'a, str>,
}

#[cfg(test)]
mod tests;
