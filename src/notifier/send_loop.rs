//! One Alertmanager: takes what waits for it in batches, and tries again while it does not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::metrics;
use super::queue::{Queue, Waiting};
use crate::config::http_client::client::{ClientError, HttpClient, chain};
use crate::config::relabel::Relabel;
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock};
use crate::model::alert::Alert;
use crate::model::time::rfc3339_ms;

/// Alerts in one request (Prometheus' default).
const BATCH: usize = 256;
/// First and longest pause after a failed request.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a stop waits for what is still queued.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One complaint in ten seconds for all of them: an outage of one makes no flood.
static COMPLAINTS: Throttle = Throttle::new(10_000);

/// How the Alertmanagers of one entry are spoken to.
pub(super) struct Manner {
    pub client: HttpClient,
    pub timeout: Duration,
    pub relabel: Vec<Relabel>,
}

/// What waits for one Alertmanager; outlives reloads.
#[derive(Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    more: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes alerts in; never blocks.
    pub fn push(&self, url: &str, alerts: impl Iterator<Item = Alert>) {
        let (lost, waiting) = {
            let mut queue = self.lock();
            let lost: usize = alerts.map(|a| queue.push(a)).sum();
            (lost, queue.len())
        };
        if lost > 0 {
            metrics::DROPPED.with_label_values(&[url, "queue_full"]).inc_by(lost as u64);
        }
        metrics::QUEUED.with_label_values(&[url]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.more.notify_one();
    }
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Http(String),
    #[error("the answer is {0}")]
    Status(StatusCode),
}

impl SendError {
    /// Whether the same request can be taken later. A request that is wrong stays wrong; "too many" and "timed out" pass.
    fn passes(&self) -> bool {
        match self {
            SendError::Client(_) | SendError::Http(_) => true,
            SendError::Status(s) => {
                !s.is_client_error() || matches!(*s, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
        }
    }
}

/// Sends until cancelled. What is not sent by then stays in the outbox for whoever comes next.
pub(super) async fn run(
    url: String,
    outbox: Arc<Outbox>,
    manner: Arc<Manner>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let batch = outbox.lock().first(BATCH);
        if batch.is_empty() {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = outbox.more.notified() => continue,
            }
        }
        // Cut off in the middle it is sent again by the next loop: an alert that comes twice does no harm.
        let outcome = tokio::select! {
            () = cancel.cancelled() => return,
            outcome = send(&url, &manner, &batch) => outcome,
        };
        match settle(&url, &outbox, &batch, outcome, clock.as_ref()) {
            Settled::GoOn => pause = FIRST_PAUSE,
            Settled::Wait => {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Sends what is left when the process stops, for a short while; the rest is given up and counted.
pub(super) async fn last_words(url: &str, outbox: &Outbox, manner: &Manner, clock: &dyn Clock) {
    let all = async {
        loop {
            let batch = outbox.lock().first(BATCH);
            if batch.is_empty() {
                return;
            }
            let outcome = send(url, manner, &batch).await;
            if matches!(settle(url, outbox, &batch, outcome, clock), Settled::Wait) {
                return;
            }
        }
    };
    // What did not get through in time is counted below.
    let _in_time = tokio::time::timeout(LAST_WORDS, all).await;
    let left = outbox.lock().len();
    if left > 0 {
        metrics::DROPPED.with_label_values(&[url, "stopped"]).inc_by(left as u64);
        tracing::warn!(alertmanager = url, alerts = left, "alerts are left unsent at the stop");
    }
}

enum Settled {
    GoOn,
    Wait,
}

fn settle(
    url: &str,
    outbox: &Outbox,
    batch: &[Waiting],
    outcome: Result<usize, SendError>,
    clock: &dyn Clock,
) -> Settled {
    let settled = match outcome {
        Ok(sent) => {
            metrics::SENT.with_label_values(&[url]).inc_by(sent as u64);
            outbox.lock().done(batch);
            Settled::GoOn
        }
        Err(error) => {
            metrics::ERRORS.with_label_values(&[url]).inc();
            let again = error.passes();
            if let Some(before) = COMPLAINTS.allow(clock.now_ms()) {
                tracing::warn!(alertmanager = url, alerts = batch.len(), %error, again, before, "an outside Alertmanager does not take alerts");
            }
            if again {
                Settled::Wait
            } else {
                metrics::DROPPED.with_label_values(&[url, "refused"]).inc_by(batch.len() as u64);
                outbox.lock().done(batch);
                Settled::GoOn
            }
        }
    };
    let waiting = i64::try_from(outbox.lock().len()).unwrap_or(i64::MAX);
    metrics::QUEUED.with_label_values(&[url]).set(waiting);
    settled
}

/// Sends one batch; gives how many alerts were in it after relabelling.
async fn send(url: &str, manner: &Manner, batch: &[Waiting]) -> Result<usize, SendError> {
    let alerts: Vec<Value> = batch.iter().filter_map(|w| shown(&w.alert, &manner.relabel)).collect();
    if alerts.is_empty() {
        return Ok(0);
    }
    let sent = alerts.len();
    let body = Value::Array(alerts).to_string();
    let begun = Instant::now();
    let request = manner
        .client
        .request(Method::POST, url)
        .await?
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .timeout(manner.timeout)
        .body(body);
    let answer = request.send().await;
    metrics::LATENCY.with_label_values(&[url]).observe(begun.elapsed().as_secs_f64());
    let status = answer.map_err(|e| SendError::Http(chain(&e.without_url())))?.status();
    manner.client.note_status(status).await;
    if status.is_success() { Ok(sent) } else { Err(SendError::Status(status)) }
}

/// An alert as Alertmanager's API takes it; nothing if relabelling drops it.
fn shown(alert: &Alert, rules: &[Relabel]) -> Option<Value> {
    let mut labels = alert.labels.to_builder();
    if !Relabel::apply_all(rules, &mut labels) {
        return None;
    }
    let labels = labels.build();
    if labels.is_empty() {
        return None;
    }
    Some(json!({
        "labels": labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339_ms(alert.starts_at),
        "endsAt": rfc3339_ms(alert.ends_at),
        "generatorURL": alert.generator_url,
    }))
}
