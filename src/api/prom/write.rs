//! `/api/v1/write`: remote write in.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::logs_in::header_text;
use crate::api::not_now::{LATER_SECONDS, come_back};
use crate::ingest::remote_write::{self, WriteStats};

pub(super) async fn write(State(state): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    let encoding = header_text(&headers, header::CONTENT_ENCODING);
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    let version = header_text(&headers, HeaderName::from_static("x-prometheus-remote-write-version"));
    let db = state.db.clone();
    let work = move || {
        let head = remote_write::Headers {
            content_encoding: encoding.as_deref(),
            content_type: content_type.as_deref(),
            version: version.as_deref(),
        };
        remote_write::write(&db, head, &body, remote_write::Limits::default())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(stats)) => (StatusCode::NO_CONTENT, written(stats)).into_response(),
        Ok(Err(e)) => {
            let status = StatusCode::from_u16(e.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            come_back(LATER_SECONDS, (status, written(e.stats), e.message).into_response())
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// How much was stored, for senders of 2.0, who cannot tell it from the status alone. Those of 1.0 pass over it.
fn written(stats: WriteStats) -> [(HeaderName, String); 3] {
    [
        (HeaderName::from_static("x-prometheus-remote-write-samples-written"), stats.samples.to_string()),
        (HeaderName::from_static("x-prometheus-remote-write-histograms-written"), stats.histograms.to_string()),
        (HeaderName::from_static("x-prometheus-remote-write-exemplars-written"), stats.exemplars.to_string()),
    ]
}
