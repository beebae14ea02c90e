//! What the test scripts do not show: results as such, limits, cancelling, threads, names taken off at once.

use std::time::Duration;

use super::*;
use crate::model::Labels;
use crate::promql::storage::MemoryStorage;
use crate::promql::value::SampleValue;

const MINUTE: i64 = 60_000;

/// Series `m_total{i="0"}`, `m_total{i="1"}`, ... that rise by `i + 1` each minute for ten minutes.
fn counters(n: usize) -> MemoryStorage {
    let mut s = MemoryStorage::new();
    for i in 0..n {
        let index = i.to_string();
        let odd = (i % 2).to_string();
        let labels = Labels::from_pairs([("__name__", "m_total"), ("i", index.as_str()), ("odd", odd.as_str())]);
        for k in 0..=10 {
            s.add_float(&labels, k * MINUTE, (k * (i as i64 + 1)) as f64, 0);
        }
    }
    s
}

fn ask(engine: &Engine, storage: &MemoryStorage, query: &str, t: i64) -> Vec<(String, f64)> {
    match engine.instant(storage, query, t, QueryOptions::default()).unwrap().value {
        Value::Vector(v) => v
            .into_iter()
            .map(|s| match s.value {
                SampleValue::Float(f) => (s.labels.to_string(), f),
                SampleValue::Histogram(h) => panic!("unexpected histogram {h}"),
            })
            .collect(),
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_fold_over_many_series_is_exact() {
    let storage = counters(5000);
    let engine = Engine::default();
    let got = ask(&engine, &storage, "sum by (odd) (increase(m_total[5m]))", 10 * MINUTE);
    // Series i rises by 5 (i + 1) in five minutes.
    let even: f64 = (0..5000).step_by(2).map(|i| 5.0 * f64::from(i + 1)).sum();
    let odd: f64 = (1..5000).step_by(2).map(|i| 5.0 * f64::from(i + 1)).sum();
    let mut got: Vec<_> = got.into_iter().map(|(l, v)| (l, v.round())).collect();
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got, [(r#"{odd="0"}"#.to_owned(), even), (r#"{odd="1"}"#.to_owned(), odd)]);
    for (query, want) in [
        ("avg(m_total)", 25_005.0),
        ("count(m_total)", 5000.0),
        ("max(m_total)", 50_000.0),
        ("min(m_total)", 10.0),
        ("stdvar(m_total)", 100.0 * (5000.0 * 5000.0 - 1.0) / 12.0),
        ("quantile(0.5, m_total)", 25_005.0),
    ] {
        let got = ask(&engine, &storage, query, 10 * MINUTE);
        assert!((got[0].1 / want - 1.0).abs() < 1e-12, "{query}: {got:?}");
    }
}

#[test]
fn names_go_at_once_or_in_the_end() {
    let mut storage = counters(1);
    storage.add_float(&Labels::from_pairs([("__name__", "n_total"), ("i", "0"), ("odd", "0")]), 10 * MINUTE, 7.0, 0);
    let at_once = Engine::default();
    let in_the_end = Engine::new(EngineOptions { delayed_name_removal: true, ..EngineOptions::default() });
    let query = r#"label_replace(abs(m_total), "was", "$1", "__name__", "(.*)")"#;
    let t = 10 * MINUTE;
    assert_eq!(ask(&at_once, &storage, query, t)[0].0, r#"{i="0", odd="0"}"#);
    assert_eq!(ask(&in_the_end, &storage, query, t)[0].0, r#"{i="0", odd="0", was="m_total"}"#);
    let both = r#"sum by (i) (abs({__name__=~"._total"}))"#;
    assert!(at_once.instant(&storage, both, t, QueryOptions::default()).is_err());
    assert_eq!(ask(&in_the_end, &storage, both, t), [(r#"{i="0"}"#.to_owned(), 17.0)]);
}

#[test]
fn queries_that_are_too_large_say_so() {
    let storage = counters(200);
    let engine = Engine::new(EngineOptions { max_samples: 1000, ..EngineOptions::default() });
    let range = |q: &str| engine.range(&storage, q, 0, 10 * MINUTE, MINUTE, QueryOptions::default());
    let e = range("m_total").unwrap_err();
    assert!(matches!(e, QueryError::TooManySamples { limit: 1000 }), "{e}");
    assert!(e.to_string().contains("would load too many samples into memory"), "{e}");
    // The fold holds eleven numbers, not 2200.
    assert!(range("sum(rate(m_total[5m]))").is_ok());
    let e = engine.range(&storage, "1", 0, i64::MAX / 4, 1, QueryOptions::default()).unwrap_err();
    assert!(matches!(e, QueryError::TooManySamples { .. }), "{e}");
    let small = Engine::new(EngineOptions { memory_budget_bytes: 4096, ..EngineOptions::default() });
    let e = small.range(&storage, "m_total", 0, 10 * MINUTE, MINUTE, QueryOptions::default()).unwrap_err();
    assert!(matches!(e, QueryError::TooMuchMemory { .. }), "{e}");
    let e = engine.instant(&storage, "sum_over_time(vector(1)[1y:1ms])", 0, QueryOptions::default()).unwrap_err();
    assert!(matches!(e, QueryError::TooManySamples { .. }), "{e}");
}

#[test]
fn cancelled_and_late_queries_end() {
    let storage = counters(1);
    let engine = Engine::default();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    assert!(matches!(engine.instant(&storage, "m_total", 0, options), Err(QueryError::Canceled)));
    let options = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    assert!(matches!(engine.instant(&storage, "m_total", 0, options), Err(QueryError::Timeout { .. })));
}

#[test]
fn every_type_of_value_comes_out() {
    let storage = counters(2);
    let engine = Engine::default();
    let value = |q: &str| engine.instant(&storage, q, MINUTE, QueryOptions::default()).unwrap().value;
    assert_eq!(value("1 + 1"), Value::Scalar { t: MINUTE, v: 2.0 });
    assert_eq!(value("\"x\""), Value::String { t: MINUTE, v: "x".to_owned() });
    let Value::Matrix(m) = value("m_total[2m]") else { panic!("no matrix") };
    assert_eq!(m[0].floats, [(0, 0.0), (MINUTE, 1.0)]);
    let Value::Matrix(m) = value("m_total[2m:1m]") else { panic!("no matrix") };
    assert_eq!(m[1].floats, [(0, 0.0), (MINUTE, 2.0)]);
    assert!(engine.range(&storage, "m_total[2m]", 0, MINUTE, MINUTE, QueryOptions::default()).is_err());
    let e = engine.instant(&storage, "sum(", 0, QueryOptions::default()).unwrap_err();
    assert!(matches!(e, QueryError::Parse(_)), "{e}");
}

#[test]
fn stats_count_what_was_read() {
    let storage = counters(3);
    let r = Engine::default().range(&storage, "m_total", 0, 2 * MINUTE, MINUTE, QueryOptions::default()).unwrap();
    // Three series, samples at 0, 1 and 2 minutes.
    assert_eq!(r.stats.total_queryable_samples, 9);
    assert!(r.stats.peak_samples >= 9);
}

#[test]
fn another_lookback_is_honoured() {
    let storage = counters(1);
    let at = |ms| {
        let options = QueryOptions { lookback_delta_ms: Some(ms), ..QueryOptions::default() };
        match Engine::default().instant(&storage, "m_total", 12 * MINUTE, options).unwrap().value {
            Value::Vector(v) => v.len(),
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!((at(MINUTE), at(3 * MINUTE)), (0, 1));
}

/// The parser lets so many levels through; each of them must fit on the stack of a thread of the pool.
#[test]
fn deep_expressions_fit_on_the_stack() {
    let storage = counters(2);
    let engine = Engine::default();
    let nest = |open: &str, inner: &str, close: &str, n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    for (name, query) in [
        ("parentheses", nest("(", "m_total", ")", 100)),
        ("functions", nest("abs(", "m_total", ")", 100)),
        ("signs", nest("-", "m_total", "", 100)),
        ("operators", nest("1 + (", "m_total", ")", 60)),
        ("aggregations", nest("sum by (i) (", "m_total", ")", 60)),
        ("joins", nest("m_total + on (i) (", "m_total", ")", 60)),
        ("subqueries", nest("max_over_time(", "m_total", "[1m:1m])", 40)),
    ] {
        for f in [
            engine.instant(&storage, &query, 5 * MINUTE, QueryOptions::default()),
            engine.range(&storage, &query, 0, 5 * MINUTE, MINUTE, QueryOptions::default()),
        ] {
            assert!(f.is_ok(), "{name}: {f:?}");
        }
    }
}

#[test]
fn extended_ranges_at_the_top_show_what_was_asked_for() {
    let storage = counters(1);
    let r = Engine::default().instant(&storage, "m_total[2m] smoothed", 5 * MINUTE, QueryOptions::default()).unwrap();
    let Value::Matrix(m) = r.value else { panic!("no matrix") };
    assert_eq!(m[0].floats, [(4 * MINUTE, 4.0), (5 * MINUTE, 5.0)]);
}
