//! Tests of the store as a whole: against brute force, against crashes, against damage.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::partition::NS_PER_DAY;
use super::*;
use crate::exec::clock::ManualClock;
use crate::model::{Labels, LogEntry, LogStream, MatchOp, Matcher};
use crate::text::go_regex::GoRegex;

/// Noon of a day.
const NOON: i64 = 20_000 * NS_PER_DAY + NS_PER_DAY / 2;

fn options() -> Options {
    let clock = Arc::new(ManualClock::at_ms((NOON + 2 * NS_PER_DAY) / 1_000_000));
    Options { retention_ns: 0, background: false, clock, ..Options::default() }
}

fn labels(app: &str) -> Labels {
    Labels::from_pairs([("app", app)])
}

fn stream(app: &str, entries: &[(i64, &str)]) -> LogStream {
    let entries =
        entries.iter().map(|(t, l)| LogEntry { timestamp: *t, line: (*l).to_owned(), metadata: Labels::empty() });
    LogStream { labels: labels(app), entries: entries.collect() }
}

type Row = (String, i64, String, Labels);

fn request(matchers: Vec<Matcher>, start_ns: i64, end_ns: i64, direction: Direction) -> ScanRequest {
    ScanRequest {
        selection: Selection::Matchers(matchers),
        start_ns,
        end_ns,
        direction,
        filters: vec![],
        labels: vec![],
        limit: None,
    }
}

fn rows(store: &Store, request: &ScanRequest) -> Vec<Row> {
    rows_of(&store.snapshot(), request)
}

fn rows_of(snapshot: &Snapshot, request: &ScanRequest) -> Vec<Row> {
    let mut out = Vec::new();
    snapshot
        .scan(request, &mut |e| {
            let app = snapshot.labels(e.stream).value("app").to_owned();
            out.push((app, e.timestamp, e.line.to_owned(), e.metadata.clone()));
            ControlFlow::Continue(())
        })
        .unwrap();
    out
}

fn everything(store: &Store) -> Vec<Row> {
    rows(store, &request(vec![], i64::MIN, i64::MAX, Direction::Forward))
}

fn lines(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|r| r.2.as_str()).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        // Files of merged segments may go away while this copies.
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            copy_dir(&entry.path(), &target);
        } else {
            let _gone = fs::copy(entry.path(), &target);
        }
    }
}

#[test]
fn searchable_at_once_and_after_a_flush_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let pushed =
        store.push(vec![stream("a", &[(NOON, "one"), (NOON + 2, "three"), (NOON + 1, "level=warn two")])]).unwrap();
    assert_eq!(pushed, Pushed { accepted: 3, ..Pushed::default() });
    let expected = ["one", "level=warn two", "three"];
    assert_eq!(lines(&everything(&store)), expected);
    store.flush().unwrap();
    let all = everything(&store);
    assert_eq!(lines(&all), expected);
    assert_eq!(all[1].3.get("detected_level"), Some("warn"));
    store.push(vec![stream("a", &[(NOON + 3, "four")])]).unwrap();
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(lines(&everything(&store)), ["one", "level=warn two", "three", "four"]);
    store.close().unwrap();
    assert!(matches!(store.push(vec![stream("a", &[(NOON, "late")])]), Err(Error::Closed)));
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(everything(&store).len(), 4);
    let found = store.streams(&[Matcher::equal("app", "a")], NOON, NOON + 1);
    assert_eq!(found.iter().map(|(_, l)| l.value("service_name")).collect::<Vec<_>>(), ["a"]);
    assert_eq!(store.label_names(&[], NOON, NOON + 9), ["app", "service_name"]);
    assert_eq!(store.label_values("app", &[], NOON, NOON + 9), ["a"]);
    assert_eq!(store.label_values("app", &[], 0, NOON), Vec::<String>::new());
}

