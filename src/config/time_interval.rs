//! Time intervals of the alertmanager's schema: times of day, weekdays, days of the month, months, years, and a zone.
//!
//! Ranges are read into numbers at load, so a bad one is an error with its place in the file. What they mean at a moment is
//! worked out in `alerting::time_interval`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A named list of intervals; a moment is inside if one of them holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamedTimeIntervals {
    /// The name that routes use.
    pub name: String,
    /// The intervals.
    pub time_intervals: Vec<TimeInterval>,
}

/// One interval: a moment is inside if every field that is given holds it. A field that is not given holds every moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeInterval {
    /// Times of day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// Days of the week, Sunday is 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<Range<Weekday>>,
    /// Days of the month from 1; negative ones count from its end, -1 being the last day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_month: Vec<Range<DayOfMonth>>,
    /// Months from 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<Range<Month>>,
    /// Years.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub years: Vec<Range<Year>>,
    /// The zone in which all of this is meant; UTC if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Zone>,
}

/// A part of a day in minutes, start included, end not; the end may be 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Minutes after midnight.
    pub start: u16,
    /// Minutes after midnight, up to 1440.
    pub end: u16,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TimeRangeText {
    start_time: String,
    end_time: String,
}

impl<'de> Deserialize<'de> for TimeRange {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = TimeRangeText::deserialize(d)?;
        let start = minutes(&text.start_time).map_err(de::Error::custom)?;
        let end = minutes(&text.end_time).map_err(de::Error::custom)?;
        if start >= end {
            return Err(de::Error::custom(format!(
                "start_time {} is not before end_time {}; an interval over midnight is written as two",
                text.start_time, text.end_time
            )));
        }
        Ok(TimeRange { start, end })
    }
}

impl Serialize for TimeRange {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let show = |m: u16| format!("{:02}:{:02}", m / 60, m % 60);
        TimeRangeText { start_time: show(self.start), end_time: show(self.end) }.serialize(s)
    }
}

fn minutes(text: &str) -> Result<u16, String> {
    let bad = || format!("not a time of day: {text:?}; write it like 08:30, at most 24:00");
    let (h, m) = text.split_once(':').ok_or_else(bad)?;
    let number = |s: &str, digits: std::ops::RangeInclusive<usize>| {
        if digits.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()) { s.parse::<u16>().ok() } else { None }
    };
    let (h, m) = (number(h, 1..=2).ok_or_else(bad)?, number(m, 2..=2).ok_or_else(bad)?);
    if m > 59 || h > 24 || (h == 24 && m > 0) { Err(bad()) } else { Ok(h * 60 + m) }
}

/// A zone of the IANA database; `Local` is the zone of the `TZ` variable, else UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(pub chrono_tz::Tz);

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let name = if text == "Local" { std::env::var("TZ").unwrap_or_else(|_| "UTC".to_owned()) } else { text };
        name.parse()
            .map(Zone)
            .map_err(|_| de::Error::custom(format!("unknown time zone {name:?}; write it like Europe/Rome")))
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.name())
    }
}

/// What a range counts: its words and its bounds.
pub trait Unit {
    /// For messages, such as `weekday`.
    const NAME: &'static str;
    /// Reads one end of a range.
    fn parse(text: &str) -> Option<i32>;
    /// Writes one end of a range.
    fn show(value: i32) -> String {
        value.to_string()
    }
    /// Whether the ends are in order; `false` refuses the range.
    fn ordered(start: i32, end: i32) -> bool {
        start <= end
    }
}

/// An inclusive range, written `a:b` or `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<U> {
    /// First.
    pub start: i32,
    /// Last, included.
    pub end: i32,
    unit: std::marker::PhantomData<U>,
}

impl<U> Range<U> {
    /// Whether a value is inside.
    pub fn contains(&self, value: i32) -> bool {
        (self.start..=self.end).contains(&value)
    }
}

