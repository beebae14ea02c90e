//! Go's `time.Time` and `time.Duration` as templates see them: printing, layouts, methods.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, FixedOffset, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, Timelike};

use super::value::Value;

/// Seconds from year 1, Go's zero time, to the Unix epoch.
const ZERO_TIME_S: i64 = -62_135_596_800;

/// A point in time and the zone it is shown in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoTime {
    local: DateTime<FixedOffset>,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Zone {
    Utc,
    Named(chrono_tz::Tz),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl GoTime {
    /// Seconds and nanoseconds since the Unix epoch, in UTC; out of range is the zero time.
    pub fn from_unix(seconds: i64, nanos: u32) -> GoTime {
        let utc = DateTime::from_timestamp(seconds, nanos).unwrap_or(DateTime::UNIX_EPOCH);
        GoTime { local: utc.fixed_offset(), zone: Zone::Utc }
    }

    /// Milliseconds since the Unix epoch, in UTC.
    pub fn from_ms(ms: i64) -> GoTime {
        let nanos = u32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
        GoTime::from_unix(ms.div_euclid(1000), nanos)
    }

    /// Nanoseconds since the Unix epoch, in UTC.
    pub fn from_ns(ns: i64) -> GoTime {
        let nanos = u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0);
        GoTime::from_unix(ns.div_euclid(1_000_000_000), nanos)
    }

    /// Go's zero time, 1 January of year 1.
    pub fn zero() -> GoTime {
        GoTime::from_unix(ZERO_TIME_S, 0)
    }

    /// The same moment in another zone, by its name in the zone database.
    pub fn in_zone(self, name: &str) -> Result<GoTime, String> {
        if matches!(name, "" | "UTC") {
            return Ok(GoTime { local: self.local.to_utc().fixed_offset(), zone: Zone::Utc });
        }
        let tz: chrono_tz::Tz = name.parse().map_err(|_| format!("unknown time zone {name}"))?;
        let shown = self.local.with_timezone(&tz);
        Ok(GoTime { local: shown.fixed_offset(), zone: Zone::Named(tz) })
    }

    fn at(self, moment: DateTime<FixedOffset>) -> GoTime {
        match self.zone {
            Zone::Utc => GoTime { local: moment.to_utc().fixed_offset(), zone: Zone::Utc },
            Zone::Named(tz) => GoTime { local: moment.with_timezone(&tz).fixed_offset(), zone: self.zone },
        }
    }

    /// Nanoseconds since the epoch, cut to what 64 bits hold.
    pub fn unix_ns(self) -> i64 {
        self.local.timestamp_nanos_opt().unwrap_or(if self.local.timestamp() < 0 { i64::MIN } else { i64::MAX })
    }

    fn zone_name(self) -> String {
        match self.zone {
            Zone::Utc => "UTC".to_owned(),
            Zone::Named(tz) => self.local.with_timezone(&tz).format("%Z").to_string(),
        }
    }

    fn offset(self, colon: bool) -> String {
        let s = self.local.offset().fix().local_minus_utc();
        let sign = if s < 0 { '-' } else { '+' };
        let (h, m) = (s.abs() / 3600, s.abs() / 60 % 60);
        if colon { format!("{sign}{h:02}:{m:02}") } else { format!("{sign}{h:02}{m:02}") }
    }

    /// Formats by a layout of Go, which shows how Mon Jan 2 15:04:05 MST 2006 would be written.
    pub fn format(self, layout: &str) -> String {
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            let Some((token, len)) = layout_token(rest) else {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or("");
                continue;
            };
            // Writing to a String cannot fail.
            let _ok = self.write_token(&mut out, token);
            rest = rest.get(len..).unwrap_or("");
        }
        out
    }

    fn write_token(self, out: &mut String, token: Token) -> fmt::Result {
        let t = self.local;
        let month = MONTHS.get(t.month0() as usize).copied().unwrap_or("");
        let day = DAYS.get(t.weekday().num_days_from_sunday() as usize).copied().unwrap_or("");
        let (pm, hour12) = t.hour12();
        match token {
            Token::Month => out.write_str(month),
            Token::MonthShort => out.write_str(month.get(..3).unwrap_or(month)),
            Token::MonthNumber => write!(out, "{}", t.month()),
            Token::MonthPadded => write!(out, "{:02}", t.month()),
            Token::Weekday => out.write_str(day),
            Token::WeekdayShort => out.write_str(day.get(..3).unwrap_or(day)),
            Token::Day => write!(out, "{}", t.day()),
            Token::DaySpaced => write!(out, "{:2}", t.day()),
            Token::DayPadded => write!(out, "{:02}", t.day()),
            Token::YearDay => write!(out, "{:03}", t.ordinal()),
            Token::Hour => write!(out, "{:02}", t.hour()),
            Token::Hour12 => write!(out, "{hour12}"),
            Token::Hour12Padded => write!(out, "{hour12:02}"),
            Token::Minute => write!(out, "{}", t.minute()),
            Token::MinutePadded => write!(out, "{:02}", t.minute()),
            Token::Second => write!(out, "{}", t.second()),
            Token::SecondPadded => write!(out, "{:02}", t.second()),
            Token::Year => write!(out, "{:04}", t.year()),
            Token::YearShort => write!(out, "{:02}", t.year().rem_euclid(100)),
            Token::Pm => out.write_str(if pm { "PM" } else { "AM" }),
            Token::PmLower => out.write_str(if pm { "pm" } else { "am" }),
            Token::ZoneName => out.write_str(&self.zone_name()),
            Token::Offset { z: true, .. } if t.offset().fix().local_minus_utc() == 0 => out.write_char('Z'),
            Token::Offset { colon, .. } => out.write_str(&self.offset(colon)),
            Token::OffsetHours => out.write_str(self.offset(false).get(..3).unwrap_or("")),
            Token::Fraction { separator, digits, trim } => {
                let nanos = format!("{:09}", t.nanosecond() % 1_000_000_000);
                let mut shown = nanos.get(..digits.min(9)).unwrap_or(&nanos);
                if trim {
                    shown = shown.trim_end_matches('0');
                }
                if shown.is_empty() { Ok(()) } else { write!(out, "{separator}{shown}") }
            }
        }
    }

    /// Calls a method of Go's `time.Time`; `None` if there is none of that name here.
    pub(super) fn method(self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let t = self.local;
        let int = |n: i64| Ok(Value::Int(n));
        let wrong = || Err(format!("wrong arguments for {name}"));
        Some(match (name, args) {
            ("Format", [layout]) => layout.as_str().map_or_else(wrong, |l| Ok(self.format(l).into())),
            ("String", []) => Ok(self.to_string().into()),
            ("Unix", []) => int(t.timestamp()),
            ("UnixMilli", []) => int(t.timestamp_millis()),
            ("UnixMicro", []) => int(t.timestamp_micros()),
            ("UnixNano", []) => int(self.unix_ns()),
            ("Year", []) => int(i64::from(t.year())),
            ("Day", []) => int(i64::from(t.day())),
            ("YearDay", []) => int(i64::from(t.ordinal())),
            ("Hour", []) => int(i64::from(t.hour())),
            ("Minute", []) => int(i64::from(t.minute())),
            ("Second", []) => int(i64::from(t.second())),
            ("Nanosecond", []) => int(i64::from(t.nanosecond() % 1_000_000_000)),
            ("Month", []) => Ok(MONTHS.get(t.month0() as usize).copied().unwrap_or("").into()),
            ("Weekday", []) => Ok(DAYS.get(t.weekday().num_days_from_sunday() as usize).copied().unwrap_or("").into()),
            ("UTC" | "Local", []) => self.in_zone("UTC").map(Value::Time),
            ("IsZero", []) => Ok(Value::Bool(t.timestamp() == ZERO_TIME_S && t.nanosecond() == 0)),
            ("Add", [Value::Duration(d)]) => Ok(t
                .checked_add_signed(TimeDelta::nanoseconds(*d))
                .map_or(Value::Time(self), |moment| Value::Time(self.at(moment)))),
            ("AddDate", [Value::Int(y), Value::Int(m), Value::Int(d)]) => self.add_date(*y, *m, *d),
            ("Sub", [Value::Time(other)]) => {
                let delta = t.signed_duration_since(other.local);
                let limit = if delta < TimeDelta::zero() { i64::MIN } else { i64::MAX };
                Ok(Value::Duration(delta.num_nanoseconds().unwrap_or(limit)))
            }
            ("Before", [Value::Time(other)]) => Ok(Value::Bool(t < other.local)),
            ("After", [Value::Time(other)]) => Ok(Value::Bool(t > other.local)),
            ("Equal", [Value::Time(other)]) => Ok(Value::Bool(t == other.local)),
            (
                "Format" | "String" | "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "Year" | "Day" | "YearDay"
                | "Hour" | "Minute" | "Second" | "Nanosecond" | "Month" | "Weekday" | "UTC" | "Local" | "IsZero"
                | "Add" | "AddDate" | "Sub" | "Before" | "After" | "Equal",
                _,
            ) => wrong(),
            _ => return None,
        })
    }

    /// Adds by the calendar; a day past the end of a month runs over into the next, as in Go.
    fn add_date(self, years: i64, months: i64, days: i64) -> Result<Value, String> {
        let out_of_range = || "AddDate: date out of range".to_owned();
        let local = self.local.naive_local();
        let total = i64::from(local.year()) * 12 + i64::from(local.month0()) + years.saturating_mul(12) + months;
        let year = i32::try_from(total.div_euclid(12)).map_err(|_| out_of_range())?;
        let month = u32::try_from(total.rem_euclid(12)).map_err(|_| out_of_range())?;
        let first = NaiveDate::from_ymd_opt(year, 1, 1)
            .and_then(|d| d.checked_add_months(Months::new(month)))
            .ok_or_else(out_of_range)?;
        let date = TimeDelta::try_days(i64::from(local.day0()).saturating_add(days))
            .and_then(|d| first.checked_add_signed(d))
            .ok_or_else(out_of_range)?;
        let moment = match self.zone {
            Zone::Utc => date.and_time(local.time()).and_utc().fixed_offset(),
            Zone::Named(tz) => {
                date.and_time(local.time()).and_local_timezone(tz).earliest().ok_or_else(out_of_range)?.fixed_offset()
            }
        };
        Ok(Value::Time(self.at(moment)))
    }
}

