//! OpenTelemetry's logs in: over HTTP at `/v1/logs` and at Loki's `/otlp/v1/logs`, over gRPC as `LogsService/Export`.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::api::logs_in::{Received, refusal};
use crate::api::{ApiState, grpc};
use crate::ingest::PushError;
use crate::ingest::intake::count_request;
use crate::ingest::otlp_logs::{Form, push, status_of};
use crate::wire::otlp_logs::{Refused, Status, response_json, response_protobuf, status_json, status_protobuf};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The routes.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/v1/logs", post(standard))
        .route("/otlp/v1/logs", post(loki))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", post(export))
}

/// As the protocol says: 200 and a message in the form of the request.
async fn standard(State(state): State<ApiState>, request: Request<Body>) -> Response {
    http(&state, request, StatusCode::OK).await
}

/// As Loki does it: 204 where there is nothing to tell.
async fn loki(State(state): State<ApiState>, request: Request<Body>) -> Response {
    http(&state, request, StatusCode::NO_CONTENT).await
}

async fn take(state: &ApiState, form: Form, received: Received) -> Result<Option<Refused>, PushError> {
    let config = state.config.load().config.logs.otlp.clone();
    received.push(state, move |intake, r| push(intake, &config, form, r)).await
}

async fn http(state: &ApiState, request: Request<Body>, success: StatusCode) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let form = Form::of(content_type);
    let known = content_type.is_none_or(|t| [PROTOBUF, JSON, "application/protobuf"].iter().any(|k| t.starts_with(k)));
    let result = if known {
        match Received::read(state, request).await {
            Ok(received) => take(state, form, received).await,
            Err(e) => Err(e),
        }
    } else {
        let message = format!("content type {:?} not supported; use {PROTOBUF} or {JSON}", content_type.unwrap_or(""));
        count_request("otlp", 0, 415);
        Err(PushError { status: 415, message, retry_after_seconds: None })
    };
    match (result, form) {
        (Ok(None), _) if success == StatusCode::NO_CONTENT => success.into_response(),
        (Ok(refused), Form::Json) => ([(header::CONTENT_TYPE, JSON)], response_json(refused.as_ref())).into_response(),
        (Ok(refused), Form::Protobuf) => {
            ([(header::CONTENT_TYPE, PROTOBUF)], response_protobuf(refused.as_ref())).into_response()
        }
        (Err(e), Form::Json) => refusal(&e, JSON, status_json(&status_of(&e))),
        (Err(e), Form::Protobuf) => refusal(&e, PROTOBUF, status_protobuf(&status_of(&e))),
    }
}

async fn export(State(state): State<ApiState>, request: Request<Body>) -> Response {
    let encoding = grpc::encoding(request.headers());
    let result = async {
        let received = Received::read(&state, request).await.map_err(|e| status_of(&e))?;
        let (message, compressed) = grpc::message(received.body())?;
        let encoding = encoding.filter(|_| compressed);
        let refused = take(&state, Form::Protobuf, received.with_body(message, encoding)).await;
        refused.map(|r| response_protobuf(r.as_ref())).map_err(|e| status_of(&e))
    };
    let answer: Result<Vec<u8>, Status> = result.await;
    grpc::answer(answer)
}
