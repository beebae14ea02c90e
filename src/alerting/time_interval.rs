//! Whether a moment lies in a time interval.

use chrono::{Datelike, NaiveDate, Timelike};

use crate::config::time_interval::{DayOfMonth, Range, TimeInterval};
use crate::model::TimestampMs;

/// Whether the interval holds the moment, in the interval's own zone.
pub fn contains(interval: &TimeInterval, now: TimestampMs) -> bool {
    let Some(utc) = chrono::DateTime::from_timestamp_millis(now) else { return false };
    let zone = interval.location.map_or(chrono_tz::UTC, |z| z.0);
    let t = utc.with_timezone(&zone);
    let minute = t.hour() * 60 + t.minute();
    (interval.times.is_empty()
        || interval.times.iter().any(|r| (u32::from(r.start)..u32::from(r.end)).contains(&minute)))
        && any(&interval.weekdays, to_i32(t.weekday().num_days_from_sunday()))
        && any(&interval.months, to_i32(t.month()))
        && any(&interval.years, t.year())
        && (interval.days_of_month.is_empty()
            || interval.days_of_month.iter().any(|r| day_in(r, t.year(), t.month(), t.day())))
}

fn to_i32(v: u32) -> i32 {
    i32::try_from(v).unwrap_or(i32::MAX)
}

fn any<U>(ranges: &[Range<U>], value: i32) -> bool {
    ranges.is_empty() || ranges.iter().any(|r| r.contains(value))
}

/// Negative days count from the month's end; days that the month has not are clamped into it, so `-31` is never before the first.
fn day_in(range: &Range<DayOfMonth>, year: i32, month: u32, day: u32) -> bool {
    let last = to_i32(days_in_month(year, month));
    let from_start = |d: i32| if d < 0 { last + d + 1 } else { d };
    let (start, end) = (from_start(range.start), from_start(range.end));
    // A range that lies wholly beyond the month (31 in April) holds no day of it.
    if start > last || end < 1 {
        return false;
    }
    (start.max(1)..=end.min(last)).contains(&to_i32(day))
}

fn days_in_month(year: i32, month: u32) -> u32 {
    let (y, m) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    NaiveDate::from_ymd_opt(y, m, 1).and_then(|d| d.pred_opt()).map_or(31, |d| d.day())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{NS_PER_MS, parse_rfc3339_ns};

    #[test]
    fn moments() {
        // 2026-11-21 is a Saturday.
        for (json, at, want) in [
            ("{}", "2026-11-21T12:00:00Z", true),
            (r#"{"times":[{"start_time":"09:00","end_time":"17:00"}]}"#, "2026-11-21T16:59:59Z", true),
            (r#"{"times":[{"start_time":"09:00","end_time":"17:00"}]}"#, "2026-11-21T17:00:00Z", false),
            (r#"{"times":[{"start_time":"20:00","end_time":"24:00"}]}"#, "2026-11-21T23:59:59Z", true),
            (r#"{"weekdays":["monday:friday"]}"#, "2026-11-21T12:00:00Z", false),
            (r#"{"weekdays":["saturday"]}"#, "2026-11-21T12:00:00Z", true),
            (r#"{"weekdays":["sunday"],"location":"Asia/Tokyo"}"#, "2026-11-21T16:00:00Z", true),
            (r#"{"days_of_month":["-1"]}"#, "2028-02-29T00:00:00Z", true),
            (r#"{"days_of_month":["-1"]}"#, "2028-02-28T00:00:00Z", false),
            (r#"{"days_of_month":["31"]}"#, "2026-04-30T00:00:00Z", false),
            (r#"{"days_of_month":["29:31"]}"#, "2026-04-30T00:00:00Z", true),
            (r#"{"days_of_month":["-31:-30"]}"#, "2026-02-01T00:00:00Z", false),
            (r#"{"days_of_month":["-31:-28"]}"#, "2026-02-01T00:00:00Z", true),
            (r#"{"days_of_month":["1:-1"]}"#, "2026-02-28T00:00:00Z", true),
            (r#"{"months":["november"],"years":["2026"]}"#, "2026-11-21T12:00:00Z", true),
            (r#"{"months":["11"],"years":["1999:2001"]}"#, "2026-11-21T12:00:00Z", false),
            // Clock change in Rome on 2026-10-25: 00:30 UTC is 02:30 summer time, 01:30 UTC is 02:30 again.
            (
                r#"{"times":[{"start_time":"02:00","end_time":"03:00"}],"location":"Europe/Rome"}"#,
                "2026-10-25T00:30:00Z",
                true,
            ),
            (
                r#"{"times":[{"start_time":"02:00","end_time":"03:00"}],"location":"Europe/Rome"}"#,
                "2026-10-25T01:30:00Z",
                true,
            ),
            (
                r#"{"times":[{"start_time":"02:00","end_time":"03:00"}],"location":"Europe/Rome"}"#,
                "2026-10-25T02:30:00Z",
                false,
            ),
        ] {
            let interval: TimeInterval = serde_json::from_str(json).unwrap();
            let ms = parse_rfc3339_ns(at).unwrap() / NS_PER_MS;
            assert_eq!(contains(&interval, ms), want, "{json} at {at}");
        }
    }
}
