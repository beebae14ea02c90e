//! What happens inside campanile as log lines of the stream `{job="campanile"}`, so that its history is a query.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use prometheus::IntCounter;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::alerting::template_data::Status;
use crate::alerting::{Event, Observer};
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock};
use crate::logs::Store;
use crate::model::time::rfc3339_ms;
use crate::model::{Labels, LabelsBuilder, LogEntry, LogStream};
use crate::query::active_file::Interrupted;
use crate::query::query_log::Ended;
use crate::rules::{AlertState, Transition, TransitionObserver};

static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    crate::telemetry::metrics::counter(
        "campanile_history_lines_dropped_total",
        "Lines of campanile's own history that were not stored because the log store did not keep up or failed.",
    )
});
static COMPLAINTS: Throttle = Throttle::new(10_000);

/// Lines that may wait for the log store. A thousand alerts that fire at once are a thousand lines.
const QUEUE: usize = 10_000;
/// Lines that go to the log store at once.
const BATCH: usize = 500;

/// Alerts that the line of one attempt names, firing and resolved ones each: a line of the log store is 256 KiB at most.
const MOST_ALERTS_SHOWN: usize = 100;

struct Line {
    event: &'static str,
    entry: LogEntry,
}

/// Takes events and never blocks. Clones share the queue.
#[derive(Clone)]
pub(super) struct History {
    lines: mpsc::Sender<Line>,
    clock: Arc<dyn Clock>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    /// Ends the writer, after everything else has ended.
    stop: CancellationToken,
}

impl History {
    /// Starts the task that writes. It ends with [`History::finish`].
    pub(super) fn start(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        let (tx, rx) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let writer = tokio::spawn(write(store, rx, stop.clone(), clock.clone()));
        History { lines: tx, clock, writer: Arc::new(Mutex::new(Some(writer))), stop }
    }

    /// Waits until what was taken is written. Called when nothing that has a history runs any more.
    pub(super) async fn finish(&self) {
        self.stop.cancel();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(w) = writer
            && let Err(e) = w.await
        {
            tracing::error!(error = %e, "the writer of campanile's history ended badly");
        }
    }

    /// Takes one event: the kind of it, a JSON object for the line, and what can be filtered on.
    pub(super) fn event(&self, event: &'static str, level: &str, mut fields: Value, metadata: &[(&str, &str)]) {
        if let Some(map) = fields.as_object_mut() {
            map.insert("event".to_owned(), Value::String(event.to_owned()));
            map.insert("level".to_owned(), Value::String(level.to_owned()));
        }
        let mut labels = LabelsBuilder::new();
        for (name, value) in metadata {
            labels.set(name, *value);
        }
        let entry = LogEntry { timestamp: self.clock.now_ns(), line: fields.to_string(), metadata: labels.build() };
        if self.lines.try_send(Line { event, entry }).is_err() {
            DROPPED.inc();
        }
    }

    /// The observer for the alertmanager.
    pub(super) fn alerting_observer(&self) -> Observer {
        let history = self.clone();
        Arc::new(move |event| history.alerting_event(event))
    }

    /// Notes a query that took long.
    pub(super) fn slow_query(&self, ended: &Ended<'_>) {
        let asked = ended.asked;
        let seconds = format!("{:.3}", ended.total().as_secs_f64());
        let fields = json!({
            "language": asked.language.as_str(), "query": asked.query, "times": asked.times.to_json(),
            "asked_by": asked.asker.to_json(), "seconds": ended.total().as_secs_f64(),
            "queued_seconds": ended.queued.as_secs_f64(), "samples": ended.samples, "error": ended.error,
        });
        let level = if ended.error.is_none() { "warn" } else { "error" };
        let mut metadata = vec![("language", asked.language.as_str()), ("seconds", seconds.as_str())];
        let known = asked.asker.fields().filter(|(n, _)| ["address", "dashboard", "panel", "component"].contains(n));
        metadata.extend(known);
        self.event("slow_query", level, fields, &metadata);
    }