#[test]
fn ranges_directions_and_limits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for round in 0..4 {
        let t = NOON + round * 10;
        store
            .push(vec![stream("a", &[(t, "a0"), (t + 4, "a4")]), stream("b", &[(t + 2, "b2"), (t + 4, "b4")])])
            .unwrap();
        if round % 2 == 0 {
            store.flush().unwrap();
        }
    }
    let times = |start, end, direction, limit| {
        let r = ScanRequest { limit, ..request(vec![], start, end, direction) };
        rows(&store, &r).iter().map(|r| (r.1 - NOON, r.0.clone())).collect::<Vec<_>>()
    };
    let at = |v: &[(i64, &str)]| v.iter().map(|(t, a)| (*t, (*a).to_owned())).collect::<Vec<_>>();
    assert_eq!(times(NOON + 4, NOON + 12, Direction::Forward, None), at(&[(4, "a"), (4, "b"), (10, "a")]));
    assert_eq!(times(NOON + 4, NOON + 12, Direction::Backward, Some(2)), at(&[(10, "a"), (4, "a")]));
    assert_eq!(times(0, i64::MAX, Direction::Backward, Some(3)), at(&[(34, "a"), (34, "b"), (32, "b")]));
    assert_eq!(times(0, i64::MAX, Direction::Backward, None).len(), 16);
    assert_eq!(times(0, i64::MAX, Direction::Backward, Some(0)), []);
    assert_eq!(times(NOON, NOON, Direction::Forward, None), []);
}

#[test]
fn exact_doubles_are_answered_once_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let push = || store.push(vec![stream("a", &[(NOON, "x"), (NOON, "x"), (NOON, "y"), (NOON + 1, "x")])]).unwrap();
    let check = |when: &str| {
        assert_eq!(lines(&everything(&store)), ["x", "y", "x"], "{when}");
        for by_level in [false, true] {
            let count = CountRequest {
                selection: Selection::Matchers(vec![]),
                boundaries: vec![NOON, NOON + 1, NOON + 5],
                filters: vec![],
                measure: Measure::Entries,
                by_level,
            };
            let counted = store.count(&count).unwrap();
            assert_eq!(counted.iter().map(|r| r.counts.clone()).collect::<Vec<_>>(), [[2, 1]], "{when}");
            assert_eq!(counted[0].level, by_level.then_some("unknown"), "{when}");
        }
    };
    assert_eq!(push().accepted, 3);
    check("in one batch");
    push();
    check("in two batches");
    store.flush().unwrap();
    check("in one segment");
    push();
    check("in a segment and a batch");
    for _ in 0..limits::MERGE_SEGMENTS {
        push();
        store.flush().unwrap();
    }
    check("in many segments");
    store.merge().unwrap();
    assert_eq!(store.snapshot().segments().count(), 1);
    check("in a merged segment");
}

#[test]
fn a_crash_between_two_days_neither_loses_nor_doubles() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.push(vec![stream("a", &[(NOON, "day one"), (NOON + NS_PER_DAY, "day two")])]).unwrap();
    let before = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), before.path());
    store.flush().unwrap();
    // As if the process had died after the first day's commit: its folder is new, the rest is old.
    let day = partition::name_of(20_000);
    fs::remove_dir_all(before.path().join("days").join(&day)).unwrap();
    copy_dir(&dir.path().join("days").join(&day), &before.path().join("days").join(&day));
    drop(store);
    for _ in 0..2 {
        let store = Store::open(before.path(), options()).unwrap();
        assert_eq!(lines(&everything(&store)), ["day one", "day two"]);
        store.flush().unwrap();
        assert_eq!(lines(&everything(&store)), ["day one", "day two"]);
    }
}

