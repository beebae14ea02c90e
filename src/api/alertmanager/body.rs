//! Reading JSON bodies leniently where Go does: unknown fields pass, lone surrogates become U+FFFD.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::model::TimestampMs;

/// The body as JSON. `what` names it in errors.
pub fn read(headers: &HeaderMap, body: &[u8], what: &str) -> Result<Value, ApiError> {
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let bare = kind.split(';').next().unwrap_or_default().trim();
        if !bare.eq_ignore_ascii_case("application/json") {
            let text = format!("unsupported media type {kind:?}, only [application/json] are allowed");
            return Err(ApiError::form(415, 415, text));
        }
    }
    if body.is_empty() {
        return Err(ApiError::required(what));
    }
    let parsed = serde_json::from_slice(body).or_else(|first| {
        // Only if it does not read as it is: the usual body pays nothing.
        serde_json::from_slice(&without_lone_surrogates(body)).map_err(|_| first)
    });
    parsed.map_err(|e| bad(what, &e))
}

/// The answer to a body that does not read.
pub fn bad(what: &str, why: &dyn std::fmt::Display) -> ApiError {
    ApiError::form(400, 400, format!("parsing {what} body from \"\" failed, because {why}"))
}

/// Replaces `\uD800`-like escapes without a partner by `\uFFFD`.
fn without_lone_surrogates(body: &[u8]) -> Vec<u8> {
    let escape_at = |i: usize| -> Option<u32> {
        let digits = body.get(i..i + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(body.len());
    let mut i = 0;
    while let Some(b) = body.get(i) {
        if *b != b'\\' {
            out.push(*b);
            i += 1;
            continue;
        }
        let (taken, lone) = match escape_at(i) {
            Some(0xd800..=0xdbff) if matches!(escape_at(i + 6), Some(0xdc00..=0xdfff)) => (12, false),
            Some(0xd800..=0xdfff) => (6, true),
            Some(_) => (6, false),
            None => (2, false),
        };
        if lone {
            out.extend_from_slice(b"\\uFFFD");
        } else {
            out.extend_from_slice(body.get(i..(i + taken).min(body.len())).unwrap_or_default());
        }
        i += taken;
    }
    out
}

/// A text field; `None` if it is absent or null.
pub fn text<'a>(object: &'a Map<String, Value>, name: &str, what: &str) -> Result<Option<&'a str>, ApiError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(other) => Err(bad(what, &format!("{name} is {}, not a string", kind(other)))),
    }
}

/// A boolean field; `None` if it is absent or null.
pub fn boolean(object: &Map<String, Value>, name: &str, what: &str) -> Result<Option<bool>, ApiError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(b)) => Ok(Some(*b)),
        Some(other) => Err(bad(what, &format!("{name} is {}, not a boolean", kind(other)))),
    }
}

/// A date; `None` if it is absent, null, empty or Go's zero time.
pub fn time(object: &Map<String, Value>, name: &str, what: &str) -> Result<Option<TimestampMs>, ApiError> {
    let Some(t) = text(object, name, what)?.filter(|t| !t.is_empty()) else { return Ok(None) };
    let parsed = chrono::DateTime::parse_from_rfc3339(t)
        .map_err(|e| bad(what, &format!("{name} {t:?} is not a date like 2026-01-31T12:00:00Z: {e}")))?;
    // Year 1 is Go's zero time in any offset; Grafana and Prometheus send it for "not known".
    let zero = parsed.timestamp() <= -62_135_596_800;
    Ok((!zero).then(|| parsed.timestamp_millis()))
}

/// What a JSON value is, for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates() {
        for (body, want) in [
            (r#"["\ud800"]"#, "\u{fffd}"),
            (r#"["\udc00x"]"#, "\u{fffd}x"),
            (r#"["\ud83d\ude42"]"#, "🙂"),
            (r#"["\ud800\u0041"]"#, "\u{fffd}A"),
            (r#"["\\ud800"]"#, "\\ud800"),
        ] {
            let v = read(&HeaderMap::new(), body.as_bytes(), "x").unwrap_or_else(|e| panic!("{body}: {e:?}"));
            assert_eq!(v[0], *want, "{body}");
        }
        assert!(read(&HeaderMap::new(), br#"["\u"#, "x").is_err());
    }

    #[test]
    fn dates() {
        for (text, want) in [
            ("0001-01-01T00:00:00Z", Ok(None)),
            ("", Ok(None)),
            ("1970-01-01T02:00:01.5+02:00", Ok(Some(1500))),
            ("soon", Err(())),
        ] {
            let object = serde_json::json!({ "t": text });
            let got = time(object.as_object().unwrap(), "t", "x").map_err(|_| ());
            assert_eq!(got, want, "{text}");
        }
    }
}
