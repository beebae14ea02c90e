//! What is taken while the log of before the start is replayed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{T0, content, histogram, labels, open, options, put};
use crate::exec::clock::ManualClock;
use crate::model::{Exemplar, Labels, Matcher, Metadata, MetricType};
use crate::tsdb::filenames::{CHECKPOINT_FILE, CHUNKS_FILE, HEAD_DIR};
use crate::tsdb::head::closed::Closed;
use crate::tsdb::replay::samples;
use crate::tsdb::replay::series::Log;
use crate::tsdb::self_metrics::REFUSED;
use crate::tsdb::{Db, Error};

/// Two hours: a block's range.
const RANGE: i64 = 7_200_000;

fn begin(dir: &Path, clock: &Arc<ManualClock>) -> (Db, Log) {
    Db::begin(dir, options(clock)).unwrap()
}

fn finish(db: &Db, log: Log) {
    samples::run(&db.shared, log, Instant::now()).unwrap();
}

/// What a store holds that took some samples one after another without a restart: `(series, time, value)`.
fn without_restart(samples: &[(usize, i64, f64)], clock: &Arc<ManualClock>) -> super::Content {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), clock);
    for (i, t, v) in samples {
        let mut a = db.appender();
        let r = a.series(&labels(*i)).unwrap();
        // What is refused is refused in both.
        let _refused = a.float(r, *t, *v, 0);
        a.commit().unwrap();
    }
    content(&db, i64::MIN, i64::MAX)
}

#[test]
fn held_samples_are_stored_in_order_after_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let mut all = Vec::new();
    let db = open(dir.path(), &clock);
    for n in 0..700 {
        all.push((n % 5, T0 + n as i64 * 100, n as f64));
        put(&db, n % 5, T0 + n as i64 * 100, n as f64);
    }
    drop(db);
    let (db, log) = begin(dir.path(), &clock);
    let refused = |reason: &str| REFUSED.with_label_values(&[reason]).get();
    let (duplicates, held) = (refused("duplicate"), T0 + 70_000);
    let later = [
        // Newer ones, one of a series that the log does not know.
        (0, held, 0.5),
        (7, held, 1.5),
        (0, held + 10, 2.5),
        // One that the log has, once with its value and once with another.
        (1, T0 + 100, 1.0),
        (1, T0 + 100, 77.0),
        // Late, between two that the log has; and twice the same.
        (2, T0 + 250, 3.5),
        (2, T0 + 250, 3.5),
    ];
    all.extend(later);
    for (i, t, v) in later {
        put(&db, i, t, v);
    }
    let mut a = db.appender();
    let r = a.series(&labels(8)).unwrap();
    a.histogram(r, held, &histogram(3), 0).unwrap();
    let e = Exemplar { labels: Labels::from_pairs([("trace_id", "held")]), value: 1.0, timestamp: Some(held) };
    a.exemplar(r, &e).unwrap();
    a.metadata("m", &Metadata { metric_type: MetricType::Gauge, help: "held".into(), unit: String::new() });
    assert_eq!(a.commit().unwrap().samples, 1);
    assert!(matches!(
        db.select(&[Matcher::equal("__name__", "m")], T0, T0 + 1),
        Err(Error::Replaying { percent: 0..=99 })
    ));
    assert!(!db.replay().is_complete());
    finish(&db, log);
    assert!(db.replay().is_complete() && db.replay().over().is_open());
    // Others count in the same process.
    assert!(refused("duplicate") > duplicates, "the sample with another value is counted when it turns out");
    let mut want = without_restart(&all, &clock);
    want.push((labels(8), vec![], vec![(held, 3)]));
    assert_eq!(content(&db, i64::MIN, i64::MAX), want);
    let of_8 = [vec![Matcher::equal("i", "8")]];
    let check = |db: &Db, when: &str| {
        assert_eq!(content(db, i64::MIN, i64::MAX), want, "{when}");
        assert_eq!(db.exemplars(&of_8, T0, held).unwrap(), [(labels(8), vec![e.clone()])], "{when}");
        assert_eq!(db.metadata(Some("m"), 1)[0].1[0].help, "held", "{when}");
    };
    check(&db, "now");
    drop(db);
    let db = open(dir.path(), &clock);
    check(&db, "after another start");
    db.checkpoint().unwrap();
    drop(db);
    check(&open(dir.path(), &clock), "from a checkpoint");
}

