//! `labels`, `label/<name>/values`, `series`, `metadata`.

use axum::extract::{Path, State};
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::prom::json::write_str;
use crate::api::prom::query::json;
use crate::exec::cpu_pool;
use crate::model::labels::packed_labels;
use crate::model::{LabelTable, Matcher};

const TRUNCATED: &str = ",\"warnings\":[\"results truncated due to limit\"]";

/// The parameters all metadata endpoints share.
struct Request {
    /// One set of matchers for each `match[]`; empty where none was given.
    sets: Vec<Vec<Matcher>>,
    start: i64,
    end: i64,
    limit: Option<usize>,
}

impl Request {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let sets = params
            .all("match[]")
            .map(|text| {
                crate::promql::parse_selector_non_empty(text)
                    .map_err(|e| ApiError::bad_data(format!("invalid parameter \"match[]\": {e}")))
            })
            .collect::<Result<_, _>>()?;
        let request = Request {
            sets,
            start: params.time_ms("start")?.unwrap_or(i64::MIN),
            end: params.time_ms("end")?.unwrap_or(i64::MAX),
            limit: params.limit("limit")?,
        };
        if request.end < request.start {
            return Err(ApiError::bad_data(
                "invalid parameter \"end\": end timestamp must not be before start timestamp",
            ));
        }
        Ok(request)
    }

    /// The sets to ask for; without `match[]` one that everything satisfies.
    fn each_set(&self) -> Vec<&[Matcher]> {
        if self.sets.is_empty() { vec![&[]] } else { self.sets.iter().map(Vec::as_slice).collect() }
    }
}

/// Writes `{"status":"success","data":[...]}` of texts, cut at the limit.
fn texts<'a>(found: impl ExactSizeIterator<Item = &'a String>, limit: Option<usize>) -> String {
    let cut = limit.is_some_and(|l| found.len() > l);
    let mut out = String::with_capacity(64 + 32 * found.len());
    out.push_str("{\"status\":\"success\",\"data\":[");
    for (i, text) in found.take(limit.unwrap_or(usize::MAX)).enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_str(&mut out, text);
    }
    out.push(']');
    out.push_str(if cut { TRUNCATED } else { "" });
    out.push('}');
    out
}

async fn collect(
    state: ApiState,
    request: Request,
    ask: impl Fn(&crate::tsdb::Db, &[Matcher], i64, i64) -> Result<Vec<String>, crate::tsdb::Error> + Send + 'static,
) -> Result<Response, ApiError> {
    let limit = request.limit;
    super::readable(&state, request.end).await?;
    let found = cpu_pool::run(move || {
        let mut all: Vec<String> = Vec::new();
        let sets = request.each_set();
        for set in &sets {
            all.extend(ask(&state.db, set, request.start, request.end)?);
        }
        if sets.len() > 1 {
            all.sort_unstable();
            all.dedup();
        }
        Ok::<_, crate::tsdb::Error>(texts(all.iter(), limit))
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(ApiError::internal)?;
    Ok(json(found))
}

pub(super) async fn names(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let request = Request::read(&params)?;
    collect(state, request, |db, set, start, end| db.label_names(set, start, end)).await
}

pub(super) async fn values(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data("invalid label name: \"\""));
    }
    let request = Request::read(&params)?;
    collect(state, request, move |db, set, start, end| db.label_values(&name, set, start, end)).await
}

/// Undoes the escaping of label names that are no classic names: `U__` in front, `__` for `_`, `_2e_` for `.`.
/// Anything that is not of this form is taken as it is.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(tail) = tail.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let decoded = tail.split_once('_').and_then(|(hex, tail)| {
            let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?;
            Some((c, tail))
        });
        match decoded {
            Some((c, tail)) => {
                out.push(c);
                rest = tail;
            }
            None => return name.to_owned(),
        }
    }
    out.push_str(rest);
    out
}

pub(super) async fn series(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let request = Request::read(&params)?;
    if request.sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = request.limit;
    super::readable(&state, request.end).await?;
    let body = cpu_pool::run(move || {
        let found = state.db.series(&request.each_set(), request.start, request.end)?;
        Ok::<_, crate::tsdb::Error>(label_sets(&found, limit))
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(ApiError::internal)?;
    Ok(json(body))
}

/// Writes `{"status":"success","data":[...]}` of label sets, cut at the limit. Each label is written once and copied from then on.
fn label_sets(found: &LabelTable, limit: Option<usize>) -> String {
    let mut written = String::new();
    let mut places = Vec::with_capacity(found.texts().len());
    for (_, name, value) in found.texts().iter().filter_map(|t| packed_labels(t).next()) {
        let from = written.len();
        write_str(&mut written, name);
        written.push(':');
        write_str(&mut written, value);
        places.push(from..written.len());
    }
    let shown = limit.unwrap_or(usize::MAX).min(found.len());
    let mut out = String::from("{\"status\":\"success\",\"data\":[");
    for i in 0..shown {
        out.push_str(if i > 0 { ",{" } else { "{" });
        for (k, place) in found.row(i).iter().enumerate() {
            if k > 0 {
                out.push(',');
            }
            let text = places.get(*place as usize).and_then(|p| written.get(p.clone()));
            out.push_str(text.unwrap_or_default());
        }
        out.push('}');
    }
    out.push(']');
    out.push_str(if shown < found.len() { TRUNCATED } else { "" });
    out.push('}');
    out
}

pub(super) async fn metadata(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?.unwrap_or(usize::MAX);
    let per_metric = params.limit("limit_per_metric")?.unwrap_or(usize::MAX);
    super::readable(&state, i64::MAX).await?;
    let found = state.db.metadata(params.get("metric"), limit);
    let mut data = serde_json::Map::new();
    for (metric, metadata) in found {
        // Grafana reads the first entry of each list unguarded.
        if metadata.is_empty() {
            continue;
        }
        let list = metadata
            .iter()
            .take(per_metric)
            .map(|m| serde_json::json!({"type": m.metric_type.as_str(), "unit": m.unit, "help": m.help}))
            .collect();
        data.insert(metric, serde_json::Value::Array(list));
    }
    Ok(super::status::success(&serde_json::Value::Object(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names() {
        for (name, want) in [("U__a_2e_b", "a.b"), ("U__a__b", "a_b"), ("instance", "instance"), ("U__x_zz", "U__x_zz")]
        {
            assert_eq!(unescape_name(name), want);
        }
    }
}
