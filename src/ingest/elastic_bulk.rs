//! Documents of Elasticsearch's clients to entries, and the answer that tells the fate of each.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::intake::BATCH_BYTES;
use super::ndjson::field_names;
use super::push_error::refusals;
use super::{Intake, LogRequest, PushError};
use crate::config::logs::{ElasticConfig, NdjsonConfig};
use crate::logs::{BatchBuilder, Refusal, detect, limits};
use crate::model::{Labels, TimestampNs};
use crate::wire::elastic_bulk::{BulkItem, Verb, decode};
use crate::wire::ndjson::{self, FieldNames, Record};

/// The index of documents that name none.
const DEFAULT_INDEX: &str = "logs";
/// Query parameters that mean something to Elasticsearch; all others without `_` in front are labels.
const OWN_PARAMETERS: [&str; 20] = [
    "error_trace",
    "filter_path",
    "format",
    "human",
    "if_primary_term",
    "if_seq_no",
    "include_source_on_error",
    "list_executed_pipelines",
    "op_type",
    "pipeline",
    "pretty",
    "refresh",
    "require_alias",
    "require_data_stream",
    "routing",
    "timeout",
    "type",
    "version",
    "version_type",
    "wait_for_active_shards",
];

/// What a request says about its documents besides their fields.
#[derive(Clone, Debug)]
pub struct Target {
    names: FieldNames,
    labels: Labels,
    index_label: String,
    pipeline: Option<String>,
    /// Where documents go whose action does not say.
    index: Option<String>,
    /// Whether answers hold only the status and error of items, as shippers ask for to save bytes.
    brief: bool,
}

impl Target {
    /// Reads the query parameters; `index` is the one in the path.
    pub fn read<'p>(
        config: &ElasticConfig,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)> + Clone,
        index: Option<String>,
    ) -> Self {
        let fields = NdjsonConfig {
            time_fields: config.time_fields.clone(),
            message_fields: config.message_fields.clone(),
            stream_fields: config.stream_fields.clone(),
        };
        let own = |n: &str| n.starts_with('_') || OWN_PARAMETERS.contains(&n);
        let labels = parameters.clone().into_iter().filter(|(n, _)| !own(n));
        let value = |name: &str| parameters.clone().into_iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        Target {
            names: field_names(&fields, parameters.clone()),
            labels: Labels::from_pairs(labels.map(|(n, v)| (detect::valid_name(n), v))),
            index_label: config.index_label.clone(),
            pipeline: value("pipeline").map(str::to_owned),
            index,
            brief: value("filter_path").is_some_and(|p| !p.contains("_i") && !p.contains("result")),
        }
    }
}

/// What became of one item.
struct Outcome<'a> {
    item: &'a BulkItem<'a>,
    error: Option<ItemError>,
}

#[derive(Clone)]
struct ItemError {
    status: u16,
    kind: &'static str,
    reason: String,
}

impl ItemError {
    fn refused(kind: &'static str, reason: impl ToString) -> Self {
        ItemError { status: 400, kind, reason: reason.to_string() }
    }
}

/// Takes the body of a `_bulk` request. The answer is a JSON text for status 200; an error is one of the whole request, of which
/// nothing is stored then.
pub fn bulk(intake: &Intake, target: &Target, request: &LogRequest<'_>) -> Result<String, PushError> {
    let result = request.unpacked().and_then(|body| {
        let items = decode(&body).map_err(PushError::bad_request)?;
        let started_ns = intake.store().options().clock.now_ns();
        let outcomes = take(intake, target, request.sender, &items, started_ns)?;
        let took_ms = (intake.store().options().clock.now_ns() - started_ns).max(0) / 1_000_000;
        Ok(answer(target, &outcomes, took_ms, started_ns))
    });
    request.counted("elastic", |_| 200, result)
}

/// Takes one document (`/{index}/_doc` and the like). The answer is that of Elasticsearch with its status.
pub fn document(
    intake: &Intake,
    target: &Target,
    verb: Verb,
    id: Option<&str>,
    request: &LogRequest<'_>,
) -> Result<(u16, String), PushError> {
    let result = request.unpacked().and_then(|body| {
        let item = BulkItem { verb, index: None, id: id.map(Into::into), pipeline: None, document: &body };
        let started_ns = intake.store().options().clock.now_ns();
        let items = [item];
        let outcomes = take(intake, target, request.sender, &items, started_ns)?;
        let outcome = outcomes.first().ok_or_else(|| PushError::bad_request("request body is required"))?;
        match &outcome.error {
            None => Ok((201, item_body(target, outcome, started_ns, 0).to_string())),
            Some(e) => Ok((e.status, error_body(e.status, e.kind, &e.reason))),
        }
    });
    request.counted("elastic", |(status, _)| *status, result)
}

