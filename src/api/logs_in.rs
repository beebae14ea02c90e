//! Log lines in: newline JSON and plain text at `/api/v1/logs`, Loki's push.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::params::Params;
use crate::ingest::loki_push::PushForm;
use crate::ingest::{PushError, loki_push, ndjson};
use crate::logs::Store;

/// A header as text, if it is there and readable.
pub(super) fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// Runs a push on a blocking thread: it decodes, and it waits for the disk.
async fn push(state: ApiState, work: impl FnOnce(Arc<Store>) -> Result<(), PushError> + Send + 'static) -> Response {
    let store = state.logs.store().clone();
    match tokio::task::spawn_blocking(move || work(store)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(e)) => {
            let status = StatusCode::from_u16(e.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response =
                (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], e.message).into_response();
            if let Some(seconds) = e.retry_after_seconds {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// The largest body after decompression, as configured; before it the router's own bound holds.
fn max_body_bytes(state: &ApiState) -> usize {
    usize::try_from(state.config.load().config.logs.max_body_bytes.0).unwrap_or(usize::MAX)
}

async fn loki(state: ApiState, headers: HeaderMap, body: Bytes, form: PushForm) -> Response {
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    let encoding = header_text(&headers, header::CONTENT_ENCODING);
    let limit = max_body_bytes(&state);
    push(state, move |store| loki_push::push(&store, form, content_type.as_deref(), encoding.as_deref(), &body, limit))
        .await
}

pub(super) async fn loki_v1(State(state): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    loki(state, headers, body, PushForm::V1).await
}

pub(super) async fn loki_legacy(State(state): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    loki(state, headers, body, PushForm::Legacy).await
}

pub(super) async fn ndjson(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let encoding = header_text(&headers, header::CONTENT_ENCODING);
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    let config = state.config.load().config.logs.ndjson.clone();
    let limit = max_body_bytes(&state);
    push(state, move |store| {
        let request = ndjson::Request::read(&config, params.iter(), content_type.as_deref());
        ndjson::push(&store, &request, encoding.as_deref(), &body, limit)
    })
    .await
}
