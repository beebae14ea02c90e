//! `targets` and its like: what is scraped, how that goes, and what the targets say about their metrics.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;

pub(super) async fn targets(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let mut status = state.scrape.targets();
    if let Some(pool) = params.get("scrapePool") {
        status.active_targets.retain(|t| t.scrape_pool == pool);
        status.dropped_targets.retain(|t| t.scrape_pool == pool);
    }
    // As in Prometheus, of a state that there is not there are no targets.
    let state = params.get("state").unwrap_or_default().to_ascii_lowercase();
    if !matches!(state.as_str(), "" | "any" | "active") {
        status.active_targets.clear();
    }
    if !matches!(state.as_str(), "" | "any" | "dropped") {
        status.dropped_targets.clear();
    }
    let data: Value = serde_json::to_value(&status).map_err(ApiError::internal)?;
    Ok(super::status::success(&data))
}

/// Metadata target by target; `match_target` chooses targets, `metric` one family.
pub(super) async fn metadata(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?.unwrap_or(usize::MAX);
    let matchers = match params.get("match_target") {
        None => Vec::new(),
        Some(text) => crate::promql::parse_selector(text)
            .map_err(|e| ApiError::bad_data(format!("invalid parameter \"match_target\": {e}")))?,
    };
    let metric = params.get("metric");
    let found: Vec<Value> = state
        .scrape
        .metadata()
        .into_iter()
        .filter(|m| matchers.iter().all(|x| x.matches_labels(&m.target)) && metric.is_none_or(|name| name == m.metric))
        .take(limit)
        .map(|m| {
            let mut item = json!({
                "target": m.target, "type": m.metadata.metric_type.as_str(), "help": m.metadata.help, "unit": m.metadata.unit,
            });
            // As Prometheus does: the name is left out where it was asked for.
            if metric.is_none()
                && let Some(map) = item.as_object_mut()
            {
                map.insert("metric".to_owned(), Value::String(m.metric));
            }
            item
        })
        .collect();
    Ok(super::status::success(&Value::Array(found)))
}

pub(super) async fn pools(State(state): State<ApiState>) -> Response {
    super::status::success(&json!({"scrapePools": state.scrape.scrape_pools()}))
}

/// Alertmanagers outside this process; the built-in one answers under `/alertmanager`.
pub(super) async fn alertmanagers(State(state): State<ApiState>) -> Response {
    let status = state.notifier.status();
    let shown = |urls: Vec<String>| urls.into_iter().map(|url| json!({"url": url})).collect::<Vec<_>>();
    let (active, dropped) = (shown(status.active), shown(status.dropped));
    super::status::success(&json!({"activeAlertmanagers": active, "droppedAlertmanagers": dropped}))
}