impl<'de, U: Unit> Deserialize<'de> for Range<U> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?.to_ascii_lowercase();
        let (a, b) = text.split_once(':').unwrap_or((&text, &text));
        let one = |s: &str| {
            U::parse(s.trim()).ok_or_else(|| de::Error::custom(format!("{s:?} is not a {} in {text:?}", U::NAME)))
        };
        let (start, end) = (one(a)?, one(b)?);
        if !U::ordered(start, end) {
            return Err(de::Error::custom(format!(
                "{} range {text:?} ends before it starts; write it as two",
                U::NAME
            )));
        }
        Ok(Range { start, end, unit: std::marker::PhantomData })
    }
}

impl<U: Unit> Serialize for Range<U> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.start == self.end {
            s.serialize_str(&U::show(self.start))
        } else {
            s.serialize_str(&format!("{}:{}", U::show(self.start), U::show(self.end)))
        }
    }
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn position(names: &[&str], text: &str) -> Option<i32> {
    names.iter().position(|n| *n == text).and_then(|i| i32::try_from(i).ok())
}

/// Days of the week by name, Sunday first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekday;

impl Unit for Weekday {
    const NAME: &'static str = "weekday";
    fn parse(text: &str) -> Option<i32> {
        position(&WEEKDAYS, text)
    }
    fn show(value: i32) -> String {
        usize::try_from(value).ok().and_then(|i| WEEKDAYS.get(i)).copied().unwrap_or_default().to_owned()
    }
}

/// Days of the month, 1 to 31 or -31 to -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayOfMonth;

impl Unit for DayOfMonth {
    const NAME: &'static str = "day of the month";
    fn parse(text: &str) -> Option<i32> {
        text.parse().ok().filter(|d: &i32| *d != 0 && (-31..=31).contains(d))
    }
    fn ordered(start: i32, end: i32) -> bool {
        // A range may begin from the start and end from the end of the month (1:-1), but not the other way round.
        (start > 0) == (end > 0) && start <= end || start > 0 && end < 0
    }
}

/// Months by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month;

impl Unit for Month {
    const NAME: &'static str = "month";
    fn parse(text: &str) -> Option<i32> {
        position(&MONTHS, text).map(|i| i + 1).or_else(|| text.parse().ok().filter(|m| (1..=12).contains(m)))
    }
}

/// Years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Year;

impl Unit for Year {
    const NAME: &'static str = "year";
    fn parse(text: &str) -> Option<i32> {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<TimeInterval, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_and_writes_back() {
        let text = r#"{"times":[{"start_time":"08:30","end_time":"24:00"}],"weekdays":["monday:friday","sunday"],"days_of_month":["1:-1","-3:-1"],"months":["1:3","december"],"years":["2026:2030"],"location":"Europe/Rome"}"#;
        let t = read(text).unwrap();
        assert_eq!(t.times, [TimeRange { start: 510, end: 1440 }]);
        assert!(t.weekdays.iter().any(|w| w.contains(0)) && !t.weekdays.iter().any(|w| w.contains(6)));
        assert_eq!(serde_json::to_string(&t).unwrap(), text.replace("december", "12"));
    }

    #[test]
    fn refuses() {
        for (json, want) in [
            (r#"{"times":[{"start_time":"25:00","end_time":"26:00"}]}"#, "not a time of day"),
            (r#"{"times":[{"start_time":"22:00","end_time":"06:00"}]}"#, "not before end_time"),
            (r#"{"weekdays":["friday:monday"]}"#, "ends before it starts"),
            (r#"{"weekdays":["someday"]}"#, "is not a weekday"),
            (r#"{"days_of_month":["0"]}"#, "is not a day of the month"),
            (r#"{"days_of_month":["-1:5"]}"#, "ends before it starts"),
            (r#"{"months":["13"]}"#, "is not a month"),
            (r#"{"location":"Mars/Olympus"}"#, "unknown time zone"),
            (r#"{"minutes":[]}"#, "unknown field"),
        ] {
            let e = read(json).unwrap_err();
            assert!(e.contains(want), "{json}: {e}");
        }
    }
}
