//! Newline JSON at `/api/v1/logs`: a good line is kept even if its neighbour is bad.

use super::intake::BATCH_BYTES;
use super::{Intake, LogRequest, PushError};
use crate::config::logs::NdjsonConfig;
use crate::model::Labels;
use crate::wire::ndjson::{FieldNames, decode};

/// The field names of one request: the query parameters `_time_field`, `_msg_field`, `_stream_fields` (each a list with commas)
/// in place of the configured ones.
pub fn field_names<'p>(config: &NdjsonConfig, parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> FieldNames {
    let mut names = FieldNames {
        time: config.time_fields.clone(),
        message: config.message_fields.clone(),
        stream: config.stream_fields.clone(),
    };
    for (name, value) in parameters {
        let place = match name {
            "_time_field" => &mut names.time,
            "_msg_field" => &mut names.message,
            "_stream_fields" => &mut names.stream,
            _ => continue,
        };
        *place = value.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    }
    names
}

/// What a request says about its records besides their fields.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which fields hold what.
    pub names: FieldNames,
    /// Stream labels of all records: the query parameters whose names do not begin with `_`.
    pub labels: Labels,
    /// Whether a line that is no JSON object is a plain message. So it is unless the content type says JSON.
    pub plain_text: bool,
}

impl Request {
    /// Reads the query parameters and the content type.
    pub fn read<'p>(
        config: &NdjsonConfig,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)> + Clone,
        content_type: Option<&str>,
    ) -> Self {
        let labels = parameters.clone().into_iter().filter(|(n, _)| !n.starts_with('_'));
        Request {
            names: field_names(config, parameters),
            labels: Labels::from_pairs(labels.map(|(n, v)| (crate::logs::detect::valid_name(n), v))),
            plain_text: !content_type.is_some_and(|t| t.contains("json")),
        }
    }
}

/// Decodes a body of newline JSON and pushes its records; success is answered with 204. Lines that cannot be read are named by
/// number in a 400, all others are kept. A record without a time gets the present one.
pub fn push(intake: &Intake, fields: &Request, request: &LogRequest<'_>) -> Result<(), PushError> {
    request.counted("ndjson", |()| 204, try_push(intake, fields, request))
}

fn try_push(intake: &Intake, fields: &Request, request: &LogRequest<'_>) -> Result<(), PushError> {
    let body = request.unpacked()?;
    let now_ns = intake.store().options().clock.now_ns();
    let mut builder = intake.batch();
    let mut problems = Vec::new();
    let mut last_labels: Option<(Vec<(String, String)>, Labels)> = None;
    for (i, line) in body.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(line);
        match decode(&text, &fields.names) {
            Ok(record) => {
                let labels = match &last_labels {
                    Some((pairs, labels)) if *pairs == record.labels => labels.clone(),
                    _ => {
                        let mut builder = fields.labels.to_builder();
                        for (n, v) in &record.labels {
                            builder.set(&crate::logs::detect::valid_name(n), v.as_str());
                        }
                        let labels = builder.build();
                        last_labels = Some((record.labels, labels.clone()));
                        labels
                    }
                };
                builder.stream(labels);
                let metadata = record.metadata.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                // Records without a time keep their order, and equal ones stay apart.
                builder.entry(record.timestamp.unwrap_or(now_ns + i as i64), &record.line, metadata);
            }
            Err(_) if fields.plain_text && !text.starts_with('{') => {
                builder.stream(fields.labels.clone());
                builder.entry(now_ns + i as i64, &text, std::iter::empty::<(&str, &str)>());
            }
            Err(e) => builder.refuse("unreadable_line", format!("line {}: {e}", i + 1)),
        }
        if builder.bytes() >= BATCH_BYTES {
            let pushed = intake.push(request.sender, std::mem::replace(&mut builder, intake.batch()))?;
            problems.extend(PushError::of_refusals(&pushed));
        }
    }
    let pushed = intake.push(request.sender, builder)?;
    problems.extend(PushError::of_refusals(&pushed));
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = problems.into_iter().map(|p| p.message).collect();
    Err(PushError::bad_request(messages.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::logs::LogLimits;
    use crate::ingest::test_store::{entries, intake, options, request};

    #[test]
    fn good_lines_are_kept_and_bad_ones_named() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path(), options(), &LogLimits::default());
        let parameters = [("_time_field", "when"), ("_stream_fields", "app, zone.name")];
        let content_type = Some("application/json");
        let fields = Request::read(&NdjsonConfig::default(), parameters, content_type);
        let body = "{\"when\":1768482001,\"msg\":\"one\",\"app\":\"a\",\"zone\":{\"name\":\"z\"},\"user\":{\"id\":7}}\n\nnonsense\n{\"when\":\"never\"}\n{\"message\":\"now\"}\n";
        let request = LogRequest { content_type, ..request(body.as_bytes()) };
        let error = push(&intake, &fields, &request).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(error.message.contains("line 3: ") && error.message.contains("line 4: "), "{}", error.message);
        let found: Vec<_> = entries(intake.store())
            .into_iter()
            .map(|(_, line, labels, metadata)| (line, labels, metadata.value("user_id").to_owned()))
            .collect();
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let expected = [
            ("one".to_owned(), labels(&[("app", "a"), ("service_name", "a"), ("zone_name", "z")]), "7".to_owned()),
            ("now".to_owned(), labels(&[("service_name", "unknown_service")]), String::new()),
        ];
        assert_eq!(found, expected);
    }
}
