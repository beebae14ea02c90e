//! The protobuf form; field numbers are those of opentelemetry-proto.

use super::{LogRecord, OtlpError, ResourceLogs, ScopeLogs};
use crate::wire::otlp_value::{any_value, hex, key_value};
use crate::wire::protobuf::{Field, ProtobufError, next_field};

/// Reads `ExportLogsServiceRequest`: (1) the logs of each resource. Unknown fields are passed over.
pub fn decode_protobuf(mut body: &[u8]) -> Result<Vec<ResourceLogs<'_>>, OtlpError> {
    let mut resources = Vec::new();
    while let Some((number, field)) = next_field(&mut body)? {
        if let (1, Field::Bytes(message)) = (number, field) {
            resources.push(resource_logs(message)?);
        }
    }
    Ok(resources)
}

fn resource_logs(mut message: &[u8]) -> Result<ResourceLogs<'_>, ProtobufError> {
    let mut out = ResourceLogs::default();
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(mut resource)) => {
                while let Some((number, field)) = next_field(&mut resource)? {
                    match (number, field) {
                        (1, Field::Bytes(pair)) => out.attributes.push(key_value(pair, 0)?),
                        (2, Field::Varint(n)) => out.dropped_attributes = n as u32,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(scope)) => out.scopes.push(scope_logs(scope)?),
            _ => {}
        }
    }
    Ok(out)
}

fn scope_logs(mut message: &[u8]) -> Result<ScopeLogs<'_>, ProtobufError> {
    let mut out = ScopeLogs::default();
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(mut scope)) => {
                while let Some((number, field)) = next_field(&mut scope)? {
                    match (number, field) {
                        (1, Field::Bytes(name)) => out.name = String::from_utf8_lossy(name),
                        (2, Field::Bytes(version)) => out.version = String::from_utf8_lossy(version),
                        (3, Field::Bytes(pair)) => out.attributes.push(key_value(pair, 0)?),
                        (4, Field::Varint(n)) => out.dropped_attributes = n as u32,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(record)) => out.records.push(log_record(record)?),
            _ => {}
        }
    }
    Ok(out)
}

fn log_record(mut message: &[u8]) -> Result<LogRecord<'_>, ProtobufError> {
    let mut out = LogRecord::default();
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Fixed64(t)) => out.time_ns = t,
            (2, Field::Varint(n)) => out.severity_number = n as i32,
            (3, Field::Bytes(text)) => out.severity_text = String::from_utf8_lossy(text),
            (5, Field::Bytes(body)) => out.body = any_value(body, 0)?,
            (6, Field::Bytes(pair)) => out.attributes.push(key_value(pair, 0)?),
            (7, Field::Varint(n)) => out.dropped_attributes = n as u32,
            (8, Field::Fixed32(flags)) => out.flags = flags,
            (9, Field::Bytes(id)) => out.trace_id = hex(id),
            (10, Field::Bytes(id)) => out.span_id = hex(id),
            (11, Field::Fixed64(t)) => out.observed_ns = t,
            (12, Field::Bytes(name)) => out.event_name = String::from_utf8_lossy(name),
            _ => {}
        }
    }
    Ok(out)
}
