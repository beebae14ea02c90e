//! Loki's HTTP API, and the rules over logs that Grafana looks for beside it.

mod json;
mod labels;
mod params;
mod query;
pub(super) mod rules;

use axum::Router;
use axum::routing::{get, post};

use crate::api::{ApiState, logs_in};

/// The routes below `/loki/api/v1`, and the old push path.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/loki/api/v1/query", get(query::instant).post(query::instant))
        .route("/loki/api/v1/query_range", get(query::range).post(query::range))
        .route("/loki/api/v1/labels", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label/{name}/values", get(labels::values).post(labels::values))
        .route("/loki/api/v1/series", get(labels::series).post(labels::series))
        .route("/loki/api/v1/status/buildinfo", get(query::buildinfo))
        .route("/loki/api/v1/push", post(logs_in::loki_v1))
        .route("/api/prom/push", post(logs_in::loki_legacy))
}
