//! What is neither a query nor metadata: `format_query`, `drilldown-limits`, `flush`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::labels::json;
use crate::api::params::Params;
use crate::logql::{format, parse};
use crate::text::duration::format_ms;

/// The query in the spelling of the printer. The only answer of this API whose error is JSON.
pub(super) async fn format_query(params: Params) -> Response {
    match parse(params.get("query").unwrap_or_default()) {
        Ok(expr) => json(serde_json::json!({"status": "success", "data": format::pretty(&expr)}).to_string()),
        Err(e) => {
            let body = serde_json::json!({"status": "invalid-query", "error": e.to_string()}).to_string();
            (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
        }
    }
}

/// What Grafana's Logs Drilldown asks before it shows anything.
pub(super) async fn drilldown_limits(State(state): State<ApiState>) -> Response {
    let options = state.logs.options();
    let mut limits = serde_json::json!({
        "discover_log_levels": true,
        "max_entries_limit_per_query": options.max_entries,
        "max_query_series": options.max_series,
        "metric_aggregation_enabled": false,
        "pattern_persistence_enabled": false,
        "query_timeout": format_ms(i64::try_from(options.timeout.as_millis()).unwrap_or(i64::MAX)),
        "volume_enabled": true,
    });
    let retention_ns = state.logs.store().options().retention_ns;
    // Absent where everything is kept: the time picker is cut to it.
    if retention_ns > 0
        && let Some(map) = limits.as_object_mut()
    {
        map.insert("retention_period".to_owned(), format_ms(retention_ns / 1_000_000).into());
    }
    let body = serde_json::json!({
        "limits": limits, "pattern_ingester_enabled": true, "version": crate::api::prom::VERSION,
    });
    json(body.to_string())
}

/// Writes what is in memory to disk.
pub(super) async fn flush(State(state): State<ApiState>) -> Result<StatusCode, TextError> {
    let failed = |e: String| TextError::new(StatusCode::INTERNAL_SERVER_ERROR, e);
    let store = state.logs.store().clone();
    match tokio::task::spawn_blocking(move || store.flush()).await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Err(e) => Err(failed(e.to_string())),
    }
}
