//! `patterns`: the shapes of lines, with how many came when.

use axum::extract::State;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::labels::json;
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::logql::engine::Query;
use crate::logql::patterns::ByLevel;
use crate::logql::storage::Direction;
use crate::query::Asker;

/// Finer steps are of no use to anyone and make long answers.
const MIN_STEP_NS: i64 = 10_000_000_000;
/// Patterns of an answer, those of most lines; Grafana reads no more.
const MOST: usize = 500;

fn render(found: &ByLevel) -> serde_json::Value {
    let pattern = |(level, p): &(String, crate::text::drain::Pattern)| serde_json::json!({"pattern": p.text(), "level": level, "samples": p.samples});
    serde_json::json!({"status": "success", "data": found.iter().take(MOST).map(pattern).collect::<Vec<_>>()})
}

/// The patterns of all lines of a selector, line filters minded.
pub(super) async fn patterns(
    State(state): State<ApiState>,
    asker: Asker,
    params: Params,
) -> Result<Response, TextError> {
    let (start_ns, end_ns) = read::range(&params, state.clock.now_ns())?;
    let query = Query {
        expr: params.get("query").unwrap_or_default().to_owned(),
        start_ns,
        end_ns,
        step_ns: read::step(&params, start_ns, end_ns)?.max(MIN_STEP_NS),
        limit: 0,
        direction: Direction::Forward,
        interval_ns: 0,
        explain: false,
    };
    Ok(json(render(&state.logs.patterns(query, asker).await?).to_string()))
}