/// An error in the form of Elasticsearch.
pub fn error_body(status: u16, kind: &str, reason: &str) -> String {
    let cause = json!({"type": kind, "reason": reason});
    json!({"error": {"root_cause": [cause], "type": kind, "reason": reason}, "status": status}).to_string()
}

/// The same for a request that failed as a whole.
pub fn error_of(error: &PushError) -> String {
    let kind = match error.status {
        429 | 503 => "es_rejected_execution_exception",
        413 => "content_too_long_exception",
        500.. => "status_exception",
        _ => "illegal_argument_exception",
    };
    error_body(error.status, kind, &error.message)
}

/// One batch on its way, and which items are in it.
struct Pending<'b, 'i> {
    builder: BatchBuilder<'b>,
    items: Vec<(usize, Labels)>,
    outcomes: Vec<Outcome<'i>>,
    stored: bool,
}

impl<'b> Pending<'b, '_> {
    /// Pushes what was collected. If it is refused, its items are, unless nothing of the request is stored yet: then the whole
    /// request is, which clients send again.
    fn flush(&mut self, intake: &'b Intake, sender: &str) -> Result<(), PushError> {
        let builder = std::mem::replace(&mut self.builder, intake.batch());
        let items = std::mem::take(&mut self.items);
        if items.is_empty() {
            return Ok(());
        }
        let error = match intake.push(sender, builder) {
            Ok(pushed) if pushed.full_streams.is_empty() => {
                self.stored = true;
                return Ok(());
            }
            Ok(pushed) => {
                self.stored = true;
                let reason = refusals(&pushed).unwrap_or_default();
                for (i, labels) in items {
                    if pushed.full_streams.contains(&detect::with_service_name(labels)) {
                        self.fail(i, ItemError::refused("illegal_argument_exception", &reason));
                    }
                }
                return Ok(());
            }
            Err(e) => e,
        };
        if !self.stored {
            return Err(error);
        }
        let kind = "es_rejected_execution_exception";
        for (i, _) in items {
            self.fail(i, ItemError { status: error.status, kind, reason: error.message.clone() });
        }
        Ok(())
    }

    fn fail(&mut self, item: usize, error: ItemError) {
        if let Some(o) = self.outcomes.get_mut(item) {
            o.error = Some(error);
        }
    }
}

fn take<'i>(
    intake: &Intake,
    target: &Target,
    sender: &str,
    items: &'i [BulkItem<'i>],
    now_ns: TimestampNs,
) -> Result<Vec<Outcome<'i>>, PushError> {
    let mut pending = Pending {
        builder: intake.batch(),
        items: Vec::new(),
        outcomes: Vec::with_capacity(items.len()),
        stored: false,
    };
    // Documents without an id are documents of their own however equal they are: the n-th of equal ones is n nanoseconds later.
    // The same request sent again gives the same times, so it doubles nothing.
    let mut equal: HashMap<u128, i64> = HashMap::new();
    for (i, item) in items.iter().enumerate() {
        pending.outcomes.push(Outcome { item, error: None });
        let error = match record_of(target, item) {
            Err(e) => Some(e),
            Ok((record, labels)) => {
                let mut timestamp = record.timestamp.unwrap_or(now_ns + i as i64);
                if item.id.is_none() {
                    let seen = equal.entry(identity(&labels, timestamp, item.document)).or_insert(-1);
                    *seen += 1;
                    timestamp += *seen;
                }
                pending.builder.stream(labels.clone());
                let metadata = record.metadata.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                match pending.builder.try_entry(timestamp, &record.line, metadata) {
                    Ok(()) => {
                        pending.items.push((i, labels));
                        None
                    }
                    Err(Refusal { message, .. }) => Some(ItemError::refused("document_parsing_exception", message)),
                }
            }
        };
        if let Some(e) = error {
            pending.fail(i, e);
        }
        if pending.builder.bytes() >= BATCH_BYTES {
            pending.flush(intake, sender)?;
        }
    }
    pending.flush(intake, sender)?;
    Ok(pending.outcomes)
}