#[test]
fn a_crash_at_any_step_of_a_flush_or_a_merge_neither_loses_nor_doubles() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let push = |i: i64| store.push(vec![stream("a", &[(NOON + i, "line")])]).unwrap();
    for i in 1..limits::MERGE_SEGMENTS as i64 {
        push(i);
        store.flush().unwrap();
    }
    push(0);
    let expected = everything(&store);
    let day = Path::new("days").join(partition::name_of(20_000));
    let steps: [(&str, &dyn Fn()); 2] = [("flush", &|| store.flush().unwrap()), ("merge", &|| store.merge().unwrap())];
    for (name, act) in steps {
        let before = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), before.path());
        act();
        let (old, new) = (before.path().join(&day), dir.path().join(&day));
        let segment = fs::read_dir(&new)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .find(|f| f.to_str().unwrap().ends_with(".segment") && !old.join(f).exists())
            .unwrap();
        let content = fs::read(new.join(&segment)).unwrap();
        let temporary = format!("{}.tmp", segment.to_str().unwrap());
        for step in 0..4 {
            let at = tempfile::tempdir().unwrap();
            copy_dir(before.path(), at.path());
            let at_day = at.path().join(&day);
            match step {
                0 => fs::write(at_day.join(&temporary), &content[..content.len() / 2]).unwrap(),
                1 => fs::write(at_day.join(&segment), &content).unwrap(),
                2 => {
                    fs::write(at_day.join(&segment), &content).unwrap();
                    fs::write(at_day.join("manifest.tmp"), "cover").unwrap();
                }
                // Listed, and what it replaces is not removed.
                _ => {
                    fs::write(at_day.join(&segment), &content).unwrap();
                    fs::copy(new.join(manifest::FILE), at_day.join(manifest::FILE)).unwrap();
                }
            }
            for _ in 0..2 {
                let opened = Store::open(at.path(), options()).unwrap();
                assert_eq!(everything(&opened), expected, "{name}, step {step}");
                opened.flush().unwrap();
                assert_eq!(everything(&opened), expected, "{name}, step {step}, flushed");
            }
        }
    }
}

#[test]
fn copies_taken_at_any_moment_under_load_hold_what_was_acknowledged_once() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options {
        flush_bytes: 60_000,
        flush_interval: std::time::Duration::from_millis(50),
        background: true,
        ..options()
    };
    let store = Store::open(dir.path(), small()).unwrap();
    let acknowledged = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0u64;
            while !stop.load(Ordering::SeqCst) {
                let batch: Vec<(i64, String)> = (n..n + 20)
                    .map(|i| (NOON + (i as i64 % 3) * NS_PER_DAY / 2 + i as i64, format!("line {i}")))
                    .collect();
                let entries: Vec<(i64, &str)> = batch.iter().map(|(t, l)| (*t, l.as_str())).collect();
                store.push(vec![stream("a", &entries)]).unwrap();
                n += 20;
                acknowledged.store(n, Ordering::SeqCst);
            }
        });
        for _ in 0..4 {
            let seen = acknowledged.load(Ordering::SeqCst);
            while acknowledged.load(Ordering::SeqCst) < seen + 600 {
                std::thread::yield_now();
            }
            // A copy is no snapshot: the WAL is copied first, so what it holds may also be in a later commit, and what was
            // acknowledged before must be in one of them. (The real kill -9 is tested on the built binary.)
            let floor = acknowledged.load(Ordering::SeqCst);
            let copy = tempfile::tempdir().unwrap();
            copy_dir(&dir.path().join("wal"), &copy.path().join("wal"));
            let _no_commit = lock_flush(&store);
            copy_dir(&dir.path().join("days"), &copy.path().join("days"));
            drop(_no_commit);
            let reopened = Store::open(copy.path(), options()).unwrap();
            let mut numbers: Vec<u64> =
                everything(&reopened).iter().map(|r| r.2.strip_prefix("line ").unwrap().parse().unwrap()).collect();
            numbers.sort_unstable();
            let found = numbers.len() as u64;
            numbers.dedup();
            assert_eq!(numbers.len() as u64, found, "doubled");
            let missing: Vec<u64> = (0..floor).filter(|i| numbers.binary_search(i).is_err()).collect();
            assert_eq!(missing, Vec::<u64>::new(), "of {floor} acknowledged, {found} found");
        }
        stop.store(true, Ordering::SeqCst);
    });
    let total = acknowledged.load(Ordering::SeqCst);
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(everything(&store).len() as u64, total);
}

fn lock_flush(store: &Store) -> impl Drop + '_ {
    store.hold_flushes()
}

#[test]
fn a_torn_tail_costs_the_torn_batch_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for i in 0..3 {
        store.push(vec![stream("a", &[(NOON + i, "line")])]).unwrap();
    }
    drop(store);
    let segment = fs::read_dir(dir.path().join("wal")).unwrap().map(|e| e.unwrap().path()).max().unwrap();
    let whole = fs::read(&segment).unwrap();
    for cut in [1, 5, 20] {
        fs::write(&segment, &whole[..whole.len() - cut]).unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let store = Store::open(copy.path(), options()).unwrap();
        assert_eq!(everything(&store).len(), 2, "cut {cut}");
        store.push(vec![stream("a", &[(NOON + 9, "after")])]).unwrap();
        drop(store);
        assert_eq!(everything(&Store::open(copy.path(), options()).unwrap()).len(), 3);
    }
}

