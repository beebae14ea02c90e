//! A process that commits, writes checkpoints and cuts blocks at once, killed again and again: what it acknowledged is there, once.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{T0, content, labels, open, options};
use crate::exec::clock::ManualClock;
use crate::tsdb::Db;

const SERIES: usize = 6;
const STEP: i64 = 40_000;
/// Names the folder to the child, which is this very program with the name of one test.
const DIR: &str = "CAMPANILE_TEST_KILL_DIR";
const FROM: &str = "CAMPANILE_TEST_KILL_FROM";

fn value(i: usize, n: i64) -> f64 {
    (n * 7 + i as i64) as f64 / 4.0
}

#[test]
fn the_child_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let from: i64 = std::env::var(FROM).unwrap().parse().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0 + from * STEP));
    let db = Db::open(&dir, options(&clock)).unwrap();
    std::thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..u64::MAX {
                db.checkpoint().unwrap();
                db.maintain().unwrap();
            }
        });
        for n in from.. {
            clock.set_ms(T0 + n * STEP);
            let mut a = db.appender();
            for i in 0..SERIES {
                let r = a.series(&labels(i)).unwrap();
                a.float(r, T0 + n * STEP, value(i, n), 0).unwrap();
            }
            // Series that are new with each commit, and samples that come late.
            let r = a.series(&labels(1000 + n as usize)).unwrap();
            a.float(r, T0 + n * STEP, 1.0, 0).unwrap();
            let r = a.series(&labels(SERIES)).unwrap();
            let late = if n % 2 == 0 { n + 1 } else { n - 1 };
            a.float(r, T0 + late * STEP - STEP / 2, value(SERIES, late), 0).unwrap();
            a.commit().unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "ack {n}").unwrap();
            out.flush().unwrap();
        }
    });
}

fn check(dir: &Path, acknowledged: i64) -> i64 {
    let clock = Arc::new(ManualClock::at_ms(T0 + acknowledged * STEP));
    let got = content(&open(dir, &clock), i64::MIN, i64::MAX);
    let count = got.iter().find(|s| s.0.get("i") == Some("0")).map_or(0, |s| s.1.len() as i64);
    // The commit that was under way may be there, whole.
    assert!(count == acknowledged + 1 || count == acknowledged + 2, "{count} samples, {acknowledged} acknowledged");
    for i in 0..=SERIES {
        let series = got.iter().find(|s| s.0.get("i") == Some(i.to_string().as_str()));
        let mut want: Vec<i64> = (0..count).collect();
        let mut shift = 0;
        if i == SERIES {
            // Pairs come the wrong way round.
            want = (0..count).map(|n| if n % 2 == 0 { n + 1 } else { n - 1 }).collect();
            want.sort_unstable();
            shift = STEP / 2;
        }
        let want: Vec<(i64, u64)> = want.iter().map(|n| (T0 + n * STEP - shift, value(i, *n).to_bits())).collect();
        assert_eq!(series.map_or(&[][..], |s| &s.1), want, "series {i}");
    }
    let single = got.iter().filter(|s| s.0.get("i").is_some_and(|i| i.len() > 3)).count() as i64;
    assert_eq!(single, count);
    count
}

#[test]
fn killed_at_any_moment_what_was_acknowledged_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["tsdb::tests::kill::the_child_that_is_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .env(FROM, next.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut last = next - 1;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: String| {
            if let Some(n) = line.rsplit_once("ack ").and_then(|(_, n)| n.parse().ok()) {
                last = n;
            }
            last
        };
        let enough = next + 5 + (round * 37 % 50) as i64;
        for line in lines.by_ref() {
            if note(line.unwrap()) >= enough {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            note(line.unwrap());
        }
        assert!(last >= enough, "round {round}: the child ended by itself");
        next = check(dir.path(), last);
    }
}
