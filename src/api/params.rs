//! Parameters of a request: those of the URL and, on POST, those of the form body, together.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::error::ApiError;
use crate::text::duration;

/// The largest form body that is read: queries are text, and a megabyte of it is generous.
const MAX_FORM_BYTES: usize = 4 << 20;

/// All parameters in the order given, those of the body first.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads an encoded query string or form.
    pub fn parse(encoded: &[u8]) -> Self {
        Params(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The first value of `name`; an empty value counts as absent, as in Prometheus.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All values of `name`, empty ones included.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All parameters, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// A time in milliseconds: float Unix seconds or RFC 3339.
    pub fn time_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name)
            .map(|v| {
                parse_time_ms(v).ok_or_else(|| {
                    ApiError::bad_data(format!("invalid parameter {name:?}: cannot parse {v:?} to a valid timestamp"))
                })
            })
            .transpose()
    }

    /// A duration in milliseconds: float seconds or `5m`.
    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name)
            .map(|v| {
                parse_duration_ms(v).ok_or_else(|| {
                    ApiError::bad_data(format!("invalid parameter {name:?}: cannot parse {v:?} to a valid duration"))
                })
            })
            .transpose()
    }

    /// A limit: absent and 0 mean none.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(v) => match v.parse::<usize>() {
                Ok(0) => Ok(None),
                Ok(n) => Ok(Some(n)),
                Err(_) => {
                    Err(ApiError::bad_data(format!("invalid parameter {name:?}: {v:?} is no non-negative integer")))
                }
            },
        }
    }

    /// A boolean as Go reads them; anything else is `None`.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        }
    }
}

/// Reads float Unix seconds or RFC 3339 as milliseconds. Values past the range of milliseconds are clamped, because Grafana
/// probes with times in the year 56000.
pub fn parse_time_ms(v: &str) -> Option<i64> {
    if let Ok(seconds) = v.parse::<f64>() {
        // A cast from float saturates.
        return seconds.is_finite().then_some((seconds * 1000.0).round() as i64);
    }
    match v {
        // The least and the greatest time that Go can hold, which Prometheus' clients send for "all".
        "-292273086-05-16T16:47:06Z" => Some(i64::MIN),
        "292277025-08-18T07:12:54.999999999Z" => Some(i64::MAX),
        _ => chrono::DateTime::parse_from_rfc3339(v).ok().map(|d| d.timestamp_millis()),
    }
}

/// Reads float seconds or a Prometheus duration as milliseconds.
pub fn parse_duration_ms(v: &str) -> Option<i64> {
    if let Ok(seconds) = v.parse::<f64>() {
        let ms = seconds * 1000.0;
        return (ms.is_finite() && ms.abs() < 9.2e15).then_some(ms.round() as i64);
    }
    duration::parse_ms(v).ok()
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let url = request.uri().query().unwrap_or("").to_owned();
        let is_form = request.method() == Method::POST
            && request
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|v| v.to_str().ok())
                .is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
        let mut params = Params::default();
        if is_form {
            let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
            if body.len() > MAX_FORM_BYTES {
                let text = format!("form body of {} bytes is over the limit of {MAX_FORM_BYTES}", body.len());
                return Err((StatusCode::PAYLOAD_TOO_LARGE, text).into_response());
            }
            params = Params::parse(&body);
        }
        params.0.extend(Params::parse(url.as_bytes()).0);
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations() {
        for (text, want) in [
            ("4", Some(4000)),
            ("1700000000.123", Some(1_700_000_000_123)),
            ("2026-01-02T03:04:05.5Z", Some(1_767_323_045_500)),
            ("1764000000000", Some(1_764_000_000_000_000)),
            ("1e300", Some(i64::MAX)),
            ("292277025-08-18T07:12:54.999999999Z", Some(i64::MAX)),
            ("-292273086-05-16T16:47:06Z", Some(i64::MIN)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("NaN", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_time_ms(text), want, "{text}");
        }
        for (text, want) in [("0.5", Some(500)), ("5m", Some(300_000)), ("x", None), ("1e300", None)] {
            assert_eq!(parse_duration_ms(text), want, "{text}");
        }
    }

    #[test]
    fn values_repeat_and_decode() {
        let p = Params::parse(b"match[]=%7Ba%3D%22b%22%7D&match[]=up&x=");
        assert_eq!(p.all("match[]").collect::<Vec<_>>(), ["{a=\"b\"}", "up"]);
        assert_eq!((p.get("x"), p.limit("x")), (None, Ok(None)));
    }
}
