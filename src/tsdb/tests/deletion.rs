//! Deleting, cleaning up, snapshots.

use std::fs;
use std::sync::Arc;

use super::{Content, T0, content, histogram, labels, open, options, put};
use crate::exec::clock::ManualClock;
use crate::model::Matcher;
use crate::tsdb::{Db, SeriesLimits};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Seven hours of three series of floats and one of histograms: two blocks and a head.
fn filled(dir: &std::path::Path, clock: &Arc<ManualClock>) -> Db {
    let db = open(dir, clock);
    for n in 0..7 * 60 {
        let t = T0 + n * MINUTE;
        clock.set_ms(t);
        let mut a = db.appender();
        for i in 0..3 {
            let r = a.series(&labels(i)).unwrap();
            a.float(r, t, (n * 3) as f64 + i as f64, T0 - 1).unwrap();
        }
        let r = a.series(&labels(3)).unwrap();
        a.histogram(r, t, &histogram(n as u64), T0 - 1).unwrap();
        a.commit().unwrap();
    }
    db.maintain().unwrap();
    assert!(db.shared.read_blocks().len() >= 2 && db.shared.read_head().visible_from < T0 + 7 * HOUR);
    db
}

fn all(db: &Db) -> Content {
    content(db, i64::MIN, i64::MAX)
}

/// What is left of a content after a deletion.
fn without(mut all: Content, hit: impl Fn(usize) -> bool, from: i64, to: i64) -> Content {
    for (l, floats, histograms) in &mut all {
        if hit(l.value("i").parse().unwrap()) {
            floats.retain(|s| s.0 < from || s.0 > to);
            histograms.retain(|s| s.0 < from || s.0 > to);
        }
    }
    all.retain(|s| !s.1.is_empty() || !s.2.is_empty());
    all
}

fn matcher(i: &str) -> Vec<Matcher> {
    vec![Matcher::equal("__name__", "m"), Matcher::new("i", crate::model::MatchOp::Regex, i).unwrap()]
}

#[test]
fn deleted_samples_stay_away_over_restarts_cuts_merges_and_cleaning() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let mut db = filled(dir.path(), &clock);
    let mut want = all(&db);
    // Inside a block, over the border of two, in block and head, whole series, histograms.
    for (i, from, to) in [
        ("0", T0 + 30 * MINUTE, T0 + 40 * MINUTE),
        ("0|1", T0 + 110 * MINUTE, T0 + 130 * MINUTE + 1),
        ("3", T0 + 30 * MINUTE + 1, T0 + 6 * HOUR),
        ("1", T0 + 6 * HOUR + 30 * MINUTE, i64::MAX),
        ("2", i64::MIN, i64::MAX),
    ] {
        let hit: Vec<usize> = i.split('|').map(|n| n.parse().unwrap()).collect();
        db.delete_series(&matcher(i), from, to).unwrap();
        want = without(want, |n| hit.contains(&n), from, to);
        assert_eq!(all(&db), want, "{i} {from} {to}");
        drop(db);
        db = open(dir.path(), &clock);
        assert_eq!(all(&db), want, "{i} {from} {to}, after a restart");
    }
    // A part of the time shows the same part.
    let (from, to) = (T0 + 35 * MINUTE, T0 + 125 * MINUTE);
    let part = without(without(want.clone(), |_| true, i64::MIN, from - 1), |_| true, to + 1, i64::MAX);
    assert_eq!(content(&db, from, to), part);
    // Whole series are not listed any more.
    assert_eq!(db.select(&matcher("2"), i64::MIN, i64::MAX).unwrap().len(), 0);
    let mut starts = Vec::new();
    let found = db.select(&matcher("0"), i64::MIN, i64::MAX).unwrap();
    found.read_starts(0, i64::MIN, i64::MAX, &mut starts).unwrap();
    assert_eq!(starts.iter().map(|s| s.0).collect::<Vec<_>>(), want[0].1.iter().map(|s| s.0).collect::<Vec<_>>());

    // The head is cut and the blocks are merged: the samples are really gone then.
    for n in 7 * 60..30 * 60 {
        clock.set_ms(T0 + n * MINUTE);
        put(&db, 9, T0 + n * MINUTE, 1.0);
    }
    db.maintain().unwrap();
    let others = |db: &Db| without(all(db), |n| n == 9, i64::MIN, i64::MAX);
    assert_eq!(others(&db), want);
    // The first block is alone in its larger range and stays as it is.
    assert!(db.shared.read_blocks().iter().skip(1).all(|b| b.tombstones().is_empty()));
    assert!(db.shared.read_head().tombstones.is_empty() && !dir.path().join("tombstones").exists());
    drop(db);
    assert_eq!(others(&open(dir.path(), &clock)), want);
}

