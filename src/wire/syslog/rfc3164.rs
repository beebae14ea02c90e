//! RFC 3164: `Mmm dd hh:mm:ss HOSTNAME TAG[PID]: MSG` behind the priority, and what is met in its place: times of RFC 3339, no
//! time, no host.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::{Form, Message, MessageTime};
use crate::model::TimestampNs;
use crate::model::time::parse_rfc3339_ns;

/// The longest tag. The RFC says 32; systemd's units are longer.
const MAX_TAG_BYTES: usize = 128;

/// Reads what follows the priority. Whatever is missing stays empty and the rest is the text.
pub(super) fn parse(text: &str, now_ns: TimestampNs, zone: Tz) -> Message<'_> {
    let (time, rest) = match time(text, now_ns, zone) {
        Some((t, rest)) => (Some(t), rest),
        None => (None, text),
    };
    // Without a time there is no host either: local programs write `<13>tag: text` to a socket.
    let (hostname, rest) = match (time, rest.split_once(' ')) {
        (Some(_), Some((host, tail))) if !host.is_empty() && !host.ends_with(':') && !host.contains('[') => {
            (host, tail)
        }
        _ => ("", rest),
    };
    let (app_name, proc_id, text) = tag(rest);
    Message {
        form: Form::Rfc3164,
        priority: None,
        time,
        hostname,
        app_name,
        proc_id,
        msg_id: "",
        structured_data: Vec::new(),
        text,
    }
}

/// A time and what follows it.
fn time(text: &str, now_ns: TimestampNs, zone: Tz) -> Option<(MessageTime, &str)> {
    if let Some((t, rest)) = text.split_once(' ')
        && let Some(ns) = parse_rfc3339_ns(t)
    {
        return Some((MessageTime { ns, whole_seconds: !t.contains('.') }, rest));
    }
    // `Jan  5 10:00:00 `, day with a space or a zero in front.
    let (stamp, rest) = text.split_at_checked(15)?;
    let rest = rest.strip_prefix(' ').or_else(|| rest.is_empty().then_some(rest))?;
    let now = DateTime::from_timestamp_nanos(now_ns).with_timezone(&zone);
    // The year is the last one that does not put the time into the future, but for clocks and zones that are wrong.
    let latest = now + Duration::days(2);
    let years = [now.year() + 1, now.year(), now.year() - 1];
    let found = years.into_iter().filter_map(|year| at(stamp, year, zone)).find(|t| *t <= latest)?;
    Some((MessageTime { ns: found.timestamp_nanos_opt()?, whole_seconds: true }, rest))
}

fn at(stamp: &str, year: i32, zone: Tz) -> Option<DateTime<Tz>> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|m| stamp.get(..3).is_some_and(|s| m.eq_ignore_ascii_case(s)))?;
    let number = |range: std::ops::Range<usize>| stamp.get(range)?.trim_start().parse::<u32>().ok();
    let separators = [(3, b' '), (6, b' '), (9, b':'), (12, b':')];
    if separators.iter().any(|(i, c)| stamp.as_bytes().get(*i) != Some(c)) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, month as u32 + 1, number(4..6)?)?;
    let local: NaiveDateTime = date.and_hms_opt(number(7..9)?, number(10..12)?, number(13..15)?)?;
    // In the hour that a change of clocks repeats the first reading counts; in the one it leaves out, the hour after.
    zone.from_local_datetime(&local)
        .earliest()
        .or_else(|| zone.from_local_datetime(&(local + Duration::hours(1))).earliest())
}

/// `TAG: text`, `TAG[PID]: text`; the tag may hold what programs, units and Cisco's facilities are called.
fn tag(text: &str) -> (&str, &str, &str) {
    let none = ("", "", text);
    let in_tag = |b: u8| b.is_ascii_graphic() && !matches!(b, b':' | b'[' | b']');
    let end = text.bytes().position(|b| !in_tag(b)).unwrap_or(text.len());
    if end == 0 || end > MAX_TAG_BYTES {
        return none;
    }
    let Some((tag, rest)) = text.split_at_checked(end) else { return none };
    let (proc_id, rest) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((id, tail)) if !id.contains(' ') => (id, tail),
        _ => ("", rest),
    };
    match rest.strip_prefix(':') {
        Some(tail) => (tag, proc_id, tail.strip_prefix(' ').unwrap_or(tail)),
        None => none,
    }
}
