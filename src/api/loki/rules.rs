//! `/prometheus/api/v1/{rules,alerts}`: the rules over logs.

use axum::extract::State;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::prom::{alerts_of_kind, rules_of_kind};
use crate::rules::GroupKind;

pub(in crate::api) async fn rules(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    rules_of_kind(&state, &params, Some(GroupKind::Logs))
}

pub(in crate::api) async fn alerts(State(state): State<ApiState>) -> Response {
    alerts_of_kind(&state, Some(GroupKind::Logs))
}
