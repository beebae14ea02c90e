//! `/-/healthy`, `/-/ready`, `/-/reload`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::telemetry::metrics;

pub(super) async fn healthy() -> &'static str {
    "campanile is healthy.\n"
}

pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    if state.ready.get() {
        "campanile is ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "campanile is starting or stopping.\n").into_response()
    }
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
