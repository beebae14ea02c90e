//! Queries over the real store give what the pipeline gives line by line, whatever form the store keeps lines in.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::logql::engine::{EngineOptions, Output, Query, QueryError, Stats, run};
use crate::logql::storage::{Direction, Entry, Select, Storage, StorageError};
use crate::logs::{Options, Store};
use crate::model::{Labels, LogEntry, LogStream};
use crate::query::log_storage::LogStorage;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_768_471_200 * SECOND;

/// The same store, line by line only.
struct LineByLine<'a>(&'a LogStorage);

impl Storage for LineByLine<'_> {
    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.0.scan(select, each)
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts.get(self.next(texts.len())).copied().unwrap_or_default()
    }
}

fn json_text(n: &mut Numbers) -> String {
    n.pick(&[
        "x",
        "",
        "GET /a",
        r#"a \"quoted\" word"#,
        r"tab\tand \u00e9",
        "ünï",
        "1.5s",
        "5kB",
        "10.0.0.7",
        "{}",
        "a=b",
        r"c:\\",
    ])
    .to_owned()
}

fn number(n: &mut Numbers) -> String {
    match n.next(6) {
        0 => n.pick(&["0", "-0", "1.5", "2e3", "-7", "99999999999999999999"]).to_owned(),
        _ => (n.next(4) * 100 + 200).to_string(),
    }
}

