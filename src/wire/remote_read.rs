//! Remote read: the messages `prometheus.ReadRequest`, `ReadResponse` and `ChunkedReadResponse`, and the frames of the streamed answer
//! (prometheus.io/docs/prometheus/latest/querying/remote_read_api).

use crate::disk::varint::{put_i64, put_u64};
use crate::model::histogram::{CounterResetHint, Span};
use crate::model::{FloatHistogram, Labels, MatchOp, Matcher, TimestampMs};
use crate::text::go_regex::RegexError;
use crate::wire::prom_chunk::PromChunk;
use crate::wire::protobuf::{
    Field, ProtobufError, next_field, put_double, put_doubles, put_field_bytes, put_field_varint,
};

/// Why a body is no read request.
#[derive(Debug, thiserror::Error)]
pub enum ReadDecodeError {
    /// Not of this form.
    #[error("damaged protobuf message: {0}")]
    Protobuf(#[from] ProtobufError),
    /// A matcher of a kind that does not exist.
    #[error("invalid matcher type {0}")]
    MatcherType(u64),
    /// A regular expression that cannot be read.
    #[error("{0}")]
    Matcher(#[from] RegexError),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// One message with all samples.
    Samples,
    /// Frames of encoded chunks.
    StreamedXorChunks,
}

/// One query of a request.
#[derive(Clone, Debug)]
pub struct ReadQuery {
    /// First time of interest, inclusive.
    pub start: TimestampMs,
    /// Last time of interest, inclusive.
    pub end: TimestampMs,
    /// What the series must satisfy.
    pub matchers: Vec<Matcher>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The queries, answered in this order.
    pub queries: Vec<ReadQuery>,
    /// The form of the answer: the first of those asked for that is known, samples where none was asked for. `None`
    /// where only forms were asked for that do not exist here.
    pub response_type: Option<ResponseType>,
}

fn text(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::Utf8("a matcher"))
}

fn read_matcher(mut m: &[u8]) -> Result<Matcher, ReadDecodeError> {
    let (mut kind, mut name, mut value) = (0, "", "");
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Varint(v)) => kind = v,
            (2, Field::Bytes(b)) => name = text(b)?,
            (3, Field::Bytes(b)) => value = text(b)?,
            _ => {}
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        other => return Err(ReadDecodeError::MatcherType(other)),
    };
    Ok(Matcher::new(name, op, value)?)
}

fn read_query(mut m: &[u8]) -> Result<ReadQuery, ReadDecodeError> {
    let mut query = ReadQuery { start: 0, end: 0, matchers: Vec::new() };
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Varint(v)) => query.start = v as i64,
            (2, Field::Varint(v)) => query.end = v as i64,
            (3, Field::Bytes(b)) => query.matchers.push(read_matcher(b)?),
            _ => {}
        }
    }
    Ok(query)
}

/// Reads an unpacked request.
pub fn read_request(mut m: &[u8]) -> Result<ReadRequest, ReadDecodeError> {
    let (mut queries, mut accepted) = (Vec::new(), Vec::new());
    while let Some(field) = next_field(&mut m)? {
        match field {
            (1, Field::Bytes(b)) => queries.push(read_query(b)?),
            (2, Field::Varint(v)) => accepted.push(v),
            (2, Field::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    accepted.push(crate::disk::varint::take_u64(&mut packed).ok_or(ProtobufError::Cut)?);
                }
            }
            _ => {}
        }
    }
    let known = |v: &u64| match v {
        0 => Some(ResponseType::Samples),
        1 => Some(ResponseType::StreamedXorChunks),
        _ => None,
    };
    let response_type = if accepted.is_empty() { Some(ResponseType::Samples) } else { accepted.iter().find_map(known) };
    Ok(ReadRequest { queries, response_type })
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut label = Vec::with_capacity(64);
    for (n, v) in labels {
        label.clear();
        put_field_bytes(&mut label, 1, n.as_bytes());
        put_field_bytes(&mut label, 2, v.as_bytes());
        put_field_bytes(out, 1, &label);
    }
}

/// Appends `BucketSpan`s, which are the same in remote read and in the exposition format.
pub(super) fn put_spans(out: &mut Vec<u8>, number: u64, spans: &[Span]) {
    let mut span = Vec::with_capacity(12);
    for s in spans {
        span.clear();
        put_u64(&mut span, 1 << 3);
        put_i64(&mut span, i64::from(s.offset));
        put_field_varint(&mut span, 2, u64::from(s.length));
        put_field_bytes(out, number, &span);
    }
}

