//! `query` and `query_range`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::{json, params as read};
use crate::api::params::Params;
use crate::logql::ast::Expr;
use crate::logql::engine::{Query, QueryError};
use crate::query::Asker;
use crate::query::log_queries::LogQueryError;

/// The header with which Grafana asks for labels told apart by origin.
const FLAGS: &str = "X-Loki-Response-Encoding-Flags";

impl From<LogQueryError> for TextError {
    fn from(e: LogQueryError) -> Self {
        let status = match &e {
            LogQueryError::Query(QueryError::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            LogQueryError::Query(QueryError::Canceled) => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            LogQueryError::Query(QueryError::Storage(_)) | LogQueryError::Lost(_) => StatusCode::INTERNAL_SERVER_ERROR,
            LogQueryError::Query(_) => StatusCode::BAD_REQUEST,
            LogQueryError::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            LogQueryError::NotReplayed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        TextError::new(status, e.to_string())
    }
}

fn wants_categories(headers: &HeaderMap) -> bool {
    headers
        .get_all(FLAGS)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.split(',').any(|f| f.trim() == "categorize-labels"))
}

fn expr(params: &Params) -> String {
    params.get("query").unwrap_or_default().to_owned()
}

async fn run(state: &ApiState, headers: &HeaderMap, asker: Asker, query: Query) -> Result<Response, TextError> {
    let categorize = wants_categories(headers);
    let (output, stats) = state.logs.run(query, asker).await?;
    let body = json::render(&output, &stats, categorize);
    Ok(([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response())
}

pub(super) async fn instant(
    State(state): State<ApiState>,
    headers: HeaderMap,
    asker: Asker,
    params: Params,
) -> Result<Response, TextError> {
    let expr = expr(&params);
    let time = read::time(&params, "time")?.unwrap_or_else(|| state.clock.now_ns());
    let parsed = crate::logql::parse(&expr).map_err(|e| TextError::bad_request(e.to_string()))?;
    if matches!(parsed, Expr::Log(_)) {
        return Err(TextError::bad_request(
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ));
    }
    let query = Query {
        expr,
        start_ns: time,
        end_ns: time,
        step_ns: 0,
        limit: read::limit(&params)?,
        direction: read::direction(&params)?,
        interval_ns: 0,
        explain: read::explain(&params)?,
    };
    run(&state, &headers, asker, query).await
}

pub(super) async fn range(
    State(state): State<ApiState>,
    headers: HeaderMap,
    asker: Asker,
    params: Params,
) -> Result<Response, TextError> {
    let (start_ns, end_ns) = read::range(&params, state.clock.now_ns())?;
    if end_ns < start_ns {
        return Err(TextError::bad_request("end timestamp must not be before or equal to start time"));
    }
    let query = Query {
        expr: expr(&params),
        start_ns,
        end_ns,
        step_ns: read::step(&params, start_ns, end_ns)?,
        limit: read::limit(&params)?,
        direction: read::direction(&params)?,
        interval_ns: read::interval(&params)?,
        explain: read::explain(&params)?,
    };
    run(&state, &headers, asker, query).await
}

/// Loki's own shape: no envelope.
pub(super) async fn buildinfo() -> Response {
    let body = serde_json::json!({
        "version": crate::api::prom::VERSION,
        "revision": option_env!("CAMPANILE_REVISION").unwrap_or("unknown"),
        "branch": option_env!("CAMPANILE_BRANCH").unwrap_or("unknown"),
        "buildUser": "",
        "buildDate": option_env!("CAMPANILE_BUILD_DATE").unwrap_or(""),
        "goVersion": "",
    });
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body.to_string()).into_response()
}
