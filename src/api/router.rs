//! All routes of the one port.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::routing::{get, post};
use tower_http::classify::{ServerErrorsAsFailures, ServerErrorsFailureClass, SharedClassifier};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};
use tower_http::trace::{DefaultOnBodyChunk, DefaultOnEos, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tracing::Span;

use crate::api::{
    ApiState, alertmanager, elastic, health, logs_in, loki, not_now, otlp_logs, otlp_metrics, probe, prom,
};

/// The largest request body, before and after it is unpacked. Remote write and log shippers stay far below; a client with
/// larger batches is told so with 413.
pub const MAX_BODY_BYTES: usize = 64 << 20;

type MakeSpan = fn(&Request) -> Span;
type Tell = fn(ServerErrorsFailureClass, Duration, &Span);
type Tracing = TraceLayer<
    SharedClassifier<ServerErrorsAsFailures>,
    MakeSpan,
    DefaultOnRequest,
    DefaultOnResponse,
    DefaultOnBodyChunk,
    DefaultOnEos,
    Tell,
>;

/// Compress successes only: Grafana's Loki client reads the bodies of errors as they come.
#[derive(Clone, Copy)]
struct Successes;

impl Predicate for Successes {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        fn success(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
            // gRPC has a compression of its own.
            let grpc = headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
            status.is_success() && status != StatusCode::NO_CONTENT && !grpc
        }
        success(response.status(), response.version(), response.headers(), response.extensions())
    }
}

/// Everything that is served. Unknown paths are plain 404s: clients tell products apart by them.
pub fn router(state: ApiState) -> Router {
    let compression: CompressionLayer<And<SizeAbove, Successes>> =
        CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(1024).and(Successes));
    Router::new()
        .route("/-/healthy", get(health::healthy).head(health::healthy))
        .route("/-/ready", get(health::ready).head(health::ready))
        .route("/-/reload", post(health::reload).put(health::reload))
        .route("/metrics", get(health::own_metrics))
        .route("/probe", get(probe::probe))
        .route("/api/v1/logs", post(logs_in::ndjson))
        .route("/prometheus/api/v1/rules", get(loki::rules::rules))
        .route("/prometheus/api/v1/alerts", get(loki::rules::alerts))
        .merge(prom::router())
        .merge(loki::router())
        .merge(otlp_metrics::router())
        .merge(otlp_logs::router())
        .merge(elastic::router())
        .with_state(state.clone())
        .merge(alertmanager::router(state.alerting.clone()))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(compression)
        .layer(trace())
}

/// One span for each request; with an OTLP endpoint in the environment they are exported. Failures are told.
pub(super) fn trace() -> Tracing {
    TraceLayer::new_for_http().make_span_with(request_span as MakeSpan).on_failure(not_now::tell as Tell)
}

fn request_span(request: &Request) -> Span {
    tracing::info_span!("request", method = %request.method(), path = request.uri().path())
}
