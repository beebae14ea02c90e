//! `tail`: lines over a WebSocket as they are pushed, after the newest that are there already.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::json::{write_pairs, write_streams};
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::exec::cpu_pool;
use crate::logql::ast::{Expr, LogExpr};
use crate::logql::engine::{LabelPairs, Output, Query, ResultEntry};
use crate::logql::parse;
use crate::logql::stages::{Line, Pipeline};
use crate::logql::storage::{Direction, Entry};
use crate::logs::Batch;
use crate::query::Asker;
use crate::telemetry::metrics;

/// The longest that lines may be held back.
const MAX_DELAY_NS: i64 = 5_000_000_000;
/// Tails that may be open at once.
const MAX_TAILS: i64 = 100;
/// Lines that wait to be sent; more are dropped, and the client is told.
const MAX_WAITING: usize = 5000;
/// Dropped lines that are told one by one in a frame.
const MAX_TOLD: usize = 1000;
/// A client that is gone is found out by this.
const PING: Duration = Duration::from_secs(1);
/// What fits the reason of a close frame.
const MAX_REASON_BYTES: usize = 120;

static OPEN: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("campanile_api_log_tails", "Live tails of logs that are open."));
static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_api_log_tail_dropped_total",
        "Lines (or, where a tail is far behind, batches of lines) that live tails left out.",
    )
});

/// Counts a tail while it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        OPEN.inc();
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.dec();
    }
}

/// What a client asks for.
struct Request {
    log: LogExpr,
    pipeline: Pipeline,
    /// Lines that are there already.
    history: Query,
    delay: Duration,
}

impl Request {
    fn read(state: &ApiState, params: &Params) -> Result<Self, TextError> {
        let expr = params.get("query").unwrap_or_default().to_owned();
        let log = match parse(&expr).map_err(|e| TextError::bad_request(e.to_string()))? {
            Expr::Log(l) => l,
            Expr::Metric(_) => return Err(TextError::bad_request("only log queries can be tailed")),
        };
        let pipeline = Pipeline::compile(&log.stages).map_err(TextError::bad_request)?;
        let (start_ns, end_ns) = read::range(params, state.clock.now_ns())?;
        let delay_ns = match params.get("delay_for").map(str::parse::<i64>) {
            None => 0,
            Some(Ok(seconds)) => seconds.saturating_mul(1_000_000_000),
            Some(Err(_)) => return Err(TextError::bad_request("delay_for is no whole number of seconds")),
        };
        if !(0..=MAX_DELAY_NS).contains(&delay_ns) {
            return Err(TextError::bad_request("delay_for can't be greater than 5"));
        }
        let limit = read::limit(params)?.min(state.logs.options().max_entries).min(MAX_WAITING);
        let history =
            Query { expr, start_ns, end_ns, step_ns: 0, limit, direction: Direction::Backward, interval_ns: 0 };
        Ok(Request { log, pipeline, history, delay: Duration::from_nanos(delay_ns.unsigned_abs()) })
    }

    /// The lines of a batch that are asked for.
    fn lines_of(&self, batch: &Batch) -> Vec<ResultEntry> {
        let mut out = Vec::new();
        let mut line = Line::default();
        for group in batch.groups() {
            if !self.log.matchers.iter().all(|m| m.matches(group.labels.value(m.name()))) {
                continue;
            }
            for e in &group.entries {
                let entry = Entry {
                    stream: u64::from(group.stream.0),
                    labels: &group.labels,
                    timestamp: e.timestamp,
                    line: batch.line(e),
                    metadata: &e.metadata,
                };
                if self.pipeline.run(&mut line, &entry) {
                    out.push(ResultEntry::of(&entry, &line));
                }
            }
        }
        out
    }
}

/// What waits to be sent.
#[derive(Default)]
struct Waiting {
    lines: Vec<ResultEntry>,
    dropped: Vec<(LabelPairs, i64)>,
}

impl Waiting {
    fn add(&mut self, e: ResultEntry) {
        if self.lines.len() < MAX_WAITING {
            self.lines.push(e);
        } else {
            DROPPED.inc();
            if self.dropped.len() < MAX_TOLD {
                self.dropped.push((e.stream, e.timestamp));
            }
        }
    }

