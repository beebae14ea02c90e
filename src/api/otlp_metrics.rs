//! OpenTelemetry's metrics in, over HTTP: Prometheus' `/api/v1/otlp/v1/metrics` and the protocol's own `/v1/metrics`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::api::ApiState;
use crate::api::logs_in::header_text;
use crate::ingest::otlp_metrics::{Outcome, write};
use crate::wire::decompress::{DecompressError, Encoding, decompress};
use crate::wire::otlp_metrics::{decode_json, decode_protobuf, response_json, response_protobuf};

/// The largest request after decompression, as for remote write.
const MAX_BYTES: usize = 32 << 20;
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The routes.
pub(super) fn router() -> Router<ApiState> {
    Router::new().route("/api/v1/otlp/v1/metrics", post(metrics)).route("/v1/metrics", post(metrics))
}

type Refused = (StatusCode, String);

async fn metrics(State(state): State<ApiState>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = header_text(&headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let json = match kind {
        JSON => true,
        PROTOBUF | "application/protobuf" => false,
        other => {
            let text = format!("content type {other:?} is not supported; send {PROTOBUF} or {JSON}\n");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
        }
    };
    let encoding = header_text(&headers, header::CONTENT_ENCODING);
    let db = state.db.clone();
    let work = move || store(&db, json, encoding.as_deref(), &body);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(outcome)) if json => {
            ([(header::CONTENT_TYPE, JSON)], response_json(outcome.refused, &outcome.message)).into_response()
        }
        Ok(Ok(outcome)) => {
            ([(header::CONTENT_TYPE, PROTOBUF)], response_protobuf(outcome.refused, &outcome.message)).into_response()
        }
        Ok(Err((status, text))) => (status, format!("{text}\n")).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn store(db: &crate::tsdb::Db, json: bool, encoding: Option<&str>, body: &[u8]) -> Result<Outcome, Refused> {
    let unpack = |e: DecompressError| {
        let status = match e {
            DecompressError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            DecompressError::Corrupt { .. } => StatusCode::BAD_REQUEST,
            DecompressError::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        (status, e.to_string())
    };
    let body = decompress(body, Encoding::from_header(encoding).map_err(unpack)?, MAX_BYTES).map_err(unpack)?;
    let request = if json { decode_json(&body) } else { decode_protobuf(&body) };
    let request = request.map_err(|e| (StatusCode::BAD_REQUEST, e.to_string()))?;
    write(db, &request).map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, format!("the store cannot write: {e}")))
}
