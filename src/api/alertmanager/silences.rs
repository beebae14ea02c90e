//! `/silences` and `/silence/{id}`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body;
use super::error::ApiError;
use super::params::Params;
use crate::alerting::AlertingHandle;
use crate::alerting::silence::{Silence, SilenceError, SilenceState};
use crate::config::AlertMatcher;
use crate::model::time::rfc3339_ms;
use crate::model::{MatchOp, TimestampMs};

/// How many matchers one silence may have.
const MAX_MATCHERS: usize = 1000;

/// A silence as the API shows it.
#[derive(Serialize)]
pub struct SilenceJson {
    id: String,
    status: StateJson,
    #[serde(rename = "updatedAt")]
    updated_at: String,
    comment: String,
    #[serde(rename = "createdBy")]
    created_by: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    matchers: Vec<MatcherJson>,
    #[serde(rename = "startsAt")]
    starts_at: String,
}

#[derive(Serialize)]
struct StateJson {
    state: &'static str,
}

#[derive(Serialize)]
struct MatcherJson {
    #[serde(rename = "isEqual")]
    is_equal: bool,
    #[serde(rename = "isRegex")]
    is_regex: bool,
    name: String,
    value: String,
}

impl SilenceJson {
    fn new(s: &Silence, now: TimestampMs) -> Self {
        let matcher = |m: &AlertMatcher| MatcherJson {
            is_equal: !m.op().is_negative(),
            is_regex: matches!(m.op(), MatchOp::Regex | MatchOp::NotRegex),
            name: m.name().to_owned(),
            value: m.value().to_owned(),
        };
        SilenceJson {
            id: s.id.clone(),
            status: StateJson { state: s.state(now).as_str() },
            updated_at: rfc3339_ms(s.updated_at),
            comment: s.comment.clone(),
            created_by: s.created_by.clone(),
            ends_at: rfc3339_ms(s.ends_at),
            matchers: s.matchers.iter().map(matcher).collect(),
            starts_at: rfc3339_ms(s.starts_at),
        }
    }
}

