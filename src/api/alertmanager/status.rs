//! `/status` and `/receivers`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::alerts::NameJson;
use super::config_yaml;
use crate::alerting::AlertingHandle;
use crate::model::time::rfc3339_ms;

/// `GET /status`
pub async fn status(State(alerting): State<AlertingHandle>) -> Json<Value> {
    Json(json!({
        "cluster": { "status": "disabled", "peers": [] },
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
        "config": { "original": config_yaml::render(&alerting.config()) },
        "uptime": rfc3339_ms(alerting.started_at()),
    }))
}

/// `GET /receivers`
pub async fn receivers(State(alerting): State<AlertingHandle>) -> Json<Vec<NameJson>> {
    Json(alerting.receivers().into_iter().map(|name| NameJson { name }).collect())
}
