//! What is left after the log was cut, damaged or could not be written.

use std::fs;
use std::sync::Arc;

use super::{T0, content, histogram, labels, open, options, put};
use crate::disk::wal::segment;
use crate::exec::clock::ManualClock;
use crate::model::{Exemplar, Labels, Metadata, MetricType};
use crate::tsdb::{Db, Error};

#[test]
fn cut_at_every_byte_all_batches_before_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    let log = segment::path(&dir.path().join("wal"), 0);
    let mut states = vec![(8, content(&db, i64::MIN, i64::MAX))];
    for n in 0..6 {
        let mut a = db.appender();
        for i in 0..=n {
            let r = a.series(&labels(i)).unwrap();
            a.float(r, T0 + n as i64 * 1000, n as f64 / 8.0, T0 - 5).unwrap();
        }
        let r = a.series(&labels(9)).unwrap();
        a.histogram(r, T0 + n as i64, &histogram(n as u64), 0).unwrap();
        a.exemplar(r, &Exemplar { labels: Labels::empty(), value: 1.0, timestamp: Some(n as i64) }).unwrap();
        a.commit().unwrap();
        states.push((fs::metadata(&log).unwrap().len(), content(&db, i64::MIN, i64::MAX)));
    }
    drop(db);
    let whole = fs::read(&log).unwrap();
    assert_eq!(whole.len() as u64, states.last().unwrap().0);
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wal")).unwrap();
        fs::write(segment::path(&dir.path().join("wal"), 0), &whole[..cut]).unwrap();
        let want = states.iter().rev().find(|s| s.0 <= cut as u64).map_or(&states[0].1, |s| &s.1);
        let db = open(dir.path(), &clock);
        assert_eq!(&content(&db, i64::MIN, i64::MAX), want, "cut at {cut}");
        // The store goes on, and the next start sees both.
        put(&db, 20, T0, 1.0);
        let before = content(&db, i64::MIN, i64::MAX);
        drop(db);
        assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), before, "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_costs_at_most_the_batches_from_there_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    for n in 0..4 {
        put(&db, n, T0, n as f64);
    }
    let all = content(&db, i64::MIN, i64::MAX);
    drop(db);
    let whole = fs::read(segment::path(&dir.path().join("wal"), 0)).unwrap();
    for at in 0..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wal")).unwrap();
        let mut bad = whole.clone();
        bad[at] ^= 0x41;
        fs::write(segment::path(&dir.path().join("wal"), 0), &bad).unwrap();
        let left = content(&open(dir.path(), &clock), i64::MIN, i64::MAX);
        assert!(left.iter().all(|s| all.contains(s)), "byte {at}: made up a sample");
        assert!(left.len() < 4, "byte {at}: not noticed");
    }
}

/// What can be read of metric `m`: series whose chunks are damaged are left out.
fn readable(db: &Db) -> Vec<(Labels, i64, u64)> {
    let selection = db.select(&[crate::model::Matcher::equal("__name__", "m")], i64::MIN, i64::MAX).unwrap();
    let mut out = Vec::new();
    for i in 0..selection.len() {
        let mut c = crate::tsdb::Column::default();
        if selection.read(i, i64::MIN, i64::MAX, &mut c).is_ok() {
            out.extend(c.t.iter().zip(&c.v).map(|(t, v)| (selection.labels(i), *t, v.to_bits())));
        }
    }
    out
}

