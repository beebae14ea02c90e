//! `/-/healthy`, `/-/ready`, `/-/reload`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::not_now::{SOON_SECONDS, not_now};
use crate::telemetry::metrics;

pub(super) async fn healthy() -> &'static str {
    "campanile is healthy.\n"
}

pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    if state.ready.get() {
        return "campanile is ready.\n".into_response();
    }
    let replay = state.db.replay();
    let words = match replay.outcome() {
        _ if state.shutdown.is_cancelled() => "campanile is stopping.\n".to_owned(),
        Some(Ok(())) => "campanile is starting.\n".to_owned(),
        Some(Err(why)) => format!("campanile cannot replay the metrics log: {why}\n"),
        None => {
            let ((done, all), percent) = (replay.bytes(), replay.percent());
            format!(
                "campanile is starting: {percent} % of the metrics log are replayed ({done} of {all} bytes). New samples and logs are \
                 taken; queries of metrics and rules wait.\n"
            )
        }
    };
    not_now(SOON_SECONDS, words)
}

/// What `/-/ready` says before there are stores.
pub(super) fn opening() -> Response {
    not_now(SOON_SECONDS, "campanile is starting: the stores are being opened.\n")
}

pub(super) async fn reload(State(state): State<ApiState>) -> Response {
    match (state.reload)().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(text) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {text}\n")).into_response(),
    }
}

pub(super) async fn own_metrics() -> Response {
    // Short, and asked for when the server is busy above all: it does not wait in the row of the queries.
    match tokio::task::spawn_blocking(metrics::render).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}