#[test]
fn damage_is_set_aside_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.push(vec![stream("a", &[(NOON, "day one"), (NOON + NS_PER_DAY, "day two")])]).unwrap();
    store.flush().unwrap();
    store.push(vec![stream("a", &[(NOON + NS_PER_DAY + 1, "day two, again")])]).unwrap();
    store.flush().unwrap();
    drop(store);
    let days = dir.path().join("days");
    let first = days.join(partition::name_of(20_000));
    fs::write(first.join(manifest::FILE), "not a list").unwrap();
    // One segment of the second day loses its end.
    let second = days.join(partition::name_of(20_001)).join(manifest::segment_file(1));
    let content = fs::read(&second).unwrap();
    fs::write(&second, &content[..content.len() / 2]).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(everything(&store).len(), 1);
    assert!(days.join(format!("{}.damaged0", partition::name_of(20_000))).is_dir());
    store.push(vec![stream("a", &[(NOON, "new day one"), (NOON + NS_PER_DAY, "new")])]).unwrap();
    store.flush().unwrap();
    assert_eq!(everything(&store).len(), 3);
}

#[test]
fn a_changed_byte_in_a_segment_gives_no_wrong_line() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let text: Vec<String> = (0..40).map(|i| format!("level=info n={i} id=a{}b msg=\"took {i}ms\"", i * 977)).collect();
    let entries: Vec<(i64, &str)> = (0..).zip(&text).map(|(i, l)| (NOON + i, l.as_str())).collect();
    store.push(vec![stream("a", &entries)]).unwrap();
    store.flush().unwrap();
    let all = request(vec![], i64::MIN, i64::MAX, Direction::Forward);
    let needle = ScanRequest { filters: vec![LineFilter::Contains("id=a977b".to_owned())], ..all.clone() };
    let info = LabelCondition::Matches(Matcher::equal("detected_level", "info"));
    let by_level = ScanRequest { labels: vec![info], ..all.clone() };
    let whole = store.snapshot();
    let stream = whole.segments().next().unwrap().stream(0).unwrap();
    let expected = rows_of(&whole, &all);
    assert_eq!((expected.len(), rows_of(&whole, &needle).len()), (40, 1));
    let content =
        fs::read(dir.path().join("days").join(partition::name_of(20_000)).join(manifest::segment_file(1))).unwrap();
    for at in 0..content.len() {
        let mut changed = content.clone();
        changed[at] ^= 1 << (at % 8);
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("1.segment"), &changed).unwrap();
        let opened = segment::SegmentView::open(copy.path(), "a day", 1, "1.segment", [stream].as_slice().into());
        let Ok(view) = opened else { continue };
        let snapshot = Snapshot {
            partitions: vec![Arc::new(partition::PartitionView { day: 20_000, segments: vec![Arc::new(view)] })],
            frozen: None,
            active: vec![],
            streams: whole.streams.clone(),
        };
        let found = rows_of(&snapshot, &all);
        assert!(found.is_empty() || found == expected, "byte {at} of {}: {} rows", content.len(), found.len());
        // With a damaged index the lines are found all the same.
        if !found.is_empty() {
            assert_eq!(rows_of(&snapshot, &needle).len(), 1, "byte {at}");
            assert_eq!(rows_of(&snapshot, &by_level).len(), 40, "byte {at}");
        }
    }
}

