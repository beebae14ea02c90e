//! What happens inside campanile as log lines of the stream `{job="campanile"}`, so that its history is a query.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use prometheus::IntCounter;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::alerting::{Event, Observer};
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock};
use crate::logs::Store;
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
            Event::Attempt {
                receiver,
                integration,
                group_key,
                reason,
                firing,
                resolved,
                attempt,
                possible_repeat,
                latency,
                error,
                retried,
            } => {
                let (attempt, seconds) = (attempt.to_string(), format!("{:.3}", latency.as_secs_f64()));
                let outcome = if error.is_none() { "sent" } else { "failed" };
                let fields = json!({
                    "receiver": receiver, "integration": integration, "group_key": group_key, "reason": format!("{reason:?}"),
                    "firing": firing.iter().map(|l| l.to_string()).collect::<Vec<_>>(),
                    "resolved": resolved.iter().map(|l| l.to_string()).collect::<Vec<_>>(),
                    "outcome": outcome, "attempt": attempt, "latency_seconds": seconds, "error": error,
                    "possible_repeat": possible_repeat, "retried": retried,
                });
                let names: Vec<&str> = firing.iter().chain(resolved).map(|l| l.value("alertname")).collect();
                let level = if error.is_none() { "info" } else { "error" };
                self.event(
                    "notification",
                    level,
                    fields,
                    &[
                        ("receiver", receiver),
                        ("integration", integration),
                        ("group_key", group_key),
                        ("alertname", names.first().copied().unwrap_or_default()),
                        ("outcome", outcome),
                        ("attempt", &attempt),
                        ("latency_seconds", &seconds),
                        ("error", error.unwrap_or_default()),
                    ],
                );
            }
            Event::Suppressed { labels, group_key, by } => {
                let fields = json!({"alert": labels.to_string(), "group_key": group_key, "by": by.kind(), "details": format!("{by:?}")});
                self.event("suppressed", "info", fields, &self.alert_metadata(labels, &[("by", by.kind())]));
            }
            Event::Unsuppressed { labels, group_key } => {
                let fields = json!({"alert": labels.to_string(), "group_key": group_key});
                self.event("unsuppressed", "info", fields, &self.alert_metadata(labels, &[]));
            }
            Event::Silence { silence, state } => {
                let fields = json!({
                    "id": silence.id, "state": state.as_str(), "created_by": silence.created_by, "comment": silence.comment,
                    "starts_at": crate::model::time::rfc3339_ms(silence.starts_at),
                    "ends_at": crate::model::time::rfc3339_ms(silence.ends_at),
                });
                self.event("silence", "info", fields, &[("silence_id", &silence.id), ("state", state.as_str())]);
            }
        }
    }

    fn alert_metadata<'a>(&self, labels: &'a Labels, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![("alertname", labels.value("alertname"))];
        all.extend(more);
        all
    }
}

impl TransitionObserver for History {
    fn transition(&self, t: &Transition) {
        let word = |s: AlertState| if s == AlertState::Inactive { "resolved" } else { s.as_str() };
        let (from, to) = (t.from.as_str(), word(t.to));
        let fingerprint = format!("{:016x}", t.labels.fingerprint());
        let fields = json!({
            "alert": t.labels.to_string(), "annotations": t.annotations, "from": from, "to": to,
            "value": crate::model::sample::format_value(t.value), "group": t.group, "file": t.file,
        });
        let level = if t.to == AlertState::Firing { "warn" } else { "info" };
        self.event(
            "alert",
            level,
            fields,
            &[("alertname", t.labels.value("alertname")), ("fingerprint", &fingerprint), ("from", from), ("to", to)],
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
