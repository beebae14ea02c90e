//! Checkpoints and files of chunks: what is left after a kill between any two steps of writing them, after damage, and beside commits.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Content, T0, content, copy, histogram, labels, open, options, put};
use crate::disk::wal::segment;
use crate::exec::clock::ManualClock;
use crate::tsdb::{Db, Error, Options};

fn all(db: &Db) -> Content {
    content(db, i64::MIN, i64::MAX)
}

/// A store with full chunks in files, open chunks, late samples, histograms and start timestamps; its clock stands at the last sample.
fn filled(dir: &Path, clock: &Arc<ManualClock>) -> Db {
    let db = open(dir, clock);
    for n in 0..500i64 {
        let mut a = db.appender();
        for i in 0..3 {
            let r = a.series(&labels(i)).unwrap();
            a.float(r, T0 + n * 1000, (n * i as i64) as f64 / 8.0, if n > 300 { T0 } else { 0 }).unwrap();
        }
        let r = a.series(&labels(7)).unwrap();
        a.histogram(r, T0 + n * 1000, &histogram(n as u64), 0).unwrap();
        a.commit().unwrap();
    }
    put(&db, 1, T0 + 100_500, 3.25);
    db
}

fn starts(db: &Db) -> usize {
    let s = db.select(&[crate::model::Matcher::equal("i", "2")], i64::MIN, i64::MAX).unwrap();
    let mut out = Vec::new();
    s.read_starts(0, i64::MIN, i64::MAX, &mut out).unwrap();
    out.len()
}

#[test]
fn killed_between_any_two_steps_nothing_is_lost_or_doubled() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    let db = filled(dir.path(), &clock);
    db.checkpoint().unwrap();
    put(&db, 0, T0 + 500_000, 1.0);
    put(&db, 9, T0 + 400_000, 1.0);
    let want = all(&db);
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    db.checkpoint().unwrap();
    assert_eq!(all(&db), want);
    assert_eq!(starts(&db), 199);
    // Killed before the new checkpoint had its name: what the old one knows and the log.
    let kill = |name: &str, prepare: &dyn Fn(&Path)| {
        let left = tempfile::tempdir().unwrap();
        copy(before.path(), left.path());
        prepare(left.path());
        let db = open(left.path(), &clock);
        assert_eq!(all(&db), want, "{name}");
        assert_eq!(starts(&db), 199, "{name}");
        // It goes on, and the next start sees both.
        put(&db, 2, T0 + 500_001, 5.0);
        db.checkpoint().unwrap();
        put(&db, 2, T0 + 500_002, 6.0);
        let more = all(&db);
        drop(db);
        assert_eq!(all(&open(left.path(), &clock)), more, "{name}");
    };
    kill("before", &|_| {});
    kill("chunks appended", &|left| copy(&dir.path().join("head"), &left.join("head")));
    kill("half a checkpoint", &|left| {
        let whole = fs::read(dir.path().join("checkpoint")).unwrap();
        fs::write(left.join("checkpoint.tmp"), &whole[..whole.len() / 2]).unwrap();
    });
    kill("renamed, nothing removed yet", &|left| {
        copy(&dir.path().join("head"), &left.join("head"));
        fs::copy(dir.path().join("checkpoint"), left.join("checkpoint")).unwrap();
    });
    drop(db);
    assert_eq!(all(&open(dir.path(), &clock)), want, "after it");
}

#[test]
fn the_log_after_a_checkpoint_torn_at_every_byte_keeps_the_batches_before() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    let db = filled(dir.path(), &clock);
    db.checkpoint().unwrap();
    let log = segment::path(&dir.path().join("wal"), *segment::list(&dir.path().join("wal")).unwrap().last().unwrap());
    let mut states = vec![(8, all(&db))];
    for n in 0..4 {
        put(&db, n, T0 + 600_000 + n as i64, 0.5);
        states.push((fs::metadata(&log).unwrap().len(), all(&db)));
    }
    drop(db);
    let whole = fs::read(&log).unwrap();
    for cut in 0..=whole.len() {
        let left = tempfile::tempdir().unwrap();
        copy(dir.path(), left.path());
        fs::write(left.path().join("wal").join(log.file_name().unwrap()), &whole[..cut]).unwrap();
        let want = states.iter().rev().find(|s| s.0 <= cut as u64).map_or(&states[0].1, |s| &s.1);
        assert_eq!(&all(&open(left.path(), &clock)), want, "cut at {cut}");
    }
}