#[test]
fn segments_are_copied_or_rewritten_when_they_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    // Above the limit up to which rows are rewritten, so that groups and indexes are merged as they are.
    let per_segment = limits::MAX_REWRITTEN_ROWS as i64 / 8 + 1;
    for s in 0..8 {
        let text: Vec<String> = (0..per_segment).map(|i| format!("n={} s={s}", i + s * per_segment)).collect();
        let entries: Vec<(i64, &str)> =
            (0..).zip(&text).map(|(i, l)| (NOON + s * per_segment + i, l.as_str())).collect();
        store.push(vec![stream("a", &entries)]).unwrap();
        store.flush().unwrap();
    }
    let find = |n: i64| {
        let needle = ScanRequest {
            filters: vec![LineFilter::Contains(format!("n={n} "))],
            ..request(vec![], i64::MIN, i64::MAX, Direction::Forward)
        };
        rows(&store, &needle).len()
    };
    assert_eq!(find(per_segment * 5 + 3), 1);
    store.merge().unwrap();
    assert_eq!(store.snapshot().segments().count(), 1);
    let (groups, index) = {
        let snapshot = store.snapshot();
        let segment = snapshot.segments().next().unwrap();
        (segment.groups().count() as i64, segment.index().is_some())
    };
    assert!(index && groups >= per_segment * 8 / limits::GROUP_ROWS as i64);
    let level = index::pairs::NameSeed::of("detected_level").term(b"unknown");
    let blocks_with_level = store.snapshot().segments().next().unwrap().pairs().unwrap().blocks_of(level);
    assert_eq!(blocks_with_level.len(), 8 * (per_segment as usize).div_ceil(limits::BLOCK_ROWS as usize));
    assert_eq!(blocks_with_level.last(), Some(&((groups as u32 - 1) * limits::BLOCKS_PER_GROUP)));
    let wanted = PatternRequest {
        selection: Selection::Matchers(vec![]),
        start_ns: NOON,
        end_ns: i64::MAX,
        step_ns: NS_PER_DAY,
    };
    let (patterns, _) = store.snapshot().patterns(&wanted);
    let patterns: Vec<_> = patterns.iter().map(|p| (p.line.as_str(), p.samples.as_slice())).collect();
    assert_eq!(patterns, [("n=\u{1} s=\u{1}", &[(NOON - NS_PER_DAY / 2, per_segment as u64 * 8)][..])]);
    for n in [0, per_segment - 1, per_segment, per_segment * 8 - 1] {
        assert_eq!(find(n), 1, "{n}");
    }
    assert_eq!(find(per_segment * 8), 0);
}

