//! `/api/v1/read`: remote read out, as samples or as streamed chunks.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use crate::api::ApiState;
use crate::api::not_now::{SOON_SECONDS, come_back};
use crate::model::{Column, Labels, MatchOp, Matcher};
use crate::tsdb::Db;
use crate::wire::prom_chunk::{PromChunk, encode_column};
use crate::wire::remote_read::{ReadQuery, ReadRequest, ResponseType, frame, put_result, put_series, read_request};
use crate::wire::remote_write::decompress;

/// A request is a list of matchers; a megabyte of them is generous.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// The largest answer in one message before it is packed. Who wants more takes the stream, which needs no memory.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// Chunks of one series in a frame are cut off here, Prometheus' own size.
const FRAME_BYTES: usize = 1 << 20;
/// Frames that wait for the client.
const FRAMES_WAITING: usize = 4;

type Refused = (StatusCode, String);

pub(super) async fn read(State(state): State<ApiState>, body: Bytes) -> Response {
    match answer(&state, &body).await {
        Ok(response) => response,
        Err(refused) => come_back(SOON_SECONDS, refused.into_response()),
    }
}

async fn answer(state: &ApiState, body: &[u8]) -> Result<Response, Refused> {
    let bad = |e: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, format!("{e}\n"));
    let mut message = Vec::new();
    decompress(body, MAX_REQUEST_BYTES, &mut message).map_err(|e| bad(&e))?;
    let mut request = read_request(&message).map_err(|e| bad(&e))?;
    let form = request.response_type.ok_or_else(|| {
        bad(&"server does not support any of the requested response types; supported: SAMPLES, STREAMED_XOR_CHUNKS")
    })?;
    let outside = Labels::from_pairs(&state.config.load().config.global.external_labels);
    // Clients ask with the labels that they saw, but those of this server are not on the series.
    for query in &mut request.queries {
        query.matchers.retain(|m| !(m.op() == MatchOp::Equal && outside.get(m.name()) == Some(m.value())));
    }
    let newest = request.queries.iter().map(|q| q.end).max().unwrap_or(i64::MAX);
    super::readable(state, newest).await.map_err(|e| (e.kind.status(), format!("{}\n", e.message)))?;
    let permit = state
        .read_permits
        .acquire()
        .await
        .map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, format!("too many remote reads: {e}\n")))?;
    let db = state.db.clone();
    match form {
        ResponseType::Samples => {
            let made = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                samples(&db, &request, &outside)
            });
            let packed = made.await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))??;
            let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
            Ok((headers, packed).into_response())
        }
        ResponseType::StreamedXorChunks => {
            let (frames, waiting) = mpsc::channel(FRAMES_WAITING);
            // Nobody waits for the task: it ends when the client has all or has gone away.
            let _task = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                if let Err(e) = stream_chunks(&db, &request, &outside, &frames) {
                    // The client sees the end of the connection before the end of the body.
                    let _gone = frames.blocking_send(Err(std::io::Error::other(e)));
                }
            });
            let body = stream::unfold(waiting, async |mut waiting| waiting.recv().await.map(|f| (f, waiting)));
            let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
            Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(body)).into_response())
        }
    }
}

/// The labels of a series with those of this server, where it has none of that name.
fn with_outside(labels: Labels, outside: &Labels) -> Labels {
    if outside.is_empty() {
        return labels;
    }
    let mut builder = labels.to_builder();
    for (n, v) in outside {
        if labels.get(n).is_none() {
            builder.set(n, v);
        }
    }
    builder.build()
}

/// Gives the samples of each series of a query.
fn each_series<E>(
    db: &Db,
    query: &ReadQuery,
    outside: &Labels,
    mut each: impl FnMut(Labels, &Column) -> Result<(), E>,
) -> Result<Result<(), E>, crate::tsdb::Error> {
    let matchers: &[Matcher] = &query.matchers;
    let selection = db.select(matchers, query.start, query.end)?;
    let mut column = Column::default();
    for i in 0..selection.len() {
        column.clear();
        selection.read(i, query.start, query.end, &mut column)?;
        if column.is_empty() {
            continue;
        }
        if let Err(e) = each(with_outside(selection.labels(i), outside), &column) {
            return Ok(Err(e));
        }
    }
    Ok(Ok(()))
}

fn samples(db: &Db, request: &ReadRequest, outside: &Labels) -> Result<Vec<u8>, Refused> {
    let failed = |e: &dyn std::fmt::Display| (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n"));
    let mut response = Vec::new();
    for query in &request.queries {
        let mut result = Vec::new();
        let before = response.len();
        each_series(db, query, outside, |labels, column| {
            let floats = column.t.iter().copied().zip(column.v.iter().copied());
            let histograms = column.ht.iter().copied().zip(column.h.iter().map(Arc::as_ref));
            put_series(&mut result, &labels, floats, histograms);
            if before + result.len() > MAX_MESSAGE_BYTES {
                let text = format!(
                    "the answer would exceed {MAX_MESSAGE_BYTES} bytes; ask for fewer series or a shorter time, or accept \
                     STREAMED_XOR_CHUNKS\n"
                );
                return Err((StatusCode::BAD_REQUEST, text));
            }
            Ok(())
        })
        .map_err(|e| failed(&e))??;
        put_result(&mut response, &result);
    }
    snap::raw::Encoder::new().compress_vec(&response).map_err(|e| failed(&e))
}

/// A frame for the client, or why there are no more.
type Frame = Result<Bytes, std::io::Error>;

/// The client has gone away.
struct Gone;

/// Sends all frames; ends early when the client has gone away.
fn stream_chunks(
    db: &Db,
    request: &ReadRequest,
    outside: &Labels,
    frames: &mpsc::Sender<Frame>,
) -> Result<(), crate::tsdb::Error> {
    for (i, query) in request.queries.iter().enumerate() {
        let sent: Result<(), Gone> = each_series(db, query, outside, |labels, column| {
            let chunks = encode_column(column);
            let mut rest = chunks.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(fitting(rest));
                frames.blocking_send(Ok(Bytes::from(frame(i, &labels, now)))).map_err(|_| Gone)?;
                rest = later;
            }
            Ok(())
        })?;
        if sent.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// How many chunks at the front go into one frame; at least one.
fn fitting(chunks: &[PromChunk]) -> usize {
    let mut bytes = 0;
    let past = chunks.iter().position(|c| {
        bytes += c.data.len();
        bytes > FRAME_BYTES
    });
    past.unwrap_or(chunks.len()).max(1)
}
