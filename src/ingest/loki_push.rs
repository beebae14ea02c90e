//! Loki's push, as its clients (Alloy, Promtail, Fluent Bit, Vector) send it.

use std::borrow::Cow;

use super::{Intake, LogRequest, PushError};
use crate::logs::BatchBuilder;
use crate::model::TimestampNs;
use crate::wire::decompress::{Encoding, decompress, snappy_block};
use crate::wire::loki_push::{
    PushDecodeError, PushSink, PushStream, decode_json, decode_legacy_json, decode_protobuf, parse_labels,
};

/// Which of Loki's paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushForm {
    /// `/loki/api/v1/push`.
    V1,
    /// `/api/prom/push`, whose JSON is another; its protobuf is the same.
    Legacy,
}

/// Decodes a request and pushes it; success is answered with 204 and no body. Entries that break a limit are refused with 400
/// and a text, the others of the request are kept, as Loki does.
pub fn push(intake: &Intake, form: PushForm, request: &LogRequest<'_>) -> Result<(), PushError> {
    request.counted("loki", |()| 204, try_push(intake, form, request))
}

fn try_push(intake: &Intake, form: PushForm, request: &LogRequest<'_>) -> Result<(), PushError> {
    let mut builder = intake.batch();
    if decode(&mut builder, form, request)? == 0 {
        return Err(PushError {
            status: 422,
            message: "error at least one valid stream is required for ingestion".to_owned(),
            retry_after_seconds: None,
        });
    }
    let pushed = intake.push(request.sender, builder)?;
    PushError::of_refusals(&pushed).map_or(Ok(()), Err)
}

/// Unpacks a request and adds its entries to a batch; returns how many streams it has.
pub fn decode(builder: &mut BatchBuilder<'_>, form: PushForm, request: &LogRequest<'_>) -> Result<usize, PushError> {
    let media_type = request.content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json");
    let encoding = match Encoding::from_header(request.content_encoding)? {
        // Protobuf is always snappy inside; clients that say so mean that and not a second layer.
        Encoding::SnappyBlock if !is_json => Encoding::Identity,
        other => other,
    };
    let body = decompress(request.body, encoding, request.max_body_bytes)?;
    Ok(match (is_json, form) {
        (true, PushForm::V1) => add_streams(builder, decode_json(&body)?),
        (true, PushForm::Legacy) => add_streams(builder, decode_legacy_json(&body)?),
        (false, _) => {
            let unpacked = snappy_block(&body, request.max_body_bytes)?;
            builder.reserve(unpacked.len());
            decode_protobuf(&unpacked, &mut ToBatch(builder))?
        }
    })
}

fn add_streams(builder: &mut BatchBuilder<'_>, streams: Vec<PushStream<'_>>) -> usize {
    let count = streams.len();
    for stream in streams {
        builder.stream(stream.labels);
        for e in &stream.entries {
            builder.entry(e.timestamp, &e.line, e.metadata.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        }
    }
    count
}

/// Entries go from the request to the batch one by one.
struct ToBatch<'b, 'o>(&'b mut BatchBuilder<'o>);

impl PushSink for ToBatch<'_, '_> {
    fn stream(&mut self, labels: &str) -> Result<(), PushDecodeError> {
        self.0.stream(parse_labels(labels)?);
        Ok(())
    }

    fn entry(&mut self, timestamp: TimestampNs, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) {
        self.0.entry(timestamp, line, metadata.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::logs::LogLimits;
    use crate::exec::clock::ManualClock;
    use crate::ingest::test_store::{intake, lines, options};
    use crate::logs::Options;

    #[test]
    fn statuses_and_texts() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at_ms(1_768_490_000_000));
        let intake = intake(dir.path(), Options { clock, ..options() }, &LogLimits::default());
        let push = |form, content_type, content_encoding, body: &[u8], max_body_bytes| {
            super::push(
                &intake,
                form,
                &LogRequest { sender: "a", content_type, content_encoding, body, max_body_bytes },
            )
        };
        let long = "v".repeat(3000);
        let too_long = format!(
            r#"{{"streams":[{{"stream":{{"job":"p"}},"values":[["1768482001000000000","good"]]}},{{"stream":{{"job":"{long}"}},"values":[["1768482001000000000","bad"]]}}]}}"#
        );
        let future = r#"{"streams":[{"stream":{"job":"push"},"values":[["3029911200000000000","x"]]}]}"#;
        let json = Some("application/json; charset=utf-8");
        for (content_type, encoding, body, status, part) in [
            (json, None, "{}", 422, "at least one valid stream"),
            (json, None, "not json", 400, "not valid"),
            (json, None, r#"{"streams":[{"stream":{"job":"x"},"values":[]}]}"#, 204, ""),
            (json, None, r#"{"streams":[{"values":[["1768482000000000000","plain"]]}]}"#, 204, ""),
            (json, Some("br"), "{}", 400, "\"br\" not supported"),
            (json, Some("gzip"), "{}", 400, "gzip"),
            (Some("text/plain"), None, "{\"streams\":[]}", 400, "snappy: corrupt input"),
            (
                json,
                None,
                future,
                400,
                "entry for stream '{job=\"push\", service_name=\"push\"}' has timestamp too new: 2066-01-05T10:00:00Z",
            ),
            (json, None, too_long.as_str(), 400, "label value too long"),
        ] {
            let result = push(PushForm::V1, content_type, encoding, body.as_bytes(), 1 << 20);
            let (found, text) = result.map_or_else(|e| (e.status, e.message), |()| (204, String::new()));
            assert_eq!(found, status, "{body}: {text}");
            assert!(text.contains(part), "{body}: {text}");
        }
        assert_eq!(push(PushForm::V1, json, None, &[b' '; 100], 99).unwrap_err().status, 413);
        let legacy =
            br#"{"streams":[{"labels":"{job=\"p\"}","entries":[{"ts":"2026-01-15T13:00:02Z","line":"legacy"}]}]}"#;
        push(PushForm::Legacy, json, None, legacy, 1 << 20).unwrap();
        assert_eq!(lines(intake.store()), ["plain", "good", "legacy"]);
    }
}