#[test]
fn pieces_hold_every_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    // Two segments that overlap by a stretch with doubles in it, and entries in memory.
    let push = |range: std::ops::Range<i64>| {
        let text: Vec<String> = range.clone().map(|i| format!("n={i}")).collect();
        let entries: Vec<(i64, &str)> = range.zip(&text).map(|(i, l)| (NOON + i, l.as_str())).collect();
        store.push(vec![stream("a", &entries)]).unwrap();
    };
    push(0..100);
    store.flush().unwrap();
    push(90..200);
    store.flush().unwrap();
    push(195..220);
    let snapshot = store.snapshot();
    let pieces = snapshot.pieces(&request(vec![], NOON + 5, NOON + 215, Direction::Forward)).unwrap();
    let mut found = Vec::new();
    let mut as_columns = 0;
    for piece in pieces.list() {
        match piece {
            Piece::Group(piece) => {
                let group = piece.open().unwrap();
                for row in piece.select(&group).unwrap().iter() {
                    let mut line = String::new();
                    group.line_into(row, &mut line).unwrap();
                    found.push((group.timestamps().unwrap()[row as usize], line));
                    as_columns += 1;
                }
            }
            Piece::Lines(piece) => {
                piece
                    .scan(&mut |e| {
                        found.push((e.timestamp, e.line.to_owned()));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
            }
        }
    }
    found.sort();
    assert_eq!(found, (5..215).map(|i| (NOON + i, format!("n={i}"))).collect::<Vec<_>>());
    assert_eq!(as_columns, 85 + 95);
    let facts = pieces.facts();
    assert_eq!((facts.partitions, facts.segments, facts.groups, facts.streams), (1, 2, 2, 1));
}

#[test]
fn a_day_of_format_1_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/logs_format_1")), dir.path());
    // As if a rewriting had been interrupted.
    fs::create_dir_all(dir.path().join("days/2023-11-14.new")).unwrap();
    let base = 1_700_000_000i64;
    let time = |i: i64| (base + i) * 1_000_000_000 + i;
    let mut expected: Vec<(i64, String, String)> = Vec::new();
    for i in 0..60 {
        let nginx = format!("10.0.{}.{i} - - \"GET /a?q={i} HTTP/1.1\" {} {}", i % 4, 200 + i % 3, i * 37);
        expected.push((time(i), "nginx".to_owned(), nginx));
        let level = if i % 7 == 0 { "error" } else { "info" };
        let api = format!(
            "{{\"level\": \"{level}\", \"msg\": \"request done\", \"status\": {}, \"trace_id\": \"{:032x}\"}}",
            200 + i,
            i * 7919
        );
        expected.push((time(i), "api".to_owned(), api));
    }
    for i in 0..20 {
        expected.push((time(90_000 + i), "api".to_owned(), format!("level=warn msg=\"late {i}\" n={i}")));
    }
    expected.push((time(90_000), "new".to_owned(), String::new()));
    expected.push((time(90_001), "new".to_owned(), "plain".to_owned()));
    expected.sort();
    for _ in 0..2 {
        let store = Store::open(dir.path(), options()).unwrap();
        let found = everything(&store);
        let mut plain: Vec<(i64, String, String)> = found.iter().map(|r| (r.1, r.0.clone(), r.2.clone())).collect();
        plain.sort();
        assert_eq!(plain, expected);
        let seventh = found.iter().find(|r| r.1 == time(7) && r.0 == "api").unwrap();
        let metadata = [("detected_level", "error"), ("trace_id", "t7"), ("user", "ü")];
        assert_eq!(seventh.3, Labels::from_pairs(metadata));
        let names: Vec<String> = fs::read_dir(dir.path().join("days"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().all(|n| partition::day_of_name(n).is_some()) && names.len() == 2, "{names:?}");
    }
}

#[test]
fn refusals_are_told_and_the_rest_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Store::open(dir.path(), Options { retention_ns: 10 * NS_PER_DAY, max_line_bytes: 8, ..options() }).unwrap();
    let old = NOON - 9 * NS_PER_DAY;
    let new = NOON + 3 * NS_PER_DAY;
    let many = LogStream {
        labels: Labels::from_pairs((0..100).map(|i| (format!("l{i}"), "v"))),
        entries: vec![LogEntry { timestamp: NOON, line: "x".to_owned(), metadata: Labels::empty() }],
    };
    let pushed = store.push(vec![stream("a", &[(old, "old"), (new, "new"), (NOON, "123456é9")]), many]).unwrap();
    assert_eq!((pushed.accepted, pushed.refused_entries), (1, 3));
    for part in ["has timestamp too old", "{app=\"a\", service_name=\"a\"}' has timestamp too new", "100 label names"] {
        assert!(pushed.refused.iter().any(|m| m.contains(part)), "{part}: {:?}", pushed.refused);
    }
    assert_eq!(lines(&everything(&store)), ["123456é"]);
    let refuse = Options { oversize: Oversize::Refuse, max_line_bytes: 8, ..options() };
    let other = tempfile::tempdir().unwrap();
    let pushed = Store::open(other.path(), refuse).unwrap().push(vec![stream("a", &[(NOON, "123456789")])]).unwrap();
    assert_eq!((pushed.accepted, pushed.refused_entries), (0, 1));
}

#[test]
fn retention_drops_whole_days() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(NOON / 1_000_000));
    let o = || Options { retention_ns: 3 * NS_PER_DAY, clock: clock.clone(), ..options() };
    let store = Store::open(dir.path(), o()).unwrap();
    let entries: Vec<(i64, &str)> = (0..3).map(|d| (NOON - d * NS_PER_DAY, "x")).collect();
    store.push(vec![stream("a", &entries)]).unwrap();
    store.flush().unwrap();
    clock.set_ms((NOON + 2 * NS_PER_DAY) / 1_000_000);
    store.apply_retention().unwrap();
    assert_eq!(everything(&store).len(), 2);
    drop(store);
    let by_size = Options { retention_bytes: 1, retention_ns: 0, ..o() };
    let store = Store::open(dir.path(), by_size).unwrap();
    assert_eq!(everything(&store).len(), 2);
    store.apply_retention().unwrap();
    assert_eq!(everything(&store).iter().map(|r| r.1).collect::<Vec<_>>(), [NOON]);
    assert_eq!(fs::read_dir(dir.path().join("days")).unwrap().count(), 1);
}