/// Go's default form: `2006-01-02 15:04:05.999999999 -0700 MST`.
impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[derive(Clone, Copy)]
enum Token {
    Month,
    MonthShort,
    MonthNumber,
    MonthPadded,
    Weekday,
    WeekdayShort,
    Day,
    DaySpaced,
    DayPadded,
    YearDay,
    Hour,
    Hour12,
    Hour12Padded,
    Minute,
    MinutePadded,
    Second,
    SecondPadded,
    Year,
    YearShort,
    Pm,
    PmLower,
    ZoneName,
    Offset { z: bool, colon: bool },
    OffsetHours,
    Fraction { separator: char, digits: usize, trim: bool },
}

/// Longer spellings stand before their prefixes.
const TOKENS: [(&str, Token); 28] = [
    ("January", Token::Month),
    ("Jan", Token::MonthShort),
    ("Monday", Token::Weekday),
    ("Mon", Token::WeekdayShort),
    ("MST", Token::ZoneName),
    ("2006", Token::Year),
    ("-07:00", Token::Offset { z: false, colon: true }),
    ("-0700", Token::Offset { z: false, colon: false }),
    ("-07", Token::OffsetHours),
    ("Z07:00", Token::Offset { z: true, colon: true }),
    ("Z0700", Token::Offset { z: true, colon: false }),
    ("002", Token::YearDay),
    ("01", Token::MonthPadded),
    ("02", Token::DayPadded),
    ("03", Token::Hour12Padded),
    ("04", Token::MinutePadded),
    ("05", Token::SecondPadded),
    ("06", Token::YearShort),
    ("15", Token::Hour),
    ("_2006", Token::Year),
    ("_2", Token::DaySpaced),
    ("PM", Token::Pm),
    ("pm", Token::PmLower),
    ("1", Token::MonthNumber),
    ("2", Token::Day),
    ("3", Token::Hour12),
    ("4", Token::Minute),
    ("5", Token::Second),
];

