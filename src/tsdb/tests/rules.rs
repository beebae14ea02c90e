//! What goes in, what does not, and what is told about it.

use std::fs;
use std::sync::Arc;

use super::{T0, content, histogram, labels, open, options, put};
use crate::exec::clock::ManualClock;
use crate::model::{Labels, MatchOp, Matcher};
use crate::tsdb::{AppendError, Column, Db, Options, SeriesRef};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_ms(T0))
}

#[test]
fn label_sets_that_cannot_be_stored_are_refused_and_the_batch_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), &clock());
    let mut a = db.appender();
    let invalid = Err(AppendError::InvalidLabels);
    assert_eq!(a.series(&Labels::from_pairs([("job", "x")])), invalid);
    assert_eq!(a.series(&Labels::from_pairs([("__name__", "x"), ("", "y")])), invalid);
    assert_eq!(a.series_from_pairs(&[("__name__", ""), ("a", "b")]), invalid);
    assert_eq!(a.series_from_pairs(&[("__name__", "x"), ("a", "b"), ("a", "c")]), invalid);
    let sorted = a.series_from_pairs(&[("__name__", "x"), ("a", "b"), ("b", "")]).unwrap();
    assert_eq!(a.series_from_pairs(&[("b", ""), ("a", "b"), ("__name__", "x")]), Ok(sorted));
    assert_eq!(a.series(&Labels::from_pairs([("__name__", "x"), ("a", "b")])), Ok(sorted));
    assert_eq!(a.float(SeriesRef(77), T0, 1.0, 0), Err(AppendError::UnknownRef));
    assert_eq!(a.float(sorted, T0 + 600_001, 1.0, 0), Err(AppendError::TooNew));
    assert_eq!(a.float(sorted, T0 - 31 * 86_400_000, 1.0, 0), Err(AppendError::TooOld));
    a.float(sorted, T0 + 600_000, 1.0, 0).unwrap();
    assert_eq!(a.commit().unwrap().samples, 1);
}

#[test]
fn the_series_limit_stops_new_series_only() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(
        dir.path(),
        Options {
            series_limits: crate::tsdb::SeriesLimits { total: 2, ..crate::tsdb::SeriesLimits::NONE },
            ..options(&clock())
        },
    )
    .unwrap();
    put(&db, 0, T0, 1.0);
    put(&db, 1, T0, 1.0);
    let mut a = db.appender();
    assert_eq!(a.series(&labels(2)), Err(AppendError::SeriesLimit));
    let r = a.series(&labels(1)).unwrap();
    a.float(r, T0 + 1, 1.0, 0).unwrap();
    assert_eq!(a.commit().unwrap().samples, 1);
}

#[test]
fn without_a_window_late_samples_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), Options { out_of_order_window_ms: 0, ..options(&clock()) }).unwrap();
    put(&db, 0, T0, 1.0);
    let mut a = db.appender();
    let r = a.series(&labels(0)).unwrap();
    assert_eq!(a.float(r, T0 - 1, 1.0, 0), Err(AppendError::OutOfOrder));
    assert_eq!(a.float(r, T0, 1.0, 0), Ok(()));
    assert_eq!(a.float(r, T0, 2.0, 0), Err(AppendError::Duplicate));
    assert_eq!(a.histogram(r, T0, &histogram(1), 0), Err(AppendError::Duplicate));
    assert_eq!(a.commit().unwrap().samples, 0);
}

#[test]
fn a_dropped_batch_is_forgotten_and_a_selection_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), &clock());
    put(&db, 0, T0, 1.0);
    let selection = db.select(&[], i64::MIN, i64::MAX).unwrap();
    let mut a = db.appender();
    let r = a.series(&labels(0)).unwrap();
    a.float(r, T0 + 1, 1.0, 0).unwrap();
    drop(a);
    assert_eq!(content(&db, i64::MIN, i64::MAX)[0].1.len(), 1);
    put(&db, 0, T0 + 2, 2.0);
    let mut c = Column::default();
    selection.read(0, i64::MIN, i64::MAX, &mut c).unwrap();
    assert_eq!(c.t, [T0]);
    assert_eq!(content(&db, T0 + 1, i64::MAX)[0].1, [(T0 + 2, 2f64.to_bits())]);
}

