//! What Loki finds out about entries at ingest: the label `service_name`, the metadata `detected_level`, valid metadata names.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::line_level::level_of_line;
use super::metadata::MetadataBuffer;
use crate::model::Labels;

/// The label every stream has.
pub const SERVICE_NAME: &str = "service_name";
/// The structured metadata (nearly) every entry has.
pub const DETECTED_LEVEL: &str = "detected_level";
/// Labels that give the service's name, the first one present wins (Loki's order).
const SERVICE_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];
/// Names that hold a level, in Loki's order of preference.
pub(super) const LEVEL_NAMES: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];
/// The levels with a code of their own; the code is the place in this list plus one.
pub const LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "error", "critical", "fatal", "unknown"];
/// Code of an entry whose level is none of [`LEVELS`]; then it stands in the metadata as text.
pub const NO_LEVEL: u8 = 0;

static LEVEL_LABELS: LazyLock<[Labels; 8]> =
    LazyLock::new(|| LEVELS.map(|l| Labels::from_pairs([(DETECTED_LEVEL, l)])));

/// The code of a level's name, [`NO_LEVEL`] if it has none.
pub fn level_code(level: &str) -> u8 {
    LEVELS.iter().position(|l| *l == level).map_or(NO_LEVEL, |i| i as u8 + 1)
}

/// The name of a code.
pub fn level_name(code: u8) -> Option<&'static str> {
    LEVELS.get(usize::from(code).checked_sub(1)?).copied()
}

/// Metadata with the level of `code` added; nearly always one of eight shared sets.
pub fn with_level(metadata: &Labels, code: u8) -> Labels {
    match (level_name(code), LEVEL_LABELS.get(usize::from(code).wrapping_sub(1))) {
        (Some(_), Some(shared)) if metadata.is_empty() => shared.clone(),
        (Some(name), _) => {
            let mut b = metadata.to_builder();
            b.set(DETECTED_LEVEL, name);
            b.build()
        }
        (None, _) => metadata.clone(),
    }
}

/// Whether metadata is nothing but the level of this code, as it mostly is.
pub fn is_level_only(metadata: &Labels, code: u8) -> bool {
    let level = usize::from(code).checked_sub(1).and_then(|i| LEVEL_LABELS.get(i));
    level.is_some_and(|level| level.packed() == metadata.packed())
}

/// The value of the label that comes first in `names`.
fn first_of<'l>(names: &[&str], labels: &'l Labels) -> Option<&'l str> {
    let places = labels.iter().filter_map(|(n, v)| Some((names.iter().position(|name| *name == n)?, v)));
    places.min_by_key(|(place, _)| *place).map(|(_, value)| value)
}

/// Adds `service_name` to a stream that has none.
pub fn with_service_name(labels: Labels) -> Labels {
    if labels.get(SERVICE_NAME).is_some() {
        return labels;
    }
    let found = first_of(&SERVICE_LABELS, &labels).unwrap_or("unknown_service");
    let mut b = labels.to_builder();
    b.set(SERVICE_NAME, found);
    b.build()
}

/// A metadata name made valid as Loki does it: what is no letter, digit or underscore becomes an underscore, a leading digit
/// gets `key_` in front.
pub fn valid_name(name: &str) -> Cow<'_, str> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts_with_digit = name.bytes().next().is_some_and(|b| b.is_ascii_digit());
    if name.bytes().all(fine) && !starts_with_digit {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 4);
    if starts_with_digit {
        out.push_str("key_");
    }
    out.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
    Cow::Owned(out)
}

