//! `targets`: what is scraped, and how that goes.

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;

pub(super) async fn targets(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let mut status = state.scrape.targets();
    if let Some(pool) = params.get("scrapePool") {
        status.active_targets.retain(|t| t.scrape_pool == pool);
        status.dropped_targets.retain(|t| t.scrape_pool == pool);
    }
    match params.get("state") {
        Some("active") => status.dropped_targets.clear(),
        Some("dropped") => status.active_targets.clear(),
        _ => {}
    }
    let data: Value = serde_json::to_value(&status).map_err(ApiError::internal)?;
    Ok(super::status::success(&data))
}
