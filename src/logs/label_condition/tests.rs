//! Conditions on labels against brute force, over memory, new segments, merged ones and ones without the index.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::exec::clock::ManualClock;
use crate::logs::manifest::segment_file;
use crate::logs::partition::{NS_PER_DAY, name_of};
use crate::logs::segment_writer::{FOOTER_BYTES, Footer};
use crate::logs::{Direction, Options, PlanFacts, ScanRequest, Selection, Snapshot, Store};
use crate::model::{LogEntry, LogStream, MatchOp};

const NOON: i64 = 20_000 * NS_PER_DAY + NS_PER_DAY / 2;

fn options() -> Options {
    let clock = Arc::new(ManualClock::at_ms((NOON + NS_PER_DAY) / 1_000_000));
    Options { retention_ns: 0, background: false, clock, ..Options::default() }
}

fn request(labels: Vec<LabelCondition>) -> ScanRequest {
    ScanRequest {
        selection: Selection::Matchers(vec![]),
        start_ns: i64::MIN,
        end_ns: i64::MAX,
        direction: Direction::Forward,
        filters: vec![],
        labels,
        limit: None,
    }
}

fn is(name: &str, value: &str) -> LabelCondition {
    LabelCondition::Matches(Matcher::equal(name, value))
}

fn like(name: &str, regex: &str) -> LabelCondition {
    LabelCondition::Matches(Matcher::new(name, MatchOp::Regex, regex).unwrap())
}

/// Times and lines that a scan finds, and the same from pieces, whose rows are to be no others.
fn found(snapshot: &Snapshot, request: &ScanRequest) -> (Vec<(i64, String)>, PlanFacts) {
    let mut scanned = Vec::new();
    snapshot
        .scan(request, &mut |e| {
            scanned.push((e.timestamp, e.line.to_owned()));
            ControlFlow::Continue(())
        })
        .unwrap();
    scanned.sort();
    let pieces = snapshot.pieces(request).unwrap();
    let mut in_pieces = Vec::new();
    for piece in pieces.list() {
        match piece {
            crate::logs::Piece::Group(piece) => {
                let group = piece.open().unwrap();
                for row in piece.select(&group).unwrap().iter() {
                    let mut line = String::new();
                    group.line_into(row, &mut line).unwrap();
                    in_pieces.push((group.timestamps().unwrap()[row as usize], line));
                }
            }
            crate::logs::Piece::Lines(piece) => {
                let take = |e: crate::logs::ScannedEntry<'_>| {
                    in_pieces.push((e.timestamp, e.line.to_owned()));
                    ControlFlow::Continue(())
                };
                let mut take = take;
                piece.scan(&mut take).unwrap();
            }
        }
    }
    in_pieces.sort();
    assert_eq!(in_pieces, scanned);
    (scanned, pieces.facts().clone())
}

/// Makes of a day's segments such as older versions wrote: without what stands behind the groups in the directory.
fn without_pairs(dir: &Path) -> usize {
    let mut changed = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "segment") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let footer_at = bytes.len() - FOOTER_BYTES;
        let mut footer = Footer::decode(&bytes[footer_at..]).unwrap();
        let directory_at = footer_at - footer.directory_bytes as usize;
        // Each of the two: version, three bytes or fewer of length, checksum. The patterns stay.
        let directory = &bytes[directory_at..footer_at];
        let pairs_said =
            (6..=9).find(|n| directory[directory.len() - n] == crate::logs::index::pairs::VERSION).unwrap();
        let directory = &directory[..directory.len() - pairs_said];
        footer.directory_bytes = directory.len() as u64;
        footer.directory_crc = crc32c::crc32c(directory);
        let mut old = bytes[..directory_at].to_vec();
        old.extend_from_slice(directory);
        old.extend_from_slice(&footer.encode());
        fs::write(&path, old).unwrap();
        changed += 1;
    }
    changed
}

/// Of entry `i` the metadata, in every form that a column has.
fn metadata(i: i64) -> Labels {
    let (trace, n, padded) =
        (format!("{:032x}", i * 0x9e37_79b9_7f4a), (i * 7).to_string(), format!("{:06}", i % 5000));
    let (user, message, text) =
        (format!("u{}", i % 50), format!("took {i}ms of {}", i * 3), format!("ü/{}", "x".repeat(i as usize % 60)));
    let pairs = [
        ("trace_id", trace.as_str()),
        ("n", &n),
        ("padded", &padded),
        ("user", &user),
        ("message", &message),
        ("text", &text),
        ("zone", "eu"),
    ];
    Labels::from_pairs(pairs)
}