#[test]
fn commits_beside_checkpoints_are_there_once() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 5_000_000)));
    let db = open(dir.path(), &clock);
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        let writers: Vec<_> = (0..3usize)
            .map(|w| {
                let db = &db;
                s.spawn(move || {
                    for n in 0..400i64 {
                        let mut a = db.appender();
                        for i in 0..20 {
                            // New series all the while, and some late samples.
                            let r = a.series(&labels(w * 1000 + i + (n / 50) as usize * 20)).unwrap();
                            let late = if n % 7 == 3 { 2500 } else { 0 };
                            a.float(r, T0 + n * 1000 - late, n as f64, 0).unwrap();
                        }
                        a.commit().unwrap();
                    }
                })
            })
            .collect();
        let upkeep = s.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 3 {
                db.checkpoint().unwrap();
                rounds += 1;
            }
        });
        for w in writers {
            w.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        upkeep.join().unwrap();
    });
    put(&db, 0, T0 + 400_000, 1.0);
    let want = all(&db);
    assert_eq!(want.iter().map(|s| s.1.len()).sum::<usize>(), 3 * 400 * 20 + 1);
    drop(db);
    assert_eq!(all(&open(dir.path(), &clock)), want);
}

#[test]
fn a_flipped_byte_in_a_checkpoint_costs_little_and_is_told() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    let db = filled(dir.path(), &clock);
    db.checkpoint().unwrap();
    let want = all(&db);
    drop(db);
    let path = dir.path().join("checkpoint");
    let whole = fs::read(&path).unwrap();
    let mut kept = 0;
    for at in (0..whole.len()).step_by(11) {
        let left = tempfile::tempdir().unwrap();
        copy(dir.path(), left.path());
        let mut bad = whole.clone();
        bad[at] ^= 0x41;
        fs::write(left.path().join("checkpoint"), &bad).unwrap();
        let got = all(&open(left.path(), &clock));
        for (labels, floats, histograms) in &got {
            let Some(same) = want.iter().find(|w| w.0 == *labels) else { panic!("byte {at}: made up a series") };
            assert!(floats.iter().all(|f| same.1.contains(f)), "byte {at}: made up a sample");
            assert!(histograms.iter().all(|h| same.2.contains(h)), "byte {at}: made up a histogram");
        }
        // Where only the record of what series hold is lost, their full chunks are found in the files.
        kept += usize::from(got.iter().filter(|s| s.1.len() == 480).count() == 3 && got.len() == 4);
    }
    assert!(kept > 0, "no chunk was found again");
}

#[test]
fn a_flipped_byte_in_a_chunk_file_is_an_error_and_the_rest_lives() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    let db = filled(dir.path(), &clock);
    db.checkpoint().unwrap();
    let want = all(&db);
    let path = dir.path().join("head").join("00000000.chunks");
    let mut bad = fs::read(&path).unwrap();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&path, &bad).unwrap();
    let one = |db: &Db, i: usize| {
        let s = db.select(&[crate::model::Matcher::equal("i", i.to_string())], i64::MIN, i64::MAX).unwrap();
        let mut c = crate::tsdb::Column::default();
        s.read(0, i64::MIN, i64::MAX, &mut c).map(|()| c.t.len() + c.ht.len())
    };
    let unreadable = [0, 1, 2, 7].into_iter().filter(|i| matches!(one(&db, *i), Err(Error::HeadChunk { .. }))).count();
    assert_eq!(unreadable, 1);
    // Four hours on, the block holds the rest, and it can be read again.
    clock.set_ms(T0 + 4 * 3_600_000);
    put(&db, 0, T0 + 4 * 3_600_000, 1.0);
    db.maintain().unwrap();
    let left = all(&db).iter().map(|s| s.1.len() + s.2.len()).sum::<usize>();
    let before = want.iter().map(|s| s.1.len() + s.2.len()).sum::<usize>();
    assert_eq!(left, before + 1 - 240);
    assert!(!path.exists(), "the file is removed with the chunks that are in blocks");
}

#[test]
fn a_checkpoint_of_another_version_is_named_and_nothing_is_touched() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    drop(filled(dir.path(), &clock));
    let mut file = Vec::new();
    crate::disk::wal::record::encode(&mut file, &[9, 0, 0], crate::disk::wal::record::Compression::None);
    fs::write(dir.path().join("checkpoint"), &file).unwrap();
    let Err(e) = Db::open(dir.path(), options(&clock)) else { panic!("opened") };
    assert!(matches!(e, Error::Version { found: 9, .. }), "{e}");
    assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), file);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert_eq!(all(&open(dir.path(), &clock)).len(), 4);
}

#[test]
fn a_checkpoint_after_a_failed_cut_keeps_what_is_in_no_block() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0 + 500_000)));
    let db = filled(dir.path(), &clock);
    clock.set_ms(T0 + 4 * 3_600_000);
    put(&db, 0, T0 + 4 * 3_600_000, 1.0);
    let want = all(&db);
    // No block can be written where a file has the folder's name.
    let blocks = dir.path().join("blocks");
    fs::remove_dir_all(&blocks).unwrap();
    fs::write(&blocks, b"").unwrap();
    assert!(db.maintain().is_err());
    db.checkpoint().unwrap();
    assert_eq!(all(&db), want);
    drop(db);
    fs::remove_file(&blocks).unwrap();
    let db = open(dir.path(), &clock);
    assert_eq!(all(&db), want);
    db.maintain().unwrap();
    assert_eq!(all(&db), want);
    assert_eq!(fs::read_dir(&blocks).unwrap().count(), 1);
}

