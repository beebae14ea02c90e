//! `/federate`: the newest sample of each selected series, for another server to scrape.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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
use crate::model::{Column, Labels, Matcher};
use crate::telemetry::metrics;
use crate::tsdb::Db;

static HISTOGRAMS: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_federation_histograms_skipped_total",
        "Native histograms that were left out of /federate, since its text format cannot hold them.",
    )
});

/// The label that every federated series has, as in Prometheus: an empty one keeps `honor_labels` from putting the address of this
/// server in its place.
const INSTANCE: &str = "instance";

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
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let utf8 = accept.flat_map(|a| a.split([',', ';'])).any(|part| part.trim() == "escaping=allow-utf-8");
    let now = state.clock.now_ms();
    let lookback = state.metrics.engine().options().lookback_delta_ms;
    let mut outside = state.config.load().config.global.external_labels.clone();
    outside.entry(INSTANCE.to_owned()).or_default();
    super::readable(&state, now).await?;
    let db = state.db.clone();
    let text = cpu_pool::run(move || {
        let found = newest(&db, &sets, now.saturating_sub(lookback), now)?;
        Ok::<_, crate::tsdb::Error>(render(&found, &outside, utf8))
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(ApiError::internal)?;
    let escaping = if utf8 { "allow-utf-8" } else { "underscores" };
    let version = if utf8 { "1.0.0" } else { "0.0.4" };
    let content_type = format!("text/plain; version={version}; charset=utf-8; escaping={escaping}");
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Time and value of a sample, by name and labels of its series.
type Newest = BTreeMap<(String, Labels), (i64, f64)>;

/// The newest float of each series. A series that ended is left out.
fn newest(db: &Db, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Newest, crate::tsdb::Error> {
    let mut found = BTreeMap::new();
    let mut column = Column::default();
    for set in sets {
        let selection = db.select(set, mint, maxt)?;
        for i in 0..selection.len() {
            column.clear();
            selection.read(i, mint, maxt, &mut column)?;
            let (float, histogram) = (column.t.last().zip(column.v.last()), column.ht.last());
            if let Some(h) = histogram
                && float.is_none_or(|(t, _)| h > t)
            {
                HISTOGRAMS.inc();
                continue;
            }
            if let Some((t, v)) = float.filter(|(_, v)| !is_stale_nan(**v)) {
                let labels = selection.labels(i);
                found.insert((labels.metric_name().to_owned(), labels.without_name()), (*t, *v));
            }
        }
    }
    Ok(found)
}

fn render(found: &Newest, outside: &BTreeMap<String, String>, utf8: bool) -> String {
    let mut out = String::with_capacity(found.len() * 128);
    let mut last = None;
    for ((name, labels), (t, v)) in found {
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
        let added = outside.iter().filter(|(n, _)| labels.get(n).is_none() && *n != METRIC_NAME);
        for (n, v) in labels.iter().chain(added.map(|(n, v)| (n.as_str(), v.as_str()))) {
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

    #[test]
    fn text_for_old_and_new_readers() {
        let mut found = BTreeMap::new();
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        found.insert(("up".to_owned(), labels(&[("instance", "a:1"), ("job", "x\"y")])), (5, 1.0));
        found.insert(("up".to_owned(), labels(&[("zone", "own")])), (6, f64::NAN));
        found.insert(("a.b".to_owned(), labels(&[("k.l", "v")])), (7, 0.5));
        let outside = BTreeMap::from([("instance".to_owned(), String::new()), ("zone".to_owned(), "eu".to_owned())]);
        assert_eq!(
            render(&found, &outside, false),
            "# TYPE a_b untyped\na_b{k_l=\"v\",instance=\"\",zone=\"eu\"} 0.5 7\n\
             # TYPE up untyped\nup{instance=\"a:1\",job=\"x\\\"y\",zone=\"eu\"} 1 5\nup{zone=\"own\",instance=\"\"} NaN 6\n"
        );
        let new = render(&found, &outside, true);
        assert!(new.starts_with("# TYPE \"a.b\" untyped\n{\"a.b\",\"k.l\"=\"v\",instance=\"\""), "{new}");
    }
}