#[test]
fn start_timestamps_are_kept_through_chunks_blocks_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let db = open(dir.path(), &clock);
    let start = |i: i64| if i < 300 { 0 } else { T0 + i / 500 };
    for i in 0..1500i64 {
        clock.set_ms(T0 + i * 15_000);
        let mut a = db.appender();
        let r = a.series(&labels(0)).unwrap();
        a.float(r, T0 + i * 15_000, i as f64, start(i)).unwrap();
        let r = a.series(&labels(1)).unwrap();
        a.histogram(r, T0 + i * 15_000, &histogram(i as u64), start(i)).unwrap();
        a.commit().unwrap();
    }
    let want: Vec<(i64, i64)> = (300..1500).map(|i| (T0 + i * 15_000, start(i))).collect();
    let check = |db: &Db| {
        let selection = db.select(&[Matcher::equal("job", "test")], i64::MIN, i64::MAX).unwrap();
        for i in 0..2 {
            let mut got = Vec::new();
            selection.read_starts(i, i64::MIN, i64::MAX, &mut got).unwrap();
            assert_eq!(got, want, "{}", selection.labels(i));
            let mut column = Column::default();
            selection.read_with_starts(i, T0, T0 + 600 * 15_000, &mut column).unwrap();
            let starts = if column.t.is_empty() { &column.hstart } else { &column.start };
            assert_eq!(starts, &(0..=600).map(start).collect::<Vec<_>>());
            column.clear();
            selection.read_with_starts(i, T0, T0 + 299 * 15_000, &mut column).unwrap();
            assert!(column.len() == 300 && column.start.is_empty() && column.hstart.is_empty());
        }
    };
    check(&db);
    db.maintain().unwrap();
    check(&db);
    drop(db);
    check(&open(dir.path(), &clock));
}

#[test]
fn labels_are_found_in_head_and_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let db = open(dir.path(), &clock);
    put(&db, 0, T0, 1.0);
    clock.set_ms(T0 + 86_400_000);
    put(&db, 1, T0 + 86_400_000, 1.0);
    for _ in 0..3 {
        db.maintain().unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("blocks")).unwrap().count(), 1);
    let all = (i64::MIN, i64::MAX);
    assert_eq!(db.label_names(&[], all.0, all.1).unwrap(), ["__name__", "i", "job"]);
    assert_eq!(db.label_values("i", &[], all.0, all.1).unwrap(), ["0", "1"]);
    assert_eq!(db.label_values("i", &[], T0, T0).unwrap(), ["0"]);
    let one = [Matcher::new("i", MatchOp::Regex, "1|2").unwrap()];
    assert_eq!(db.label_values("i", &one, all.0, all.1).unwrap(), ["1"]);
    assert_eq!(db.label_names(&[Matcher::equal("i", "7")], all.0, all.1).unwrap(), [""; 0]);
    assert_eq!(db.select(&one, all.0, all.1).unwrap().len(), 1);
    let stats = db.head_stats().unwrap();
    assert_eq!((stats.series, stats.samples, stats.max_time), (1, 1, Some(T0 + 86_400_000)));
    assert!(stats.wal_bytes > 0);
}

