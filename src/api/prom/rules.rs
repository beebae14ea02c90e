//! `rules` and `alerts`, as Prometheus and Grafana's alerting pages read them.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::model::Labels;
use crate::model::sample::format_value;
use crate::model::time::{ZERO_TIME, rfc3339_ms};
use crate::rules::{ActiveAlert, AlertState, GroupKind, GroupStatus, RuleDetail, RuleStatus};

pub(super) async fn rules(State(state): State<ApiState>, params: Params) -> Result<Response, ApiError> {
    rules_of_kind(&state, &params, None)
}

pub(super) async fn alerts(State(state): State<ApiState>) -> Response {
    alerts_of_kind(&state, None)
}

/// All active alerts of the rules of one language, or of both.
pub(crate) fn alerts_of_kind(state: &ApiState, kind: Option<GroupKind>) -> Response {
    let groups = state.rules.groups();
    let alerts: Vec<Value> = groups
        .iter()
        .filter(|g| kind.is_none_or(|k| g.kind == k))
        .flat_map(|g| &g.rules)
        .flat_map(RuleStatus::active_alerts)
        .map(alert)
        .collect();
    super::status::success(&json!({"alerts": alerts}))
}

/// The rules of one language, or of both. Filters come in both spellings that Grafana sends, with and without brackets.
pub(crate) fn rules_of_kind(state: &ApiState, params: &Params, kind: Option<GroupKind>) -> Result<Response, ApiError> {
    let wanted = |plain: &'static str, brackets: &'static str| -> Vec<String> {
        let mut all: Vec<String> =
            params.all(plain).chain(params.all(brackets)).filter(|v| !v.is_empty()).map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    };
    let files = wanted("file", "file[]");
    let group_names = wanted("rule_group", "rule_group[]");
    let rule_names = wanted("rule_name", "rule_name[]");
    let rule_type = match params.get("type") {
        None => None,
        Some(t @ ("alert" | "record")) => Some(t == "alert"),
        Some(other) => return Err(ApiError::bad_data(format!("not supported value {other:?}"))),
    };
    let mut matcher_sets = Vec::new();
    for text in params.all("match[]").filter(|t| !t.is_empty()) {
        let set = crate::promql::parse_selector_non_empty(text)
            .map_err(|e| ApiError::bad_data(format!("invalid parameter \"match[]\": {e}")))?;
        matcher_sets.push(set);
    }
    let labels_match = |labels: &Labels| {
        matcher_sets.is_empty() || matcher_sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)))
    };
    let exclude_alerts = match params.get("exclude_alerts").unwrap_or_default() {
        "" => false,
        text => params.boolean("exclude_alerts").ok_or_else(|| {
            ApiError::bad_data(format!(
                "invalid parameter \"exclude_alerts\": {text:?} is no boolean; write true or false"
            ))
        })?,
    };
    let page = params.limit("group_limit")?;
    let token = params.get("group_next_token");
    if token.is_some() && page.is_none() {
        return Err(ApiError::bad_data("group_limit needs to be set in order to paginate over the groups"));
    }
    let keep = |list: &[String], name: &str| list.is_empty() || list.iter().any(|x| x == name);

    let mut groups = state.rules.groups();
    groups.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    let mut out = Vec::new();
    let mut next = None;
    // A token names the first group of the next page, so groups that come and go in between shift nothing.
    let mut reached = token.is_none();
    for g in groups.iter().filter(|g| kind.is_none_or(|k| g.kind == k)) {
        reached = reached || token.is_some_and(|t| t == group_token(g));
        if !reached || !keep(&files, &g.file) || !keep(&group_names, &g.name) {
            continue;
        }
        let rules: Vec<Value> = g
            .rules
            .iter()
            .filter(|r| keep(&rule_names, &r.name))
            .filter(|r| rule_type.is_none_or(|alerting| alerting == matches!(r.detail, RuleDetail::Alerting { .. })))
            .filter(|r| labels_match(&r.labels))
            .map(|r| rule(r, exclude_alerts))
            .collect();
        if rules.is_empty() && !g.rules.is_empty() {
            continue;
        }
        if page.is_some_and(|p| out.len() >= p) {
            next = Some(group_token(g));
            break;
        }
        out.push(group(g, rules));
    }
    if !reached {
        return Err(ApiError::bad_data(format!("invalid group_next_token {:?}", token.unwrap_or_default())));
    }
    let mut data = Map::new();
    data.insert("groups".to_owned(), Value::Array(out));
    if let Some(token) = next {
        data.insert("groupNextToken".to_owned(), Value::String(token));
    }
    Ok(super::status::success(&Value::Object(data)))
}

