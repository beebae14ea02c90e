//! How much each sender may send: a token bucket for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::config::logs::LogLimits;
use crate::model::TimestampNs;

/// Senders that are remembered. Those whose bucket is full are forgotten first, which changes nothing for them.
const MAX_SENDERS: usize = 10_000;
/// The longest a sender is told to wait.
const MAX_WAIT_SECONDS: u32 = 60;
const NS_PER_SECOND: f64 = 1e9;

/// A sender has sent too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// What it may send a second.
    pub rate: u64,
    /// After how many seconds it may go on.
    pub retry_after_seconds: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Bytes it may still send. A request is taken while there are any, so large ones pass at any rate; what it takes beyond
    /// them has to be made up for by waiting.
    tokens: f64,
    filled_ns: TimestampNs,
}

#[derive(Debug, Default)]
struct Inner {
    rate: u64,
    burst: u64,
    buckets: HashMap<String, Bucket>,
}

/// The buckets of all senders.
#[derive(Debug, Default)]
pub struct SenderRates(Mutex<Inner>);

impl Inner {
    fn refill(&self, bucket: Bucket, now_ns: TimestampNs) -> Bucket {
        let seconds = now_ns.saturating_sub(bucket.filled_ns).max(0) as f64 / NS_PER_SECOND;
        let tokens = (bucket.tokens + seconds * self.rate as f64).min(self.burst as f64);
        Bucket { tokens, filled_ns: now_ns }
    }

    fn forget_the_quiet(&mut self, now_ns: TimestampNs) {
        let mut all: Vec<(f64, String)> =
            self.buckets.iter().map(|(s, b)| (self.refill(*b, now_ns).tokens, s.clone())).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, sender) in all.into_iter().take(MAX_SENDERS / 2) {
            self.buckets.remove(&sender);
        }
    }
}

impl SenderRates {
    /// Puts limits in force; what was sent so far stays counted.
    pub fn set(&self, limits: &LogLimits) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.rate, inner.burst) = (limits.sender_rate.0, limits.sender_burst.0);
    }

    /// Counts bytes against a sender's bucket, or says how long it has to wait.
    pub fn take(&self, sender: &str, bytes: usize, now_ns: TimestampNs) -> Result<(), TooFast> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.rate == 0 {
            return Ok(());
        }
        let full = Bucket { tokens: inner.burst as f64, filled_ns: now_ns };
        let known = inner.buckets.get(sender).copied();
        let mut bucket = inner.refill(known.unwrap_or(full), now_ns);
        if bucket.tokens <= 0.0 {
            let seconds = (-bucket.tokens / inner.rate as f64).ceil();
            let retry_after_seconds = (seconds as u32).clamp(1, MAX_WAIT_SECONDS);
            return Err(TooFast { rate: inner.rate, retry_after_seconds });
        }
        bucket.tokens -= bytes as f64;
        if known.is_none() && inner.buckets.len() >= MAX_SENDERS {
            inner.forget_the_quiet(now_ns);
        }
        match inner.buckets.get_mut(sender) {
            Some(b) => *b = bucket,
            None => drop(inner.buckets.insert(sender.to_owned(), bucket)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    const SECOND: i64 = 1_000_000_000;

    fn rates(rate: u64, burst: u64) -> SenderRates {
        let rates = SenderRates::default();
        rates.set(&LogLimits { sender_rate: ByteSize(rate), sender_burst: ByteSize(burst), ..LogLimits::default() });
        rates
    }

    #[test]
    fn each_sender_has_a_bucket() {
        let rates = rates(1000, 5000);
        assert_eq!(rates.take("a", 5000, 0), Ok(()));
        assert_eq!(rates.take("a", 1, 0), Err(TooFast { rate: 1000, retry_after_seconds: 1 }));
        assert_eq!(rates.take("b", 1, 0), Ok(()));
        // A large request passes and has to be made up for.
        assert_eq!(rates.take("a", 8000, SECOND / 10), Ok(()));
        assert_eq!(rates.take("a", 1, SECOND), Err(TooFast { rate: 1000, retry_after_seconds: 7 }));
        assert_eq!(rates.take("a", 1, 9 * SECOND), Ok(()));
        // A clock that goes back gives and takes nothing.
        assert_eq!(rates.take("a", 1, 0), Ok(()));
        rates.set(&LogLimits { sender_rate: ByteSize(0), ..LogLimits::default() });
        assert!((0..100).all(|_| rates.take("a", 1 << 30, 0).is_ok()));
    }

    #[test]
    fn the_number_of_senders_is_bounded() {
        let rates = rates(10, 10);
        assert_eq!(rates.take("loud", 10_000, 0), Ok(()));
        for i in 0..3 * MAX_SENDERS {
            assert_eq!(rates.take(&i.to_string(), 1, SECOND), Ok(()));
        }
        assert!(rates.0.lock().unwrap().buckets.len() <= MAX_SENDERS);
        assert!(rates.take("loud", 1, SECOND).is_err(), "who owes is remembered");
    }
}
