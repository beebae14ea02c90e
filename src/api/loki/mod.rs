//! Loki's HTTP API, and the rules over logs that Grafana looks for beside it.

mod admin;
mod detected;
mod index;
mod json;
mod labels;
mod params;
mod patterns;
mod query;
pub(super) mod rules;
mod tail;

use axum::Router;
use axum::routing::{get, post};

use crate::api::{ApiState, health, logs_in};

/// The routes below `/loki/api/v1`, the old push path, and what operators of Loki call beside them.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/loki/api/v1/query", get(query::instant).post(query::instant))
        .route("/loki/api/v1/query_range", get(query::range).post(query::range))
        .route("/loki/api/v1/labels", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label", get(labels::names).post(labels::names))
        .route("/loki/api/v1/label/{name}/values", get(labels::values).post(labels::values))
        .route("/loki/api/v1/series", get(labels::series).post(labels::series))
        .route("/loki/api/v1/index/stats", get(index::stats).post(index::stats))
        .route("/loki/api/v1/index/volume", get(index::volume).post(index::volume))
        .route("/loki/api/v1/index/volume_range", get(index::volume_range).post(index::volume_range))
        .route("/loki/api/v1/detected_labels", get(detected::labels).post(detected::labels))
        .route("/loki/api/v1/detected_fields", get(detected::fields).post(detected::fields))
        .route("/loki/api/v1/detected_field/{name}/values", get(detected::values).post(detected::values))
        .route("/loki/api/v1/patterns", get(patterns::patterns).post(patterns::patterns))
        .route("/loki/api/v1/format_query", get(admin::format_query).post(admin::format_query))
        .route("/loki/api/v1/drilldown-limits", get(admin::drilldown_limits))
        .route("/loki/api/v1/tail", get(tail::tail))
        .route("/flush", post(admin::flush))
        .route("/ready", get(health::ready))
        .route("/loki/api/v1/status/buildinfo", get(query::buildinfo))
        .route("/loki/api/v1/push", post(logs_in::loki_v1))
        .route("/api/prom/push", post(logs_in::loki_legacy))
}
