//! Refuses writes while a disk is nearly full, so that what keeps the service going still finds room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an answer of the file system is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// The disk is nearly full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of {dir} is nearly full: {free} bytes are free and {min} must stay free; it goes on by itself once there is room"
)]
pub struct NoSpace {
    /// A folder on the disk.
    pub dir: PathBuf,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes below which writes are refused.
    pub min: u64,
}

/// Watches the file system that a folder is on.
#[derive(Debug)]
pub struct SpaceGuard {
    dir: PathBuf,
    min: u64,
    began: Instant,
    /// Milliseconds after `began` at which the file system is asked again.
    ask_at: AtomicU64,
    free: AtomicU64,
    low: AtomicBool,
}

impl SpaceGuard {
    /// A guard that keeps `min` bytes free on the disk of `dir`; with 0 it only watches.
    pub fn new(dir: &Path, min: u64) -> Self {
        SpaceGuard {
            dir: dir.to_owned(),
            min,
            began: Instant::now(),
            ask_at: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            low: AtomicBool::new(false),
        }
    }

    /// Whether a write may go on. What keeps people informed (`vital`) may use three quarters of the reserve as well.
    pub fn admit(&self, vital: bool) -> Result<(), NoSpace> {
        if self.min == 0 {
            return Ok(());
        }
        let now = self.began.elapsed().as_millis() as u64;
        if now >= self.ask_at.load(Ordering::Relaxed) {
            self.ask_at.store(now + BELIEVED.as_millis() as u64, Ordering::Relaxed);
            self.look();
        }
        let free = self.free.load(Ordering::Relaxed);
        if free >= if vital { self.min / 4 } else { self.min } {
            return Ok(());
        }
        Err(NoSpace { dir: self.dir.clone(), free, min: self.min })
    }

    /// Asks the file system: bytes free for us, and whether writes are refused. A file system that does not answer counts as it did last.
    pub fn look(&self) -> (u64, bool) {
        if let Ok(s) = rustix::fs::statvfs(&self.dir) {
            let free = s.f_bavail.saturating_mul(s.f_frsize);
            self.free.store(free, Ordering::Relaxed);
            self.low.store(free < self.min, Ordering::Relaxed);
        }
        (self.free.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_below_the_reserve_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(SpaceGuard::new(dir.path(), 0).admit(false), Ok(()));
        assert_eq!(SpaceGuard::new(dir.path(), 1).admit(false), Ok(()));
        let guard = SpaceGuard::new(dir.path(), u64::MAX);
        let e = guard.admit(false).unwrap_err();
        assert!(e.to_string().contains(&dir.path().display().to_string()) && e.free < u64::MAX, "{e}");
        assert!(guard.look().1);
        // The vital part of the reserve is a quarter of it.
        let (free, _) = guard.look();
        let tight = SpaceGuard::new(dir.path(), free.saturating_mul(2));
        assert!(tight.admit(false).is_err() && tight.admit(true).is_ok());
    }
}
