//! `index/stats`, `index/volume`, `index/volume_range`: how much there is, from the sort keys alone.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::labels::json;
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::api::prom::json::{write_labels, write_point};
use crate::exec::cpu_pool;
use crate::logql::metric::MAX_STEPS;
use crate::logql::parse::parse_selector;
use crate::logs::{CountRequest, CountRow, Measure, Selection, Snapshot};
use crate::model::{Labels, MatchOp, Matcher};

/// Series of a volume where no limit is asked for.
const DEFAULT_LIMIT: usize = 100;

fn failed(e: impl ToString) -> TextError {
    TextError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
}

fn selector(params: &Params) -> Result<Vec<Matcher>, TextError> {
    parse_selector(params.get("query").unwrap_or_default(), true).map_err(|e| TextError::bad_request(e.to_string()))
}

/// Counts on the CPU pool and gives the rows with the labels of their streams.
async fn count(
    state: &ApiState,
    matchers: Vec<Matcher>,
    boundaries: Vec<i64>,
    measures: &'static [Measure],
) -> Result<Vec<(Labels, Vec<CountRow>)>, TextError> {
    let store = state.logs.store().clone();
    let counted = cpu_pool::run(move || {
        let snapshot: Snapshot = store.snapshot();
        let mut by_stream: BTreeMap<_, Vec<CountRow>> = BTreeMap::new();
        for measure in measures {
            let request = CountRequest {
                selection: Selection::Matchers(matchers.clone()),
                boundaries: boundaries.clone(),
                filters: Vec::new(),
                measure: *measure,
                by_level: false,
            };
            for row in snapshot.count(&request)? {
                by_stream.entry(row.stream).or_default().push(row);
            }
        }
        Ok::<_, crate::logs::Error>(
            by_stream.into_iter().map(|(id, rows)| (snapshot.labels(id), rows)).collect::<Vec<_>>(),
        )
    })
    .await
    .map_err(failed)?;
    counted.map_err(failed)
}

/// Streams, chunks (as many: the store has none), bytes and entries; no envelope.
pub(super) async fn stats(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let (start, end) = read::range(&params, state.clock.now_ns())?;
    let matchers = selector(&params)?;
    let rows = count(&state, matchers, vec![start, end.max(start)], &[Measure::Entries, Measure::Bytes]).await?;
    let sum = |at: usize| -> u64 { rows.iter().filter_map(|(_, r)| r.get(at)).flat_map(|r| &r.counts).sum() };
    let body = serde_json::json!({
        "streams": rows.len(), "chunks": rows.len(), "bytes": sum(1), "entries": sum(0),
    });
    Ok(json(body.to_string()))
}

/// What the volumes are added up by.
enum Target {
    /// The values of these labels together; streams without any of them are left out.
    Labels(Vec<String>),
    /// All labels of a stream.
    Stream,
    /// Each label's name, whatever its value; of these names only, if there are any.
    Names(Vec<String>),
}

impl Target {
    fn read(params: &Params, matchers: &[Matcher]) -> Self {
        let asked: Vec<String> = params
            .all("targetLabels")
            .flat_map(|t| t.split(','))
            .map(|t| t.trim().to_owned())
            .filter(|t| !t.is_empty())
            .collect();
        if params.get("aggregateBy") == Some("labels") {
            return Target::Names(asked);
        }
        let names = if asked.is_empty() { matchers.iter().map(|m| m.name().to_owned()).collect() } else { asked };
        if names.is_empty() { Target::Stream } else { Target::Labels(names) }
    }

    fn keys(&self, labels: &Labels) -> Vec<Volume> {
        match self {
            Target::Labels(names) => {
                let kept = labels.with_only(names);
                if kept.is_empty() { Vec::new() } else { vec![Volume::Series(kept)] }
            }
            Target::Stream => vec![Volume::Series(labels.clone())],
            Target::Names(names) => labels
                .iter()
                .filter(|(n, _)| names.is_empty() || names.iter().any(|asked| asked == n))
                .map(|(n, _)| Volume::Name(n.to_owned()))
                .collect(),
        }
    }
}

/// Of what a volume is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Volume {
    Series(Labels),
    Name(String),
}

impl Volume {
    fn write(&self, out: &mut String) {
        match self {
            Volume::Series(labels) => write_labels(out, labels),
            // Labels cannot have empty values, which stand here for any.
            Volume::Name(name) => out.push_str(&serde_json::json!({name: ""}).to_string()),
        }
    }
}

/// The largest volumes first, each with its counts.
async fn volumes(
    state: &ApiState,
    params: &Params,
    boundaries: Vec<i64>,
) -> Result<Vec<(Volume, Vec<u64>)>, TextError> {
    let mut matchers = selector(params)?;
    let target = Target::read(params, &matchers);
    // Streams without a label that is asked for by name do not count.
    if let Target::Labels(names) | Target::Names(names) = &target {
        for name in names.iter().filter(|n| !matchers.iter().any(|m| m.name() == **n)).cloned().collect::<Vec<_>>() {
            matchers.push(Matcher::new(name, MatchOp::Regex, ".+").map_err(failed)?);
        }
    }
    let limit = match params.get("limit") {
        None => DEFAULT_LIMIT,
        Some(_) => read::limit(params)?,
    };
    let mut sums: BTreeMap<Volume, Vec<u64>> = BTreeMap::new();
    for (labels, rows) in count(state, matchers, boundaries, &[Measure::Bytes]).await? {
        for key in target.keys(&labels) {
            for row in &rows {
                let sum = sums.entry(key.clone()).or_insert_with(|| vec![0; row.counts.len()]);
                sum.iter_mut().zip(&row.counts).for_each(|(s, n)| *s += n);
            }
        }
    }
    let mut all: Vec<(Volume, Vec<u64>)> = sums.into_iter().collect();
    // Equal volumes stay in the order of their labels.
    all.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
    all.truncate(limit);
    Ok(all)
}

fn render(kind: &str, volumes: &[(Volume, Vec<u64>)], mut write: impl FnMut(&mut String, &[u64])) -> Response {
    let mut out = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":[");
    for (i, (volume, counts)) in volumes.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
        volume.write(&mut out);
        write(&mut out, counts);
        out.push('}');
    }
    out.push_str("]}}");
    json(out)
}

/// Bytes by series or label, the largest first.
pub(super) async fn volume(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let (start, end) = read::range(&params, state.clock.now_ns())?;
    let found = volumes(&state, &params, vec![start, end.max(start)]).await?;
    Ok(render("vector", &found, |out, counts| {
        out.push_str(",\"value\":");
        write_point(out, end.div_euclid(1_000_000), counts.iter().sum::<u64>() as f64);
    }))
}

/// The same for each step; a point stands at the last millisecond of its step.
pub(super) async fn volume_range(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let (start, end) = read::range(&params, state.clock.now_ns())?;
    let step = read::step(&params, start, end)?;
    if end.saturating_sub(start) / step > MAX_STEPS {
        return Err(TextError::bad_request(
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
        ));
    }
    let mut boundaries: Vec<i64> =
        (0..).map_while(|i: i64| start.checked_add(step.checked_mul(i)?)).take_while(|t| *t < end).collect();
    boundaries.push(end.max(start));
    let found = volumes(&state, &params, boundaries.clone()).await?;
    Ok(render("matrix", &found, |out, counts| {
        out.push_str(",\"values\":[");
        let points = boundaries.iter().skip(1).zip(counts).filter(|(_, n)| **n > 0);
        for (i, (until, n)) in points.enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_point(out, until.div_euclid(1_000_000) - 1, *n as f64);
        }
        out.push(']');
    }))
}