    /// Everything as one frame; nothing waits then.
    fn frame(&mut self) -> String {
        self.lines.sort_by_key(|e| e.timestamp);
        let mut out = String::from("{\"streams\":");
        write_streams(&mut out, &self.lines, false);
        if !self.dropped.is_empty() {
            out.push_str(",\"dropped_entries\":[");
            for (i, (labels, timestamp)) in self.dropped.iter().enumerate() {
                out.push_str(if i > 0 { ",{\"labels\":" } else { "{\"labels\":" });
                write_pairs(&mut out, labels);
                out.push_str(&format!(",\"timestamp\":\"{timestamp}\"}}"));
            }
            out.push(']');
        }
        out.push('}');
        self.lines.clear();
        self.dropped.clear();
        out
    }
}

/// Why a tail ends.
enum End {
    /// The client has gone, or the server stops. Nothing is said then: clients come back when a socket just ends.
    Gone,
    /// The client is told.
    Failed(String),
}

impl From<axum::Error> for End {
    fn from(_: axum::Error) -> Self {
        End::Gone
    }
}

pub(super) async fn tail(
    State(state): State<ApiState>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    params: Params,
) -> Result<Response, TextError> {
    // A bad query is an ordinary 400, told before there is a socket.
    let request = Arc::new(Request::read(&state, &params)?);
    let upgrade = match upgrade {
        Ok(u) => u,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    if OPEN.get() >= MAX_TAILS {
        return Err(TextError::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("max concurrent tail requests limit exceeded, count > limit ({MAX_TAILS})"),
        ));
    }
    Ok(upgrade.on_upgrade(move |mut socket| async move {
        let _counted = Counted::new();
        let shutdown = state.shutdown.clone();
        let end = tokio::select! {
            () = shutdown.cancelled() => End::Gone,
            ended = session(&mut socket, &state, &request) => match ended {
                Ok(()) => End::Gone,
                Err(e) => e,
            },
        };
        if let End::Failed(reason) = end {
            let cut = reason.floor_char_boundary(MAX_REASON_BYTES);
            let reason = reason.get(..cut).unwrap_or_default().to_owned();
            let frame = CloseFrame { code: close_code::ERROR, reason: reason.into() };
            // The client may have gone meanwhile.
            let _told = socket.send(Message::Close(Some(frame))).await;
        }
    }))
}

async fn session(socket: &mut WebSocket, state: &ApiState, request: &Arc<Request>) -> Result<(), End> {
    // Listening begins before history is read, so that no line falls between the two.
    let mut batches = state.logs.store().subscribe();
    let (output, _) = state
        .logs
        .run(request.history.clone(), Asker::inside("tail"))
        .await
        .map_err(|e| End::Failed(TextError::from(e).message))?;
    let mut waiting = Waiting::default();
    let mut sent = HashSet::new();
    if let Output::Lines(lines) = output {
        sent.extend(lines.iter().map(fingerprint));
        lines.into_iter().for_each(|e| waiting.add(e));
    }
    if !waiting.lines.is_empty() {
        socket.send(Message::text(waiting.frame())).await?;
    }
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            received = batches.recv() => {
                match received {
                    Ok(batch) => {
                        let request = request.clone();
                        let lines = cpu_pool::run(move || request.lines_of(&batch))
                            .await
                            .map_err(|e| End::Failed(e.to_string()))?;
                        lines.into_iter().filter(|e| !sent.contains(&fingerprint(e))).for_each(|e| waiting.add(e));
                    }
                    Err(RecvError::Closed) => return Err(End::Gone),
                    Err(RecvError::Lagged(n)) => {
                        DROPPED.inc_by(n);
                        // Which lines they held is not known any more.
                        waiting.dropped.push((LabelPairs::new(), state.clock.now_ns()));
                    }
                }
                if due.is_none() && !(waiting.lines.is_empty() && waiting.dropped.is_empty()) {
                    due = Some(Instant::now() + request.delay);
                }
            }
            () = async { match due { Some(t) => sleep_until(t).await, None => std::future::pending().await } } => {
                due = None;
                socket.send(Message::text(waiting.frame())).await?;
            }
            message = socket.recv() => match message {
                None | Some(Ok(Message::Close(_)) | Err(_)) => return Err(End::Gone),
                // Pings are answered by the library; nothing else is expected.
                Some(Ok(_)) => {}
            },
            _ = ping.tick() => socket.send(Message::Ping(Vec::new().into())).await?,
        }
    }
}

/// Lines that history and the feed both hold are equal in all of this; the store keeps such lines once.
fn fingerprint(e: &ResultEntry) -> (i64, u64) {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default();
    (e.timestamp, hash.hash_one((&e.line, &e.stream, &e.metadata, &e.parsed)))
}