    /// Notes a query that ran when the process before was killed.
    pub(super) fn interrupted_query(&self, query: &Interrupted) {
        let language = query.record["language"].as_str().unwrap_or_default();
        self.event("interrupted_query", "warn", query.record.clone(), &[("language", language)]);
    }

    fn alerting_event(&self, event: &Event<'_>) {
        match event {
            Event::Attempt { .. } => self.attempt(event),
            Event::Told { alert, receiver, integration, group_key, attempt, possible_repeat, delay } => {
                let (attempt, delay) = (attempt.to_string(), format!("{:.3}", delay.as_secs_f64()));
                let fields = json!({
                    "alert": alert.labels.to_string(), "annotations": alert.annotations, "status": alert.status.as_str(),
                    "receiver": receiver, "integration": integration, "group_key": group_key,
                    "possible_repeat": possible_repeat,
                });
                let metadata = [
                    ("alertname", alert.labels.value("alertname")),
                    ("fingerprint", alert.fingerprint.as_str()),
                    ("status", alert.status.as_str()),
                    ("receiver", *receiver),
                    ("integration", *integration),
                    ("group_key", *group_key),
                    ("attempt", &attempt),
                    ("delay_seconds", &delay),
                ];
                self.event("told", "info", fields, &metadata);
            }
            Event::Alert { labels, fingerprint, firing, because } => {
                let to = if *firing { "firing" } else { "resolved" };
                let from = if *firing { "inactive" } else { "firing" };
                let fields = json!({"alert": labels.to_string(), "from": from, "to": to, "because": because.as_str()});
                let more = [("from", from), ("to", to), ("because", because.as_str())];
                let level = if *firing { "warn" } else { "info" };
                self.event("alert", level, fields, &with_alert(labels, &hex(*fingerprint), &more));
            }
            Event::Suppressed { labels, fingerprint, group_key, by } => {
                let details = by.details();
                let fields =
                    json!({"alert": labels.to_string(), "group_key": group_key, "by": by.kind(), "details": details});
                let more = [("by", by.kind()), ("details", &details), ("group_key", *group_key)];
                self.event("suppressed", "info", fields, &with_alert(labels, &hex(*fingerprint), &more));
            }
            Event::Unsuppressed { labels, fingerprint, group_key } => {
                let fields = json!({"alert": labels.to_string(), "group_key": group_key});
                let more = [("group_key", *group_key)];
                self.event("unsuppressed", "info", fields, &with_alert(labels, &hex(*fingerprint), &more));
            }
            Event::Silence { silence, state, change } => {
                let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
                let fields = json!({
                    "id": silence.id, "change": change.as_str(), "state": state.as_str(), "matchers": matchers,
                    "created_by": silence.created_by, "comment": silence.comment,
                    "starts_at": rfc3339_ms(silence.starts_at), "ends_at": rfc3339_ms(silence.ends_at),
                });
                let metadata = [
                    ("silence_id", silence.id.as_str()),
                    ("change", change.as_str()),
                    ("state", state.as_str()),
                    ("created_by", &silence.created_by),
                ];
                self.event("silence", "info", fields, &metadata);
            }
        }
    }

