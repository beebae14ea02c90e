//! Patterns of whole stores: found, kept, merged, lost.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::exec::clock::ManualClock;
use crate::logs::partition::NS_PER_DAY;
use crate::logs::scan::Selection;
use crate::logs::{Options, ScanRequest, Snapshot, Store, limits, manifest, partition};
use crate::model::{Labels, LogEntry, LogStream, MatchOp, Matcher, TimestampNs};
use crate::text::drain::Pattern;

const NOON: i64 = 20_000 * NS_PER_DAY + NS_PER_DAY / 2;
const SECOND: i64 = 1_000_000_000;

fn options() -> Options {
    let clock = Arc::new(ManualClock::at_ms((NOON + 2 * NS_PER_DAY) / 1_000_000));
    Options { retention_ns: 0, background: false, clock, ..Options::default() }
}

/// Pushes lines of one app, the seconds after noon with each.
fn push(store: &Store, app: &str, lines: &[(i64, &str)], metadata: &[(&str, &str)]) {
    let entry = |(at, line): &(i64, &str)| LogEntry {
        timestamp: NOON + at * SECOND,
        line: (*line).to_owned(),
        metadata: Labels::from_pairs(metadata.iter().copied()),
    };
    let entries = lines.iter().map(entry).collect();
    store.push(vec![LogStream { labels: Labels::from_pairs([("app", app)]), entries }]).unwrap();
}

type Found = BTreeMap<(String, String), BTreeMap<i64, u64>>;

