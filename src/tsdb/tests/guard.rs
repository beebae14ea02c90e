//! Limits on series: who is stopped and who is not.

use std::sync::Arc;

use super::{T0, options};
use crate::exec::clock::ManualClock;
use crate::model::Labels;
use crate::tsdb::{AppendError, Db, Options, SeriesLimits};

fn open(dir: &std::path::Path, clock: &Arc<ManualClock>, limits: SeriesLimits) -> Db {
    Db::open(dir, Options { series_limits: limits, ..options(clock) }).unwrap()
}

/// One sample at `t` of a series; whether it was taken.
fn put(db: &Db, metric: &str, target: &str, x: usize, t: i64) -> bool {
    let x = x.to_string();
    let l = Labels::from_pairs([("__name__", metric), ("job", "j"), ("instance", target), ("user", &x), ("zone", "z")]);
    let mut a = db.appender();
    match a.series(&l) {
        Ok(r) => {
            a.float(r, t, 1.0, 0).unwrap();
            a.commit().unwrap();
            true
        }
        Err(e) => {
            assert_eq!(e, AppendError::SeriesLimit);
            false
        }
    }
}

fn taken(db: &Db, metric: &str, target: &str, from: usize, n: usize) -> usize {
    (from..from + n).filter(|x| put(db, metric, target, *x, T0)).count()
}

fn refused_metric() -> String {
    crate::telemetry::metrics::render()
        .lines()
        .filter(|l| l.starts_with("campanile_tsdb_series_refused_total{"))
        .fold(String::new(), |all, l| all + l + "\n")
}

#[test]
fn the_guilty_metric_of_the_guilty_target_stops_and_nobody_else() {
    let clock = Arc::new(ManualClock::at_ms(T0));
    let none = SeriesLimits::NONE;
    for (limits, reason) in [
        (SeriesLimits { total: 1000, ..none }, "series"),
        (SeriesLimits { job: 1000, ..none }, "series_per_job"),
        (SeriesLimits { target: 1000, ..none }, "series_per_target"),
        (SeriesLimits { metric: 1000, ..none }, "series_per_metric"),
        (SeriesLimits { target_metric: 900, ..none }, "series_per_target_metric"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path(), &clock, limits);
        let bad = format!("requests_{reason}");
        assert_eq!(taken(&db, "steady", "a:1", 0, 50) + taken(&db, &bad, "b:1", 0, 50), 100);
        // The explosion: it stops at the limit or a little past it.
        let exploded = taken(&db, &bad, "a:1", 0, 5000);
        assert!((850..=1001).contains(&exploded), "{reason}: {exploded}");
        // Known series go on.
        assert!(put(&db, &bad, "a:1", 3, T0 + 1), "{reason}");
        // Others get new series, the same metric of other targets and other metrics of the same target.
        for (metric, target) in [("steady", "a:1"), (bad.as_str(), "b:1"), ("new", "c:1")] {
            assert_eq!(taken(&db, metric, target, 9000, 3), 3, "{reason} {metric} {target}");
        }
        let told = refused_metric();
        let wanted = format!("instance=\"a:1\",job=\"j\",label=\"user\",metric=\"{bad}\",reason=\"{reason}\"");
        assert!(told.lines().any(|l| l.contains(&wanted) && l.contains("examples=\"")), "{wanted} in {told}");
        assert!(!told.contains("steady") && !told.contains("b:1"), "{told}");

        // After a restart the limit holds as before.
        drop(db);
        let db = open(dir.path(), &clock, limits);
        assert!(taken(&db, &bad, "a:1", 20_000, 200) <= 101, "{reason}");
        assert!(put(&db, &bad, "a:1", 3, T0 + 2), "{reason}");
        // A higher limit opens it again at the next upkeep.
        db.set_series_limits(none);
        db.maintain().unwrap();
        assert_eq!(taken(&db, &bad, "a:1", 30_000, 10), 10, "{reason}");
    }
}

#[test]
fn nobody_goes_past_a_tenth_over_the_limit() {
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), &clock, SeriesLimits { total: 500, ..SeriesLimits::NONE });
    // Many targets with few series each: there is no guilty one.
    let all: usize = (0..200).map(|n| taken(&db, "m", &format!("t{n}"), 0, 10)).sum();
    assert!((500..=550).contains(&all), "{all}");
    assert_eq!(db.head_status(1).series, all as u64);
}

#[test]
fn series_that_stop_make_room_again() {
    const HOUR: i64 = 3_600_000;
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), &clock, SeriesLimits { target: 1000, ..SeriesLimits::NONE });
    assert_eq!(taken(&db, "m", "a:1", 0, 1500), 1000);
    assert!(!put(&db, "m", "a:1", 1600, T0 + 1));
    for n in 1..10 {
        clock.set_ms(T0 + n * HOUR);
        assert!(put(&db, "m", "a:1", 0, T0 + n * HOUR));
        db.maintain().unwrap();
    }
    assert_eq!(db.head_status(1).series, 1);
    let t = T0 + 10 * HOUR;
    clock.set_ms(t);
    assert_eq!((5000..5100).filter(|x| put(&db, "m", "a:1", *x, t)).count(), 100);
}
