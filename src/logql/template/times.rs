//! Functions on points in time.

use super::{register, text, whole};
use crate::exec::{Clock, SystemClock};
use crate::text::go_template::time::parse_time;
use crate::text::go_template::{FuncMap, GoTime, Value};

pub(super) fn add(map: &mut FuncMap) {
    register(map, "now", Some(0), |_| Ok(Value::Time(GoTime::from_ns(SystemClock.now_ns()))));
    register(map, "date", Some(2), |a| Ok(Value::str(moment(a, 1).format(text(a, 0)?))));
    register(map, "toDate", Some(2), |a| {
        Ok(Value::Time(parse_time(text(a, 0)?, text(a, 1)?).unwrap_or_else(|_| GoTime::zero())))
    });
    register(map, "toDateInZone", Some(3), |a| {
        let (layout, zone, date) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
        Ok(Value::Time(in_zone(layout, zone, date).unwrap_or_else(GoTime::zero)))
    });
    register(map, "unixEpoch", Some(1), |a| Ok(Value::str(seconds(moment(a, 0)).to_string())));
    register(map, "unixEpochMillis", Some(1), |a| {
        Ok(Value::str(moment(a, 0).unix_ns().div_euclid(1_000_000).to_string()))
    });
    register(map, "unixEpochNanos", Some(1), |a| Ok(Value::str(moment(a, 0).unix_ns().to_string())));
    // The unit is known by the number of digits: days, seconds, milliseconds, microseconds, nanoseconds.
    register(map, "unixToTime", Some(1), |a| {
        let digits = text(a, 0)?;
        let n: i64 = digits.parse().map_err(|_| format!("unable to parse time '{digits}'"))?;
        let factor = match digits.len() {
            5 => 86_400_000_000_000,
            10 => 1_000_000_000,
            13 => 1_000_000,
            16 => 1_000,
            19 => 1,
            _ => return Err(format!("unable to parse time '{digits}': 5, 10, 13, 16 or 19 digits are wanted")),
        };
        Ok(Value::Time(GoTime::from_ns(n.saturating_mul(factor))))
    });
}

/// The argument as a point in time: one, or a whole number of seconds.
fn moment(args: &[Value], i: usize) -> GoTime {
    match args.get(i) {
        Some(Value::Time(t)) => *t,
        _ => GoTime::from_unix(whole(args, i), 0),
    }
}

/// Whole seconds since the epoch; unlike nanoseconds they reach back to Go's zero time.
fn seconds(t: GoTime) -> i64 {
    match t.unix_ns() {
        i64::MIN => -62_135_596_800,
        ns => ns.div_euclid(1_000_000_000),
    }
}

/// A date without a zone of its own, read as local time of `zone`.
fn in_zone(layout: &str, zone: &str, date: &str) -> Option<GoTime> {
    use chrono::TimeZone;
    let tz: chrono_tz::Tz = zone.parse().ok()?;
    let read = parse_time(layout, date).ok()?;
    let naive = chrono::DateTime::from_timestamp_nanos(read.unix_ns()).naive_utc();
    let local = tz.from_local_datetime(&naive).earliest()?;
    GoTime::from_ns(local.timestamp_nanos_opt()?).in_zone(zone).ok()
}