#[test]
fn a_flipped_byte_in_a_block_costs_no_more_than_the_block() {
    const HOUR: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    for n in 0..14 {
        let t = T0 + n * HOUR / 2;
        clock.set_ms(t);
        // Other series in the second block, so that a damaged chunk of the first does not hide them.
        put(&db, if n < 4 { 0 } else { 1 }, t, n as f64 / 3.0);
    }
    db.maintain().unwrap();
    let all = readable(&db);
    let first = db.shared.read_blocks()[0].dir.clone();
    assert_eq!((all.len(), db.shared.read_blocks().len()), (14, 2));
    drop(db);
    let name = first.strip_prefix(dir.path()).unwrap().to_owned();
    let mut noticed = 0;
    for file in ["meta.json", "index", "chunks"] {
        let whole = fs::read(first.join(file)).unwrap();
        for at in 0..whole.len() {
            let copy = tempfile::tempdir().unwrap();
            assert!(copy_dir(dir.path(), copy.path()));
            let mut bad = whole.clone();
            bad[at] ^= 1 << (at % 7);
            fs::write(copy.path().join(&name).join(file), &bad).unwrap();
            let db = open(copy.path(), &clock);
            let left = readable(&db);
            assert!(left.iter().all(|s| all.contains(s)), "{file} byte {at}: made up a sample");
            assert!(left.len() >= 10, "{file} byte {at}: {} samples of other parts are lost", 14 - left.len());
            noticed += usize::from(left.len() < 14);
            // It goes on, whatever was found.
            put(&db, 2, T0 + 13 * HOUR / 2 + 1, 1.0);
            db.maintain().unwrap();
        }
    }
    assert!(noticed > 100, "{noticed}");
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) -> bool {
    fs::read_dir(from).unwrap().map(Result::unwrap).all(|e| {
        let target = to.join(e.file_name());
        if e.file_type().unwrap().is_dir() {
            fs::create_dir(&target).is_ok() && copy_dir(&e.path(), &target)
        } else {
            fs::copy(e.path(), target).is_ok()
        }
    })
}

#[test]
fn a_failed_write_shows_nothing_and_the_next_may_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    // Each commit begins a new segment; without the folder that fails.
    let db = Db::open(dir.path(), crate::tsdb::Options { wal_segment_bytes: 1, ..options(&clock) }).unwrap();
    put(&db, 0, T0, 1.0);
    let before = content(&db, i64::MIN, i64::MAX);
    let (wal, away) = (dir.path().join("wal"), dir.path().join("away"));
    fs::rename(&wal, &away).unwrap();
    let mut a = db.appender();
    for i in 0..3 {
        let r = a.series(&labels(i)).unwrap();
        a.float(r, T0 + 1, 2.0, 0).unwrap();
    }
    assert!(matches!(a.commit(), Err(Error::Wal { .. })));
    assert_eq!(content(&db, i64::MIN, i64::MAX), before);
    fs::rename(&away, &wal).unwrap();
    // The series made by the failed batch are defined in the log now.
    put(&db, 2, T0 + 2, 3.0);
    let after = content(&db, i64::MIN, i64::MAX);
    assert_eq!(after.len(), 2);
    drop(db);
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), after);
}

#[test]
fn annotations_outlive_a_restart_and_the_segments_they_came_in() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    // One segment for each commit, so that each can be retired.
    let db = Db::open(dir.path(), crate::tsdb::Options { wal_segment_bytes: 1, ..options(&clock) }).unwrap();
    let help = Metadata { metric_type: MetricType::Counter, help: "says what it is".into(), unit: String::new() };
    let e = Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 0.5, timestamp: Some(T0) };
    let mut a = db.appender();
    let r = a.series(&labels(0)).unwrap();
    a.float(r, T0, 1.0, 0).unwrap();
    a.exemplar(r, &e).unwrap();
    a.exemplar(r, &e).unwrap();
    a.metadata("m", &help);
    a.commit().unwrap();
    for hour in 1..6 {
        clock.set_ms(T0 + hour * 3_600_000);
        put(&db, 0, T0 + hour * 3_600_000, hour as f64);
    }
    let all = vec![vec![crate::model::Matcher::equal("i", "0")]];
    for round in 0..3 {
        assert_eq!(db.exemplars(&all, T0, T0).unwrap(), [(labels(0), vec![e.clone()])], "{round}");
        assert_eq!(db.exemplars(&all, T0 + 1, T0 + 2).unwrap(), []);
        assert_eq!(db.metadata(None, 5), [("m".to_owned(), vec![help.clone()])]);
        assert_eq!((db.metadata(Some("m"), 1).len(), db.metadata(Some("other"), 1).len()), (1, 0));
        db.maintain().unwrap();
    }
    assert!(segment::list(&dir.path().join("wal")).unwrap()[0] > 0, "the first segment is retired");
    let before = content(&db, i64::MIN, i64::MAX);
    drop(db);
    let db = open(dir.path(), &clock);
    assert_eq!(content(&db, i64::MIN, i64::MAX), before);
    assert_eq!(db.exemplars(&all, T0, T0).unwrap().len(), 1);
    assert_eq!(db.metadata(None, 5).len(), 1);
}
