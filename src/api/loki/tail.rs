//! `tail`: lines over a WebSocket as they are pushed, after the newest that are there already.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
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
/// Lines that wait to be sent; where a client is so slow that there are more, they are dropped, and it is told.
const MAX_WAITING: usize = 5000;
/// The same in bytes, twice: what waits, and the frame that is being sent.
const MAX_WAITING_BYTES: u64 = 4 << 20;
/// Dropped lines that are told one by one in a frame.
const MAX_TOLD: usize = 1000;
/// A client that is gone is found out by this.
const PING: Duration = Duration::from_secs(1);
/// How long to wait while a frame is on its way.
const BUSY: Duration = Duration::from_millis(50);
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
        let history = Query {
            expr,
            start_ns,
            end_ns,
            step_ns: 0,
            limit,
            direction: Direction::Backward,
            interval_ns: 0,
            explain: false,
        };
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
    bytes: u64,
    dropped: Vec<(LabelPairs, i64)>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped.is_empty()
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= MAX_WAITING || self.bytes >= MAX_WAITING_BYTES
    }

    /// Takes a line. If there is no room, what waits is sent; if that is not possible, the line is dropped.
    fn add(&mut self, e: ResultEntry, frames: &mpsc::Sender<Message>) {
        if self.is_full() {
            self.send(frames);
        }
        if self.is_full() {
            DROPPED.inc();
            if self.dropped.len() < MAX_TOLD {
                self.dropped.push((e.stream, e.timestamp));
            }
        } else {
            self.bytes += e.bytes();
            self.lines.push(e);
        }
    }

    /// Sends everything as one frame, unless the one before is still on its way. Says whether it did.
    fn send(&mut self, frames: &mpsc::Sender<Message>) -> bool {
        let Ok(place) = frames.try_reserve() else { return false };
        place.send(Message::text(self.frame()));
        true
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
        *self = Waiting::default();
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
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _counted = Counted::new();
        let shutdown = state.shutdown.clone();
        let (mut sink, stream) = socket.split();
        let (frames, to_send) = mpsc::channel(1);
        let end = tokio::select! {
            () = shutdown.cancelled() => End::Gone,
            ended = send_frames(&mut sink, to_send) => ended,
            ended = session(stream, frames, &state, &request) => ended,
        };
        if let End::Failed(reason) = end {
            let cut = reason.floor_char_boundary(MAX_REASON_BYTES);
            let reason = reason.get(..cut).unwrap_or_default().to_owned();
            let frame = CloseFrame { code: close_code::ERROR, reason: reason.into() };
            // The client may have gone meanwhile.
            let _told = sink.send(Message::Close(Some(frame))).await;
        }
    }))
}

/// Sends frames, however long the client takes; ends when there will be no more.
async fn send_frames(sink: &mut SplitSink<WebSocket, Message>, mut frames: mpsc::Receiver<Message>) -> End {
    while let Some(frame) = frames.recv().await {
        if sink.send(frame).await.is_err() {
            return End::Gone;
        }
    }
    std::future::pending().await
}

async fn session(
    mut stream: SplitStream<WebSocket>,
    frames: mpsc::Sender<Message>,
    state: &ApiState,
    request: &Arc<Request>,
) -> End {
    // Listening begins before history is read, so that no line falls between the two.
    let mut batches = state.logs.store().subscribe();
    let history = match state.logs.run(request.history.clone(), Asker::inside("tail")).await {
        Ok((output, _)) => output,
        Err(e) => return End::Failed(TextError::from(e).message),
    };
    let mut waiting = Waiting::default();
    let mut sent = HashSet::new();
    if let Output::Lines(lines) = history {
        sent.extend(lines.iter().map(fingerprint));
        lines.into_iter().for_each(|e| waiting.add(e, &frames));
    }
    if !waiting.is_empty() {
        waiting.send(&frames);
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
                        let lines = match cpu_pool::run(move || request.lines_of(&batch)).await {
                            Ok(lines) => lines,
                            Err(e) => return End::Failed(e.to_string()),
                        };
                        let new = lines.into_iter().filter(|e| !sent.contains(&fingerprint(e)));
                        new.for_each(|e| waiting.add(e, &frames));
                    }
                    Err(RecvError::Closed) => return End::Gone,
                    Err(RecvError::Lagged(n)) => {
                        DROPPED.inc_by(n);
                        // Which lines they held is not known any more.
                        waiting.dropped.push((LabelPairs::new(), state.clock.now_ns()));
                    }
                }
                if due.is_none() && !waiting.is_empty() {
                    due = Some(Instant::now() + request.delay);
                }
            }
            () = async { match due { Some(t) => sleep_until(t).await, None => std::future::pending().await } } => {
                // With a frame still on its way, once more a little later.
                due = if waiting.send(&frames) { None } else { Some(Instant::now() + BUSY) };
            }
            message = stream.next() => match message {
                None | Some(Ok(Message::Close(_)) | Err(_)) => return End::Gone,
                // Pings are answered by the library; nothing else is expected.
                Some(Ok(_)) => {}
            },
            _ = ping.tick() => {
                // A frame on its way finds out as well whether the client is there.
                let _busy = frames.try_send(Message::Ping(Vec::new().into()));
            }
        }
    }
}

/// Lines that history and the feed both hold are equal in all of this; the store keeps such lines once.
fn fingerprint(e: &ResultEntry) -> (i64, u64) {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default();
    (e.timestamp, hash.hash_one((&e.line, &e.stream, &e.metadata, &e.parsed)))
}