fn identity(labels: &Labels, timestamp: TimestampNs, document: &[u8]) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(labels.packed().as_bytes());
    hasher.update(&timestamp.to_le_bytes());
    hasher.update(document);
    hasher.digest128()
}

/// The record in a document and the labels of its stream.
fn record_of(target: &Target, item: &BulkItem<'_>) -> Result<(Record, Labels), ItemError> {
    if matches!(item.verb, Verb::Update | Verb::Delete) {
        let reason = format!("logs are only added to: {} is not possible; use create or index", item.verb.as_str());
        return Err(ItemError::refused("illegal_argument_exception", reason));
    }
    let malformed = |reason: String| ItemError::refused("document_parsing_exception", reason);
    let text = std::str::from_utf8(item.document).map_err(|e| malformed(e.to_string()))?;
    let mut record = ndjson::decode(text, &target.names).map_err(|e| malformed(e.to_string()))?;
    if record.metadata.len() + 2 > limits::MAX_METADATA_PAIRS {
        // More fields than an entry may have: the whole document is the line, and queries take it apart.
        record.line = text.to_owned();
        record.metadata.clear();
    }
    if let Some(level) = record.metadata.iter().find(|(n, _)| n == "log.level").map(|(_, v)| v.clone()) {
        record.metadata.push((detect::DETECTED_LEVEL.to_owned(), level));
    }
    if let Some(pipeline) = item.pipeline.as_deref().or(target.pipeline.as_deref()) {
        record.metadata.push(("pipeline".to_owned(), pipeline.to_owned()));
    }
    let mut labels = target.labels.to_builder();
    if !target.index_label.is_empty() {
        labels.set(&target.index_label, without_date(index_of(target, item)));
    }
    for (n, v) in &record.labels {
        labels.set(&detect::valid_name(n), v.as_str());
    }
    let labels = labels.build();
    Ok((record, labels))
}

fn index_of<'a>(target: &'a Target, item: &'a BulkItem<'_>) -> &'a str {
    item.index.as_deref().or(target.index.as_deref()).unwrap_or(DEFAULT_INDEX)
}

/// An index name without the date that shippers put behind it (`logstash-2026.01.15`): it would make a new stream each day.
fn without_date(index: &str) -> &str {
    // `-2026.01.15` or `-2026-01-15`.
    const DATE: &[u8; 11] = b"-####.##.##";
    let fits = |(found, wanted): (u8, &u8)| match wanted {
        b'#' => found.is_ascii_digit(),
        b'.' => matches!(found, b'.' | b'-'),
        other => found == *other,
    };
    match index.len().checked_sub(DATE.len()).and_then(|at| index.split_at_checked(at)) {
        Some((name, date)) if !name.is_empty() && date.bytes().zip(DATE).all(fits) => name,
        _ => index,
    }
}

fn item_body(target: &Target, outcome: &Outcome<'_>, started_ns: TimestampNs, place: usize) -> Value {
    let item = outcome.item;
    let mut body = Map::new();
    if !target.brief {
        // An id that does not repeat: the time in nanoseconds and the place in the request.
        let id = item.id.as_deref().map_or_else(|| format!("{started_ns:x}-{place:x}"), str::to_owned);
        body.insert("_index".to_owned(), index_of(target, item).into());
        body.insert("_id".to_owned(), id.into());
    }
    match &outcome.error {
        Some(e) => {
            body.insert("status".to_owned(), e.status.into());
            body.insert("error".to_owned(), json!({"type": e.kind, "reason": e.reason}));
        }
        None => {
            body.insert("status".to_owned(), 201.into());
            if !target.brief {
                body.insert("_version".to_owned(), 1.into());
                body.insert("result".to_owned(), "created".into());
                body.insert("_shards".to_owned(), json!({"total": 1, "successful": 1, "failed": 0}));
                body.insert("_seq_no".to_owned(), place.into());
                body.insert("_primary_term".to_owned(), 1.into());
            }
        }
    }
    Value::Object(body)
}

fn answer(target: &Target, outcomes: &[Outcome<'_>], took_ms: i64, started_ns: TimestampNs) -> String {
    let errors = outcomes.iter().any(|o| o.error.is_some());
    let items: Vec<Value> = outcomes
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let mut item = Map::new();
            item.insert(o.item.verb.as_str().to_owned(), item_body(target, o, started_ns, i));
            Value::Object(item)
        })
        .collect();
    json!({"took": took_ms, "errors": errors, "items": items}).to_string()
}

#[cfg(test)]
mod tests;