#[test]
fn what_was_taken_survives_kills_in_the_middle_of_replays() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let mut all = Vec::new();
    let mut take = |db: &Db, i: usize, t: i64| {
        all.push((i, T0 + t, t as f64));
        put(db, i, T0 + t, t as f64);
    };
    let db = open(dir.path(), &clock);
    (0..50).for_each(|n| take(&db, n % 3, n as i64));
    // A checkpoint in the middle: the series of half the log come from it, the others from definitions.
    db.checkpoint().unwrap();
    (50..100).for_each(|n| take(&db, n % 6, n as i64));
    drop(db);
    for round in 1..5 {
        // Nothing is replayed; each start brings new series and goes on with old ones.
        let (db, _log) = begin(dir.path(), &clock);
        (0..20).for_each(|n| take(&db, n % 4 + round * 3, 100 * round as i64 + n as i64));
        if round == 2 {
            db.close().unwrap();
        }
    }
    let (db, log) = begin(dir.path(), &clock);
    finish(&db, log);
    let want = without_restart(&all, &clock);
    assert_eq!(content(&db, i64::MIN, i64::MAX), want);
    put(&db, 99, T0 + 5000, 1.0);
    all.push((99, T0 + 5000, 1.0));
    db.close().unwrap();
    drop(db);
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), without_restart(&all, &clock));
}

#[test]
fn closing_during_a_replay_leaves_checkpoint_and_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    (0..100).for_each(|n| put(&db, n % 5, T0 + n as i64, 1.0));
    let before = content(&db, i64::MIN, i64::MAX);
    drop(db);
    let (db, _log) = begin(dir.path(), &clock);
    assert!(matches!(db.maintain(), Err(Error::Replaying { .. })));
    assert!(matches!(db.checkpoint(), Err(Error::Replaying { .. })));
    assert!(matches!(db.snapshot(false), Err(Error::Replaying { .. })));
    assert!(matches!(db.delete_series(&[Matcher::equal("i", "1")], T0, T0 + 1), Err(Error::Replaying { .. })));
    assert!(matches!(db.clean_tombstones(), Err(Error::Replaying { .. })));
    db.close().unwrap();
    drop(db);
    assert!(!dir.path().join(CHECKPOINT_FILE).try_exists().unwrap());
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), before);
}

#[test]
fn blocks_are_answered_from_during_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0 + 3 * RANGE));
    let db = open(dir.path(), &clock);
    (0..300).for_each(|n| put(&db, n % 5, T0 + n as i64 * 60_000, n as f64));
    db.maintain().unwrap();
    let (old, all) = (content(&db, T0, T0 + RANGE - 1), content(&db, i64::MIN, i64::MAX));
    assert!(old.len() == 5 && old[0].1.len() == 24, "a block was cut");
    drop(db);
    let (db, log) = begin(dir.path(), &clock);
    assert_eq!(content(&db, T0, T0 + RANGE - 1), old);
    let m = [Matcher::equal("__name__", "m")];
    assert_eq!(db.label_values("i", &m, T0, T0 + RANGE - 1).unwrap().len(), 5);
    assert!(db.select(&m, T0, T0 + 3 * RANGE).is_err() && db.label_names(&m, T0, T0 + 3 * RANGE).is_err());
    assert!(db.series(&[&m], T0, T0 + 3 * RANGE).is_err() && db.label_values("i", &m, T0, T0 + 3 * RANGE).is_err());
    assert!(db.exemplars(&[m.to_vec()], T0, T0 + 1).is_err());
    finish(&db, log);
    assert_eq!(content(&db, i64::MIN, i64::MAX), all);
}

