//! Points in time as the engines use them: plain integers, never a calendar type.

/// Milliseconds since the Unix epoch; the resolution of metrics.
pub type TimestampMs = i64;
/// Nanoseconds since the Unix epoch; the resolution of logs.
pub type TimestampNs = i64;

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: i64 = 1_000_000;

/// Formats milliseconds since the epoch as RFC 3339 in UTC with milliseconds, as the HTTP APIs show dates.
pub fn rfc3339_ms(t: TimestampMs) -> String {
    match chrono::DateTime::from_timestamp_millis(t) {
        Some(d) => d.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => ZERO_TIME.to_owned(),
    }
}

/// Formats nanoseconds since the epoch as RFC 3339 in UTC with as many fractional digits as needed.
pub fn rfc3339_ns(t: TimestampNs) -> String {
    chrono::DateTime::from_timestamp_nanos(t).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Reads an RFC 3339 date (any offset, fractional seconds allowed) as nanoseconds since the epoch.
pub fn parse_rfc3339_ns(s: &str) -> Option<TimestampNs> {
    chrono::DateTime::parse_from_rfc3339(s).ok()?.timestamp_nanos_opt()
}

/// Go's zero time, which the Prometheus and Alertmanager APIs show for "never".
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
