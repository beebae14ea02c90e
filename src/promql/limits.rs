//! What one query may take: samples, memory, time; and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::exec::CancellationToken;
use crate::promql::engine::QueryError;
use crate::promql::series_set::SeriesSet;

/// How deep expressions may be nested; a Rust stack does not grow.
pub const MAX_DEPTH: usize = 128;

/// The running account of one query, shared by all threads that work on it.
#[derive(Debug)]
pub struct Limits {
    max_samples: u64,
    max_bytes: u64,
    samples: AtomicU64,
    bytes: AtomicU64,
    peak_samples: AtomicU64,
    read_samples: AtomicU64,
    started: Instant,
    timeout: Duration,
    cancel: CancellationToken,
}

/// A part of a query's budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    limits: Arc<Limits>,
    samples: u64,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limits.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.limits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Limits {
    /// A fresh account.
    pub fn new(max_samples: u64, max_bytes: u64, timeout: Duration, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Limits {
            max_samples,
            max_bytes,
            samples: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            peak_samples: AtomicU64::new(0),
            read_samples: AtomicU64::new(0),
            started: Instant::now(),
            timeout,
            cancel,
        })
    }

    /// Takes a part of the budget; fails where the query would hold too much at once.
    pub fn charge(self: &Arc<Self>, samples: u64, bytes: u64) -> Result<Charge, QueryError> {
        let total = self.samples.fetch_add(samples, Ordering::Relaxed) + samples;
        let total_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let charge = Charge { limits: self.clone(), samples, bytes };
        self.peak_samples.fetch_max(total, Ordering::Relaxed);
        if total > self.max_samples {
            return Err(QueryError::TooManySamples { limit: self.max_samples });
        }
        if total_bytes > self.max_bytes {
            return Err(QueryError::TooMuchMemory { limit_bytes: self.max_bytes });
        }
        Ok(charge)
    }

    /// Charges for a set of series, in the set.
    pub fn hold(self: &Arc<Self>, set: &mut SeriesSet) -> Result<(), QueryError> {
        set.charge = None;
        let samples = set.series.iter().map(|s| s.values.present() as u64).sum();
        let bytes = set.series.iter().map(|s| s.values.size_bytes() as u64).sum();
        set.charge = Some(self.charge(samples, bytes)?);
        Ok(())
    }

    /// Counts samples read from the store.
    pub fn count_read(&self, samples: u64) {
        self.read_samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Fails once the query has been cancelled or has run out of time. Called between batches of series.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancel.is_cancelled() {
            return Err(QueryError::Canceled);
        }
        if self.started.elapsed() > self.timeout {
            return Err(QueryError::Timeout { after: self.timeout });
        }
        Ok(())
    }

    /// Samples read so far.
    pub fn samples_read(&self) -> u64 {
        self.read_samples.load(Ordering::Relaxed)
    }

    /// The most samples held at once.
    pub fn peak_samples(&self) -> u64 {
        self.peak_samples.load(Ordering::Relaxed)
    }

    /// Time since the query began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_given_back() {
        let l = Limits::new(10, 100, Duration::from_secs(60), CancellationToken::new());
        let first = l.charge(8, 0).unwrap();
        assert!(matches!(l.charge(3, 0), Err(QueryError::TooManySamples { limit: 10 })));
        drop(first);
        assert!(l.charge(10, 100).is_ok());
        assert!(matches!(l.charge(0, 101), Err(QueryError::TooMuchMemory { limit_bytes: 100 })));
        assert_eq!(l.peak_samples(), 11);
    }

    #[test]
    fn a_cancelled_query_stops() {
        let token = CancellationToken::new();
        let l = Limits::new(1, 1, Duration::from_secs(60), token.clone());
        assert!(l.check().is_ok());
        token.cancel();
        assert!(matches!(l.check(), Err(QueryError::Canceled)));
    }
}
