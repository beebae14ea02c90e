//! How Loki reads times, steps and limits.

use crate::api::error::TextError;
use crate::api::params::Params;
use crate::logql::lex::parse_duration_ns;
use crate::logql::storage::Direction;
use crate::model::TimestampNs;
use crate::model::time::parse_rfc3339_ns;

/// Lines that are given where no limit is asked for.
const DEFAULT_LIMIT: usize = 100;
/// How far back a range reaches where no start is given.
const DEFAULT_SINCE_NS: i64 = 3_600_000_000_000;
/// Points of a range query where no step is given.
const DEFAULT_POINTS: i64 = 250;
const SECOND_NS: i64 = 1_000_000_000;

/// Reads a time: up to ten digits are seconds, more are nanoseconds; with a dot float seconds; else RFC 3339.
fn time_ns(text: &str) -> Option<TimestampNs> {
    if let Ok(n) = text.parse::<i64>() {
        let digits = text.trim_start_matches('-').len();
        return if digits <= 10 { n.checked_mul(SECOND_NS) } else { Some(n) };
    }
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        return seconds.is_finite().then_some((seconds * 1e9) as i64);
    }
    parse_rfc3339_ns(text)
}

/// A time parameter.
pub(super) fn time(params: &Params, name: &str) -> Result<Option<TimestampNs>, TextError> {
    params
        .get(name)
        .map(|t| {
            time_ns(t)
                .ok_or_else(|| TextError::bad_request(format!("could not parse '{name}' parameter: {t:?} is no time")))
        })
        .transpose()
}

/// A distance in time: float seconds or a duration.
fn duration(params: &Params, name: &str) -> Result<Option<i64>, TextError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let ns = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds.abs() < 9e9 => Some((seconds * 1e9) as i64),
        Ok(_) => None,
        Err(_) => parse_duration_ns(text),
    };
    ns.map(Some)
        .ok_or_else(|| TextError::bad_request(format!("cannot parse {text:?} to a valid duration for '{name}'")))
}

/// `start` and `end`; `since` and one hour are the fallbacks for `start`, now for `end`.
pub(super) fn range(params: &Params, now_ns: TimestampNs) -> Result<(TimestampNs, TimestampNs), TextError> {
    let end = time(params, "end")?.unwrap_or(now_ns);
    let since = duration(params, "since")?.unwrap_or(DEFAULT_SINCE_NS);
    // A range that ends in the future counts its default start from now.
    let start = time(params, "start")?.unwrap_or_else(|| end.min(now_ns).saturating_sub(since));
    Ok((start, end))
}

/// `step`, for a range.
pub(super) fn step(params: &Params, start: TimestampNs, end: TimestampNs) -> Result<i64, TextError> {
    match duration(params, "step")? {
        Some(ns) if ns <= 0 => Err(TextError::bad_request(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        )),
        Some(ns) => Ok(ns),
        None => Ok(((end - start) / SECOND_NS / DEFAULT_POINTS).max(1) * SECOND_NS),
    }
}

/// `interval`, for log queries; 0 for none.
pub(super) fn interval(params: &Params) -> Result<i64, TextError> {
    match duration(params, "interval")? {
        Some(ns) if ns < 0 => Err(TextError::bad_request("interval must be >= 0")),
        other => Ok(other.unwrap_or(0)),
    }
}

/// `limit`; 0 and less are refused.
pub(super) fn limit(params: &Params) -> Result<usize, TextError> {
    match params.get("limit") {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => match text.parse::<i64>() {
            Ok(n) if n > 0 => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
            Ok(_) => Err(TextError::bad_request("limit must be a positive value")),
            Err(_) => Err(TextError::bad_request(format!("limit {text:?} is no number"))),
        },
    }
}

/// Whether the plan of the query is asked for.
pub(super) fn explain(params: &Params) -> Result<bool, TextError> {
    match params.get("explain") {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(other) => Err(TextError::bad_request(format!("explain {other:?} is neither true nor false"))),
    }
}

/// `direction`; newest first where it is not given.
pub(super) fn direction(params: &Params) -> Result<Direction, TextError> {
    match params.get("direction") {
        None => Ok(Direction::Backward),
        Some(d) if d.eq_ignore_ascii_case("backward") => Ok(Direction::Backward),
        Some(d) if d.eq_ignore_ascii_case("forward") => Ok(Direction::Forward),
        Some(d) => Err(TextError::bad_request(format!("invalid direction '{d}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("4000000000", Some(4_000_000_000_000_000_000)),
            ("1768471500000000000", Some(1_768_471_500_000_000_000)),
            ("1768471500.5", Some(1_768_471_500_500_000_000)),
            ("2026-01-15T10:05:00.000Z", Some(1_768_471_500_000_000_000)),
            ("0", Some(0)),
            ("x", None),
        ] {
            assert_eq!(time_ns(text), want, "{text}");
        }
    }
}
