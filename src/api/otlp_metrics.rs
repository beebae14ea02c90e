//! OpenTelemetry's metrics in, over HTTP: Prometheus' `/api/v1/otlp/v1/metrics` and the protocol's own `/v1/metrics`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::api::ApiState;
use crate::api::logs_in::{header_text, refusal};
use crate::api::not_now::LATER_SECONDS;
use crate::ingest::PushError;
use crate::ingest::otlp_logs::status_of;
use crate::ingest::otlp_metrics::{Outcome, write};
use crate::wire::decompress::{Encoding, decompress};
use crate::wire::otlp_logs::{status_json, status_protobuf};
use crate::wire::otlp_metrics::{decode_json, decode_protobuf, response_json, response_protobuf};

/// The largest request after decompression, as for remote write.
const MAX_BYTES: usize = 32 << 20;
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The routes.
pub(super) fn router() -> Router<ApiState> {
    Router::new().route("/api/v1/otlp/v1/metrics", post(metrics)).route("/v1/metrics", post(metrics))
}

/// As the protocol says: answers of every kind are in the form of the request, refusals as `google.rpc.Status`; who sends a form that is not
/// known gets protobuf, the protocol's default.
async fn metrics(State(state): State<ApiState>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let content_type = header_text(&headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let json = kind.eq_ignore_ascii_case(JSON);
    let known = json || [PROTOBUF, "application/protobuf"].iter().any(|k| kind.eq_ignore_ascii_case(k));
    let refused = |status: StatusCode, message: String| PushError {
        status: status.as_u16(),
        message,
        retry_after_seconds: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(LATER_SECONDS),
    };
    let result = match body {
        _ if !known => Err(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content type {kind:?} is not supported; send {PROTOBUF} or {JSON}"),
        )),
        Err(e) => Err(refused(e.status(), e.body_text())),
        Ok(body) => {
            let encoding = header_text(&headers, header::CONTENT_ENCODING);
            let db = state.db.clone();
            let work = move || store(&db, json, encoding.as_deref(), &body);
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(outcome)) => Ok(outcome),
                Ok(Err(Failure::Request(e))) => Err(e),
                Ok(Err(Failure::Store(text))) => Err(refused(StatusCode::SERVICE_UNAVAILABLE, text)),
                Err(e) => Err(refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())),
            }
        }
    };
    match (result, json) {
        (Ok(o), true) => ([(header::CONTENT_TYPE, JSON)], response_json(o.refused, &o.message)).into_response(),
        (Ok(o), false) => {
            ([(header::CONTENT_TYPE, PROTOBUF)], response_protobuf(o.refused, &o.message)).into_response()
        }
        (Err(e), true) => refusal(&e, JSON, status_json(&status_of(&e))),
        (Err(e), false) => refusal(&e, PROTOBUF, status_protobuf(&status_of(&e))),
    }
}

enum Failure {
    Request(PushError),
    Store(String),
}

fn store(db: &crate::tsdb::Db, json: bool, encoding: Option<&str>, body: &[u8]) -> Result<Outcome, Failure> {
    let unpacked = Encoding::from_header(encoding).and_then(|e| decompress(body, e, MAX_BYTES));
    let body = unpacked.map_err(|e| Failure::Request(e.into()))?;
    let request = if json { decode_json(&body) } else { decode_protobuf(&body) };
    let bad = |message| PushError { status: 400, message, retry_after_seconds: None };
    let request = request.map_err(|e| Failure::Request(bad(e.to_string())))?;
    write(db, &request).map_err(|e| Failure::Store(format!("the store cannot write: {e}")))
}
