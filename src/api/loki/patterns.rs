//! `patterns`: the shapes of the newest lines, mined when they are asked for.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::TextError;
use crate::api::loki::detected::newest;
use crate::api::loki::labels::json;
use crate::api::loki::params as read;
use crate::api::params::Params;
use crate::exec::cpu_pool;
use crate::logql::drain::Miner;
use crate::logql::engine::ResultEntry;
use crate::logs::detect::DETECTED_LEVEL;

/// Finer steps are of no use to anyone and make long answers.
const MIN_STEP_NS: i64 = 10_000_000_000;

/// The patterns of each level, with how many lines came in each step.
fn mine(entries: &[ResultEntry], step_ns: i64) -> serde_json::Value {
    let mut miners: BTreeMap<&str, Miner> = BTreeMap::new();
    for e in entries {
        let level = e.metadata.iter().find(|(n, _)| n == DETECTED_LEVEL).map_or("unknown", |(_, v)| v.as_str());
        let time = e.timestamp.div_euclid(step_ns).saturating_mul(step_ns) / 1_000_000_000;
        miners.entry(level).or_default().add(time, &e.line);
    }
    let mut all: Vec<_> =
        miners.into_iter().flat_map(|(level, m)| m.finish().into_iter().map(move |p| (level, p))).collect();
    all.sort_by_key(|(_, p)| std::cmp::Reverse(p.samples.values().sum::<u64>()));
    let data: Vec<_> = all
        .iter()
        .map(|(level, p)| {
            let samples: Vec<_> = p.samples.iter().collect();
            serde_json::json!({"pattern": p.text, "level": level, "samples": samples})
        })
        .collect();
    serde_json::json!({"status": "success", "data": data})
}

/// Mined from as many of the newest lines as a log query may give.
pub(super) async fn patterns(State(state): State<ApiState>, params: Params) -> Result<Response, TextError> {
    let (start, end) = read::range(&params, state.clock.now_ns())?;
    let step = read::step(&params, start, end)?.max(MIN_STEP_NS);
    let entries = newest(&state, &params, usize::MAX).await?;
    let body = cpu_pool::run(move || mine(&entries, step).to_string())
        .await
        .map_err(|e| TextError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(json(body))
}
