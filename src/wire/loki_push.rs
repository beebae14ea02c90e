//! The bodies of Loki's push: JSON, the older JSON of `/api/prom/push`, and the protobuf message `logproto.PushRequest`.
//!
//! Texts are borrowed from the body where they need no unescaping.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::disk::varint::{take_bytes, take_u64};
use crate::model::time::parse_rfc3339_ns;
use crate::model::{Labels, LabelsBuilder, TimestampNs};
use crate::text::quote::unquote;

/// Entries of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushStream<'a> {
    /// Its labels.
    pub labels: Labels,
    /// In the order sent.
    pub entries: Vec<PushEntry<'a>>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEntry<'a> {
    /// When.
    pub timestamp: TimestampNs,
    /// The line.
    pub line: Cow<'a, str>,
    /// Structured metadata, in the order sent.
    pub metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushDecodeError {
    /// Not the JSON expected.
    #[error("push request is not valid: {0}")]
    Json(String),
    /// Not a protobuf message of this form.
    #[error("push request is not a valid protobuf message: {0}")]
    Protobuf(&'static str),
    /// The labels of a stream are no label set.
    #[error("couldn't parse labels: 1:{column}: parse error: {message}")]
    Labels {
        /// The byte in the text, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

/// A JSON string, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct JsonLabels(Labels);

impl<'de> Deserialize<'de> for JsonLabels {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = LabelsBuilder;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelsBuilder, A::Error> {
                let mut b = LabelsBuilder::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    b.set(&name.0, value.0);
                }
                Ok(b)
            }
        }
        d.deserialize_map(LabelsVisitor).map(|b| JsonLabels(b.build()))
    }
}

struct Metadata<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;
        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((name.0, value.0));
                }
                Ok(Metadata(pairs))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Metadata<'de>, E> {
                Ok(Metadata(Vec::new()))
            }
        }
        d.deserialize_any(MetadataVisitor)
    }
}

/// Nanoseconds as a string of digits, or as a number.
struct Nanoseconds(TimestampNs);

impl<'de> Deserialize<'de> for Nanoseconds {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Nanoseconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nanoseconds since the epoch in a string")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Nanoseconds, E> {
                v.parse().map(Nanoseconds).map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Nanoseconds, E> {
                Ok(Nanoseconds(v))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Nanoseconds, E> {
                i64::try_from(v).map(Nanoseconds).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))
            }
        }
        d.deserialize_any(TimeVisitor)
    }
}

/// `["time", "line"]` or `["time", "line", {metadata}]`.
struct JsonValue<'a>(PushEntry<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonValue<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = JsonValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of time, line and perhaps metadata")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonValue<'de>, A::Error> {
                let Nanoseconds(timestamp) = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let Text(line) = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let metadata = seq.next_element::<Metadata<'de>>()?.map_or_else(Vec::new, |m| m.0);
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(JsonValue(PushEntry { timestamp, line, metadata }))
            }
        }
        d.deserialize_seq(ValueVisitor)
    }
}

#[derive(serde::Deserialize)]
struct JsonStream<'a> {
    stream: Option<JsonLabels>,
    #[serde(borrow)]
    values: Option<Vec<JsonValue<'a>>>,
}

#[derive(serde::Deserialize)]
struct JsonRequest<'a> {
    #[serde(borrow)]
    streams: Option<Vec<JsonStream<'a>>>,
}

#[derive(serde::Deserialize)]
struct LegacyEntry<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    line: Cow<'a, str>,
}

#[derive(serde::Deserialize)]
struct LegacyStream<'a> {
    #[serde(borrow)]
    labels: Cow<'a, str>,
    #[serde(borrow)]
    entries: Option<Vec<LegacyEntry<'a>>>,
}

#[derive(serde::Deserialize)]
struct LegacyRequest<'a> {
    #[serde(borrow)]
    streams: Option<Vec<LegacyStream<'a>>>,
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, PushDecodeError> {
    serde_json::from_slice(body).map_err(|e| PushDecodeError::Json(e.to_string()))
}

/// Reads the JSON of `/loki/api/v1/push`.
pub fn decode_json(body: &[u8]) -> Result<Vec<PushStream<'_>>, PushDecodeError> {
    let request: JsonRequest<'_> = json(body)?;
    let mut streams = Vec::new();
    for s in request.streams.unwrap_or_default() {
        streams.push(PushStream {
            labels: s.stream.map_or_else(Labels::empty, |l| l.0),
            entries: s.values.unwrap_or_default().into_iter().map(|v| v.0).collect(),
        });
    }
    Ok(streams)
}

