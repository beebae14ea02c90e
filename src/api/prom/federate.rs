//! `/federate`: the newest sample of each selected series, for another server to scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus::IntCounter;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::exec::cpu_pool;
use crate::model::labels::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
use crate::model::sample::{is_stale_nan, write_value};
use crate::model::{Column, FloatHistogram, Labels, Matcher};
use crate::telemetry::metrics;
use crate::tsdb::Db;
use crate::wire::exposition::protobuf::{FamilyKind, FamilyWriter};

static HISTOGRAMS: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_federation_histograms_skipped_total",
        "Native histograms that were left out of /federate, since its text format cannot hold them.",
    )
});

/// The label that every federated series has, as in Prometheus: an empty one keeps `honor_labels` from putting the address of this
/// server in its place.
const INSTANCE: &str = "instance";
/// The format that holds native histograms.
const PROTOBUF: &str = "application/vnd.google.protobuf";
const FAMILY: &str = "io.prometheus.client.MetricFamily";

pub(super) async fn federate(
    State(state): State<ApiState>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let sets: Vec<Vec<Matcher>> = params
        .all("match[]")
        .map(|text| {
            crate::promql::parse_selector_non_empty(text)
                .map_err(|e| ApiError::bad_data(format!("invalid parameter \"match[]\": {e}")))
        })
        .collect::<Result<_, _>>()?;
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let protobuf = wants_protobuf(&accept);
    let utf8 = accept.iter().flat_map(|a| a.split([',', ';'])).any(|part| part.trim() == "escaping=allow-utf-8");
    let now = state.clock.now_ms();
    let lookback = state.metrics.engine().options().lookback_delta_ms;
    let mut outside = state.config.load().config.global.external_labels.clone();
    outside.entry(INSTANCE.to_owned()).or_default();
    super::readable(&state, now).await?;
    let db = state.db.clone();
    let body = cpu_pool::run(move || {
        let found = newest(&db, &sets, now.saturating_sub(lookback), now)?;
        let body =
            if protobuf { messages(&found, &outside, utf8) } else { render(&found, &outside, utf8).into_bytes() };
        Ok::<_, crate::tsdb::Error>(body)
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(ApiError::internal)?;
    let escaping = if utf8 { "allow-utf-8" } else { "underscores" };
    let content_type = if protobuf {
        format!("{PROTOBUF}; proto={FAMILY}; encoding=delimited; escaping={escaping}")
    } else {
        let version = if utf8 { "1.0.0" } else { "0.0.4" };
        format!("text/plain; version={version}; charset=utf-8; escaping={escaping}")
    };
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Whether the reader would rather have protobuf than text.
fn wants_protobuf(accept: &[&str]) -> bool {
    let mut best = (0.0, false);
    for clause in accept.iter().flat_map(|a| a.split(',')) {
        let mut parts = clause.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameter = |name: &str| clause.split(';').filter_map(|p| p.trim().split_once('=')).find(|p| p.0 == name);
        let weight: f64 = parameter("q").and_then(|p| p.1.parse().ok()).unwrap_or(1.0);
        let protobuf = kind == PROTOBUF
            && parameter("proto").is_some_and(|p| p.1 == FAMILY)
            && parameter("encoding").is_some_and(|p| p.1 == "delimited");
        // Of equal ones the first counts; what we do not have (OpenMetrics) is passed over.
        if weight > best.0 && (protobuf || matches!(kind, "text/plain" | "text/*" | "*/*")) {
            best = (weight, protobuf);
        }
    }
    best.1
}

/// A sample.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Value {
    fn kind(&self) -> FamilyKind {
        match self {
            Value::Float(_) => FamilyKind::Untyped,
            Value::Histogram(h) => FamilyKind::of(h),
        }
    }
}

/// Time and value of a sample, by name and labels of its series.
type Newest = BTreeMap<(String, Labels), (i64, Value)>;

/// The newest sample of each series. A series that ended is left out.
fn newest(db: &Db, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Newest, crate::tsdb::Error> {
    let mut found = BTreeMap::new();
    let mut column = Column::default();
    for set in sets {
        let selection = db.select(set, mint, maxt)?;
        for i in 0..selection.len() {
            column.clear();
            selection.read(i, mint, maxt, &mut column)?;
            let float = column.t.last().zip(column.v.last()).map(|(t, v)| (*t, Value::Float(*v)));
            let histogram = column.ht.last().zip(column.h.last()).map(|(t, h)| (*t, Value::Histogram(h.clone())));
            let ended = |v: &Value| match v {
                Value::Float(v) => is_stale_nan(*v),
                Value::Histogram(h) => is_stale_nan(h.sum),
            };
            let newest = float.into_iter().chain(histogram).max_by_key(|s| s.0);
            if let Some(sample) = newest.filter(|s| !ended(&s.1)) {
                let labels = selection.labels(i);
                found.insert((labels.metric_name().to_owned(), labels.without_name()), sample);
            }
        }
    }
    Ok(found)
}

fn render(found: &Newest, outside: &BTreeMap<String, String>, utf8: bool) -> String {
    let mut out = String::with_capacity(found.len() * 128);
    let mut last = None;
    for ((name, labels), (t, v)) in found {
        let Value::Float(v) = v else {
            HISTOGRAMS.inc();
            continue;
        };
        let plain = is_legacy_metric_name(name);
        let quoted = !plain && utf8;
        let shown = if plain || utf8 { name.clone() } else { escaped(name) };
        if last != Some(name) {
            out.push_str("# TYPE ");
            if quoted {
                push_quoted(&mut out, &shown)
            } else {
                out.push_str(&shown)
            }
            out.push_str(" untyped\n");
            last = Some(name);
        }
        if !quoted {
            out.push_str(&shown);
        }
        let mut between = '{';
        if quoted {
            out.push(between);
            push_quoted(&mut out, &shown);
            between = ',';
        }
        for (n, v) in with_outside(labels, outside) {
            out.push(between);
            between = ',';
            match (is_legacy_label_name(n), utf8) {
                (true, _) => out.push_str(n),
                (false, true) => push_quoted(&mut out, n),
                (false, false) => out.push_str(&escaped(n)),
            }
            out.push('=');
            push_quoted(&mut out, v);
        }
        // There is always a label: `instance`.
        out.push_str("} ");
        write_value(&mut out, *v);
        out.push(' ');
        out.push_str(&t.to_string());
        out.push('\n');
    }
    out
}

/// The labels of a series, and those of this server that it has none of.
fn with_outside<'a>(
    labels: &'a Labels,
    outside: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let added = outside.iter().filter(|(n, _)| labels.get(n).is_none() && *n != METRIC_NAME);
    labels.iter().chain(added.map(|(n, v)| (n.as_str(), v.as_str())))
}

/// The same as messages, with native histograms. The samples of a name that has several kinds make several families.
fn messages(found: &Newest, outside: &BTreeMap<String, String>, utf8: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(found.len() * 96);
    let mut writer = FamilyWriter::default();
    let shown = |name: &'_ str, legacy: bool| if legacy || utf8 { name.to_owned() } else { escaped(name) };
    let all: Vec<_> = found.iter().collect();
    for family in all.chunk_by(|a, b| a.0.0 == b.0.0) {
        let Some(name) = family.first().map(|f| f.0.0.as_str()) else { continue };
        let name = shown(name, is_legacy_metric_name(name));
        for kind in [FamilyKind::Untyped, FamilyKind::Histogram, FamilyKind::GaugeHistogram] {
            let mut of_kind = family.iter().filter(|s| s.1.1.kind() == kind).peekable();
            if of_kind.peek().is_none() {
                continue;
            }
            writer.begin(&name, kind);
            for ((_, labels), (t, v)) in of_kind {
                let labels: Vec<(String, &str)> =
                    with_outside(labels, outside).map(|(n, v)| (shown(n, is_legacy_label_name(n)), v)).collect();
                let labels = labels.iter().map(|(n, v)| (n.as_str(), *v));
                match v {
                    Value::Float(v) => writer.float(labels, *t, *v),
                    Value::Histogram(h) => writer.histogram(labels, *t, h),
                }
            }
            writer.end(&mut out);
        }
    }
    out
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A name for readers that know letters, digits and underscores only.
fn escaped(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint};
    use crate::wire::exposition::Entry;
    use crate::wire::exposition::protobuf::{Histograms, ProtobufEntries, decode};

    #[test]
    fn text_for_old_and_new_readers() {
        let mut found = BTreeMap::new();
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        found.insert(("up".to_owned(), labels(&[("instance", "a:1"), ("job", "x\"y")])), (5, Value::Float(1.0)));
        found.insert(("up".to_owned(), labels(&[("zone", "own")])), (6, Value::Float(f64::NAN)));
        found.insert(("a.b".to_owned(), labels(&[("k.l", "v")])), (7, Value::Float(0.5)));
        found.insert(("up".to_owned(), labels(&[("zone", "h")])), (8, Value::Histogram(Arc::default())));
        let outside = BTreeMap::from([("instance".to_owned(), String::new()), ("zone".to_owned(), "eu".to_owned())]);
        assert_eq!(
            render(&found, &outside, false),
            "# TYPE a_b untyped\na_b{k_l=\"v\",instance=\"\",zone=\"eu\"} 0.5 7\n\
             # TYPE up untyped\nup{instance=\"a:1\",job=\"x\\\"y\",zone=\"eu\"} 1 5\nup{zone=\"own\",instance=\"\"} NaN 6\n"
        );
        let new = render(&found, &outside, true);
        assert!(new.starts_with("# TYPE \"a.b\" untyped\n{\"a.b\",\"k.l\"=\"v\",instance=\"\""), "{new}");
    }

    #[test]
    fn protobuf_is_given_to_who_wants_it_most() {
        let delimited = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, want) in [
            (String::new(), false),
            ("*/*".to_owned(), false),
            (delimited.to_owned(), true),
            (
                format!(
                    "{delimited};q=0.6,application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5,*/*;q=0.1"
                ),
                true,
            ),
            (format!("text/plain;version=0.0.4;q=0.6, {delimited};q=0.5"), false),
            (format!("{delimited};q=0"), false),
            ("application/vnd.google.protobuf;encoding=text".to_owned(), false),
        ] {
            assert_eq!(wants_protobuf(&[&accept]), want, "{accept}");
        }
    }

    #[test]
    fn messages_bring_native_histograms_back() {
        let labels = |i: &str| Labels::from_pairs([("i", i)]);
        let native = FloatHistogram {
            schema: 1,
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 10.0,
            sum: 3.25,
            ..FloatHistogram::default()
        };
        let mut full = native.clone();
        full.set_positive([(0, 2.5), (1, 3.5), (5, 1.0)]);
        full.set_negative([(-3, 2.0)]);
        let gauge = FloatHistogram { counter_reset_hint: CounterResetHint::Gauge, ..full.clone() };
        let empty = FloatHistogram { count: 0.0, zero_count: 0.0, sum: 0.0, ..native.clone() };
        let mut custom = FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, count: 7.0, ..FloatHistogram::default() };
        custom.custom_values = vec![0.5, 1.0, 2.0];
        custom.set_positive([(0, 1.0), (2, 4.0), (3, 2.0)]);
        let mut found = BTreeMap::new();
        let mut put = |name: &str, i: &str, v: Value| found.insert((name.to_owned(), labels(i)), (1000, v));
        put("a", "float", Value::Float(0.25));
        put("a", "full", Value::Histogram(Arc::new(full.clone())));
        put("a", "gauge", Value::Histogram(Arc::new(gauge.clone())));
        put("b.c", "empty", Value::Histogram(Arc::new(empty.clone())));
        put("d", "custom", Value::Histogram(Arc::new(custom)));
        put("e", "zeros", Value::Histogram(Arc::new(native.clone())));
        let outside = BTreeMap::from([("instance".to_owned(), String::new())]);
        let body = messages(&found, &outside, true);
        let decoded = decode(&body, Histograms { native: true, classic: false }).unwrap();
        let mut entries = ProtobufEntries::new(&decoded);
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        while let Some(entry) = entries.next_entry() {
            let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).unwrap();
            match entry {
                Entry::Series(s) => floats.push((text(s.raw), s.value, s.timestamp)),
                Entry::Histogram(h) => histograms.push((text(h.raw), h.histogram.into_owned(), h.timestamp)),
                Entry::Type(..) | Entry::Help(..) | Entry::Unit(..) => {}
            }
        }
        let of = |name: &str, i: &str| format!("{name}{{i=\"{i}\",instance=\"\"}}");
        let bucket = |le: &str| format!("d_bucket{{i=\"custom\",instance=\"\",le=\"{le}\"}}");
        let want = [
            (of("a", "float"), 0.25),
            (of("d_count", "custom"), 7.0),
            (of("d_sum", "custom"), 0.0),
            (bucket("0.5"), 1.0),
            (bucket("1.0"), 1.0),
            (bucket("2.0"), 5.0),
            (bucket("+Inf"), 7.0),
        ];
        assert_eq!(floats, want.map(|(text, v)| (text, v, Some(1000))));
        let want = [
            (of("a", "full"), full),
            (of("a", "gauge"), gauge),
            ("{\"b.c\",i=\"empty\",instance=\"\"}".to_owned(), empty),
            (of("e", "zeros"), native),
        ];
        assert_eq!(histograms, want.map(|(text, h)| (text, h, Some(1000))));
    }
}