/// The element of a layout that stands at the start of `rest`, and its length.
fn layout_token(rest: &str) -> Option<(Token, usize)> {
    if rest.starts_with(['.', ',']) {
        let separator = rest.chars().next().unwrap_or('.');
        let body = rest.get(1..).unwrap_or("");
        let fill = body.chars().next()?;
        if matches!(fill, '0' | '9') {
            let digits = body.chars().take_while(|c| *c == fill).count();
            let digit_follows = body.get(digits..).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
            if !digit_follows {
                return Some((Token::Fraction { separator, digits, trim: fill == '9' }, digits + 1));
            }
        }
        return None;
    }
    TOKENS.iter().find(|(text, _)| rest.starts_with(text)).map(|(text, token)| (*token, text.len()))
}

/// Reads a text by a layout (the numeric elements, month and day names, `MST` only as UTC).
pub fn parse_time(layout: &str, text: &str) -> Result<GoTime, String> {
    let fail = |rest: &str, element: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    };
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut nanos) =
        (0i32, 1u32, 1u32, 0u32, 0, 0, 0u32);
    let (mut pm, mut offset) = (None, 0i32);
    let (mut l, mut t) = (layout, text);
    while let Some(c) = l.chars().next() {
        let Some((token, len)) = layout_token(l) else {
            t = t.strip_prefix(c).ok_or_else(|| fail(t, l))?;
            l = l.get(c.len_utf8()..).unwrap_or("");
            continue;
        };
        let element = l.get(..len).unwrap_or("");
        let mut number = |max: usize, exact: bool| -> Result<u32, String> {
            let n = t.bytes().take(max).take_while(u8::is_ascii_digit).count();
            if n == 0 || (exact && n != max) {
                return Err(fail(t, element));
            }
            let (digits, rest) = t.split_at(n);
            t = rest;
            digits.parse().map_err(|_| fail(digits, element))
        };
        match token {
            Token::Year => year = number(4, true).map(|n| n as i32)?,
            Token::YearShort => year = number(2, true).map(|n| n as i32 + if n >= 69 { 1900 } else { 2000 })?,
            Token::MonthPadded => month = number(2, true)?,
            Token::MonthNumber => month = number(2, false)?,
            Token::DayPadded => day = number(2, true)?,
            Token::Day => day = number(2, false)?,
            Token::DaySpaced => {
                t = t.trim_start_matches(' ');
                let n = t.bytes().take(2).take_while(u8::is_ascii_digit).count();
                let (digits, rest) = t.split_at(n);
                day = digits.parse().map_err(|_| fail(t, element))?;
                t = rest;
            }
            Token::YearDay => return Err(format!("layout element {element:?} is not supported for parsing")),
            Token::Hour | Token::Hour12Padded => hour = number(2, true)?,
            Token::Hour12 => hour = number(2, false)?,
            Token::MinutePadded => minute = number(2, true)?,
            Token::Minute => minute = number(2, false)?,
            Token::SecondPadded => second = number(2, true)?,
            Token::Second => second = number(2, false)?,
            Token::Month | Token::MonthShort => {
                let short = matches!(token, Token::MonthShort);
                let name = |m: &&str| if short { m.get(..3).unwrap_or(m).len() } else { m.len() };
                let found = MONTHS
                    .iter()
                    .position(|m| m.get(..name(m)).is_some_and(|head| t.starts_with(head)))
                    .ok_or_else(|| fail(t, element))?;
                month = u32::try_from(found).unwrap_or(0) + 1;
                t = t.get(MONTHS.get(found).map_or(0, name)..).unwrap_or("");
            }
            Token::Weekday | Token::WeekdayShort => {
                let letters = t.bytes().take_while(u8::is_ascii_alphabetic).count();
                t = t.get(if matches!(token, Token::WeekdayShort) { 3.min(letters) } else { letters }..).unwrap_or("");
            }
            Token::Pm | Token::PmLower => {
                let half = t.get(..2).unwrap_or("").to_ascii_uppercase();
                pm = Some(match half.as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return Err(fail(t, element)),
                });
                t = t.get(2..).unwrap_or("");
            }
            Token::ZoneName => {
                let letters = t.bytes().take_while(u8::is_ascii_uppercase).count();
                t = t.get(letters..).filter(|_| letters >= 3).ok_or_else(|| fail(t, element))?;
            }
            Token::Offset { z: true, .. } if t.starts_with('Z') => t = t.get(1..).unwrap_or(""),
            Token::Offset { .. } | Token::OffsetHours => {
                let sign = match t.chars().next() {
                    Some('+') => 1,
                    Some('-') => -1,
                    _ => return Err(fail(t, element)),
                };
                let body = t.get(1..).unwrap_or("");
                let digits: String = body.chars().take(5).filter(char::is_ascii_digit).collect();
                let wanted = if matches!(token, Token::OffsetHours) { 2 } else { 4 };
                let value: i32 = digits.get(..wanted).and_then(|d| d.parse().ok()).ok_or_else(|| fail(t, element))?;
                let (h, m) = if wanted == 2 { (value, 0) } else { (value / 100, value % 100) };
                offset = sign * (h * 3600 + m * 60);
                // Sign and digits take as many bytes as the element, `Z` standing for the sign.
                t = t.get(element.len()..).unwrap_or("");
            }
            Token::Fraction { separator, .. } => {
                if let Some(rest) = t.strip_prefix(separator) {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let shown = format!("{:0<9}", rest.get(..digits.min(9)).unwrap_or(""));
                    nanos = shown.parse().map_err(|_| fail(t, element))?;
                    t = rest.get(digits..).unwrap_or("");
                }
            }
        }
        l = l.get(len..).unwrap_or("");
    }
    if !t.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {t:?}"));
    }
    if let Some(pm) = pm {
        hour = hour % 12 + if pm { 12 } else { 0 };
    }
    let local: NaiveDateTime = NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|d| d.and_hms_nano_opt(hour, minute, second, nanos))
        .ok_or_else(|| format!("parsing time {text:?}: out of range"))?;
    let utc = local.and_utc().timestamp() - i64::from(offset);
    Ok(GoTime::from_unix(utc, nanos))
}

