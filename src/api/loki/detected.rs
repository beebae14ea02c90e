//! `detected_labels`, `detected_fields`, `detected_field/<name>/values`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::labels::{Request, gather, json};
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::exec::cpu_pool;
use crate::logql::detected_fields::{Field, detect};
use crate::logql::engine::{Output, Query, ResultEntry};
use crate::logql::storage::Direction;
use crate::query::Asker;

/// Fields, or values of one, where no limit is asked for.
const DEFAULT_LIMIT: usize = 1000;
/// Lines that are looked at where no limit is asked for.
const DEFAULT_LINES: usize = 100;
/// Labels that are told even if all their values are numbers or ids.
const ALWAYS: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// Whether a value says nothing to a person who picks labels: a number or a UUID.
fn is_id(value: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let is_uuid = value.split('-').count() == groups.len()
        && value.split('-').zip(groups).all(|(g, n)| g.len() == n && g.bytes().all(|b| b.is_ascii_hexdigit()));
    is_uuid || value.parse::<f64>().is_ok()
}

/// The labels of streams and how many values each has.
pub(super) async fn labels(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let request = Request::read(&state, &params, &["query"])?;
    let streams = gather(state, request, |s, set, start, end| s.series(set, start, end)).await?;
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (n, v) in streams.iter().flat_map(|l| l.iter()) {
        found.entry(n).or_default().insert(v);
    }
    let told: Vec<_> = found
        .iter()
        .filter(|(n, values)| ALWAYS.contains(n) || !values.iter().all(|v| is_id(v)))
        .map(|(n, values)| serde_json::json!({"label": n, "cardinality": values.len()}))
        .collect();
    Ok(json(serde_json::json!({"detectedLabels": told}).to_string()))
}

fn limit(params: &Params, names: &[&str], default: usize) -> Result<usize, TextError> {
    let Some(text) = names.iter().find_map(|n| params.get(n)) else { return Ok(default) };
    match text.parse::<usize>() {
        Ok(0) => Ok(default),
        Ok(n) => Ok(n),
        Err(_) => Err(TextError::bad_request(format!("limit {text:?} is no positive number"))),
    }
}

/// The newest lines of a log query.
async fn newest(state: &ApiState, params: &Params, lines: usize) -> Result<Vec<ResultEntry>, TextError> {
    let (start_ns, end_ns) = read::range(params, state.clock.now_ns())?;
    let query = Query {
        expr: params.get("query").unwrap_or_default().to_owned(),
        start_ns,
        end_ns,
        step_ns: read::step(params, start_ns, end_ns)?,
        limit: lines.min(state.logs.options().max_entries),
        direction: Direction::Backward,
        interval_ns: 0,
        explain: false,
    };
    match state.logs.run(query, Asker::inside("detected fields")).await?.0 {
        Output::Lines(entries) => Ok(entries),
        Output::Matrix(_) | Output::Vector(_) | Output::Scalar(..) => {
            Err(TextError::bad_request("a log query is wanted here, not a metric query"))
        }
    }
}

async fn found(state: &ApiState, params: &Params, fields: usize) -> Result<BTreeMap<String, Field>, TextError> {
    let entries = newest(state, params, limit(params, &["line_limit"], DEFAULT_LINES)?).await?;
    cpu_pool::run(move || detect(&entries, fields))
        .await
        .map_err(|e| TextError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

/// The fields of the newest lines. `parsers` is null for what no parser found: Grafana reads a list as "parsed".
pub(super) async fn fields(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let most = limit(&params, &["limit", "field_limit"], DEFAULT_LIMIT)?;
    let found = found(&state, &params, most).await?;
    let list: Vec<_> = found
        .iter()
        .map(|(name, f)| {
            let mut field = serde_json::json!({
                "label": name,
                "type": f.kind.as_str(),
                "cardinality": f.values.len(),
                "parsers": if f.parsers.is_empty() { None } else { Some(&f.parsers) },
            });
            if let Some(map) = field.as_object_mut()
                && !f.json_path.is_empty()
            {
                map.insert("jsonPath".to_owned(), f.json_path.as_slice().into());
            }
            field
        })
        .collect();
    Ok(json(serde_json::json!({"fields": list, "limit": most}).to_string()))
}

/// The values of one field in the newest lines.
pub(super) async fn values(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, TextError> {
    let most = limit(&params, &["limit", "field_limit"], DEFAULT_LIMIT)?;
    let mut found = found(&state, &params, usize::MAX).await?;
    let mut values: Vec<String> = found.remove(&name).map(|f| f.values.into_iter().collect()).unwrap_or_default();
    values.sort();
    values.truncate(most);
    Ok(json(serde_json::json!({"values": values, "limit": most}).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for (value, want) in [
            ("5", true),
            ("-1.5e3", true),
            ("123e4567-e89b-12d3-a456-426614174000", true),
            ("web-1", false),
            ("", false),
        ] {
            assert_eq!(is_id(value), want, "{value}");
        }
    }
}
