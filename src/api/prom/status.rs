//! `status/...`: what campanile is and how it is set up.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::prom::query::json as json_response;
use crate::model::time::rfc3339_ms;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A success with data.
pub(crate) fn success(data: &Value) -> Response {
    json_response(format!("{{\"status\":\"success\",\"data\":{data}}}"))
}

/// What Grafana and others ask to learn the version. There is no `features` key: with one, Grafana takes the source for Mimir.
pub(super) async fn buildinfo() -> Response {
    success(&json!({
        "application": "campanile",
        "version": VERSION,
        "revision": option_env!("CAMPANILE_REVISION").unwrap_or("unknown"),
        "branch": option_env!("CAMPANILE_BRANCH").unwrap_or("unknown"),
        "buildUser": "",
        "buildDate": option_env!("CAMPANILE_BUILD_DATE").unwrap_or("19700101-00:00:00"),
        "goVersion": "",
    }))
}

pub(super) async fn config(State(state): State<ApiState>) -> Response {
    let mut data = json!({"yaml": state.config.load().masked_yaml()});
    let error = state.reload_error.load();
    if !error.is_empty()
        && let Some(map) = data.as_object_mut()
    {
        map.insert("lastReloadError".to_owned(), Value::String(error.as_str().to_owned()));
    }
    success(&data)
}

pub(super) async fn flags(State(state): State<ApiState>) -> Response {
    success(&Value::Object(state.flags.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect()))
}

pub(super) async fn runtimeinfo(State(state): State<ApiState>) -> Response {
    let loaded = state.config.load();
    success(&json!({
        "startTime": rfc3339_ms(state.started_ms),
        "CWD": std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        "hostname": hostname(),
        "serverTime": rfc3339_ms(state.clock.now_ms()),
        "reloadConfigSuccess": state.reload_error.load().is_empty(),
        "lastConfigTime": rfc3339_ms(state.config_loaded_ms.load(Ordering::Relaxed)),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": loaded.config.storage.retention_time.to_string(),
    }))
}

/// How far the log has been replayed, in bytes of the log. Before the store is open `starting.rs` answers.
pub(super) async fn walreplay(State(state): State<ApiState>) -> Response {
    let replay = state.db.replay();
    let (done, all) = replay.bytes();
    let word = if replay.is_complete() { "done" } else { "in progress" };
    success(&json!({"min": 0, "max": all, "current": done, "state": word}))
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
