//! `admin/tsdb/...`: deleting series, cleaning up after it, snapshots. Off unless the command line asks for them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::ApiState;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::prom::status::success;
use crate::tsdb::{Db, Error};

fn allowed(state: &ApiState) -> Result<(), ApiError> {
    if state.admin_api {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::Disabled, "admin APIs disabled"))
}

/// Runs what touches files on a blocking thread.
async fn work<T: Send + 'static>(
    state: &ApiState,
    work: impl FnOnce(&Db) -> Result<T, Error> + Send + 'static,
) -> Result<T, ApiError> {
    super::readable(state, i64::MAX).await?;
    let db = state.db.clone();
    let done = tokio::task::spawn_blocking(move || work(&db)).await.map_err(ApiError::internal)?;
    done.map_err(|e| match e {
        // The disk is full or failing, or the log is being replayed, all of which may pass.
        Error::Io(_) | Error::NoSpace(_) | Error::Replaying { .. } => {
            ApiError::new(ErrorKind::Unavailable, e.to_string())
        }
        Error::Locked(_)
        | Error::Wal { .. }
        | Error::Chunk(_)
        | Error::Block { .. }
        | Error::HeadChunk { .. }
        | Error::Version { .. } => ApiError::internal(e),
    })
}

pub(super) async fn delete_series(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    allowed(&state)?;
    let sets = params
        .all("match[]")
        .map(|text| {
            crate::promql::parse_selector_non_empty(text)
                .map_err(|e| ApiError::bad_data(format!("invalid parameter \"match[]\": {e}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let start = params.time_ms("start")?.unwrap_or(i64::MIN);
    let end = params.time_ms("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(ApiError::bad_data("invalid parameter \"end\": end timestamp must not be before start timestamp"));
    }
    work(&state, move |db| sets.iter().try_for_each(|set| db.delete_series(set, start, end))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn clean_tombstones(State(state): State<ApiState>) -> Result<Response, ApiError> {
    allowed(&state)?;
    work(&state, Db::clean_tombstones).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn snapshot(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    allowed(&state)?;
    let skip_head = match params.get("skip_head") {
        None => false,
        Some(text) => params.boolean("skip_head").ok_or_else(|| {
            ApiError::bad_data(format!("invalid parameter \"skip_head\": {text:?} is no boolean; write true or false"))
        })?,
    };
    let name = work(&state, move |db| db.snapshot(skip_head)).await?;
    Ok(success(&json!({"name": name})))
}