#[test]
fn a_full_buffer_refuses_and_a_flush_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    let o = Options { max_buffer_bytes: 200, max_wait: std::time::Duration::ZERO, ..options() };
    let store = Store::open(dir.path(), o).unwrap();
    store.push(vec![stream("a", &[(NOON, &"x".repeat(150))])]).unwrap();
    assert!(matches!(store.push(vec![stream("a", &[(NOON, "more")])]), Err(Error::Busy { .. })));
    store.flush().unwrap();
    store.push(vec![stream("a", &[(NOON, "more")])]).unwrap();
    assert_eq!(everything(&store).len(), 2);
}

#[test]
fn a_disk_that_refuses_is_an_error_until_it_takes_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    // A file where the day's folder should be stands for a disk that does not let it be made.
    let in_the_way = dir.path().join("days").join(partition::name_of(20_000));
    fs::write(&in_the_way, "").unwrap();
    let push = || store.push(vec![stream("a", &[(NOON, "x")])]);
    assert!(matches!(push(), Err(Error::Io { .. })));
    assert!(everything(&store).is_empty());
    fs::remove_file(&in_the_way).unwrap();
    push().unwrap();
    assert_eq!(everything(&store).len(), 1);
}

#[test]
fn the_feed_gives_what_is_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let mut feed = store.subscribe();
    store.push(vec![stream("a", &[(NOON, "hello")])]).unwrap();
    let batch = feed.try_recv().unwrap();
    let group = &batch.groups()[0];
    assert_eq!((group.labels.value("app"), batch.line(&group.entries[0])), ("a", "hello"));
}

#[test]
fn metadata_comes_back_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let entry = |t, pairs: &[(&str, &str)]| LogEntry {
        timestamp: t,
        line: "x".to_owned(),
        metadata: Labels::from_pairs(pairs.iter().copied()),
    };
    let entries = vec![
        entry(NOON, &[("trace.id", "t1"), ("0num", "n")]),
        entry(NOON + 1, &[("detected_level", "odd")]),
        entry(NOON + 2, &[]),
    ];
    store.push(vec![LogStream { labels: labels("a"), entries }]).unwrap();
    let expected = [
        Labels::from_pairs([("trace_id", "t1"), ("key_0num", "n"), ("detected_level", "unknown")]),
        Labels::from_pairs([("detected_level", "odd")]),
        Labels::from_pairs([("detected_level", "unknown")]),
    ];
    let found = |s: &Store| everything(s).into_iter().map(|r| r.3).collect::<Vec<_>>();
    assert_eq!(found(&store), expected);
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(found(&store), expected);
    store.flush().unwrap();
    assert_eq!(found(&store), expected);
}

/// Pieces of lines and needles: words that overlap, ids, delimiters, letters outside ASCII.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["alpha", "alphabet", "beta", "bet", "a1", "a12", "12", "7", "ünï", "GET", "get"])
            .prop_map(str::to_owned),
        prop::sample::select(vec![" ", "=", "/", "-", "", "\"", "a", "1"]).prop_map(str::to_owned),
        Just("x".repeat(limits::MAX_TOKEN_BYTES - 1)),
    ]
}

fn text(max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..max).prop_map(|v| v.concat())
}

fn filter() -> impl Strategy<Value = LineFilter> {
    prop_oneof![
        4 => text(4).prop_map(LineFilter::Contains),
        1 => text(3).prop_map(LineFilter::NotContains),
        2 => (text(3), text(2)).prop_map(|(a, b)| {
            LineFilter::Regex(GoRegex::unanchored(&format!("{}.?{}", regex::escape(&a), regex::escape(&b))).unwrap())
        }),
        1 => (text(2), text(2)).prop_map(|(a, b)| {
            LineFilter::Regex(GoRegex::unanchored(&format!("(?i){}|{}", regex::escape(&a), regex::escape(&b))).unwrap())
        }),
        1 => text(2).prop_map(|a| LineFilter::NotRegex(GoRegex::unanchored(&regex::escape(&a)).unwrap())),
        1 => prop::collection::vec(text(3).prop_map(LineFilter::Contains), 1..3).prop_map(LineFilter::AnyOf),
    ]
}

