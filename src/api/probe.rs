//! `/probe`, as blackbox_exporter answers it: existing scrape configurations that relabel to it go on working.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiState;
use crate::api::not_now::{SOON_SECONDS, not_now};
use crate::api::params::Params;
use crate::probe::endpoint::{Parameters, answer};

pub(super) async fn probe(State(state): State<ApiState>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let _permit = match state.probe_permits.acquire().await {
        Ok(p) => p,
        Err(full) => return not_now(SOON_SECONDS, format!("too many probes: {full}\n")),
    };
    let loaded = state.config.load_full();
    let asked = Parameters {
        target: params.get("target"),
        module: params.get("module"),
        hostname: params.get("hostname"),
        debug: params.boolean("debug").unwrap_or(false),
        scrape_timeout: headers.get("X-Prometheus-Scrape-Timeout-Seconds").and_then(|v| v.to_str().ok()),
    };
    let answer = answer(&loaded.config.probe_modules, asked).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], answer.body).into_response()
}