#[test]
fn blocks_are_merged_retired_and_set_aside_when_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let db = open(dir.path(), &clock);
    for i in 0..20 * 60 {
        let t = T0 + i * 60_000;
        clock.set_ms(t);
        put(&db, (i % 2) as usize, t, (i / 7) as f64);
    }
    let before = content(&db, i64::MIN, i64::MAX);
    db.maintain().unwrap();
    assert_eq!(content(&db, i64::MIN, i64::MAX), before);
    let blocks = || {
        let mut names: Vec<_> = fs::read_dir(dir.path().join("blocks"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // 18 hours are cut; those in complete ranges of eight hours are merged.
    assert!(blocks().len() < 6, "{:?}", blocks());
    drop(db);
    let db = open(dir.path(), &clock);
    assert_eq!(content(&db, i64::MIN, i64::MAX), before);
    let victim = dir.path().join("blocks").join(&blocks()[0]).join("index");
    drop(db);
    let mut bytes = fs::read(&victim).unwrap();
    bytes[20] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let db = open(dir.path(), &clock);
    let left = content(&db, i64::MIN, i64::MAX);
    assert!(left.len() == 2 && left[0].1.len() < before[0].1.len());
    assert!(blocks()[0].ends_with(".damaged"));
    clock.set_ms(T0 + 40 * 86_400_000);
    db.maintain().unwrap();
    assert_eq!(blocks().len(), 1, "only the damaged one is kept: {:?}", blocks());
}

#[test]
fn series_that_stop_leave_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let db = open(dir.path(), &clock);
    for hour in 0..12i64 {
        for i in 0..50usize {
            clock.set_ms(T0 + hour * 3_600_000);
            put(&db, hour as usize * 100 + i, T0 + hour * 3_600_000, 1.0);
        }
        db.maintain().unwrap();
    }
    let stats = db.head_stats().unwrap();
    assert!(stats.series <= 350, "{stats:?}");
    assert!(stats.label_pairs < 360, "{stats:?}");
    assert_eq!(content(&db, i64::MIN, i64::MAX).len(), 600);
    drop(db);
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX).len(), 600);
}

#[test]
fn a_clock_that_steps_back_changes_nothing_that_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let db = Db::open(dir.path(), options(&clock)).unwrap();
    for n in 0..300 {
        clock.set_ms(T0 + n * 60_000);
        put(&db, 0, T0 + n * 60_000, n as f64);
    }
    db.maintain().unwrap();
    let before = super::content(&db, i64::MIN, i64::MAX);
    let newest = T0 + 299 * 60_000;
    // A minute back: the same times with other values are refused, the same samples are taken quietly, times between are late samples.
    clock.set_ms(newest - 60_000);
    let mut a = db.appender();
    let r = a.series(&labels(0)).unwrap();
    assert_eq!(a.float(r, newest - 60_000, 5.5, 0), Err(AppendError::Duplicate));
    assert_eq!(a.float(r, newest - 60_000, 298.0, 0), Ok(()));
    assert_eq!(a.float(r, newest - 30_000, 7.0, 0), Ok(()));
    a.commit().unwrap();
    // Hours back: refused as too late or as belonging to a block, and what is there is not touched by upkeep.
    clock.set_ms(newest - 100 * 60_000);
    let mut a = db.appender();
    assert_eq!(a.float(r, T0 + 60 * 60_000, 1.0, 0), Err(AppendError::TooOld));
    assert_eq!(a.float(r, newest - 100 * 60_000, 1.5, 0), Err(AppendError::OutOfOrder));
    a.commit().unwrap();
    db.maintain().unwrap();
    let after = super::content(&db, i64::MIN, i64::MAX);
    assert_eq!(after[0].1.len(), before[0].1.len() + 1);
    // The newest sample is in the future of this clock; new ones are taken once the clock is near it again.
    let mut a = db.appender();
    assert_eq!(a.float(r, newest + 1000, 1.0, 0), Err(AppendError::TooNew));
    a.commit().unwrap();
    clock.set_ms(newest);
    put(&db, 0, newest + 1000, 1.0);
    drop(db);
    assert_eq!(super::content(&super::open(dir.path(), &clock), i64::MIN, i64::MAX)[0].1.len(), after[0].1.len() + 1);
}