fn some_line(n: &mut Numbers) -> String {
    let (a, b, s) = (json_text(n), json_text(n), number(n));
    let level = n.pick(&["info", "warn", "error", "debug"]);
    match n.next(16) {
        0..=4 => format!(r#"{{"level":"{level}","status":{s},"path":"{a}","took":"{}ms"}}"#, n.next(500)),
        5 => format!(
            r#"{{"http":{{"status":{s},"odd-key":"{a}","deep":{{"x":[1,{{"y":2}}]}}}},"app":"{b}","ok":true,"no":null}}"#
        ),
        6 => format!(r#"{{ "status" : "{a}" , "status":{s}, "a.b":1,"a_b":2, "":3, "0n":{s} }}"#),
        7 => format!(r#"{{"level":"{level}","status":{s},"msg":"cut o"#),
        8 => format!(r#" {{"l\u0065vel":"{level}","took":"{a}","list":[{s},"{b}"]}} "#),
        9..=11 => format!("level={level} status={s} path=\"{a}\" took={}ms seq={}", n.next(500), n.next(100_000)),
        12 => format!("level={level} alone empty= status=\"{a}\" level=second x={b}"),
        13 => format!("=bad a\"b level={level} status={s} status=7"),
        14 => format!("{level} GET /x?id={} from 10.0.{}.{} status {s}", n.next(9999), n.next(4), n.next(250)),
        _ => n.pick(&["", " ", "plain words", "{}", "[1,2]", "null", "\"text\"", "a\u{0}b", "two\nlines"]).to_owned(),
    }
}

/// Lines of four streams, some in several segments, some in memory, some late and twice.
fn filled(dir: &std::path::Path) -> LogStorage {
    let options = Options { background: false, retention_ns: 0, ..Options::default() };
    let store = Store::open(dir, options).unwrap();
    let streams = [
        Labels::from_pairs([("app", "a"), ("env", "prod")]),
        Labels::from_pairs([("app", "b")]),
        Labels::from_pairs([("app", "c"), ("level", "fixed"), ("status", "1")]),
        Labels::from_pairs([("app", "d"), ("http_status", "s")]),
    ];
    let mut n = Numbers(7);
    for round in 0..5i64 {
        for (i, labels) in streams.iter().enumerate() {
            let entries = (0..250).map(|k| {
                let metadata = match n.next(8) {
                    0 => Labels::from_pairs([("trace", n.pick(&["t1", "t2"])), ("env", "meta")]),
                    1 => Labels::from_pairs([("detected_level", "odd")]),
                    2 => Labels::from_pairs([("level", "meta")]),
                    _ => Labels::empty(),
                };
                // Rounds overlap a little.
                let timestamp = START + (round * 200 + k) * SECOND + i as i64 + n.next(3) as i64 * 1000;
                LogEntry { timestamp, line: some_line(&mut n), metadata }
            });
            let mut entries: Vec<_> = entries.collect();
            let twice = entries.last().cloned();
            entries.extend(twice);
            store.push(vec![LogStream { labels: labels.clone(), entries }]).unwrap();
        }
        if round < 4 && round != 2 {
            store.flush().unwrap();
        }
    }
    LogStorage(Arc::new(store))
}

const STAGES: [&str; 30] = [
    "",
    "| json",
    "| json",
    "| logfmt",
    "| logfmt",
    "| logfmt --strict",
    "| logfmt --keep-empty",
    r#"| json s="status", p="http.status", l="list", i="list[1]", m="nope""#,
    r#"| logfmt s="status", x="nope""#,
    "| json | logfmt",
    "| regexp \"status.(?P<status>[0-9]+)\"",
    "| pattern \"<_> GET <path> from <ip> <_>\"",
    "|= \"2\"",
    "!= \"x\" or \"GET\"",
    "|~ \"stat.s\"",
    "|> \"<_>status<_>\"",
    "| status >= 300",
    "| status = 500",
    "| status != \"200\"",
    "| level =~ \"info|error|\"",
    "| detected_level = \"info\" or status < 300",
    "| took > 100ms",
    "| path = ip(\"10.0.0.0/8\")",
    "| __error__ = \"\"",
    "| drop level",
    "| drop __error__, __error_details__",
    "| keep status, app",
    "| label_format code=status",
    "| label_format code=\"{{.status}}\"",
    "| line_format \"{{.level}}\"",
];

const HEADS: [(&str, &str); 14] = [
    ("sum(count_over_time(", " [1m]))"),
    ("sum by (status) (count_over_time(", " [1m]))"),
    ("sum by (level) (count_over_time(", " | __error__=\"\" [1m]))"),
    ("sum by (level, detected_level) (rate(", " [2m]))"),
    ("sum by (app, env, trace) (bytes_over_time(", " [1m]))"),
    ("sum by (__error__) (count_over_time(", " [1m]))"),
    ("sum without (level, env, seq, path) (count_over_time(", " | drop __error__, __error_details__ [1m]))"),
    ("bytes_rate(", " [1m])"),
    ("count_over_time(", " | keep level, status [5m])"),
    ("sum by (level) (sum_over_time(", " | unwrap status | __error__=\"\" [1m]))"),
    ("quantile_over_time(0.5, ", " | unwrap status | __error__=\"\" [2m]) by (level)"),
    ("avg_over_time(", " | unwrap duration(took) | __error__=\"\" [1m]) by (app)"),
    ("max_over_time(", " | keep app, http_status | unwrap http_status | __error__=\"\" [1m])"),
    ("min_over_time(", " | unwrap status | __error__=\"\" [1m]) by ()"),
];

fn ask(storage: &dyn Storage, expr: &str) -> Result<(Output, Stats), QueryError> {
    let query = Query {
        expr: expr.to_owned(),
        start_ns: START + 30 * SECOND,
        end_ns: START + 1000 * SECOND,
        step_ns: 60 * SECOND,
        limit: 0,
        direction: Direction::Backward,
        interval_ns: 0,
        explain: false,
    };
    run(storage, &EngineOptions::default(), &query, &AtomicBool::new(false))
}

/// Equal but for the last bits of sums, which depend on their order.
fn same(a: &Output, b: &Output) -> bool {
    let (Output::Matrix(a), Output::Matrix(b)) = (a, b) else { return a == b };
    let close = |x: f64, y: f64| x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= 1e-9 * x.abs().max(y.abs());
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.labels == b.labels
                && a.points.len() == b.points.len()
                && a.points.iter().zip(&b.points).all(|(p, q)| p.0 == q.0 && close(p.1, q.1))
        })
}

#[test]
fn the_store_gives_what_lines_give() {
    let dir = tempfile::tempdir().unwrap();
    let storage = filled(dir.path());
    let mut n = Numbers(11);
    let (mut answered, mut failed) = (0, 0);
    for _ in 0..400 {
        let (before, after) = HEADS[n.next(HEADS.len())];
        let stages: Vec<&str> = (0..n.next(4)).map(|_| n.pick(&STAGES)).collect();
        let selector = n.pick(&["{app=~\".+\"}", "{app=\"a\"}", "{app=~\"b|c\"}", "{app=\"d\"}"]);
        let expr = format!("{before}{selector} {}{after}", stages.join(" "));
        match (ask(&LineByLine(&storage), &expr), ask(&storage, &expr)) {
            (Ok((lines, _)), Ok((store, _))) => {
                assert!(same(&lines, &store), "{expr}\n{lines:?}\n{store:?}");
                answered += 1;
            }
            (Err(a), Err(b)) => {
                assert_eq!(std::mem::discriminant(&a), std::mem::discriminant(&b), "{expr}: {a} {b}");
                failed += 1;
            }
            (a, b) => panic!("{expr}:\n{a:?}\n{b:?}"),
        }
    }
    assert!(answered > 150 && failed > 20, "{answered} {failed}");
}
