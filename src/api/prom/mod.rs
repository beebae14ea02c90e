//! Prometheus' HTTP API v1.

mod admin;
mod features;
mod federate;
pub mod json;
mod labels;
mod query;
mod read;
mod render;
mod rules;
mod status;
mod targets;
mod tsdb_status;
mod write;

use axum::Router;
use axum::routing::{get, post};

use crate::api::ApiState;
use crate::api::error::{ApiError, ErrorKind};
use crate::model::TimestampMs;
use crate::query::replayed;

pub use status::VERSION;

pub(crate) use status::success;

pub(crate) use rules::{alerts_of_kind, rules_of_kind};

/// Waits until the metrics store can be asked about times up to `maxt`, which it cannot right after a start; not longer than a query may run.
async fn readable(state: &ApiState, maxt: TimestampMs) -> Result<(), ApiError> {
    let patience = state.metrics.engine().options().timeout;
    replayed(&state.db, maxt, patience).await.map_err(|e| ApiError::new(ErrorKind::Unavailable, e.to_string()))
}

/// The routes below `/api/v1`.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/api/v1/format_query", get(query::format).post(query::format))
        .route("/api/v1/parse_query", get(query::parse).post(query::parse))
        .route("/api/v1/labels", get(labels::names).post(labels::names))
        .route("/api/v1/label/{name}/values", get(labels::values).post(labels::values))
        .route("/api/v1/series", get(labels::series).post(labels::series))
        .route("/api/v1/metadata", get(labels::metadata))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/targets/metadata", get(targets::metadata))
        .route("/api/v1/scrape_pools", get(targets::pools))
        .route("/api/v1/alertmanagers", get(targets::alertmanagers))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/status/buildinfo", get(status::buildinfo))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/runtimeinfo", get(status::runtimeinfo))
        .route("/api/v1/status/walreplay", get(status::walreplay))
        .route("/api/v1/features", get(features::features))
        .route("/api/v1/read", post(read::read))
        .route("/api/v1/status/tsdb", get(tsdb_status::tsdb))
        .route("/api/v1/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/api/v1/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones))
        .route("/api/v1/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/api/v1/write", post(write::write))
        .route("/federate", get(federate::federate))
}