#[test]
fn a_series_that_has_stopped_has_its_chunk_closed_by_a_checkpoint() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0)));
    let db = open(dir.path(), &clock);
    for n in 0..100i64 {
        clock.set_ms(T0 + n * 15_000);
        put(&db, 0, T0 + n * 15_000, n as f64);
        if n < 80 {
            put(&db, 1, T0 + n * 15_000, n as f64);
        }
    }
    let in_files = || [0, 1].map(|slot| db.shared.read_head().at(slot).unwrap().closed.len());
    db.maintain().unwrap();
    assert_eq!(in_files(), [0, 0], "it may be that samples of long ago are coming in");
    put(&db, 1, T0 + 80 * 15_000, 80.0);
    // Enough log for a checkpoint each time.
    let more = |from: i64| {
        for n in from..from + 40 {
            clock.set_ms(T0 + n * 15_000);
            put(&db, 0, T0 + n * 15_000, n as f64);
        }
        db.maintain().unwrap();
    };
    more(100);
    assert_eq!(in_files(), [0, 0], "they are");
    more(140);
    more(180);
    let want = all(&db);
    assert_eq!(in_files(), [0, 1]);
    assert_eq!(all(&db), want);
    put(&db, 1, T0 + 219 * 15_000, 1.0);
    let want = all(&db);
    drop(db);
    assert_eq!(all(&open(dir.path(), &clock)), want);
}

/// How many samples each closed chunk of a series has.
fn closed(db: &Db, slot: u32) -> Vec<usize> {
    db.shared.read_head().at(slot).unwrap().closed.iter().map(|c| c.sample_count()).collect()
}

#[test]
fn chunks_of_living_series_get_full_while_the_log_stays_short() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0)));
    // Eight commits make a checkpoint of a quiet store worth it.
    let db = Db::open(dir.path(), Options { checkpoint_log_bytes: 4 << 10, ..options(&clock) }).unwrap();
    let (mut checkpoints, mut before) = (0, 0);
    let place = || fs::metadata(dir.path().join("checkpoint")).map_or(0, |m| m.len());
    for n in 0..250i64 {
        let t = T0 + n * 15_000;
        clock.set_ms(t);
        put(&db, 0, t, n as f64);
        if n % 4 == 0 {
            put(&db, 1, t, n as f64);
        }
        // Fifteen seconds without a sample, as the upkeep sees them.
        for second in 1..15 {
            clock.set_ms(t + second * 1000);
            db.maintain().unwrap();
        }
        checkpoints += usize::from(place() != before);
        before = place();
        let log: u64 =
            fs::read_dir(dir.path().join("wal")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(log < 1024, "{log} bytes of log");
    }
    assert!(checkpoints > 20, "{checkpoints} checkpoints");
    assert_eq!((closed(&db, 0), closed(&db, 1)), (vec![240], vec![]));
    // Both end: what is left is closed when that is sure, without a further sample.
    for second in 15..300 {
        clock.set_ms(T0 + 249 * 15_000 + second * 1000);
        db.maintain().unwrap();
    }
    assert_eq!((closed(&db, 0), closed(&db, 1)), (vec![240], vec![63]));
}

#[test]
fn a_quiet_store_closes_its_chunks_early_and_blocks_join_them() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at_ms(T0)));
    // One in 32 of this makes a checkpoint of a quiet store worth it: sixty commits.
    let db = Db::open(dir.path(), Options { checkpoint_log_bytes: 32 << 10, ..options(&clock) }).unwrap();
    for n in 0..180i64 {
        clock.set_ms(T0 + n * 15_000);
        put(&db, 0, T0 + n * 15_000, n as f64);
        if n % 60 == 59 {
            // Nobody knows yet that no more will come.
            clock.set_ms(T0 + n * 15_000 + 61_000);
            for _ in 0..8 {
                db.maintain().unwrap();
            }
            assert!(segment::list(&dir.path().join("wal")).unwrap().len() <= 1);
            assert_eq!(closed(&db, 0), vec![60; n as usize / 60 + 1]);
        }
    }
    let want = all(&db);
    clock.set_ms(T0 + 4 * 3_600_000);
    put(&db, 0, T0 + 4 * 3_600_000, 1.0);
    db.maintain().unwrap();
    let block = fs::read_dir(dir.path().join("blocks")).unwrap().next().unwrap().unwrap().path();
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(block.join("meta.json")).unwrap()).unwrap();
    assert_eq!(meta["chunks"], 1, "three short chunks became one");
    assert_eq!(content(&db, T0, T0 + 3_600_000), want);
}