/// `GET /silences`: active ones by their end, then pending ones by their start, then ended ones, the latest first.
pub async fn list(
    State(alerting): State<AlertingHandle>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<SilenceJson>>, ApiError> {
    let params = Params(params);
    let filters = params.filters()?;
    let now = alerting.now();
    let wanted = |s: &Silence| {
        let state = match s.state(now) {
            SilenceState::Active => params.flag("active"),
            SilenceState::Pending => params.flag("pending"),
            SilenceState::Expired => params.flag("expired"),
        };
        // A filter asks for silences that have this very matcher, not for those that would match.
        state && filters.iter().all(|f| s.matchers.contains(f))
    };
    let mut found: Vec<_> = alerting.silences().into_iter().filter(|s| wanted(s)).collect();
    found.sort_by_key(|s| {
        let state = s.state(now);
        let by = match state {
            SilenceState::Active => s.ends_at,
            SilenceState::Pending => s.starts_at,
            SilenceState::Expired => -s.ends_at,
        };
        (state, by, s.id.clone())
    });
    Ok(Json(found.iter().map(|s| SilenceJson::new(s, now)).collect()))
}

fn uuid(id: &str) -> Result<(), ApiError> {
    let bad = |_| ApiError::form(422, 601, format!("silenceID in path must be of type uuid: {id:?}"));
    uuid::Uuid::parse_str(id).map(|_| ()).map_err(bad)
}

/// `GET /silence/{id}`
pub async fn one(
    State(alerting): State<AlertingHandle>,
    Path(id): Path<String>,
) -> Result<Json<SilenceJson>, ApiError> {
    uuid(&id)?;
    let silence = alerting.silence(&id).ok_or(ApiError::Missing)?;
    Ok(Json(SilenceJson::new(&silence, alerting.now())))
}

/// `DELETE /silence/{id}`
pub async fn expire(State(alerting): State<AlertingHandle>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    uuid(&id)?;
    match alerting.expire_silence(&id).await {
        Ok(()) => Ok(StatusCode::OK),
        Err(SilenceError::NotFound) => Err(ApiError::Missing),
        Err(e) => Err(meaning(&e)),
    }
}

/// `POST /silences`
pub async fn post(
    State(alerting): State<AlertingHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let value = body::read(&headers, &body, "silence")?;
    let Value::Object(object) = &value else {
        return Err(body::bad("silence", &format!("it is {}, not an object", body::kind(&value))));
    };
    let silence = read_silence(object)?;
    if silence.ends_at <= silence.starts_at {
        return Err(ApiError::meaning(400, "Failed to create silence: start time must be before end time"));
    }
    if silence.ends_at < alerting.now() {
        return Err(ApiError::meaning(400, "Failed to create silence: end time can't be in the past"));
    }
    let id = alerting.set_silence(silence).await.map_err(|e| meaning(&e))?;
    Ok(Json(json!({ "silenceID": id })))
}

fn meaning(e: &SilenceError) -> ApiError {
    let status = match e {
        SilenceError::NotFound => 404,
        SilenceError::Invalid(_) | SilenceError::TooMany(_) => 400,
        SilenceError::NotStored(_) => 500,
    };
    ApiError::meaning(status, e.to_string())
}

fn read_silence(object: &Map<String, Value>) -> Result<Silence, ApiError> {
    const WHAT: &str = "silence";
    // Form first, all of it, then what must be there.
    let comment = body::text(object, "comment", WHAT)?;
    let created_by = body::text(object, "createdBy", WHAT)?;
    let starts_at = body::time(object, "startsAt", WHAT)?;
    let ends_at = body::time(object, "endsAt", WHAT)?;
    let id = body::text(object, "id", WHAT)?.unwrap_or_default().to_owned();
    let raw = match object.get("matchers") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => Some(items.iter().map(RawMatcher::read).collect::<Result<Vec<_>, _>>()?),
        Some(other) => return Err(body::bad(WHAT, &format!("matchers is {}, not an array", body::kind(other)))),
    };
    let comment = comment.ok_or_else(|| ApiError::required("comment"))?;
    let created_by = created_by.ok_or_else(|| ApiError::required("createdBy"))?;
    let raw = raw.ok_or_else(|| ApiError::required("matchers"))?;
    for (name, there) in [("startsAt", object.contains_key("startsAt")), ("endsAt", object.contains_key("endsAt"))] {
        if !there {
            return Err(ApiError::required(name));
        }
    }
    if raw.is_empty() {
        return Err(ApiError::form(422, 612, "matchers in body should have at least 1 items"));
    }
    if raw.len() > MAX_MATCHERS {
        return Err(ApiError::meaning(400, format!("a silence has at most {MAX_MATCHERS} matchers")));
    }
    let matchers = raw.into_iter().enumerate().map(|(i, m)| m.compile(i)).collect::<Result<Vec<_>, _>>()?;
    Ok(Silence {
        id,
        matchers,
        starts_at: starts_at.unwrap_or(0),
        ends_at: ends_at.unwrap_or(0),
        updated_at: 0,
        created_by: created_by.to_owned(),
        comment: comment.to_owned(),
    })
}

struct RawMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: bool,
}

impl RawMatcher {
    fn read(item: &Value) -> Result<Self, ApiError> {
        const WHAT: &str = "silence";
        let Value::Object(object) = item else {
            return Err(body::bad(WHAT, &format!("a matcher is {}, not an object", body::kind(item))));
        };
        Ok(RawMatcher {
            name: body::text(object, "name", WHAT)?.map(str::to_owned),
            value: body::text(object, "value", WHAT)?.map(str::to_owned),
            is_regex: body::boolean(object, "isRegex", WHAT)?,
            is_equal: body::boolean(object, "isEqual", WHAT)?.unwrap_or(true),
        })
    }

    fn compile(self, i: usize) -> Result<AlertMatcher, ApiError> {
        let required = |field: &str| ApiError::required(format!("matchers.{i}.{field}"));
        let name = self.name.ok_or_else(|| required("name"))?;
        let value = self.value.ok_or_else(|| required("value"))?;
        let op = match (self.is_equal, self.is_regex.ok_or_else(|| required("isRegex"))?) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        AlertMatcher::new(name, op, value)
            .map_err(|e| ApiError::meaning(400, format!("invalid silence: invalid label matcher {i}: {e}")))
    }
}
