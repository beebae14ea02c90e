//! OpenTelemetry's records to entries, by Loki's rules: some attributes of the resource name the stream, everything else is
//! structured metadata.

use std::collections::HashSet;

use super::intake::BATCH_BYTES;
use super::push_error::refusals;
use super::{Intake, LogRequest, PushError};
use crate::config::logs::OtlpConfig;
use crate::logs::{BatchBuilder, detect};
use crate::model::{LabelsBuilder, TimestampNs};
use crate::wire::otlp_logs::{LogRecord, Refused, ResourceLogs, ScopeLogs, Status, decode_json, decode_protobuf};

/// How the message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Binary.
    Protobuf,
    /// JSON.
    Json,
}

impl Form {
    /// What a content type says; protobuf without one.
    pub fn of(content_type: Option<&str>) -> Self {
        let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/json") { Form::Json } else { Form::Protobuf }
    }
}

/// Takes a request. The good records of it are stored in any case; `Some` names those that were not.
pub fn push(
    intake: &Intake,
    config: &OtlpConfig,
    form: Form,
    request: &LogRequest<'_>,
) -> Result<Option<Refused>, PushError> {
    request.counted("otlp", |_| 200, try_push(intake, config, form, request))
}

/// What a sender is told of a request that failed, in gRPC's terms. Only failures that pass are `UNAVAILABLE`: senders try those
/// again and drop the others.
pub fn status_of(error: &PushError) -> Status {
    let code = match error.status {
        429 | 503 => 14,
        413 => 8,
        400..500 => 3,
        _ => 13,
    };
    Status { code, message: error.message.clone(), retry_after_seconds: error.retry_after_seconds }
}

fn try_push(
    intake: &Intake,
    config: &OtlpConfig,
    form: Form,
    request: &LogRequest<'_>,
) -> Result<Option<Refused>, PushError> {
    let body = request.unpacked()?;
    let resources = match form {
        Form::Protobuf => decode_protobuf(&body)?,
        Form::Json => decode_json(&body)?,
    };
    let stream_attributes: HashSet<&str> = config.stream_attributes.iter().map(String::as_str).collect();
    let mut now_ns = intake.store().options().clock.now_ns();
    let mut builder = intake.batch();
    let mut refused = Refused { records: 0, message: String::new() };
    let mut flush = |builder: BatchBuilder<'_>| -> Result<(), PushError> {
        let pushed = intake.push(request.sender, builder)?;
        if let Some(words) = refusals(&pushed) {
            refused.records += pushed.refused_entries;
            if refused.message.is_empty() {
                refused.message = words;
            }
        }
        Ok(())
    };
    for resource in &resources {
        let (labels, of_resource) = resource_parts(resource, &stream_attributes);
        builder.stream(labels.build());
        for scope in &resource.scopes {
            let shared = scope_parts(&of_resource, scope);
            for record in &scope.records {
                // Records without a time keep their order, and equal ones stay apart.
                now_ns += 1;
                add_record(&mut builder, &shared, record, now_ns);
                if builder.bytes() >= BATCH_BYTES {
                    flush(std::mem::replace(&mut builder, intake.batch()))?;
                    builder.stream(labels.build());
                }
            }
        }
    }
    flush(builder)?;
    Ok((refused.records > 0).then_some(refused))
}

type Pairs = Vec<(String, String)>;

/// The labels of the stream, and what else is known of the resource.
fn resource_parts(resource: &ResourceLogs<'_>, stream_attributes: &HashSet<&str>) -> (LabelsBuilder, Pairs) {
    let mut labels = LabelsBuilder::new();
    let mut rest = Pairs::new();
    for (name, value) in &resource.attributes {
        value.flatten(name, &mut |n, v| {
            if stream_attributes.contains(&**name) {
                labels.set(&detect::valid_name(n), v);
            } else {
                rest.push((n.to_owned(), v.to_owned()));
            }
        });
    }
    push_count(&mut rest, "resource_dropped_attributes_count", resource.dropped_attributes);
    (labels, rest)
}

/// What all records of a scope have in common.
fn scope_parts(of_resource: &[(String, String)], scope: &ScopeLogs<'_>) -> Pairs {
    let mut shared = of_resource.to_vec();
    for (name, value) in &scope.attributes {
        value.flatten(name, &mut |n, v| shared.push((n.to_owned(), v.to_owned())));
    }
    push_text(&mut shared, "scope_name", &scope.name);
    push_text(&mut shared, "scope_version", &scope.version);
    push_count(&mut shared, "scope_dropped_attributes_count", scope.dropped_attributes);
    shared
}

fn push_text(pairs: &mut Pairs, name: &str, value: &str) {
    if !value.is_empty() {
        pairs.push((name.to_owned(), value.to_owned()));
    }
}

