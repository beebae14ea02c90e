//! Keeps messages that input can trigger from flooding the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Lets one message through for each interval and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    interval_ms: i64,
    next_ms: AtomicI64,
    suppressed: AtomicU64,
}

impl Throttle {
    /// A throttle that lets one message through every `interval_ms`.
    pub const fn new(interval_ms: i64) -> Self {
        Throttle { interval_ms, next_ms: AtomicI64::new(i64::MIN), suppressed: AtomicU64::new(0) }
    }

    /// If a message may be written at `now_ms`, how many were held back since the last one.
    pub fn allow(&self, now_ms: i64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        // A clock that was set back must not silence what is said for as long.
        let free = (now_ms >= next || now_ms < next.saturating_sub(self.interval_ms))
            && self
                .next_ms
                .compare_exchange(next, now_ms.saturating_add(self.interval_ms), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if free {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_interval() {
        let t = Throttle::new(1000);
        assert_eq!([t.allow(0), t.allow(1), t.allow(999), t.allow(1000)], [Some(0), None, None, Some(2)]);
        assert_eq!([t.allow(1001), t.allow(-5000), t.allow(-4999)], [None, Some(1), None]);
    }
}
