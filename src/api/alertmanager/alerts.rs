//! `/alerts` and `/alerts/groups`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::body;
use super::error::ApiError;
use super::params::{Params, all_match};
use crate::alerting::{AlertStatus, AlertingHandle, PostError, PostedAlert};
use crate::config::AlertMatcher;
use crate::model::Labels;
use crate::model::time::rfc3339_ms;

/// How many labels or annotations one posted alert may have.
const MAX_LABELS: usize = 1000;

/// An alert as the API shows it.
#[derive(Serialize)]
pub struct AlertJson {
    annotations: Labels,
    #[serde(rename = "endsAt")]
    ends_at: String,
    fingerprint: String,
    receivers: Vec<NameJson>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    status: StatusJson,
    #[serde(rename = "updatedAt")]
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    generator_url: String,
    labels: Labels,
}

/// `{"name": ...}`
#[derive(Serialize)]
pub struct NameJson {
    /// The name.
    pub name: String,
}

#[derive(Serialize)]
struct StatusJson {
    #[serde(rename = "inhibitedBy")]
    inhibited_by: Vec<String>,
    #[serde(rename = "mutedBy")]
    muted_by: Vec<String>,
    #[serde(rename = "silencedBy")]
    silenced_by: Vec<String>,
    state: &'static str,
}

/// A group as the API shows it.
#[derive(Serialize)]
pub struct GroupJson {
    alerts: Vec<AlertJson>,
    labels: Labels,
    receiver: NameJson,
}

impl AlertJson {
    fn new(status: AlertStatus) -> Self {
        let state = if status.suppressed() { "suppressed" } else { "active" };
        let a = &status.alert.alert;
        AlertJson {
            annotations: a.annotations.clone(),
            ends_at: rfc3339_ms(a.ends_at),
            fingerprint: format!("{:016x}", status.alert.fingerprint),
            receivers: status.receivers.into_iter().map(|name| NameJson { name }).collect(),
            starts_at: rfc3339_ms(a.starts_at),
            status: StatusJson {
                inhibited_by: status.inhibited_by.iter().map(|fp| format!("{fp:016x}")).collect(),
                muted_by: status.muted_by,
                silenced_by: status.silenced_by,
                state,
            },
            updated_at: rfc3339_ms(a.updated_at),
            generator_url: a.generator_url.clone(),
            labels: a.labels.clone(),
        }
    }
}

/// Which alerts the parameters ask for.
struct Wanted {
    filters: Vec<AlertMatcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn new(params: &Params) -> Result<Self, ApiError> {
        Ok(Wanted {
            filters: params.filters()?,
            active: params.flag("active"),
            silenced: params.flag("silenced"),
            inhibited: params.flag("inhibited"),
            muted: params.flag("muted"),
        })
    }

    fn holds(&self, a: &AlertStatus) -> bool {
        (self.active || a.suppressed())
            && (self.silenced || a.silenced_by.is_empty())
            && (self.inhibited || a.inhibited_by.is_empty())
            && (self.muted || a.muted_by.is_empty())
            && all_match(&self.filters, &a.alert.alert.labels)
    }
}

/// `GET /alerts`
pub async fn list(
    State(alerting): State<AlertingHandle>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<AlertJson>>, ApiError> {
    let params = Params(params);
    let receiver = params.receiver()?;
    let wanted = Wanted::new(&params)?;
    let to_receiver = |a: &AlertStatus| receiver.as_ref().is_none_or(|r| a.receivers.iter().any(|n| r.is_match(n)));
    let alerts = alerting.alerts(|a| wanted.holds(a) && to_receiver(a));
    Ok(Json(alerts.into_iter().map(AlertJson::new).collect()))
}

/// `GET /alerts/groups`
pub async fn groups(
    State(alerting): State<AlertingHandle>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<GroupJson>>, ApiError> {
    let params = Params(params);
    let receiver = params.receiver()?;
    let wanted = Wanted::new(&params)?;
    let groups = alerting.groups(|name| receiver.as_ref().is_none_or(|r| r.is_match(name)), |a| wanted.holds(a));
    let shown = groups.into_iter().map(|g| GroupJson {
        alerts: g.alerts.into_iter().map(AlertJson::new).collect(),
        labels: g.labels,
        receiver: NameJson { name: g.receiver },
    });
    Ok(Json(shown.collect()))
}

/// `POST /alerts`
pub async fn post(
    State(alerting): State<AlertingHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let posted = match body::read(&headers, &body, "alerts")? {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(read_alert).collect::<Result<Vec<_>, _>>()?,
        other => return Err(body::bad("alerts", &format!("it is {}, not an array", body::kind(&other)))),
    };
    let complete =
        posted.into_iter().enumerate().map(|(i, a)| a.ok_or_else(|| ApiError::required(format!("{i}.labels"))));
    let complete = complete.collect::<Result<Vec<_>, _>>()?;
    match alerting.post(complete).await {
        Ok(()) => Ok(StatusCode::OK),
        Err(e @ PostError::Invalid(_)) => Err(ApiError::meaning(400, e.to_string())),
        Err(e @ PostError::TooMany(_)) => Err(ApiError::meaning(429, e.to_string())),
        Err(e @ PostError::NotStored(_)) => Err(ApiError::meaning(500, e.to_string())),
    }
}

/// One alert; `None` if it has no labels at all.
fn read_alert(item: &Value) -> Result<Option<PostedAlert>, ApiError> {
    let Value::Object(object) = item else {
        return Err(body::bad("alerts", &format!("an alert is {}, not an object", body::kind(item))));
    };
    let labels = text_map(object, "labels")?;
    let alert = PostedAlert {
        labels: labels.clone().unwrap_or_default(),
        annotations: text_map(object, "annotations")?.unwrap_or_default(),
        starts_at: body::time(object, "startsAt", "alerts")?,
        ends_at: body::time(object, "endsAt", "alerts")?,
        generator_url: body::text(object, "generatorURL", "alerts")?.unwrap_or_default().to_owned(),
    };
    Ok(labels.map(|_| alert))
}

fn text_map(object: &Map<String, Value>, name: &str) -> Result<Option<Labels>, ApiError> {
    let map = match object.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(body::bad("alerts", &format!("{name} is {}, not an object", body::kind(other)))),
    };
    if map.len() > MAX_LABELS {
        return Err(ApiError::meaning(
            400,
            format!("{name} has {} entries, at most {MAX_LABELS} are taken", map.len()),
        ));
    }
    let mut pairs = Vec::with_capacity(map.len());
    for key in map.keys() {
        if key.is_empty() {
            return Err(ApiError::meaning(400, format!("invalid label set: a name in {name} is empty")));
        }
        pairs.push((key, body::text(map, key, "alerts")?.unwrap_or_default()));
    }
    Ok(Some(Labels::from_pairs(pairs)))
}
