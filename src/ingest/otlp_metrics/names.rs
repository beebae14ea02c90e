//! OpenTelemetry's names as Prometheus has them by default (`UnderscoreEscapingWithSuffixes`; opentelemetry.io/docs/specs/otel/compatibility,
//! "OTLP metric points to Prometheus").

use crate::wire::otlp_metrics::{Data, Metric};

/// Units by their UCUM code.
const UNITS: [(&str, &str); 27] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
    ("", ""),
];

/// Units behind a slash.
const PER: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

fn word(table: &[(&str, &str)], code: &str) -> String {
    // Annotations in braces are no units.
    if code.contains(['{', '}']) {
        return String::new();
    }
    let found = table.iter().find(|(c, _)| *c == code).map_or(code, |(_, w)| w);
    let clean: Vec<&str> = found.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| !p.is_empty()).collect();
    clean.join("_")
}

/// The words of a unit: `By/s` is bytes and second.
fn unit_words(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let per = per.trim();
    (word(&UNITS, main.trim()), if per.is_empty() { String::new() } else { word(&PER, per) })
}

/// The unit in words, for the metadata.
pub(super) fn unit(m: &Metric) -> String {
    let (main, per) = unit_words(&m.unit);
    match (main.is_empty(), per.is_empty()) {
        (_, true) => main,
        (true, false) => format!("per_{per}"),
        (false, false) => format!("{main}_per_{per}"),
    }
}

/// The name of a metric, with its unit and kind as suffixes.
pub(super) fn metric_name(m: &Metric) -> String {
    let mut parts: Vec<String> = m
        .name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|p| !p.is_empty())
        .map(str::to_owned)
        .collect();
    let (main, per) = unit_words(&m.unit);
    if !main.is_empty() && !parts.contains(&main) {
        parts.push(main);
    }
    if !per.is_empty() && !parts.contains(&per) {
        parts.push("per".to_owned());
        parts.push(per);
    }
    // These two stand at the end, wherever they stood.
    let suffix = match &m.data {
        Data::Sum(_, _, true) => "total",
        Data::Gauge(_) if m.unit == "1" => "ratio",
        Data::None
        | Data::Gauge(_)
        | Data::Sum(..)
        | Data::Histogram(..)
        | Data::Exponential(..)
        | Data::Summary(_) => "",
    };
    if !suffix.is_empty() {
        parts.retain(|p| p != suffix);
        parts.push(suffix.to_owned());
    }
    let name = parts.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The name of an attribute as label.
pub(super) fn label_name(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        format!("key_{clean}")
    } else if clean.starts_with('_') && !clean.starts_with("__") {
        format!("key{clean}")
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::otlp_metrics::Temporality;

    #[test]
    fn names_get_unit_and_kind() {
        let sum = || Data::Sum(Vec::new(), Temporality::Cumulative, true);
        let gauge = || Data::Gauge(Vec::new());
        for (name, unit_code, data, want, want_unit) in [
            ("system.cpu.time", "s", sum(), "system_cpu_time_seconds_total", "seconds"),
            ("http.server.duration", "ms", gauge(), "http_server_duration_milliseconds", "milliseconds"),
            ("total.requests", "{request}", sum(), "requests_total", ""),
            ("cpu.utilization", "1", gauge(), "cpu_utilization_ratio", ""),
            ("errors", "1", sum(), "errors_total", ""),
            ("net.io", "By/s", gauge(), "net_io_bytes_per_second", "bytes_per_second"),
            ("bytes", "By", gauge(), "bytes", "bytes"),
            ("5xx", "", sum(), "_5xx_total", ""),
            ("a..b", "weird unit", gauge(), "a_b_weird_unit", "weird_unit"),
        ] {
            let m = Metric { name: name.to_owned(), unit: unit_code.to_owned(), data, ..Metric::default() };
            assert_eq!((metric_name(&m), unit(&m)), (want.to_owned(), want_unit.to_owned()), "{name}");
        }
        for (name, want) in [("http.method", "http_method"), ("1st", "key_1st"), ("_x", "key_x"), ("__a", "__a")] {
            assert_eq!(label_name(name), want);
        }
    }
}
