use serde_json::json;

use super::*;
use crate::exec::clock::ManualClock;
use crate::model::{Column, MatchOp, Matcher};
use crate::tsdb::Options;
use crate::wire::otlp_metrics::decode_json;

const NOW: i64 = 1_767_225_600_000;

fn stored(db: &Db, name: &str) -> Vec<(String, Vec<f64>)> {
    let found = db.select(&[Matcher::new("__name__", MatchOp::Regex, name).unwrap()], i64::MIN, i64::MAX).unwrap();
    (0..found.len())
        .map(|i| {
            let mut c = Column::default();
            found.read(i, i64::MIN, i64::MAX, &mut c).unwrap();
            c.v.extend(c.h.iter().map(|h| h.count));
            (found.labels(i).to_string(), c.v)
        })
        .collect()
}

#[test]
fn every_kind_of_metric() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::at_ms(NOW));
    let db = Db::open(dir.path(), Options { clock, ..Options::default() }).unwrap();
    let t = (NOW * 1_000_000).to_string();
    let attribute = |k: &str, v: &str| json!({"key": k, "value": {"stringValue": v}});
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "shop"), attribute("service.namespace", "eu"), attribute("service.instance.id", "i1"),
            attribute("host.name", "h"),
        ]},
        "scopeMetrics": [{"scope": {"name": "x"}, "metrics": [
            {"name": "queue.size", "description": "Waiting.", "gauge": {"dataPoints": [
                {"timeUnixNano": t, "asInt": "5", "attributes": [attribute("a.b", "1"), attribute("a_b", "2")]}]}},
            {"name": "requests", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                {"timeUnixNano": t, "startTimeUnixNano": ((NOW - 1000) * 1_000_000).to_string(), "asDouble": 7.5}]}},
            {"name": "delta", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
                {"timeUnixNano": t, "asDouble": 1}, {"timeUnixNano": t, "asDouble": 2}]}},
            {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
                {"timeUnixNano": t, "count": 6, "sum": 9.5, "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.5, 1],
                 "exemplars": [{"asDouble": 0.7, "traceId": "0AF7651916CD43DD8448EB211C80319C"}]}]}},
            {"name": "size", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": t, "count": 3, "sum": 4, "scale": 1, "positive": {"offset": 0, "bucketCounts": [1, 2]}}]}},
            {"name": "old", "summary": {"dataPoints": [
                {"timeUnixNano": t, "count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1.5}], "flags": 0}]}},
        ]}],
    }]});
    let request = decode_json(body.to_string().as_bytes()).unwrap();
    let outcome = write(&db, &request).unwrap();
    assert_eq!((outcome.stored, outcome.refused), (5, 2));
    assert!(
        outcome.message.starts_with("invalid temporality and type combination for metric \"delta\""),
        "{outcome:?}"
    );
    let who = "instance=\"i1\", job=\"eu/shop\"";
    let want: Vec<(String, Vec<f64>)> = [
        (format!("{{__name__=\"latency_seconds_bucket\", {who}, le=\"+Inf\"}}"), 6.0),
        (format!("{{__name__=\"latency_seconds_bucket\", {who}, le=\"0.5\"}}"), 1.0),
        (format!("{{__name__=\"latency_seconds_bucket\", {who}, le=\"1\"}}"), 3.0),
        (format!("{{__name__=\"latency_seconds_count\", {who}}}"), 6.0),
        (format!("{{__name__=\"latency_seconds_sum\", {who}}}"), 9.5),
        (format!("{{__name__=\"old\", {who}, quantile=\"0.5\"}}"), 1.5),
        (format!("{{__name__=\"old_count\", {who}}}"), 2.0),
        (format!("{{__name__=\"old_sum\", {who}}}"), 3.0),
        (format!("{{__name__=\"queue_size\", a_b=\"1;2\", {who}}}"), 5.0),
        (format!("{{__name__=\"requests_total\", {who}}}"), 7.5),
        (format!("{{__name__=\"size\", {who}}}"), 3.0),
        (format!("{{__name__=\"target_info\", host_name=\"h\", {who}}}"), 1.0),
    ]
    .into_iter()
    .map(|(labels, v)| (labels, vec![v]))
    .collect();
    assert_eq!(stored(&db, ".+"), want);
    let exemplars = db.exemplars(&[vec![Matcher::equal("le", "1")]], i64::MIN, i64::MAX).unwrap();
    assert_eq!(exemplars[0].1[0].labels.value("trace_id"), "0af7651916cd43dd8448eb211c80319c");
    // The same again: nothing new, nothing refused but the deltas.
    assert_eq!(write(&db, &request).unwrap().refused, 2);
}