/// Reads the JSON of `/api/prom/push`.
pub fn decode_legacy_json(body: &[u8]) -> Result<Vec<PushStream<'_>>, PushDecodeError> {
    let request: LegacyRequest<'_> = json(body)?;
    let mut streams = Vec::new();
    for s in request.streams.unwrap_or_default() {
        let mut entries = Vec::new();
        for e in s.entries.unwrap_or_default() {
            let timestamp = parse_rfc3339_ns(&e.ts)
                .ok_or_else(|| PushDecodeError::Json(format!("ts {:?} is no RFC 3339 time", e.ts)))?;
            entries.push(PushEntry { timestamp, line: e.line, metadata: Vec::new() });
        }
        streams.push(PushStream { labels: parse_labels(&s.labels)?, entries });
    }
    Ok(streams)
}

/// One field of a protobuf message.
enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

fn next_field<'a>(input: &mut &'a [u8]) -> Result<Option<(u64, Field<'a>)>, PushDecodeError> {
    if input.is_empty() {
        return Ok(None);
    }
    let cut = PushDecodeError::Protobuf("unexpected EOF");
    let tag = take_u64(input).ok_or_else(|| cut.clone())?;
    let mut skip = |n: usize| input.split_at_checked(n).map(|(_, rest)| *input = rest).map(|()| Field::Other);
    let field = match tag & 7 {
        0 => take_u64(input).map(Field::Varint),
        1 => skip(8),
        2 => take_bytes(input).map(Field::Bytes),
        5 => skip(4),
        _ => return Err(PushDecodeError::Protobuf("unknown wire type")),
    };
    Ok(Some((tag >> 3, field.ok_or(cut)?)))
}

/// Reads `logproto.PushRequest`: streams of (1) labels as text, (2) entries of (1) time, (2) line, (3) metadata pairs.
pub fn decode_protobuf(body: &[u8]) -> Result<Vec<PushStream<'_>>, PushDecodeError> {
    let mut streams = Vec::new();
    let mut input = body;
    while let Some((number, field)) = next_field(&mut input)? {
        if let (1, Field::Bytes(mut stream)) = (number, field) {
            let mut labels = "";
            let mut entries = Vec::new();
            while let Some((number, field)) = next_field(&mut stream)? {
                match (number, field) {
                    (1, Field::Bytes(text)) => {
                        labels =
                            std::str::from_utf8(text).map_err(|_| PushDecodeError::Protobuf("labels are not UTF-8"))?;
                    }
                    (2, Field::Bytes(entry)) => entries.push(entry_of(entry)?),
                    _ => {}
                }
            }
            streams.push(PushStream { labels: parse_labels(labels)?, entries });
        }
    }
    Ok(streams)
}

fn entry_of(mut message: &[u8]) -> Result<PushEntry<'_>, PushDecodeError> {
    let mut entry = PushEntry { timestamp: 0, line: Cow::Borrowed(""), metadata: Vec::new() };
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(mut time)) => {
                let (mut seconds, mut nanos) = (0i64, 0i64);
                while let Some((number, field)) = next_field(&mut time)? {
                    match (number, field) {
                        (1, Field::Varint(v)) => seconds = v as i64,
                        (2, Field::Varint(v)) => nanos = v as i64,
                        _ => {}
                    }
                }
                let ns = seconds.checked_mul(1_000_000_000).and_then(|s| s.checked_add(nanos));
                entry.timestamp = ns.ok_or(PushDecodeError::Protobuf("time out of range"))?;
            }
            (2, Field::Bytes(line)) => entry.line = String::from_utf8_lossy(line),
            (3, Field::Bytes(mut pair)) => {
                let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
                while let Some((number, field)) = next_field(&mut pair)? {
                    match (number, field) {
                        (1, Field::Bytes(n)) => name = String::from_utf8_lossy(n),
                        (2, Field::Bytes(v)) => value = String::from_utf8_lossy(v),
                        _ => {}
                    }
                }
                entry.metadata.push((name, value));
            }
            _ => {}
        }
    }
    Ok(entry)
}

/// Reads a label set as text, `{a="b", c="d"}` with Go's quoting. Labels with an empty value are left out.
pub fn parse_labels(text: &str) -> Result<Labels, PushDecodeError> {
    let mut at = 0;
    let error = |at: usize, message: &str| PushDecodeError::Labels { column: at + 1, message: message.to_owned() };
    let rest = |at: usize| text.get(at..).unwrap_or("");
    let skip_space = |at: usize| at + (rest(at).len() - rest(at).trim_start().len());
    at = skip_space(at);
    if !rest(at).starts_with('{') {
        return Err(error(at, "unexpected text, expecting \"{\""));
    }
    at = skip_space(at + 1);
    let mut labels = LabelsBuilder::new();
    while !rest(at).starts_with('}') {
        let name_len = rest(at).find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.' || c == ':')).unwrap_or(0);
        let name = rest(at).get(..name_len).unwrap_or("");
        if name.is_empty() {
            return Err(error(at, "expecting a label name"));
        }
        at = skip_space(at + name_len);
        if !rest(at).starts_with('=') {
            return Err(error(at, "expecting \"=\" after a label name"));
        }
        at = skip_space(at + 1);
        let literal_len = literal_len(rest(at)).ok_or_else(|| error(at, "expecting a quoted string"))?;
        let literal = rest(at).get(..literal_len).unwrap_or("");
        let value = unquote(literal).map_err(|e| error(at + e.offset, e.message))?;
        labels.set(name, value);
        at = skip_space(at + literal_len);
        if rest(at).starts_with(',') {
            at = skip_space(at + 1);
        } else if !rest(at).starts_with('}') {
            return Err(error(at, "expecting \",\" or \"}\""));
        }
    }
    match rest(at + 1).trim() {
        "" => Ok(labels.build()),
        _ => Err(error(at + 1, "unexpected text after \"}\"")),
    }
}