fn push_count(pairs: &mut Pairs, name: &str, count: u32) {
    if count > 0 {
        pairs.push((name.to_owned(), count.to_string()));
    }
}

fn add_record(
    builder: &mut BatchBuilder<'_>,
    shared: &[(String, String)],
    record: &LogRecord<'_>,
    now_ns: TimestampNs,
) {
    let ns = |t: u64| i64::try_from(t).unwrap_or(i64::MAX);
    let timestamp = match (record.time_ns, record.observed_ns) {
        (0, 0) => now_ns,
        (0, observed) => ns(observed),
        (time, _) => ns(time),
    };
    let mut own = Pairs::new();
    for (name, value) in &record.attributes {
        value.flatten(name, &mut |n, v| own.push((n.to_owned(), v.to_owned())));
    }
    if record.time_ns != 0 && record.observed_ns != 0 {
        own.push(("observed_timestamp".to_owned(), record.observed_ns.to_string()));
    }
    if record.severity_number != 0 {
        own.push(("severity_number".to_owned(), record.severity_number.to_string()));
    }
    push_text(&mut own, "severity_text", &record.severity_text);
    push_text(&mut own, "event_name", &record.event_name);
    push_text(&mut own, "trace_id", &record.trace_id);
    push_text(&mut own, "span_id", &record.span_id);
    push_count(&mut own, "dropped_attributes_count", record.dropped_attributes);
    push_count(&mut own, "flags", record.flags);
    let metadata = shared.iter().chain(&own).map(|(n, v)| (n.as_str(), v.as_str()));
    builder.entry(timestamp, &record.body.text(), metadata);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::logs::LogLimits;
    use crate::ingest::test_store::{entries, intake, options, request};
    use crate::logs::Options;
    use crate::model::Labels;

    #[test]
    fn streams_metadata_and_partial_success() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path(), options(), &LogLimits::default());
        let body = br#"{"resourceLogs":[{"resource":{"attributes":[
            {"key":"service.name","value":{"stringValue":"shop"}},{"key":"k8s.pod.name","value":{"stringValue":"p-1"}},
            {"key":"host.arch","value":{"stringValue":"arm"}}]},
            "scopeLogs":[{"scope":{"name":"lib","version":"2"},"logRecords":[
            {"timeUnixNano":"1768482001000000000","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"broke"},
             "attributes":[{"key":"http.method","value":{"stringValue":"GET"}}],"traceId":"0af7651916cd43dd8448eb211c80319c"},
            {"timeUnixNano":"9000000000000000000","body":{"stringValue":"from the future"}},
            {"observedTimeUnixNano":"1768482002000000000","body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}}
            ]}]}]}"#;
        let refused = push(&intake, &OtlpConfig::default(), Form::Json, &request(body)).unwrap().unwrap();
        assert_eq!(refused.records, 1);
        assert!(refused.message.contains("too new"), "{}", refused.message);
        let found = entries(intake.store());
        let stream = Labels::from_pairs([("service_name", "shop"), ("k8s_pod_name", "p-1")]);
        let shared = [("host_arch", "arm"), ("scope_name", "lib"), ("scope_version", "2")];
        let first = Labels::from_pairs(shared.into_iter().chain([
            ("detected_level", "error"),
            ("http_method", "GET"),
            ("severity_number", "17"),
            ("severity_text", "ERROR"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ]));
        let second = Labels::from_pairs(shared.into_iter().chain([("detected_level", "unknown")]));
        let expected = [
            (1_768_482_001_000_000_000, "broke".to_owned(), stream.clone(), first),
            (1_768_482_002_000_000_000, r#"{"a":1}"#.to_owned(), stream, second),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_resource_says_counts_for_each_record() {
        let dir = tempfile::tempdir().unwrap();
        let max_wait = std::time::Duration::from_millis(1);
        let options = Options { max_buffer_bytes: 4 << 20, max_wait, ..options() };
        let intake = intake(dir.path(), options, &LogLimits::default());
        let records: Vec<String> =
            (0..2000).map(|i| format!(r#"{{"timeUnixNano":"{}","body":{{"stringValue":"x"}}}}"#, 1 + i)).collect();
        let body = format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"large","value":{{"stringValue":"{}"}}}}]}},"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
            "v".repeat(60_000),
            records.join(",")
        );
        // 120 MB of metadata from 150 kB: the first lot is taken, the next one finds no room.
        let error = push(&intake, &OtlpConfig::default(), Form::Json, &request(body.as_bytes())).unwrap_err();
        assert_eq!(error.status, 429, "{error}");
    }

    #[test]
    fn only_passing_failures_are_tried_again() {
        let code = |status| status_of(&PushError { status, message: String::new(), retry_after_seconds: None }).code;
        assert_eq!([400, 413, 429, 500, 503].map(code), [3, 8, 14, 13, 14]);
    }
}