fn group_token(g: &GroupStatus) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(format!("{}\0{}", g.file, g.name).as_bytes()))
}

fn time(t: Option<i64>) -> String {
    t.map_or_else(|| ZERO_TIME.to_owned(), rfc3339_ms)
}

fn group(g: &GroupStatus, rules: Vec<Value>) -> Value {
    json!({
        "name": g.name,
        "file": g.file,
        "rules": rules,
        "interval": g.interval_ms as f64 / 1000.0,
        "limit": g.limit,
        "evaluationTime": g.evaluation_seconds,
        "lastEvaluation": time(g.last_evaluation),
    })
}

fn labels(l: &Labels) -> Value {
    Value::Object(l.iter().map(|(n, v)| (n.to_owned(), Value::String(v.to_owned()))).collect())
}

fn rule(r: &RuleStatus, exclude_alerts: bool) -> Value {
    let mut v = json!({
        "name": r.name,
        "query": r.query,
        "labels": labels(&r.labels),
        "health": r.health.as_str(),
        "evaluationTime": r.evaluation_seconds,
        "lastEvaluation": time(r.last_evaluation),
    });
    let Some(map) = v.as_object_mut() else { return v };
    if !r.last_error.is_empty() {
        map.insert("lastError".to_owned(), Value::String(r.last_error.clone()));
    }
    match &r.detail {
        RuleDetail::Recording => {
            map.insert("type".to_owned(), json!("recording"));
        }
        RuleDetail::Alerting { state, hold_ms, keep_firing_ms, annotations, .. } => {
            map.insert("type".to_owned(), json!("alerting"));
            map.insert("state".to_owned(), json!(state.as_str()));
            map.insert("duration".to_owned(), json!(*hold_ms as f64 / 1000.0));
            map.insert("keepFiringFor".to_owned(), json!(*keep_firing_ms as f64 / 1000.0));
            map.insert("annotations".to_owned(), labels(annotations));
            let alerts = if exclude_alerts { Vec::new() } else { r.active_alerts().map(alert).collect() };
            map.insert("alerts".to_owned(), Value::Array(alerts));
        }
    }
    v
}

/// Go's `%e` form of a float, as Prometheus shows the value of an alert: `1e+00`.
fn exponent_form(v: f64) -> String {
    if !v.is_finite() {
        return format_value(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn alert(a: &ActiveAlert) -> Value {
    let mut v = json!({
        "labels": labels(&a.labels),
        "annotations": labels(&a.annotations),
        "state": a.state.as_str(),
        "activeAt": time(Some(a.active_at)),
        "value": exponent_form(a.value),
    });
    if a.state == AlertState::Firing
        && let (Some(map), Some(since)) = (v.as_object_mut(), a.keep_firing_since)
    {
        map.insert("keepFiringSince".to_owned(), json!(rfc3339_ms(since)));
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_exponent_form() {
        for (v, want) in [(1.0, "1e+00"), (0.0, "0e+00"), (12345.0, "1.2345e+04"), (-0.5, "-5e-01"), (f64::NAN, "NaN")]
        {
            assert_eq!(exponent_form(v), want);
        }
    }
}
