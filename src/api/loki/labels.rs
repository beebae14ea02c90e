//! `labels`, `label/<name>/values`, `series`.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::api::prom::json::{write_labels, write_str};
use crate::exec::cpu_pool;
use crate::logql::parse::parse_selector;
use crate::model::{Labels, Matcher};

/// How far back metadata is looked for where no start is given (Loki's six hours).
const SINCE_NS: i64 = 6 * 3_600_000_000_000;

pub(super) struct Request {
    sets: Vec<Vec<Matcher>>,
    start: i64,
    end: i64,
}

impl Request {
    pub(super) fn read(state: &ApiState, params: &Params, selectors: &[&str]) -> Result<Self, TextError> {
        let now = state.clock.now_ns();
        let end = read::time(params, "end")?.unwrap_or(now);
        let start = read::time(params, "start")?.unwrap_or_else(|| end.min(now).saturating_sub(SINCE_NS));
        let mut sets = Vec::new();
        for text in selectors.iter().flat_map(|name| params.all(name)).filter(|t| !t.is_empty()) {
            sets.push(parse_selector(text, true).map_err(|e| TextError::bad_request(e.to_string()))?);
        }
        if sets.is_empty() {
            sets.push(Vec::new());
        }
        Ok(Request { sets, start, end })
    }
}

pub(super) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}

fn texts(found: &BTreeSet<String>) -> Response {
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for (i, text) in found.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_str(&mut out, text);
    }
    out.push_str("]}");
    json(out)
}

/// Asks for each set of matchers on the CPU pool and joins the answers.
pub(super) async fn gather<T: Ord + Send + 'static>(
    state: ApiState,
    request: Request,
    ask: impl Fn(&crate::logs::Store, &[Matcher], i64, i64) -> Vec<T> + Send + 'static,
) -> Result<BTreeSet<T>, TextError> {
    let store = state.logs.store().clone();
    cpu_pool::run(move || {
        request.sets.iter().flat_map(|set| ask(&store, set, request.start, request.end)).collect::<BTreeSet<T>>()
    })
    .await
    .map_err(|e| TextError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

pub(super) async fn names(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let request = Request::read(&state, &params, &["query"])?;
    Ok(texts(&gather(state, request, |s, set, start, end| s.label_names(set, start, end)).await?))
}

pub(super) async fn values(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, TextError> {
    let request = Request::read(&state, &params, &["query"])?;
    Ok(texts(&gather(state, request, move |s, set, start, end| s.label_values(&name, set, start, end)).await?))
}

pub(super) async fn series(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let request = Request::read(&state, &params, &["match[]", "match"])?;
    let found: BTreeSet<Labels> = gather(state, request, |s, set, start, end| s.series(set, start, end)).await?;
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for (i, labels) in found.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_labels(&mut out, labels);
    }
    out.push_str("]}");
    Ok(json(out))
}