/// 20 000 entries in two segments: of the streams `a` and `b` every other one.
fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, options()).unwrap();
    for half in 0..2 {
        let stream = |app: &str, first: i64| {
            let entry = |i: i64| LogEntry {
                timestamp: NOON + i,
                line: format!("level={} i={i}", if i % 1000 == 0 { "error" } else { "info" }),
                metadata: metadata(i),
            };
            let entries = (half * 10_000..(half + 1) * 10_000).skip(first as usize).step_by(2).map(entry).collect();
            LogStream { labels: Labels::from_pairs([("app", app)]), entries }
        };
        store.push(vec![stream("a", 0), stream("b", 1)]).unwrap();
        store.flush().unwrap();
    }
    store
}

#[test]
fn one_entry_of_many_is_found_by_any_of_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let mut groups = 0;
    let mut check = |snapshot: &Snapshot, indexed: bool| {
        for i in [0, 1, 4_999, 9_999, 10_000, 19_999] {
            for name in ["trace_id", "n", "message"] {
                let wanted = request(vec![is(name, metadata(i).value(name))]);
                let (rows, facts) = found(snapshot, &wanted);
                assert_eq!(rows.iter().map(|r| r.0 - NOON).collect::<Vec<_>>(), [i], "{name}");
                groups = facts.groups;
                if indexed {
                    assert_eq!((facts.groups - facts.groups_ruled_out, facts.terms[0].1), (1, Some(1)), "{name}");
                } else {
                    assert_eq!((facts.groups_ruled_out, facts.terms[0].1), (0, None), "{name}");
                }
                assert_eq!(facts.terms[0].0, format!("{name}={}", metadata(i).value(name)));
            }
            let name = format!("({}|none)", metadata(i).value("padded"));
            let (rows, _) = found(snapshot, &request(vec![like("padded", &name), like("n", &format!("{}.*", i * 7))]));
            assert!(rows.iter().any(|r| r.0 == NOON + i), "{i}: {rows:?}");
        }
        // What is nowhere, what is everywhere, what only one stream can hold.
        for (conditions, rows) in [
            (vec![is("trace_id", "f00")], 0),
            (vec![is("none", "x")], 0),
            (vec![is("zone", "eu")], 20_000),
            (vec![is("app", "a")], 10_000),
            (vec![is("app", "a"), is("user", "u2")], 400),
            (vec![is("app", "b"), is("user", "u2")], 0),
            (vec![LabelCondition::AnyOf(vec![is("app", "b"), is("user", "u2")])], 10_400),
            (vec![is("text", "ü/x"), like("user", "u.*")], 334),
            (vec![is("detected_level", "error")], 20),
            (vec![like("detected_level", "error|info")], 20_000),
        ] {
            let (all, facts) = found(snapshot, &request(conditions.clone()));
            assert_eq!(all.len(), rows, "{conditions:?}");
            if indexed && rows == 0 && conditions.len() == 1 {
                assert_eq!((facts.rows_to_read, facts.groups_ruled_out), (0, facts.groups), "{conditions:?}");
            }
        }
    };
    check(&store.snapshot(), true);
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    check(&store.snapshot(), true);
    drop(store);
    assert_eq!(without_pairs(&dir.path().join("days").join(name_of(20_000))), 2);
    let store = Store::open(dir.path(), options()).unwrap();
    check(&store.snapshot(), false);
    assert!(groups >= 4, "{groups}");
    assert!(store.snapshot().segments().all(|s| s.pairs().is_none() && s.patterns().is_some()));
}

#[test]
fn a_day_of_an_older_version_is_answered_and_gets_its_pairs_when_it_is_merged() {
    let stored =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/logs_format_2_without_pairs/days/2023-11-14"));
    let dir = tempfile::tempdir().unwrap();
    let day = dir.path().join("days/2023-11-14");
    fs::create_dir_all(&day).unwrap();
    for entry in fs::read_dir(stored).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), day.join(entry.file_name())).unwrap();
    }
    let store = Store::open(dir.path(), options()).unwrap();
    let ask = |conditions: Vec<LabelCondition>| {
        let (rows, facts) = found(&store.snapshot(), &request(conditions));
        (rows.len(), facts.terms.first().and_then(|t| t.1))
    };
    for merged in [false, true] {
        let told = |blocks| merged.then_some(blocks);
        assert_eq!(ask(vec![]).0, 150);
        assert_eq!(ask(vec![is("trace_id", &format!("{:032x}", 95 * 7919))]), (1, told(1)));
        assert_eq!(ask(vec![is("trace_id", "f00")]), (0, told(0)));
        assert_eq!(ask(vec![is("app", "web"), is("user", "u2")]).0, 6);
        assert_eq!(ask(vec![is("detected_level", "error")]), (22, told(1)));
        if !merged {
            store.merge().unwrap();
            assert_eq!(store.snapshot().segments().count(), 1);
        }
    }
}