/// What the labels of a stream say of the level of its entries; found once for each stream of a batch.
#[derive(Clone, Debug, Default)]
pub struct StreamLevel(Option<Cow<'static, str>>);

impl StreamLevel {
    /// The level in a stream's labels, if there is one.
    pub fn of(stream: &Labels) -> Self {
        StreamLevel(first_of(&LEVEL_NAMES, stream).map(normalise))
    }
}

/// Finds the level of an entry and completes its metadata with it. Returns the level's code, [`NO_LEVEL`] if it has none.
pub fn complete(stream: &StreamLevel, metadata: &mut MetadataBuffer, line: &str) -> (u8, Labels) {
    let level = match given_level(metadata) {
        Given::Detected(v) => normalise(v),
        Given::Named(_) | Given::Number(_) | Given::Nothing if stream.0.is_some() => {
            stream.0.clone().unwrap_or_default()
        }
        Given::Named(v) => normalise(v),
        Given::Number(v) => Cow::Borrowed(level_of_severity(v)),
        Given::Nothing => Cow::Borrowed(level_of_line(line)),
    };
    let code = level_code(&level);
    if metadata.is_empty() && code != NO_LEVEL {
        return (code, with_level(&Labels::empty(), code));
    }
    metadata.add(DETECTED_LEVEL, &level);
    (code, metadata.labels())
}

/// What the metadata of an entry says of its level.
enum Given<'a> {
    /// The sender has found it already.
    Detected(&'a str),
    /// One of [`LEVEL_NAMES`].
    Named(&'a str),
    /// OpenTelemetry's number.
    Number(&'a str),
    Nothing,
}

fn given_level(metadata: &MetadataBuffer) -> Given<'_> {
    let mut number = None;
    let mut named: Option<(usize, &str)> = None;
    for (name, value) in metadata.iter().filter(|(_, v)| !v.is_empty()) {
        match name {
            DETECTED_LEVEL => return Given::Detected(value),
            "severity_number" => number = Some(value),
            _ => {
                let place = LEVEL_NAMES.iter().position(|n| *n == name);
                named = match (place, named) {
                    (Some(p), Some((best, _))) if p > best => named,
                    (Some(p), _) => Some((p, value)),
                    (None, _) => named,
                };
            }
        }
    }
    match (named, number) {
        (Some((_, v)), _) => Given::Named(v),
        (None, Some(n)) => Given::Number(n),
        (None, None) => Given::Nothing,
    }
}

/// The level that a word for it means.
pub(super) fn known(level: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 14] = [
        ("trace", "trace"),
        ("trc", "trace"),
        ("debug", "debug"),
        ("dbg", "debug"),
        ("info", "info"),
        ("inf", "info"),
        ("information", "info"),
        ("warn", "warn"),
        ("wrn", "warn"),
        ("warning", "warn"),
        ("error", "error"),
        ("err", "error"),
        ("critical", "critical"),
        ("fatal", "fatal"),
    ];
    NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(level)).map(|(_, l)| *l)
}

fn normalise(level: &str) -> Cow<'static, str> {
    known(level).map_or_else(|| Cow::Owned(level.to_owned()), Cow::Borrowed)
}

/// OpenTelemetry's severity numbers: four to a level.
fn level_of_severity(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) => "info",
        Ok(i64::MIN..=-1) | Ok(1..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(9..=12) => "info",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
        Ok(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_sources() {
        let stream = Labels::from_pairs([("job", "x")]);
        let labelled = Labels::from_pairs([("level", "Information")]);
        for (stream, metadata, line, code, left) in [
            (&stream, vec![("detected_level", "WARNING")], "x", "warn", ""),
            (&stream, vec![("detected_level", "odd")], "x", "", "odd"),
            (&labelled, vec![], "debug", "info", ""),
            (&stream, vec![("level", "ERR")], "info", "error", ""),
            (&stream, vec![("severity_number", "17")], "info", "error", ""),
        ] {
            let mut buffer = MetadataBuffer::default();
            for (n, v) in metadata {
                buffer.add(n, v);
            }
            let (found, metadata) = complete(&StreamLevel::of(stream), &mut buffer, line);
            assert_eq!(level_name(found).unwrap_or(""), code, "{line}");
            assert_eq!(metadata.value(DETECTED_LEVEL), if left.is_empty() { code } else { left }, "{line}");
        }
    }

    #[test]
    fn names() {
        for (name, valid) in [("trace.id", "trace_id"), ("0num", "key_0num"), ("fine_1", "fine_1"), ("é", "_")] {
            assert_eq!(valid_name(name), valid);
        }
        let l = with_service_name(Labels::from_pairs([("job", "j"), ("app", "a")]));
        assert_eq!(l.get(SERVICE_NAME), Some("a"));
        assert_eq!(with_service_name(Labels::empty()).get(SERVICE_NAME), Some("unknown_service"));
    }
}
