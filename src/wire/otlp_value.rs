//! Values of any type, as the attributes of OpenTelemetry's messages and the bodies of its logs hold them.

mod json;

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;

pub(super) use json::{JsonValue, KeyValue, attributes, id};

use super::protobuf::{Field, ProtobufError, next_field};
use crate::model::sample::format_value;

/// How deep lists and maps may be nested.
const MAX_DEPTH: usize = 64;

/// Names and values, in the order sent.
pub type Attributes<'a> = Vec<(Cow<'a, str>, AnyValue<'a>)>;

/// `AnyValue` of opentelemetry-proto `common.proto`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnyValue<'a> {
    /// No value.
    #[default]
    Empty,
    /// A text.
    Text(Cow<'a, str>),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Double(f64),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Values in a row.
    List(Vec<AnyValue<'a>>),
    /// Values by name.
    Map(Attributes<'a>),
}

impl<'a> AnyValue<'a> {
    /// The value as text: texts as they are, bytes in base64, lists and maps as JSON.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            AnyValue::Empty => Cow::Borrowed(""),
            AnyValue::Text(t) => Cow::Borrowed(t),
            AnyValue::Bytes(b) => Cow::Owned(base64::engine::general_purpose::STANDARD.encode(b)),
            AnyValue::Double(d) => Cow::Owned(format_value(*d)),
            AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::List(_) | AnyValue::Map(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                Cow::Owned(out)
            }
        }
    }

    /// Depth is bounded by the decoders.
    fn write_json(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _infallible = match self {
            AnyValue::Empty => out.write_str("null"),
            AnyValue::Bool(b) => write!(out, "{b}"),
            AnyValue::Int(i) => write!(out, "{i}"),
            AnyValue::Double(d) if d.is_finite() => out.write_str(&format_value(*d)),
            // JSON has no infinities; they are texts there.
            AnyValue::Double(d) => write!(out, "\"{}\"", format_value(*d)),
            AnyValue::Text(t) => write!(out, "{}", serde_json::Value::from(t.as_ref())),
            AnyValue::Bytes(_) => write!(out, "\"{}\"", self.text()),
            AnyValue::List(values) => {
                out.push('[');
                for (i, v) in values.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    v.write_json(out);
                }
                out.write_str("]")
            }
            AnyValue::Map(pairs) => {
                out.push('{');
                for (i, (n, v)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    let _infallible = write!(out, "{}:", serde_json::Value::from(n.as_ref()));
                    v.write_json(out);
                }
                out.write_str("}")
            }
        };
    }

    /// Puts the names of maps in order, so that the same map gives the same text.
    pub fn sort(&mut self) {
        match self {
            AnyValue::Map(pairs) => {
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs.iter_mut().for_each(|(_, v)| v.sort());
            }
            AnyValue::List(values) => values.iter_mut().for_each(AnyValue::sort),
            _ => {}
        }
    }

    /// Calls `take` for the value under `name`; of a map for each value in it, names joined by underscores, as Loki does.
    pub fn flatten(&self, name: &str, take: &mut impl FnMut(&str, &str)) {
        match self {
            AnyValue::Map(pairs) => {
                for (inner, value) in pairs {
                    value.flatten(&format!("{name}_{inner}"), take);
                }
            }
            AnyValue::Empty => {}
            other => take(name, &other.text()),
        }
    }
}

/// An id in hexadecimal, lower case; an id of zeros is none.
pub(super) fn hex(id: &[u8]) -> String {
    if id.iter().all(|b| *b == 0) {
        return String::new();
    }
    let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'a' + n - 10 });
    id.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Reads a `KeyValue`.
pub(super) fn key_value(mut message: &[u8], depth: usize) -> Result<(Cow<'_, str>, AnyValue<'_>), ProtobufError> {
    let (mut key, mut value) = (Cow::Borrowed(""), AnyValue::Empty);
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(text)) => key = String::from_utf8_lossy(text),
            (2, Field::Bytes(inner)) => value = any_value(inner, depth + 1)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Reads an `AnyValue`.
pub(super) fn any_value(mut message: &[u8], depth: usize) -> Result<AnyValue<'_>, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let mut value = AnyValue::Empty;
    while let Some((number, field)) = next_field(&mut message)? {
        value = match (number, field) {
            (1, Field::Bytes(text)) => AnyValue::Text(String::from_utf8_lossy(text)),
            (2, Field::Varint(b)) => AnyValue::Bool(b != 0),
            (3, Field::Varint(i)) => AnyValue::Int(i as i64),
            (4, Field::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
            (5, Field::Bytes(mut list)) => {
                let mut values = Vec::new();
                while let Some((number, field)) = next_field(&mut list)? {
                    if let (1, Field::Bytes(inner)) = (number, field) {
                        values.push(any_value(inner, depth + 1)?);
                    }
                }
                AnyValue::List(values)
            }
            (6, Field::Bytes(mut map)) => {
                let mut pairs = Attributes::new();
                while let Some((number, field)) = next_field(&mut map)? {
                    if let (1, Field::Bytes(pair)) = (number, field) {
                        pairs.push(key_value(pair, depth + 1)?);
                    }
                }
                AnyValue::Map(pairs)
            }
            (7, Field::Bytes(bytes)) => AnyValue::Bytes(Cow::Borrowed(bytes)),
            _ => value,
        };
    }
    Ok(value)
}
