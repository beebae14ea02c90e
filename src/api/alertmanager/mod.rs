//! Alertmanager's HTTP API, version 2, under `/alertmanager/api/v2`: the shapes and errors of its OpenAPI document.
//!
//! Errors of form (bad JSON, missing fields, wrong methods) are `{"code", "message"}`; errors of meaning are 400 or 404 with a bare
//! JSON string, as Alertmanager's clients expect.

mod alerts;
mod body;
mod config_yaml;
mod error;
mod params;
mod silences;
mod status;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::get;

use crate::alerting::AlertingHandle;
use error::ApiError;

/// Where the API is mounted. Only here: Grafana refuses a source that answers under two layouts.
pub const MOUNT: &str = "/alertmanager/api/v2";

/// How large a posted body may be. Ten thousand alerts with many labels fit.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The routes of the API, mounted at [`MOUNT`].
pub fn router(handle: AlertingHandle) -> Router {
    let api = Router::new()
        .route("/status", get(status::status))
        .route("/receivers", get(status::receivers))
        .route("/alerts", get(alerts::list).post(alerts::post))
        .route("/alerts/groups", get(alerts::groups))
        .route("/silences", get(silences::list).post(silences::post))
        .route("/silence/{id}", get(silences::one).delete(silences::expire))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(handle);
    Router::new().nest(MOUNT, api)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::form(404, 404, format!("path /api/v2{} was not found", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let allowed = match uri.path() {
        "/alerts" | "/silences" => "[GET,POST]",
        p if p.starts_with("/silence/") => "[DELETE,GET]",
        _ => "[GET]",
    };
    ApiError::form(405, 405, format!("method {method} is not allowed, but {allowed} are"))
}

#[cfg(test)]
mod tests;
