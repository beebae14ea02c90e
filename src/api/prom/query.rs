//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::prom::json::{write_histogram, write_labels, write_point, write_str, write_time};
use crate::promql::ast::Expr;
use crate::promql::engine::{Counting, QueryError, QueryOptions};
use crate::promql::parse_with;
use crate::promql::value::{QueryResult, QueryStats, SampleValue, Value};
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
            MetricQueryError::Query(_) => ErrorKind::Execution,
            MetricQueryError::Busy(_) => ErrorKind::Unavailable,
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
    Ok(answer(result, limit, params.get("stats").is_some()))
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
    Ok(answer(result, limit, params.get("stats").is_some()))
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
    let found = state.db.exemplars(&sets, start, end);
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

fn answer(mut result: QueryResult, limit: Option<usize>, stats: bool) -> Response {
    if let Some(limit) = limit {
        let cut = match &mut result.value {
            Value::Vector(v) if v.len() > limit => {
                v.truncate(limit);
                true
            }
            Value::Matrix(m) if m.len() > limit => {
                m.truncate(limit);
                true
            }
            _ => false,
        };
        if cut {
            result.warnings.push("results truncated due to limit".to_owned());
        }
    }
    json(render(&result, stats))
}

/// Writes `,"stats":{...}` with all keys that Prometheus has. Sorting and preparation are part of the evaluation here.
fn write_stats(out: &mut String, s: &QueryStats) {
    let (eval, queue) = (s.eval_time.as_secs_f64(), s.queued.as_secs_f64());
    let total = eval + queue;
    out.push_str(&format!(
        ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{eval},\"resultSortTime\":0,\"queryPreparationTime\":0,\"innerEvalTime\":{eval},\
         \"execQueueTime\":{queue},\"execTotalTime\":{total}}},\"samples\":{{"
    ));
    if !s.samples_per_step.is_empty() {
        for (i, (t, n)) in s.samples_per_step.iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "\"totalQueryableSamplesPerStep\":[[" });
            write_time(out, *t);
            out.push_str(&format!(",{n}]"));
        }
        out.push_str("],");
    }
    out.push_str(&format!(
        "\"totalQueryableSamples\":{},\"peakSamples\":{}}}}}",
        s.total_queryable_samples, s.peak_samples
    ));
}

/// The whole body of a success.
fn render(result: &QueryResult, stats: bool) -> String {
    let mut out = String::with_capacity(match &result.value {
        Value::Matrix(m) => m.iter().map(|s| 256 + s.floats.len() * 32).sum::<usize>() + 256,
        Value::Vector(v) => v.len() * 256 + 256,
        Value::Scalar { .. } | Value::String { .. } => 256,
    });
    out.push_str("{\"status\":\"success\",\"data\":{\"resultType\":\"");
    match &result.value {
        Value::Scalar { t, v } => {
            out.push_str("scalar\",\"result\":");
            write_point(&mut out, *t, *v);
        }
        Value::String { t, v } => {
            out.push_str("string\",\"result\":[");
            write_time(&mut out, *t);
            out.push(',');
            write_str(&mut out, v);
            out.push(']');
        }
        Value::Vector(samples) => {
            out.push_str("vector\",\"result\":[");
            for (i, s) in samples.iter().enumerate() {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_labels(&mut out, &s.labels);
                match &s.value {
                    SampleValue::Float(v) => {
                        out.push_str(",\"value\":");
                        write_point(&mut out, s.t, *v);
                    }
                    SampleValue::Histogram(h) => {
                        out.push_str(",\"histogram\":[");
                        write_time(&mut out, s.t);
                        out.push(',');
                        write_histogram(&mut out, h);
                        out.push(']');
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        Value::Matrix(series) => {
            out.push_str("matrix\",\"result\":[");
            for (i, s) in series.iter().enumerate() {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_labels(&mut out, &s.labels);
                if !s.floats.is_empty() {
                    for (j, (t, v)) in s.floats.iter().enumerate() {
                        out.push_str(if j > 0 { "," } else { ",\"values\":[" });
                        write_point(&mut out, *t, *v);
                    }
                    out.push(']');
                }
                if !s.histograms.is_empty() {
                    for (j, (t, h)) in s.histograms.iter().enumerate() {
                        out.push_str(if j > 0 { ",[" } else { ",\"histograms\":[[" });
                        write_time(&mut out, *t);
                        out.push(',');
                        write_histogram(&mut out, h);
                        out.push(']');
                    }
                    out.push(']');
                }
                out.push('}');
            }
            out.push(']');
        }
    }
    if stats {
        write_stats(&mut out, &result.stats);
    }
    out.push('}');
    for (key, notes) in [("warnings", &result.warnings), ("infos", &result.infos)] {
        for (i, note) in notes.iter().enumerate() {
            if i == 0 {
                out.push_str(",\"");
                out.push_str(key);
                out.push_str("\":[");
            } else {
                out.push(',');
            }
            write_str(&mut out, note);
        }
        if !notes.is_empty() {
            out.push(']');
        }
    }
    out.push('}');
    out
}
