//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::prom::json::{write_labels, write_time};
use crate::api::prom::render::answer;
use crate::promql::ast::Expr;
use crate::promql::engine::{Counting, QueryError, QueryOptions};
use crate::promql::parse_with;
use crate::query::Asker;
use crate::query::metric_queries::{MetricQueryError, Times};

/// The most points of one series that a range query may ask for, as in Prometheus.
const MAX_POINTS: i64 = 11_000;

impl From<MetricQueryError> for ApiError {
    fn from(e: MetricQueryError) -> Self {
        let kind = match &e {
            MetricQueryError::Query(QueryError::Parse(_)) => ErrorKind::BadData,
            MetricQueryError::Query(QueryError::Timeout { .. }) => ErrorKind::Timeout,
            MetricQueryError::Query(QueryError::Canceled) => ErrorKind::Canceled,
            MetricQueryError::Query(QueryError::Storage(_)) | MetricQueryError::Lost(_) => ErrorKind::Internal,
            MetricQueryError::Query(QueryError::OutOfMemory { .. })
            | MetricQueryError::Busy(_)
            | MetricQueryError::NotReplayed(_) => ErrorKind::Unavailable,
            MetricQueryError::Query(_) => ErrorKind::Execution,
        };
        ApiError::new(kind, e.to_string())
    }
}

fn expr(params: &Params) -> Result<String, ApiError> {
    params.get("query").map(str::to_owned).ok_or_else(|| {
        ApiError::bad_data("invalid parameter \"query\": unknown position: parse error: no expression found in input")
    })
}

fn options(params: &Params) -> Result<QueryOptions, ApiError> {
    let positive = |name: &str| match params.duration_ms(name)? {
        Some(ms) if ms <= 0 => Err(ApiError::bad_data(format!("invalid parameter {name:?}: it must be above zero"))),
        other => Ok(other),
    };
    Ok(QueryOptions {
        lookback_delta_ms: positive("lookback_delta")?,
        timeout: positive("timeout")?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        counting: match params.get("stats") {
            None => Counting::Read,
            Some("all") => Counting::SeenPerStep,
            Some(_) => Counting::Seen,
        },
        ..QueryOptions::default()
    })
}

/// The error of a query that does not parse names the parameter, as Prometheus does.
fn named(e: MetricQueryError) -> ApiError {
    let text = matches!(e, MetricQueryError::Query(QueryError::Parse(_)));
    let mut error = ApiError::from(e);
    if text {
        error.message = format!("invalid parameter \"query\": {}", error.message);
    }
    error
}

pub(super) async fn instant(State(state): State<ApiState>, asker: Asker, params: Params) -> Result<Response, ApiError> {
    let expr = expr(&params)?;
    let t = params.time_ms("time")?.unwrap_or_else(|| state.clock.now_ms());
    let limit = params.limit("limit")?;
    let result = state.metrics.run(expr, Times::Instant(t), options(&params)?, asker).await.map_err(named)?;
    Ok(answer(result, limit, params.get("stats").is_some()).await)
}

pub(super) async fn range(State(state): State<ApiState>, asker: Asker, params: Params) -> Result<Response, ApiError> {
    let expr = expr(&params)?;
    let time = |name: &str| {
        params.time_ms(name)?.ok_or_else(|| {
            ApiError::bad_data(format!("invalid parameter {name:?}: cannot parse \"\" to a valid timestamp"))
        })
    };
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(ApiError::bad_data("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    let step = params
        .duration_ms("step")?
        .ok_or_else(|| ApiError::bad_data("invalid parameter \"step\": cannot parse \"\" to a valid duration"))?;
    if step <= 0 {
        return Err(ApiError::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end.saturating_sub(start) / step > MAX_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let limit = params.limit("limit")?;
    let times = Times::Range { start, end, step };
    let result = state.metrics.run(expr, times, options(&params)?, asker).await.map_err(named)?;
    Ok(answer(result, limit, params.get("stats").is_some()).await)
}

/// Reads the query with the syntax that is enabled.
fn parsed(state: &ApiState, params: &Params) -> Result<Expr, ApiError> {
    parse_with(&expr(params)?, state.features.syntax)
        .map_err(|e| ApiError::bad_data(format!("invalid parameter \"query\": {e}")))
}

pub(super) async fn format(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = parsed(&state, &params)?;
    let text = crate::promql::format_pretty(&expr);
    Ok(super::status::success(&serde_json::Value::String(text)))
}

pub(super) async fn parse(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let expr = parsed(&state, &params)?;
    Ok(super::status::success(&crate::promql::to_json(&expr)))
}

pub(super) async fn exemplars(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let start = params.time_ms("start")?.unwrap_or(i64::MIN);
    let end = params.time_ms("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let parsed = parsed(&state, &params)?;
    let sets: Vec<Vec<crate::model::Matcher>> =
        crate::promql::ast::selectors(&parsed).into_iter().map(|s| s.matchers.clone()).collect();
    super::readable(&state, i64::MAX).await?;
    let found = state.db.exemplars(&sets, start, end).map_err(ApiError::internal)?;
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for (i, (labels, exemplars)) in found.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"seriesLabels\":" } else { "{\"seriesLabels\":" });
        write_labels(&mut out, labels);
        out.push_str(",\"exemplars\":[");
        for (j, e) in exemplars.iter().enumerate() {
            out.push_str(if j > 0 { ",{\"labels\":" } else { "{\"labels\":" });
            write_labels(&mut out, &e.labels);
            out.push_str(",\"value\":\"");
            crate::model::sample::write_value(&mut out, e.value);
            out.push_str("\",\"timestamp\":");
            write_time(&mut out, e.timestamp.unwrap_or_default());
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push_str("]}");
    Ok(json(out))
}

/// A response with a JSON body.
pub(super) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