/// A duration as Go prints it: `1h1m1.5s`, `1.5ms`, `0s`.
pub fn format_duration(ns: i64) -> String {
    let magnitude = ns.unsigned_abs();
    let sign = if ns < 0 { "-" } else { "" };
    let fraction = |unit: u64| {
        let text = format!("{}.{:0width$}", magnitude / unit, magnitude % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{magnitude}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(1_000_000)),
        _ => {
            let seconds = magnitude / 1_000_000_000;
            let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let rest = format!("{s}.{:09}", magnitude % 1_000_000_000);
            let rest = rest.trim_end_matches('0').trim_end_matches('.');
            match (h, m) {
                (0, 0) => format!("{sign}{rest}s"),
                (0, m) => format!("{sign}{m}m{rest}s"),
                (h, m) => format!("{sign}{h}h{m}m{rest}s"),
            }
        }
    }
}

/// Calls a method of Go's `time.Duration`; `None` if there is none of that name here.
pub(super) fn duration_method(ns: i64, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let float = |unit: f64| Ok(Value::Float(ns as f64 / unit));
    Some(match (name, args) {
        ("Hours", []) => float(3.6e12),
        ("Minutes", []) => float(6e10),
        ("Seconds", []) => float(1e9),
        ("Milliseconds", []) => Ok(Value::Int(ns / 1_000_000)),
        ("Microseconds", []) => Ok(Value::Int(ns / 1_000)),
        ("Nanoseconds", []) => Ok(Value::Int(ns)),
        ("String", []) => Ok(format_duration(ns).into()),
        ("Abs", []) => Ok(Value::Duration(ns.saturating_abs())),
        ("Truncate", [Value::Duration(d)]) if *d > 0 => Ok(Value::Duration(ns - ns % d)),
        ("Round", [Value::Duration(d)]) if *d > 0 => {
            let rest = ns % d;
            let away = rest.unsigned_abs().saturating_mul(2) >= d.unsigned_abs();
            let step = if away { if ns < 0 { -*d } else { *d } } else { 0 };
            Ok(Value::Duration((ns - rest).saturating_add(step)))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_as_in_go() {
        let t = GoTime::from_unix(1_772_359_200, 500_000_000);
        for (layout, want) in [
            ("2006-01-02 15:04:05.999999999 -0700 MST", "2026-03-01 10:00:00.5 +0000 UTC"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Sun, 01 Mar 2026 10:00:00 UTC"),
            ("Jan 2, 2006 at 3:04pm", "Mar 1, 2026 at 10:00am"),
            ("2006-01-02T15:04:05.000Z07:00", "2026-03-01T10:00:00.500Z"),
            ("Monday January _2 06 03:04PM 002", "Sunday March  1 26 10:00AM 060"),
            ("15h04 .5", "10h00 .0"),
        ] {
            assert_eq!(t.format(layout), want, "{layout}");
        }
        assert_eq!(t.in_zone("Europe/Berlin").unwrap().to_string(), "2026-03-01 11:00:00.5 +0100 CET");
        assert_eq!(t.in_zone("Nowhere/X").unwrap_err(), "unknown time zone Nowhere/X");
        assert_eq!(GoTime::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn reads_by_layout() {
        for (layout, text, want) in [
            ("2006-01-02", "2026-03-01", "2026-03-01 00:00:00 +0000 UTC"),
            ("2006-01-02T15:04:05Z07:00", "2026-03-01T10:00:00+02:00", "2026-03-01 08:00:00 +0000 UTC"),
            ("2006-01-02T15:04:05Z07:00", "2026-03-01T10:00:00Z", "2026-03-01 10:00:00 +0000 UTC"),
            ("Jan _2 06 3:04PM", "Mar  1 26 1:05PM", "2026-03-01 13:05:00 +0000 UTC"),
        ] {
            assert_eq!(parse_time(layout, text).map(|t| t.to_string()).as_deref(), Ok(want), "{layout}");
        }
        assert!(parse_time("2006-01-02", "zzz").unwrap_err().contains("cannot parse \"zzz\" as \"2006\""));
        assert!(parse_time("2006-01-02", "2026-13-01").is_err() && parse_time("2006", "20267").is_err());
    }

    #[test]
    fn durations_as_in_go() {
        for (ns, want) in [
            (0, "0s"),
            (3_661_500_000_000, "1h1m1.5s"),
            (1_500_000, "1.5ms"),
            (-90_000_000_000, "-1m30s"),
            (2_000, "2µs"),
            (3, "3ns"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(ns), want);
        }
    }
}