#[test]
fn a_damaged_index_of_pairs_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let path = dir.path().join("days").join(name_of(20_000)).join(segment_file(1));
    let mut bytes = fs::read(&path).unwrap();
    let footer = Footer::decode(&bytes[bytes.len() - FOOTER_BYTES..]).unwrap();
    // The last bytes before the dictionaries are those of the pairs.
    bytes[footer.groups_end as usize - 3] ^= 4;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let snapshot = store.snapshot();
    let known: Vec<bool> = snapshot.segments().map(|s| s.pairs().is_some()).collect();
    assert_eq!(known, [false, true]);
    for i in [17, 13_017] {
        let (rows, facts) = found(&snapshot, &request(vec![is("trace_id", metadata(i).value("trace_id"))]));
        assert_eq!(rows.iter().map(|r| r.0 - NOON).collect::<Vec<_>>(), [i]);
        assert_eq!(facts.terms[0].1, None);
    }
}

fn condition() -> impl Strategy<Value = LabelCondition> {
    let name = || prop::sample::select(vec!["app", "env", "id", "user", "detected_level"]);
    let value = || prop::sample::select(vec!["a", "b", "1", "2", "007", "error", "unknown", "odd", "x y"]);
    let leaf = prop_oneof![
        4 => (name(), value()).prop_map(|(n, v)| is(n, v)),
        1 => (name(), value(), value()).prop_map(|(n, a, b)| like(n, &format!("{a}|{b}"))),
        1 => name().prop_map(|n| like(n, "[a1].*")),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(LabelCondition::AllOf),
            prop::collection::vec(inner, 1..3).prop_map(LabelCondition::AnyOf),
        ]
    })
}

fn brute(condition: &LabelCondition, stream: &Labels, metadata: &Labels) -> bool {
    match condition {
        LabelCondition::Matches(m) => [stream, metadata].iter().any(|l| l.get(m.name()).is_some_and(|v| m.matches(v))),
        LabelCondition::AllOf(parts) => parts.iter().all(|p| brute(p, stream, metadata)),
        LabelCondition::AnyOf(parts) => parts.iter().any(|p| brute(p, stream, metadata)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conditions_equal_brute_force(
        batches in prop::collection::vec((
            prop::collection::vec((
                0..3usize,
                0..40i64,
                prop::collection::btree_map(
                    prop::sample::select(vec!["env", "id", "user", "detected_level"]),
                    prop::sample::select(vec!["a", "b", "1", "2", "007", "error", "odd", "x y"]),
                    0..3,
                ),
            ), 1..40),
            0..5u8,
        ), 1..8),
        queries in prop::collection::vec(prop::collection::vec(condition(), 1..3), 1..10),
    ) {
        let streams = [
            Labels::from_pairs([("app", "a"), ("service_name", "a")]),
            Labels::from_pairs([("app", "b"), ("env", "1"), ("service_name", "b")]),
            Labels::from_pairs([("app", "c"), ("env", "a"), ("user", "x y"), ("service_name", "c")]),
        ];
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), options()).unwrap();
        let mut model: BTreeMap<(usize, i64, Labels), String> = BTreeMap::new();
        for (entries, then) in &batches {
            let mut pushed: BTreeMap<usize, Vec<LogEntry>> = BTreeMap::new();
            for (stream, t, pairs) in entries {
                let own = Labels::from_pairs(pairs.iter().map(|(n, v)| (*n, *v)));
                let mut all = own.to_builder();
                if own.get("detected_level").is_none() {
                    all.set("detected_level", "unknown");
                }
                let line = format!("{stream} {t}");
                model.insert((*stream, NOON + t, all.build()), line.clone());
                pushed.entry(*stream).or_default().push(LogEntry { timestamp: NOON + t, line, metadata: own });
            }
            let lots = pushed.into_iter().map(|(s, entries)| LogStream { labels: streams[s].clone(), entries });
            store.push(lots.collect()).unwrap();
            match then {
                0 | 4 => store.flush().unwrap(),
                1 => store.merge().unwrap(),
                2 => {
                    drop(store);
                    store = Store::open(dir.path(), options()).unwrap();
                }
                _ => {}
            }
        }
        for conditions in queries {
            let mut expected: Vec<(i64, String)> = model
                .iter()
                .filter(|((s, _, own), _)| conditions.iter().all(|c| brute(c, &streams[*s], own)))
                .map(|((_, t, _), line)| (*t, line.clone()))
                .collect();
            expected.sort();
            let (rows, _) = found(&store.snapshot(), &request(conditions.clone()));
            prop_assert_eq!(rows, expected, "{:?}", conditions);
        }
    }
}