    /// One attempt to notify; the alerts' names and fingerprints stand in the line, and in the metadata if there is only one.
    fn attempt(&self, event: &Event<'_>) {
        let Event::Attempt {
            receiver,
            integration,
            group_key,
            reason,
            alerts,
            attempt,
            possible_repeat,
            latency,
            error,
            retried,
        } = event
        else {
            return;
        };
        let (attempt, seconds) = (attempt.to_string(), format!("{:.3}", latency.as_secs_f64()));
        let outcome = if error.is_none() { "sent" } else { "failed" };
        let of = |status: Status| {
            let some = alerts.iter().filter(|a| a.status == status).take(MOST_ALERTS_SHOWN);
            some.map(|a| json!({"alert": a.labels.to_string(), "fingerprint": a.fingerprint})).collect::<Vec<_>>()
        };
        let fields = json!({
            "receiver": receiver, "integration": integration, "group_key": group_key, "reason": reason.as_str(),
            "alerts": alerts.len(), "firing": of(Status::Firing), "resolved": of(Status::Resolved),
            "outcome": outcome, "attempt": attempt, "latency_seconds": seconds, "error": error,
            "possible_repeat": possible_repeat, "retried": retried,
        });
        // One name for all, if they have one.
        let name = alerts.first().map_or("", |a| a.labels.value("alertname"));
        let name = if alerts.iter().all(|a| a.labels.value("alertname") == name) { name } else { "" };
        let fingerprint = match alerts {
            [only] => only.fingerprint.as_str(),
            _ => "",
        };
        let mut metadata = vec![
            ("receiver", *receiver),
            ("integration", *integration),
            ("group_key", *group_key),
            ("outcome", outcome),
            ("attempt", &attempt),
            ("latency_seconds", &seconds),
        ];
        let more = [("alertname", name), ("fingerprint", fingerprint), ("error", error.unwrap_or_default())];
        metadata.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
        self.event("notification", if error.is_none() { "info" } else { "error" }, fields, &metadata);
    }
}

fn hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

fn with_alert<'a>(labels: &'a Labels, fingerprint: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("alertname", labels.value("alertname")), ("fingerprint", fingerprint)];
    all.extend(more);
    all
}

impl TransitionObserver for History {
    fn transition(&self, t: &Transition) {
        let word = |s: AlertState| if s == AlertState::Inactive { "resolved" } else { s.as_str() };
        let (from, to) = (t.from.as_str(), word(t.to));
        let fingerprint = hex(t.labels.fingerprint());
        let fields = json!({
            "alert": t.labels.to_string(), "annotations": t.annotations, "from": from, "to": to,
            "value": crate::model::sample::format_value(t.value), "group": t.group, "file": t.file, "because": "rule",
        });
        let level = if t.to == AlertState::Firing { "warn" } else { "info" };
        self.event(
            "alert",
            level,
            fields,
            &[
                ("alertname", t.labels.value("alertname")),
                ("fingerprint", &fingerprint),
                ("from", from),
                ("to", to),
                ("because", "rule"),
            ],
        );
    }
}

async fn write(store: Arc<Store>, mut lines: mpsc::Receiver<Line>, stop: CancellationToken, clock: Arc<dyn Clock>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let n = tokio::select! {
            n = lines.recv_many(&mut batch, BATCH) => n,
            // At the end take what is there; nothing of importance comes any more.
            () = stop.cancelled() => {
                while batch.len() < BATCH && let Ok(line) = lines.try_recv() {
                    batch.push(line);
                }
                batch.len()
            }
        };
        if n == 0 {
            return;
        }
        let mut streams: Vec<(&'static str, Vec<LogEntry>)> = Vec::new();
        for line in batch.drain(..) {
            match streams.iter_mut().find(|s| s.0 == line.event) {
                Some(s) => s.1.push(line.entry),
                None => streams.push((line.event, vec![line.entry])),
            }
        }
        let streams: Vec<LogStream> = streams
            .into_iter()
            .map(|(event, entries)| LogStream {
                labels: Labels::from_pairs([("job", "campanile"), ("event", event)]),
                entries,
            })
            .collect();
        let store = store.clone();
        let pushed = tokio::task::spawn_blocking(move || store.push(streams)).await;
        let failure = match pushed {
            Ok(Ok(_)) => continue,
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        DROPPED.inc_by(n as u64);
        if let Some(before) = COMPLAINTS.allow(clock.now_ms()) {
            tracing::error!(error = failure, lines = n, before, "lines of campanile's history cannot be stored");
        }
    }
}
