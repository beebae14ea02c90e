//! `status/tsdb`: what the metrics store is full of.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::prom::status::success;
use crate::exec::cpu_pool;
use crate::tsdb::Ranking;

/// Entries of each list where the caller does not say, and at most, as in Prometheus.
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 10_000;

/// Prometheus' lists, and `seriesCreatedLastHourByJob`: series made in the last hour.
pub(super) async fn tsdb(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        None => DEFAULT_LIMIT,
        Some(text) => match text.parse() {
            Ok(n) if (1..=MAX_LIMIT).contains(&n) => n,
            Ok(n) if n > MAX_LIMIT => {
                return Err(ApiError::bad_data(format!("limit must not exceed {MAX_LIMIT}")));
            }
            Ok(_) | Err(_) => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    super::readable(&state, i64::MAX).await?;
    let db = state.db.clone();
    let found = cpu_pool::run(move || db.head_status(limit)).await.map_err(ApiError::internal)?;
    let list = |ranking: &Ranking| -> Value { ranking.iter().map(|(n, v)| json!({"name": n, "value": v})).collect() };
    Ok(success(&json!({
        "headStats": {
            "numSeries": found.series,
            "numLabelPairs": found.label_pairs,
            "chunkCount": found.chunks,
            // What Prometheus shows without samples: the ends of the range of times.
            "minTime": found.min_time.unwrap_or(i64::MAX),
            "maxTime": found.max_time.unwrap_or(i64::MIN),
        },
        "seriesCountByMetricName": list(&found.series_by_metric),
        "labelValueCountByLabelName": list(&found.values_by_label),
        "memoryInBytesByLabelName": list(&found.bytes_by_label),
        "seriesCountByLabelValuePair": list(&found.series_by_pair),
        "seriesCreatedLastHourByJob": list(&found.series_made_by_job),
    })))
}