/// By level and pattern: lines by second after noon. And the lines that are in no segment with patterns.
fn found(snapshot: &Snapshot, app: &str, range: (i64, i64), step: i64) -> (Found, u64) {
    let matchers = vec![Matcher::new("app", MatchOp::Regex, app).unwrap()];
    let request = PatternRequest {
        selection: Selection::Matchers(matchers.clone()),
        start_ns: NOON + range.0 * SECOND,
        end_ns: NOON + range.1 * SECOND,
        step_ns: step * SECOND,
    };
    let (patterns, rest) = snapshot.patterns(&request);
    let mut all = Found::new();
    for p in patterns {
        let text = Pattern { line: p.line, samples: Vec::new() }.text();
        let samples = all.entry((p.level, text)).or_default();
        p.samples.iter().for_each(|(t, n)| *samples.entry((t - NOON) / SECOND).or_default() += n);
    }
    let scan = ScanRequest {
        selection: Selection::Matchers(matchers),
        start_ns: request.start_ns,
        end_ns: request.end_ns,
        direction: Default::default(),
        filters: Vec::new(),
        labels: Vec::new(),
        limit: None,
    };
    let mut left = 0;
    rest.scan(&scan, &mut |_| {
        left += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    (all, left)
}

fn pattern(level: &str, text: &str, samples: &[(i64, u64)]) -> ((String, String), BTreeMap<i64, u64>) {
    ((level.to_owned(), text.to_owned()), samples.iter().copied().collect())
}

fn fill(store: &Store) {
    push(
        store,
        "a",
        &[
            (0, r#"{"ts":1,"msg":"user alice came in","host":"h1","zone":"x"}"#),
            (5, r#"{"ts":2,"msg":"user bob came in","host":"h1","zone":"y"}"#),
            (11, r#"{"ts":3,"msg":"cache was flushed 5 times","host":"h1","zone":"z"}"#),
            (12, r#"{"ts":4,"msg":"cache was flushed 77 times","host":"h1","zone":"z"}"#),
        ],
        &[],
    );
    let arrays = |from: i64| format!(r#"{{"list":["a b {from}", "c d"],"n":{from}}}"#);
    let lines: Vec<String> = (0..3).map(arrays).chain([r#"{"list":["e f", "g"],"n":7}"#.to_owned()]).collect();
    push(store, "c", &(0..).zip(lines.iter().map(String::as_str)).collect::<Vec<_>>(), &[]);
    push(store, "b", &[(3, "GET /a 200"), (4, "GET /b 200"), (25, "GET /c 404")], &[("detected_level", "odd")]);
}

const JSON_USER: &str = r#"{"ts":<_>,"msg":"user <_> came in","host":"<_>","zone":"<_>"}"#;
const JSON_CACHE: &str = r#"{"ts":<_>,"msg":"cache was flushed <_> times","host":"<_>","zone":"z"}"#;

fn expected() -> Found {
    [
        pattern("odd", "GET <_> <_>", &[(0, 2), (20, 1)]),
        pattern("unknown", JSON_CACHE, &[(10, 2)]),
        pattern("unknown", JSON_USER, &[(0, 2)]),
        pattern("unknown", r#"{"list":<_>,"n":<_>}"#, &[(0, 4)]),
    ]
    .into()
}

#[test]
fn kept_with_segments_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store);
    assert_eq!(found(&store.snapshot(), ".+", (0, 60), 10), (Found::new(), 11));
    store.flush().unwrap();
    assert_eq!(found(&store.snapshot(), ".+", (0, 60), 10), (expected(), 0));
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(found(&store.snapshot(), ".+", (0, 60), 10), (expected(), 0));
    // Streams, times, steps; buckets at the ends of the range count as a whole.
    assert_eq!(found(&store.snapshot(), "a", (12, 13), 10), ([pattern("unknown", JSON_CACHE, &[(10, 2)])].into(), 0));
    let by_minute = [pattern("odd", "GET <_> <_>", &[(0, 3)])];
    assert_eq!(found(&store.snapshot(), "b", (0, 60), 60), (by_minute.into(), 0));
    assert_eq!(found(&store.snapshot(), ".+", (60, 90), 10), (Found::new(), 0));
    // What came since.
    push(&store, "b", &[(26, "GET /d 200")], &[]);
    assert_eq!(found(&store.snapshot(), ".+", (0, 60), 10), (expected(), 1));
}

#[test]
fn merged_with_segments() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store);
    store.flush().unwrap();
    for i in 0..limits::MERGE_SEGMENTS as i64 - 1 {
        push(&store, "b", &[(30 + i, "GET /d 200")], &[("detected_level", "odd")]);
        store.flush().unwrap();
    }
    store.merge().unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.segments().count(), 1);
    let mut wanted = expected();
    wanted.insert(
        ("odd".to_owned(), "GET <_> <_>".to_owned()),
        [(0, 2), (20, 1), (30, limits::MERGE_SEGMENTS as u64 - 1)].into(),
    );
    assert_eq!(found(&snapshot, ".+", (0, 60), 10), (wanted, 0));
}

#[test]
fn damaged_patterns_are_lines_without() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store);
    store.flush().unwrap();
    let path = dir.path().join("days").join(partition::name_of(20_000)).join(manifest::segment_file(1));
    let range = store.snapshot().segments().next().unwrap().patterns_range().unwrap();
    drop(store);
    let content = fs::read(&path).unwrap();
    for at in range {
        let mut changed = content.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let store = Store::open(dir.path(), Options { background: false, ..options() }).unwrap();
        assert_eq!(found(&store.snapshot(), ".+", (0, 60), 10), (Found::new(), 11), "{at}");
    }
}

#[test]
fn raw_lines_and_many_streams() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let word = |i: i64| i.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>();
    // More shapes than a row group has: the rest are lines as a whole.
    let lines: Vec<String> =
        (0..2000).map(|i| format!("hello {} how are you, said {}", word(i), word(i % 3))).collect();
    let rows: Vec<(TimestampNs, &str)> = (0..).zip(&lines).map(|(i, l)| (i / 100, l.as_str())).collect();
    push(&store, "a", &rows, &[]);
    for s in 0..300 {
        push(&store, &format!("s{s}"), &[(s % 7, "tick 5 of tock"), (s % 7, "")], &[]);
    }
    store.flush().unwrap();
    let (patterns, left) = found(&store.snapshot(), ".+", (0, 60), 60);
    let wanted = [
        pattern("unknown", "hello <_> how are you, said <_>", &[(0, 2000)]),
        pattern("unknown", "tick <_> of tock", &[(0, 300)]),
    ];
    assert_eq!((patterns, left), (wanted.into(), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the lines are, each that is not empty is counted once, in its level and bucket.
    #[test]
    fn every_line_is_in_one_pattern(
        rows in prop::collection::vec((0..3u8, 0..60i64, 0..4u8, prop_oneof![
            "[a1 =\"\\\\{}:,\\[\\]ü\u{1}]{0,20}",
            "\\{(\"[a-c]\":(\"[a-b ]{0,5}\"|[0-9]{1,3}|\\[[0-9,]{0,4}\\]),?){0,4}\\}",
            "([a-c]=([a-b0-9]{1,3}|\"[ab ]{0,8}\") ?){0,4}",
            "(user|host) [a-c] (came|went) [0-9]{1,3} times",
        ]), 1..120),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options()).unwrap();
        let mut expected: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for (i, (app, at, level, line)) in rows.iter().enumerate() {
            // Different nanoseconds, as exact doubles are dropped.
            let level = ["info", "error", "odd", "trace"][usize::from(*level)];
            let entry = LogEntry {
                timestamp: NOON + at * SECOND + i as i64,
                line: line.clone(),
                metadata: Labels::from_pairs([("detected_level", level)]),
            };
            let labels = Labels::from_pairs([("app", format!("a{app}"))]);
            store.push(vec![LogStream { labels, entries: vec![entry] }]).unwrap();
            if !line.is_empty() {
                *expected.entry((level.to_owned(), at / 10 * 10)).or_default() += 1;
            }
        }
        store.flush().unwrap();
        let (patterns, _) = found(&store.snapshot(), ".+", (0, 60), 10);
        let mut counted: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for ((level, _), samples) in patterns {
            samples.into_iter().for_each(|(t, n)| *counted.entry((level.clone(), t)).or_default() += n);
        }
        prop_assert_eq!(counted, expected);
    }
}