#[test]
fn writers_do_not_wait_for_a_replay_and_nothing_of_theirs_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    // Some hundred milliseconds of replay without optimization.
    for n in 0..300 {
        let mut a = db.appender();
        for i in 0..1000 {
            let r = a.series(&labels(i)).unwrap();
            a.float(r, T0 + n * 100, (n * 7 % 13) as f64 / 3.0, 0).unwrap();
        }
        a.commit().unwrap();
    }
    drop(db);
    let db = Db::open_early(dir.path(), options(&clock)).unwrap();
    let done = AtomicBool::new(false);
    let (in_time, written) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|w| {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    let (mut in_time, mut n) = (0, 0i64);
                    while !done.load(Ordering::Relaxed) || n < 50 {
                        in_time += usize::from(!db.replay().is_complete());
                        // Series that the log knows and new ones, in one batch.
                        let mut a = db.appender();
                        for i in [w, 2000 + w] {
                            let r = a.series(&labels(i)).unwrap();
                            a.float(r, T0 + 30_000 + n, n as f64, 0).unwrap();
                        }
                        a.commit().unwrap();
                        n += 1;
                    }
                    (in_time, n)
                })
            })
            .collect();
        let begun = Instant::now();
        while db.replay().outcome().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", db.replay());
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        let ended: Vec<(usize, i64)> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        (ended.iter().map(|e| e.0).sum::<usize>(), ended.iter().map(|e| e.1).collect::<Vec<_>>())
    });
    assert!(in_time > 0, "nobody wrote during the replay");
    let check = |db: &Db| {
        let found = content(db, i64::MIN, i64::MAX);
        assert_eq!(found.len(), 1003);
        for (w, n) in written.iter().enumerate() {
            let times = |name: usize| {
                let (_, floats, _) = found.iter().find(|s| s.0 == labels(name)).unwrap();
                floats.iter().map(|f| f.0).collect::<Vec<_>>()
            };
            let new: Vec<i64> = (0..*n).map(|n| T0 + 30_000 + n).collect();
            assert_eq!(times(2000 + w), new);
            assert_eq!(times(w), (0..300).map(|n| T0 + n * 100).chain(new).collect::<Vec<_>>());
        }
    };
    check(&db);
    db.close().unwrap();
    drop(db);
    check(&open(dir.path(), &clock));
}

#[test]
fn samples_of_a_series_whose_definition_was_lost_go_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    put(&db, 0, T0, 1.0);
    let wal = dir.path().join("wal/00000000.wal");
    let first = std::fs::metadata(&wal).unwrap().len() as usize;
    put(&db, 0, T0 + 1, 2.0);
    drop(db);
    // The definition and the first sample are damaged, the second sample is not.
    let mut bytes = std::fs::read(&wal).unwrap();
    bytes[first - 1] ^= 1;
    std::fs::write(&wal, bytes).unwrap();
    let (db, log) = begin(dir.path(), &clock);
    put(&db, 1, T0 + 10, 3.0);
    finish(&db, log);
    let want = vec![(labels(1), vec![(T0 + 10, 3.0f64.to_bits())], vec![])];
    assert_eq!(content(&db, i64::MIN, i64::MAX), want);
    drop(db);
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), want);
}

#[test]
fn chunks_that_get_full_in_a_replay_go_into_files_and_blocks_pack_them() {
    const SERIES: usize = 1500;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0 + RANGE));
    let db = open(dir.path(), &clock);
    for n in 0..245 {
        let mut a = db.appender();
        for i in 0..SERIES {
            let r = a.series(&labels(i)).unwrap();
            a.float(r, T0 + n * 15_000, (n * i as i64 % 1000) as f64, 0).unwrap();
        }
        a.commit().unwrap();
    }
    let want = content(&db, i64::MIN, i64::MAX);
    drop(db);
    let db = open(dir.path(), &clock);
    let (mut in_files, mut in_memory) = (0, 0);
    for slot in 0..SERIES as u32 {
        for c in &db.shared.read_head().at(slot).unwrap().closed {
            match c {
                Closed::File(_) => in_files += 1,
                Closed::Memory(_) => in_memory += 1,
            }
        }
    }
    assert_eq!(in_files + in_memory, SERIES);
    assert!(in_files >= 1024, "{in_files} in files, {in_memory} in memory");
    assert_eq!(content(&db, i64::MIN, i64::MAX), want);
    // The files count only with the next checkpoint; without one the log has it all.
    drop(db);
    let db = open(dir.path(), &clock);
    assert_eq!(content(&db, i64::MIN, i64::MAX), want);
    let unpacked: u64 =
        fs::read_dir(dir.path().join(HEAD_DIR)).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    clock.set_ms(T0 + 2 * RANGE);
    put(&db, 0, T0 + 2 * RANGE, 1.0);
    db.maintain().unwrap();
    assert_eq!(content(&db, i64::MIN, T0 + RANGE), want);
    let block = fs::read_dir(dir.path().join("blocks")).unwrap().next().unwrap().unwrap().path();
    let packed = fs::metadata(block.join(CHUNKS_FILE)).unwrap().len();
    assert!(packed < unpacked / 2, "{packed} bytes in the block, {unpacked} in the files of the head");
}