fn brute(filter: &LineFilter, line: &str) -> bool {
    match filter {
        LineFilter::Contains(s) => line.contains(s.as_str()),
        LineFilter::NotContains(s) => !line.contains(s.as_str()),
        LineFilter::Regex(r) => r.is_match(line),
        LineFilter::NotRegex(r) => !r.is_match(line),
        LineFilter::AnyOf(f) => f.iter().any(|f| brute(f, line)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_brute_force(
        batches in prop::collection::vec((prop::collection::vec((0..3u8, 0..12i64, text(6)), 1..12), 0..4u8), 1..10),
        queries in prop::collection::vec((prop::collection::vec(filter(), 0..3), 0..12i64, 0..14i64, any::<bool>(), prop::option::of(0..9usize)), 1..12),
        // Four steps of time are a day, so that partitions differ; or all is in one, where runs of a stream overlap.
        step in prop::sample::select(vec![NS_PER_DAY / 4, 1_000_000]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), options()).unwrap();
        // (stream, time, line), once each, as the store is to answer it.
        let mut model: BTreeMap<(i64, String), Vec<String>> = BTreeMap::new();
        let time = |t: i64| NOON + (t - 6) * step;
        for (entries, then) in &batches {
            let mut pushed: BTreeMap<String, Vec<(i64, &str)>> = BTreeMap::new();
            for (app, t, line) in entries {
                let app = format!("app{app}");
                pushed.entry(app.clone()).or_default().push((time(*t), line));
                let same = model.entry((time(*t), app)).or_default();
                if !same.contains(line) {
                    same.push(line.clone());
                }
            }
            store.push(pushed.iter().map(|(app, e)| stream(app, e)).collect()).unwrap();
            match then {
                0 => store.flush().unwrap(),
                1 => store.merge().unwrap(),
                2 => {
                    drop(store);
                    store = Store::open(dir.path(), options()).unwrap();
                }
                _ => {}
            }
        }
        for (filters, start, end, forward, limit) in &queries {
            let (start_ns, end_ns) = (time(*start), time(*end));
            let direction = if *forward { Direction::Forward } else { Direction::Backward };
            let matchers = vec![Matcher::new("app", MatchOp::NotEqual, "app1").unwrap()];
            let mut expected: Vec<(i64, String, String)> = model
                .iter()
                .filter(|((t, app), _)| *t >= start_ns && *t < end_ns && app != "app1")
                .flat_map(|((t, app), lines)| lines.iter().map(|l| (*t, app.clone(), l.clone())))
                .filter(|(_, _, l)| filters.iter().all(|f| brute(f, l)))
                .collect();
            let request = ScanRequest { filters: filters.clone(), limit: *limit, ..request(matchers, start_ns, end_ns, direction) };
            let found = rows(&store, &request);
            let times: Vec<i64> = found.iter().map(|r| r.1).collect();
            let mut in_order = times.clone();
            in_order.sort_unstable();
            if !forward {
                in_order.reverse();
            }
            prop_assert_eq!(&times, &in_order);
            let mut found: Vec<(i64, String, String)> = found.into_iter().map(|r| (r.1, r.0, r.2)).collect();
            found.sort();
            expected.sort();
            match limit {
                None => {
                    prop_assert_eq!(&found, &expected, "{:?}", filters);
                    let count = CountRequest {
                        selection: request.selection.clone(),
                        boundaries: vec![start_ns, start_ns.midpoint(end_ns).max(start_ns), end_ns.max(start_ns)],
                        filters: filters.clone(),
                        measure: Measure::Entries,
                        by_level: false,
                    };
                    let sum = |count: &CountRequest| -> u64 {
                        store.count(count).unwrap().iter().flat_map(|r| r.counts.iter()).sum()
                    };
                    prop_assert_eq!(sum(&count) as usize, expected.len());
                    prop_assert_eq!(sum(&CountRequest { by_level: true, ..count.clone() }) as usize, expected.len());
                    let bytes = CountRequest { measure: Measure::Bytes, ..count };
                    prop_assert_eq!(sum(&bytes) as usize, expected.iter().map(|r| r.2.len()).sum::<usize>());
                }
                Some(limit) => {
                    let mut times: Vec<i64> = expected.iter().map(|r| r.0).collect();
                    if !forward {
                        times.reverse();
                    }
                    times.truncate(*limit);
                    let mut got: Vec<i64> = found.iter().map(|r| r.0).collect();
                    if !forward {
                        got.reverse();
                    }
                    prop_assert_eq!(got, times);
                    prop_assert!(found.iter().all(|r| expected.contains(r)));
                }
            }
        }
    }
}