#[test]
fn cleaning_gives_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = filled(dir.path(), &clock);
    let before = db.shared.read_blocks().clone();
    db.delete_series(&matcher("0|1|2|3"), i64::MIN, T0 + 2 * HOUR - 1).unwrap();
    db.delete_series(&matcher("0|1|2"), T0 + 2 * HOUR, T0 + 4 * HOUR - 1).unwrap();
    let want = all(&db);
    db.clean_tombstones().unwrap();
    assert_eq!(all(&db), want);
    let after = db.shared.read_blocks().clone();
    assert_eq!(after.len(), before.len() - 1, "the first block had nothing left");
    let bytes = |blocks: &[Arc<crate::tsdb::block::Block>]| blocks.iter().map(|b| b.bytes).sum::<u64>();
    assert!(bytes(&after) < bytes(&before) / 2, "{} of {}", bytes(&after), bytes(&before));
    assert!(before.iter().all(|b| !b.dir.exists() || b.tombstones().is_empty()));
    db.clean_tombstones().unwrap();
    drop(db);
    assert_eq!(all(&open(dir.path(), &clock)), want);
}

#[test]
fn new_samples_of_a_deleted_series_are_taken_and_seen() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    put(&db, 0, T0, 1.0);
    db.delete_series(&matcher("0"), i64::MIN, i64::MAX).unwrap();
    assert_eq!(all(&db), []);
    put(&db, 0, T0 + 1, 2.0);
    assert_eq!(all(&db), [(labels(0), vec![(T0 + 1, 2f64.to_bits())], vec![])]);
}

#[test]
fn a_snapshot_is_a_store_of_that_moment() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = filled(dir.path(), &clock);
    db.delete_series(&matcher("0"), T0 + HOUR, T0 + 6 * HOUR + 10 * MINUTE).unwrap();
    let want = all(&db);
    let [whole, blocks] = [false, true].map(|skip_head| db.snapshot(skip_head).unwrap());
    put(&db, 0, T0 + 7 * HOUR, 5.0);
    db.delete_series(&matcher(".*"), i64::MIN, i64::MAX).unwrap();
    db.clean_tombstones().unwrap();
    let snapshots = dir.path().join("snapshots");
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    let copy = open(&snapshots.join(&whole).join("metrics"), &clock);
    assert_eq!(all(&copy), want);
    // It lives on as a store.
    put(&copy, 0, T0 + 7 * HOUR, 6.0);
    for n in 1..30 {
        clock.set_ms(T0 + 7 * HOUR + n * HOUR);
        put(&copy, 9, T0 + 7 * HOUR + n * HOUR, 1.0);
    }
    copy.maintain().unwrap();
    let mut later = want.clone();
    later[0].1.push((T0 + 7 * HOUR, 6f64.to_bits()));
    assert_eq!(without(all(&copy), |n| n == 9, i64::MIN, i64::MAX), later);
    let visible = db.shared.read_head().visible_from;
    let old = open(&snapshots.join(&blocks).join("metrics"), &clock);
    assert_eq!(all(&old), without(want, |_| true, visible, i64::MAX));
}

#[test]
fn head_status_ranks_what_the_head_holds() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db =
        Db::open(dir.path(), crate::tsdb::Options { series_limits: SeriesLimits::NONE, ..options(&clock) }).unwrap();
    for i in 0..25 {
        put(&db, i, T0 + i as i64, 1.0);
    }
    let mut a = db.appender();
    let r = a.series(&crate::model::Labels::from_pairs([("__name__", "other"), ("job", "b")])).unwrap();
    a.float(r, T0, 1.0, 0).unwrap();
    a.commit().unwrap();
    let s = db.head_status(2);
    let list = |r: &crate::tsdb::Ranking| r.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", ");
    assert_eq!((s.series, s.label_pairs, s.min_time, s.max_time), (26, 29, Some(T0), Some(T0 + 24)));
    assert_eq!(list(&s.series_by_metric), "m 25, other 1");
    assert_eq!(list(&s.values_by_label), "i 25, __name__ 2");
    assert_eq!(list(&s.bytes_by_label), "job 101, i 40");
    assert_eq!(list(&s.series_by_pair), "__name__=m 25, job=test 25");
    assert_eq!(list(&s.series_made_by_job), "test 25, b 1");
    clock.set_ms(T0 + 40 * MINUTE);
    assert_eq!(list(&db.head_status(2).series_made_by_job), "test 25, b 1");
    clock.set_ms(T0 + 61 * MINUTE);
    assert_eq!(db.head_status(2).series_made_by_job, []);
}
