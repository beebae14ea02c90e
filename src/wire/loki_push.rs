//! The bodies of Loki's push: JSON, the older JSON of `/api/prom/push`, and the protobuf message `logproto.PushRequest`.
//!
//! Texts are borrowed from the body where they need no unescaping.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::time::parse_rfc3339_ns;
use crate::model::{Labels, LabelsBuilder, TimestampNs};
use crate::text::quote::unquote;
use crate::wire::json_text::Text;
use crate::wire::protobuf::{Field, ProtobufError, next_field};

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
    Protobuf(#[from] ProtobufError),
    /// The labels of a stream are no label set.
    #[error("couldn't parse labels: 1:{column}: parse error: {message}")]
    Labels {
        /// The byte in the text, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

/// An object of strings, in the order sent: labels or structured metadata.
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((name.0, value.0));
                }
                Ok(Pairs(pairs))
            }
        }
        d.deserialize_map(PairsVisitor)
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
                let metadata = seq.next_element::<Option<Pairs<'de>>>()?.flatten().map_or_else(Vec::new, |m| m.0);
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(JsonValue(PushEntry { timestamp, line, metadata }))
            }
        }
        d.deserialize_seq(ValueVisitor)
    }
}

#[derive(serde::Deserialize)]
struct JsonStream<'a> {
    #[serde(borrow)]
    stream: Option<Pairs<'a>>,
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
            labels: s.stream.map_or_else(Labels::empty, |l| Labels::from_pairs(l.0)),
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

/// Takes what is read from a protobuf request, in the order of the request. Nothing is kept between entries, so that a request
/// of a million entries needs no more memory than its body.
pub trait PushSink {
    /// A stream begins; the entries that follow are its.
    fn stream(&mut self, labels: &str) -> Result<(), PushDecodeError>;
    /// An entry of that stream; `metadata` is lent for the call.
    fn entry(&mut self, timestamp: TimestampNs, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]);
}

/// Reads `logproto.PushRequest`: streams of (1) labels as text, (2) entries of (1) time, (2) line, (3) metadata pairs. What is not
/// UTF-8 in lines and metadata is replaced. Returns how many streams there are; after an error the sink has had a part of them.
pub fn decode_protobuf(body: &[u8], sink: &mut impl PushSink) -> Result<usize, PushDecodeError> {
    let mut streams = 0;
    let mut input = body;
    let mut metadata = Vec::new();
    while let Some((number, field)) = next_field(&mut input)? {
        let (1, Field::Bytes(mut stream)) = (number, field) else { continue };
        streams += 1;
        sink.stream(labels_of(stream)?)?;
        while let Some((number, field)) = next_field(&mut stream)? {
            if let (2, Field::Bytes(entry)) = (number, field) {
                entry_of(entry, &mut metadata, sink)?;
            }
        }
    }
    Ok(streams)
}

/// The labels of a stream, which other writers may put behind the entries.
fn labels_of(mut stream: &[u8]) -> Result<&str, PushDecodeError> {
    let mut labels: &[u8] = b"";
    while let Some((number, field)) = next_field(&mut stream)? {
        if let (1, Field::Bytes(text)) = (number, field) {
            labels = text;
            // Where they come first, as everybody writes them, the entries need not be walked.
            break;
        }
    }
    std::str::from_utf8(labels).map_err(|_| ProtobufError::Utf8("labels").into())
}

fn time_of(mut time: &[u8]) -> Result<TimestampNs, PushDecodeError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some((number, field)) = next_field(&mut time)? {
        match (number, field) {
            (1, Field::Varint(v)) => seconds = v as i64,
            (2, Field::Varint(v)) => nanos = v as i64,
            _ => {}
        }
    }
    let ns = seconds.checked_mul(1_000_000_000).and_then(|s| s.checked_add(nanos));
    Ok(ns.ok_or(ProtobufError::Range("time"))?)
}

fn entry_of<'a>(
    mut message: &'a [u8],
    metadata: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
    sink: &mut impl PushSink,
) -> Result<(), PushDecodeError> {
    metadata.clear();
    let mut timestamp = 0;
    let mut line: &[u8] = b"";
    while let Some((number, field)) = next_field(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(time)) => timestamp = time_of(time)?,
            (2, Field::Bytes(text)) => line = text,
            (3, Field::Bytes(mut pair)) => {
                let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
                while let Some((number, field)) = next_field(&mut pair)? {
                    match (number, field) {
                        (1, Field::Bytes(n)) => name = text_of(n),
                        (2, Field::Bytes(v)) => value = text_of(v),
                        _ => {}
                    }
                }
                metadata.push((name, value));
            }
            _ => {}
        }
    }
    sink.entry(timestamp, &text_of(line), metadata);
    Ok(())
}

/// Bytes as text. Nearly all are UTF-8, which is found out faster than what would have to be replaced.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
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
        let mut sink = Collected::default();
        assert_eq!(decode_protobuf(&body, &mut sink), Ok(1));
        assert_eq!(sink.0[0], r#"{job="pf_proto"}"#);
        assert!(sink.0[2].starts_with("1768482002000000005 ") && sink.0[2].ends_with(" user=ana"), "{:?}", sink.0);
        let refused = |b64: &str| decode_protobuf(&of(b64), &mut Collected::default()).unwrap_err();
        let error = refused("HXAKGwoKbm90IGxhYmVscxINCggI0MmjywYQABIBeA==").to_string();
        assert!(error.contains("couldn't parse labels: 1:1: parse error"), "{error}");
        assert_eq!(refused("AwgK//8="), PushDecodeError::Protobuf(ProtobufError::Cut));
        for cut in 1..body.len() {
            // Any prefix is an error or a shorter request, never a panic.
            let _either = decode_protobuf(&body[..cut], &mut Collected::default());
        }
    }

    /// What came, one line each.
    #[derive(Default)]
    struct Collected(Vec<String>);

    impl PushSink for Collected {
        fn stream(&mut self, labels: &str) -> Result<(), PushDecodeError> {
            self.0.push(parse_labels(labels)?.to_string());
            Ok(())
        }
        fn entry(&mut self, timestamp: TimestampNs, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) {
            let pairs: String = metadata.iter().map(|(n, v)| format!(" {n}={v}")).collect();
            self.0.push(format!("{timestamp} {line}{pairs}"));
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
