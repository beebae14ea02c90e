//! A disk that is full, and one that can only be read: on small file systems made for it. Where mounting is not allowed the tests say so.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{Content, T0, content, labels, open, options, put};
use crate::disk::wal::segment;
use crate::exec::clock::ManualClock;
use crate::tsdb::{Db, Error, Options};

const HOUR: i64 = 3_600_000;

/// A folder on a file system of its own, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(bytes: u64) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        if run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], dir.path()) {
            return Some(Mount(dir));
        }
        eprintln!("SKIPPED: a small file system cannot be mounted here (it takes root)");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l"], self.0.path());
    }
}

fn run(program: &str, args: &[&str], last: &Path) -> bool {
    Command::new(program).args(args).arg(last).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

fn all(db: &Db) -> Content {
    content(db, i64::MIN, i64::MAX)
}

/// Takes up what room is left on the disk but for some bytes.
fn fill_up(mount: &Path, leave: u64) {
    fs::write(mount.join("ballast"), b"").unwrap();
    let s = rustix::fs::statvfs(mount).unwrap();
    let free = s.f_bavail * s.f_frsize;
    fs::write(mount.join("ballast"), vec![1u8; usize::try_from(free.saturating_sub(leave)).unwrap()]).unwrap();
}

/// A batch of noise, which takes room: 50 series at a time.
fn try_batch(db: &Db, t: i64) -> Result<u64, Error> {
    let mut a = db.appender();
    for i in 0..50 {
        let r = a.series(&labels(i)).unwrap();
        let noise = (t as u64 ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        a.float(r, t, noise as f64 / 3.0, 0).unwrap();
    }
    a.commit().map(|c| c.samples)
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(mount) = Mount::new(8 << 20) else { return };
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = mount.path().join("store");
    let small_segments = || Options { wal_segment_bytes: 32 << 10, ..options(&clock) };
    let mut db = Db::open(&dir, small_segments()).unwrap();
    let mut t = T0;
    let mut round = |db: &Db, n: usize| {
        for _ in 0..n {
            t += 30_000;
            clock.set_ms(t);
            assert_eq!(try_batch(db, t).unwrap(), 50);
        }
        t
    };
    round(&db, 900);
    // The log, at all the places where a record or a new segment may end.
    for leave in [0u64, 4096, 8192, 20_480] {
        fill_up(mount.path(), leave);
        let mut refused = 0;
        let mut at = round(&db, 0);
        let before = all(&db);
        let mut stored = Vec::new();
        while refused < 3 {
            at += 1;
            match try_batch(&db, at) {
                Ok(n) => stored.push((at, n)),
                Err(Error::Wal { source, .. }) => {
                    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
                    refused += 1;
                }
                Err(e) => panic!("{e}"),
            }
        }
        // Queries go on, with all that was taken and nothing that was not.
        let now = all(&db);
        for (b, n) in before.iter().zip(&now) {
            assert_eq!(b.1.len() + stored.len(), n.1.len(), "leaving {leave}");
        }
        // Neither a block nor a merged one can be written.
        assert!(db.maintain().is_err(), "leaving {leave}");
        assert_eq!(all(&db), now, "leaving {leave}");
        assert!(db.snapshot(false).is_err() && all(&db) == now);
        // A start on the full disk is a start.
        drop(db);
        db = Db::open(&dir, small_segments()).unwrap();
        assert_eq!(all(&db), now, "leaving {leave}, after a restart");
        // Where room was left a batch may fit in.
        let _either = try_batch(&db, at + 1000);
        let now = all(&db);
        // With room it goes on by itself.
        fs::remove_file(mount.path().join("ballast")).unwrap();
        assert_eq!(try_batch(&db, at + 2000).unwrap(), 50);
        let now_and_new = all(&db);
        assert!(now.iter().zip(&now_and_new).all(|(a, b)| b.1.starts_with(&a.1) && b.1.len() == a.1.len() + 1));
        db.maintain().unwrap();
        assert_eq!(all(&db), now_and_new);
        drop(db);
        db = Db::open(&dir, small_segments()).unwrap();
        assert_eq!(all(&db), now_and_new, "leaving {leave}, with room again");
        round(&db, 600);
    }
}

#[test]
fn merging_on_a_full_disk_keeps_the_parts() {
    let Some(mount) = Mount::new(16 << 20) else { return };
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = mount.path().join("store");
    let db = open(&dir, &clock);
    let mut cut = 0;
    for n in 0..60 * 14 {
        let t = T0 + n * 60_000;
        clock.set_ms(t);
        try_batch(&db, t).unwrap();
        // The last round, which would merge, comes with the disk full.
        let ready = t - T0 >= (cut + 3) * HOUR + 60_000;
        if ready && cut < 6 {
            db.maintain().unwrap();
            cut += 2;
        }
    }
    let want = all(&db);
    let blocks = db.shared.read_blocks().len();
    assert!(blocks >= 3, "{blocks}");
    // Room for the blocks that are due, not for what they are merged into.
    fill_up(mount.path(), 240 << 10);
    assert!(db.maintain().is_err());
    assert_eq!(all(&db), want);
    fs::remove_file(mount.path().join("ballast")).unwrap();
    db.maintain().unwrap();
    assert_eq!(all(&db), want);
    assert!(fs::read_dir(dir.join("blocks")).unwrap().all(|e| !e.unwrap().path().to_string_lossy().ends_with(".tmp")));
    drop(db);
    assert_eq!(all(&open(&dir, &clock)), want);
}

#[test]
fn a_nearly_full_disk_takes_what_is_vital() {
    let Some(mount) = Mount::new(8 << 20) else { return };
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = mount.path().join("store");
    let db = Db::open(&dir, Options { min_free_bytes: 4 << 20, ..options(&clock) }).unwrap();
    put(&db, 0, T0, 1.0);
    fill_up(mount.path(), 3 << 20);
    db.shared.check_space();
    let sample = |vital: bool, t: i64| {
        let a = db.appender();
        let mut a = if vital { a.vital() } else { a };
        let r = a.series(&labels(0)).unwrap();
        a.float(r, t, 1.0, 0).unwrap();
        a.commit()
    };
    let refused = sample(false, T0 + 1);
    assert!(matches!(refused, Err(Error::NoSpace(_))), "{refused:?}");
    assert_eq!(sample(true, T0 + 2).unwrap().samples, 1);
    fill_up(mount.path(), 1 << 19);
    db.shared.check_space();
    assert!(matches!(sample(true, T0 + 3), Err(Error::NoSpace(_))));
    fs::remove_file(mount.path().join("ballast")).unwrap();
    db.shared.check_space();
    assert_eq!(sample(false, T0 + 4).unwrap().samples, 1);
    assert_eq!(all(&db)[0].1.iter().map(|s| s.0 - T0).collect::<Vec<_>>(), [0, 2, 4]);
}

/// Lays a read-only view of a folder over it, as if the system had mounted it again read-only.
fn read_only(dir: &Path) {
    let text = dir.display().to_string();
    assert!(run("mount", &["--bind", &text], dir) && run("mount", &["-o", "remount,ro,bind"], dir));
}

#[test]
fn a_disk_that_can_only_be_read_is_told_and_survived() {
    let Some(mount) = Mount::new(16 << 20) else { return };
    let clock = Arc::new(ManualClock::at_ms(T0));
    let dir = mount.path().join("store");
    // Each commit begins a new segment, for files that are open already can be written through the view.
    let db = Db::open(&dir, Options { wal_segment_bytes: 1, ..options(&clock) }).unwrap();
    for n in 0..240 {
        clock.set_ms(T0 + n * 60_000);
        try_batch(&db, T0 + n * 60_000).unwrap();
    }
    let want = all(&db);
    let log = dir.join("wal");
    let segments = segment::list(&log).unwrap();
    read_only(&log);
    read_only(&dir.join("blocks"));
    let at = T0 + 240 * 60_000;
    let refused = try_batch(&db, at);
    assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("Read-only file system")), "{refused:?}");
    assert!(db.maintain().is_err_and(|e| e.to_string().contains("Read-only file system")));
    assert!(db.sync().is_ok());
    assert_eq!(all(&db), want);
    assert!(run("umount", &[], &log) && run("umount", &[], &dir.join("blocks")));
    assert_eq!(try_batch(&db, at).unwrap(), 50);
    let more = all(&db);
    assert_eq!(more[0].1.len(), want[0].1.len() + 1);
    db.maintain().unwrap();
    assert_eq!(all(&db), more);
    assert_ne!(segment::list(&log).unwrap(), segments);
    drop(db);
    assert_eq!(all(&open(&dir, &clock)), more);
}