/// The length of the string literal at the front, quotes included.
fn literal_len(text: &str) -> Option<usize> {
    let quote = text.bytes().next().filter(|b| matches!(b, b'"' | b'`'))?;
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            b if b == quote => return Some(i + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;
    use crate::wire::decompress::snappy_block;

    #[test]
    fn json_forms() {
        let body = br#"{"streams":[{"stream":{"job":"x","e":""},"values":[["1","one"],[2,"t\"wo",{"user":"ana"}],["3","",null]]},
            {"values":[]}],"more":[1]}"#;
        let streams = decode_json(body).unwrap();
        assert_eq!(streams.len(), 2);
        assert_eq!(streams[0].labels, Labels::from_pairs([("job", "x")]));
        let entries: Vec<_> =
            streams[0].entries.iter().map(|e| (e.timestamp, e.line.as_ref(), e.metadata.len())).collect();
        assert_eq!(entries, [(1, "one", 0), (2, "t\"wo", 1), (3, "", 0)]);
        assert!(decode_json(b"{}").unwrap().is_empty());
        for bad in [
            "not json",
            r#"{"streams":["#,
            r#"{"streams":[{"values":[["x","y"]]}]}"#,
            r#"{"streams":[{"values":[["1"]]}]}"#,
        ] {
            assert!(matches!(decode_json(bad.as_bytes()), Err(PushDecodeError::Json(_))), "{bad}");
        }
        let legacy =
            br#"{"streams":[{"labels":"{job=\"p\"}","entries":[{"ts":"2026-01-15T13:00:01Z","line":"old"}]}]}"#;
        let streams = decode_legacy_json(legacy).unwrap();
        assert_eq!((streams[0].entries[0].timestamp, streams[0].labels.value("job")), (1_768_482_001_000_000_000, "p"));
    }

    #[test]
    fn protobuf() {
        let of =
            |b64: &str| snappy_block(&base64::engine::general_purpose::STANDARD.decode(b64).unwrap(), 1 << 20).unwrap();
        let body = of(
            "S+wKSQoQe2pvYj0icGZfcHJvdG8ifRIPCggI0cmjywYQABIDb25lEiQKCAjSyaPLBhAFEgt0d28gw6kg8J84mIAaCwoEdXNlchIDYW5h",
        );
        let streams = decode_protobuf(&body).unwrap();
        assert_eq!(streams[0].labels.value("job"), "pf_proto");
        let second = &streams[0].entries[1];
        assert_eq!((second.timestamp, second.metadata[0].0.as_ref()), (1_768_482_002_000_000_005, "user"));
        let error = decode_protobuf(&of("HXAKGwoKbm90IGxhYmVscxINCggI0MmjywYQABIBeA==")).unwrap_err().to_string();
        assert!(error.contains("couldn't parse labels: 1:1: parse error"), "{error}");
        assert_eq!(decode_protobuf(&of("AwgK//8=")).unwrap_err(), PushDecodeError::Protobuf("unexpected EOF"));
        for cut in 1..body.len() {
            // Any prefix is an error or a shorter request, never a panic.
            let _either = decode_protobuf(&body[..cut]);
        }
    }

    #[test]
    fn label_sets() {
        for (text, labels) in [
            ("{}", vec![]),
            (r#" { a = "b" , c="d\"}\n", } "#, vec![("a", "b"), ("c", "d\"}\n")]),
            ("{a=`b\\`, e=\"\"}", vec![("a", "b\\")]),
        ] {
            assert_eq!(parse_labels(text), Ok(Labels::from_pairs(labels)), "{text}");
        }
        for bad in
            ["", "not labels", "{a}", "{a=b}", "{a=\"b}", "{a=\"b\"", "{a=\"b\" c=\"d\"}", "{a=\"b\"} x", "{=\"b\"}"]
        {
            assert!(matches!(parse_labels(bad), Err(PushDecodeError::Labels { .. })), "{bad}");
        }
    }
}