/// Appends `prometheus.Histogram` with float counts.
fn put_histogram(out: &mut Vec<u8>, t: TimestampMs, h: &FloatHistogram) {
    put_double(out, 2, h.count);
    put_double(out, 3, h.sum);
    put_u64(out, 4 << 3);
    put_i64(out, i64::from(h.schema));
    put_double(out, 5, h.zero_threshold);
    put_double(out, 7, h.zero_count);
    put_spans(out, 8, &h.negative_spans);
    put_doubles(out, 10, &h.negative_buckets);
    put_spans(out, 11, &h.positive_spans);
    put_doubles(out, 13, &h.positive_buckets);
    let hint = match h.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    };
    put_field_varint(out, 14, hint);
    put_field_varint(out, 15, t as u64);
    put_doubles(out, 16, &h.custom_values);
}

/// Appends one `TimeSeries` to a `QueryResult`.
pub fn put_series<'a>(
    result: &mut Vec<u8>,
    labels: &Labels,
    floats: impl Iterator<Item = (TimestampMs, f64)>,
    histograms: impl Iterator<Item = (TimestampMs, &'a FloatHistogram)>,
) {
    let mut series = Vec::with_capacity(256);
    put_labels(&mut series, labels);
    let mut item = Vec::with_capacity(24);
    for (t, v) in floats {
        item.clear();
        put_double(&mut item, 1, v);
        put_field_varint(&mut item, 2, t as u64);
        put_field_bytes(&mut series, 2, &item);
    }
    for (t, h) in histograms {
        item.clear();
        put_histogram(&mut item, t, h);
        put_field_bytes(&mut series, 4, &item);
    }
    put_field_bytes(result, 1, &series);
}

/// Appends a finished `QueryResult` to a `ReadResponse`.
pub fn put_result(response: &mut Vec<u8>, result: &[u8]) {
    put_field_bytes(response, 1, result);
}

/// One `ChunkedReadResponse` with one series as a frame: length as a varint, CRC-32C of the message (big endian), the message.
pub fn frame(query_index: usize, labels: &Labels, chunks: &[PromChunk]) -> Vec<u8> {
    let mut series = Vec::with_capacity(256);
    put_labels(&mut series, labels);
    let mut item = Vec::new();
    for c in chunks {
        item.clear();
        put_field_varint(&mut item, 1, c.mint as u64);
        put_field_varint(&mut item, 2, c.maxt as u64);
        put_field_varint(&mut item, 3, c.encoding as u64);
        put_field_bytes(&mut item, 4, &c.data);
        put_field_bytes(&mut series, 2, &item);
    }
    let mut message = Vec::with_capacity(series.len() + 16);
    put_field_bytes(&mut message, 1, &series);
    put_field_varint(&mut message, 2, query_index as u64);
    let mut out = Vec::with_capacity(message.len() + 14);
    put_u64(&mut out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(accepted: &[u64]) -> Vec<u8> {
        let (mut matcher, mut query, mut out) = (Vec::new(), Vec::new(), Vec::new());
        put_field_varint(&mut matcher, 1, 2);
        put_field_bytes(&mut matcher, 2, b"job");
        put_field_bytes(&mut matcher, 3, b"a.*");
        put_field_varint(&mut query, 1, (-5i64) as u64);
        put_field_varint(&mut query, 2, 1000);
        put_field_bytes(&mut query, 3, &matcher);
        put_field_bytes(&mut out, 1, &query);
        let mut packed = Vec::new();
        accepted.iter().for_each(|a| put_u64(&mut packed, *a));
        if !packed.is_empty() {
            put_field_bytes(&mut out, 2, &packed);
        }
        out
    }

    #[test]
    fn requests_are_read_and_answered_in_a_known_form() {
        let r = read_request(&request(&[])).unwrap();
        assert_eq!(r.response_type, Some(ResponseType::Samples));
        let q = &r.queries[0];
        assert_eq!((q.start, q.end, q.matchers[0].op()), (-5, 1000, MatchOp::Regex));
        assert!(q.matchers[0].matches("abc"));
        let form = |accepted: &[u64]| read_request(&request(accepted)).unwrap().response_type;
        assert_eq!(form(&[9, 1, 0]), Some(ResponseType::StreamedXorChunks));
        assert_eq!(form(&[0, 1]), Some(ResponseType::Samples));
        assert_eq!(form(&[7]), None);
        let whole = request(&[]);
        assert!(read_request(&whole[..whole.len() - 1]).is_err());
    }
}
