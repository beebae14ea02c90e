//! The only source of "now", so that tests can turn the hands.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{TimestampMs, TimestampNs};

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> TimestampNs;

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> TimestampMs {
        self.now_ns() / 1_000_000
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    fn now_ns(&self) -> TimestampNs {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `ms` milliseconds since the epoch.
    pub fn at_ms(ms: TimestampMs) -> Self {
        ManualClock(AtomicI64::new(ms * 1_000_000))
    }

    /// Sets the hands to `ms`.
    pub fn set_ms(&self, ms: TimestampMs) {
        self.0.store(ms * 1_000_000, Ordering::SeqCst);
    }

    /// Moves the hands by `ms`.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> TimestampNs {
        self.0.load(Ordering::SeqCst)
    }
}
