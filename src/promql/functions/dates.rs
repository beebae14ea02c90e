//! Parts of a date in UTC: `hour`, `day_of_week`, ...

use chrono::{DateTime, Datelike, Timelike, Utc};

fn part(seconds: f64, f: impl Fn(DateTime<Utc>) -> u32) -> f64 {
    // Saturates for values that are no time; NaN becomes 0 and is caught before.
    if seconds.is_nan() {
        return f64::NAN;
    }
    DateTime::from_timestamp(seconds as i64, 0).map_or(f64::NAN, |d| f64::from(f(d)))
}

fn days_in_month(d: DateTime<Utc>) -> u32 {
    match d.month() {
        4 | 6 | 9 | 11 => 30,
        2 if chrono::NaiveDate::from_ymd_opt(d.year(), 2, 29).is_some() => 29,
        2 => 28,
        _ => 31,
    }
}

/// The function of this name, from seconds since the epoch.
pub(super) fn of(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "day_of_month" => |s| part(s, |d| d.day()),
        "day_of_week" => |s| part(s, |d| d.weekday().num_days_from_sunday()),
        "day_of_year" => |s| part(s, |d| d.ordinal()),
        "days_in_month" => |s| part(s, days_in_month),
        "hour" => |s| part(s, |d| d.hour()),
        "minute" => |s| part(s, |d| d.minute()),
        "month" => |s| part(s, |d| d.month()),
        "year" => |s| {
            if s.is_nan() {
                return f64::NAN;
            }
            DateTime::from_timestamp(s as i64, 0).map_or(f64::NAN, |d| f64::from(d.year()))
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_date() {
        // 2016-02-29 23:59:59 UTC, a Monday.
        let t = 1_456_790_399.0;
        for (name, want) in [
            ("year", 2016.0),
            ("month", 2.0),
            ("day_of_month", 29.0),
            ("day_of_week", 1.0),
            ("day_of_year", 60.0),
            ("days_in_month", 29.0),
            ("hour", 23.0),
            ("minute", 59.0),
        ] {
            assert_eq!(of(name).unwrap()(t), want, "{name}");
        }
        assert!(of("hour").unwrap()(1e300).is_nan());
    }
}
