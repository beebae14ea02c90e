//! What one query may take: samples, memory, time; and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::exec::CancellationToken;
use crate::promql::engine::QueryError;
use crate::promql::series_set::SeriesSet;

/// How deep expressions may be nested; a Rust stack does not grow.
pub const MAX_DEPTH: usize = 128;

/// A query that takes more than this part of the memory counts as large: a sixteenth.
const LARGE_SHIFT: u32 = 4;
/// Large queries leave this part of the memory to the others: a quarter. Else one dashboard too many would make even `up` fail.
const RESERVED_SHIFT: u32 = 2;
/// One query may take this part of the memory: a half.
const OWN_SHIFT: u32 = 1;

/// The memory that all queries of a process share.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(MemoryBudget { limit_bytes, used: AtomicU64::new(0) })
    }

    /// What is taken now, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that one query may take, in bytes.
    pub fn for_one(&self) -> u64 {
        self.limit_bytes >> OWN_SHIFT
    }
}

/// Series shorter than this are not worth an account of their own while they are read: one per thread is held.
const SHORT_SERIES: u64 = 4096;

/// The running account of one query, shared by all threads that work on it.
#[derive(Debug)]
pub struct Limits {
    max_samples: u64,
    budget: Arc<MemoryBudget>,
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

impl Charge {
    /// Takes more; fails, and takes nothing, where that is too much.
    pub(crate) fn grow(&mut self, samples: u64, bytes: u64) -> Result<(), QueryError> {
        self.limits.take(samples, bytes)?;
        self.samples += samples;
        self.bytes += bytes;
        Ok(())
    }

    /// Stands for so many bytes from now on, more or fewer than before; fails, and changes nothing, where that is too much.
    pub(crate) fn settle(&mut self, bytes: u64) -> Result<(), QueryError> {
        if let Some(less) = self.bytes.checked_sub(bytes) {
            self.limits.bytes.fetch_sub(less, Ordering::Relaxed);
            self.limits.budget.used.fetch_sub(less, Ordering::Relaxed);
            self.bytes = bytes;
            return Ok(());
        }
        self.grow(0, bytes - self.bytes)
    }

    /// A further part of the same query's budget.
    pub(crate) fn more(&self, bytes: u64) -> Result<Charge, QueryError> {
        self.limits.charge(0, bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limits.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.limits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.limits.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Limits {
    /// A fresh account.
    pub fn new(max_samples: u64, budget: Arc<MemoryBudget>, timeout: Duration, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Limits {
            max_samples,
            budget,
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
        let mut charge = Charge { limits: self.clone(), samples: 0, bytes: 0 };
        charge.grow(samples, bytes)?;
        Ok(charge)
    }

    /// What is refused is not taken for a moment either, so that a huge wish does not make small ones of others fail.
    fn take(&self, samples: u64, bytes: u64) -> Result<(), QueryError> {
        let add = |to: &AtomicU64, n: u64, limit: u64| {
            let sum = |now: u64| now.checked_add(n).filter(|sum| *sum <= limit);
            to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map(|before| before + n)
        };
        let total = add(&self.samples, samples, self.max_samples);
        let held = total.unwrap_or_else(|now| now.saturating_add(samples));
        self.peak_samples.fetch_max(held, Ordering::Relaxed);
        if total.is_err() {
            return Err(QueryError::TooManySamples { limit: self.max_samples });
        }
        let limit = self.budget.limit_bytes;
        let Ok(own) = add(&self.bytes, bytes, self.budget.for_one()) else {
            self.samples.fetch_sub(samples, Ordering::Relaxed);
            return Err(QueryError::TooMuchMemory { limit_bytes: self.budget.for_one() });
        };
        let reserved = if own > limit >> LARGE_SHIFT { limit >> RESERVED_SHIFT } else { 0 };
        if add(&self.budget.used, bytes, limit - reserved).is_err() {
            self.samples.fetch_sub(samples, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(QueryError::OutOfMemory { limit_bytes: limit, own_bytes: own });
        }
        Ok(())
    }

    /// Charges for a set of series, in the set.
    pub fn hold(self: &Arc<Self>, set: &mut SeriesSet) -> Result<(), QueryError> {
        set.charge = None;
        let samples = set.series.iter().map(|s| s.values.present() as u64).sum();
        let bytes = set.series.iter().map(|s| s.size_bytes() as u64).sum();
        set.charge = Some(self.charge(samples, bytes)?);
        Ok(())
    }

    /// Counts samples read from the store into memory that is used again for the next series; fails where they are too many for
    /// the query.
    pub fn read(self: &Arc<Self>, samples: u64, bytes: u64) -> Result<(), QueryError> {
        self.read_samples.fetch_add(samples, Ordering::Relaxed);
        if samples < SHORT_SERIES && self.samples.load(Ordering::Relaxed) + samples <= self.max_samples {
            return Ok(());
        }
        self.charge(samples, bytes).map(drop)
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

/// Asks now and then whether a query is still wanted, in loops that take long.
pub(crate) struct Pace<'a> {
    limits: &'a Limits,
    done: usize,
}

impl<'a> Pace<'a> {
    /// After so much work, in values looked at, the question is asked: some milliseconds.
    const WORK: usize = 1 << 20;

    pub(crate) fn new(limits: &'a Limits) -> Self {
        Pace { limits, done: 0 }
    }

    /// Counts work that is about to be done.
    #[inline]
    pub(crate) fn step(&mut self, work: usize) -> Result<(), QueryError> {
        self.done += work;
        if self.done >= Self::WORK {
            self.done = 0;
            self.limits.check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_given_back() {
        let budget = MemoryBudget::new(200);
        let l = Limits::new(10, budget.clone(), Duration::from_secs(60), CancellationToken::new());
        let first = l.charge(8, 0).unwrap();
        assert!(matches!(l.charge(3, 0), Err(QueryError::TooManySamples { limit: 10 })));
        drop(first);
        assert!(l.charge(10, 100).is_ok());
        assert!(matches!(l.charge(0, 101), Err(QueryError::TooMuchMemory { limit_bytes: 100 })));
        assert_eq!((l.peak_samples(), budget.used_bytes()), (11, 0));
    }

    #[test]
    fn queries_share_one_budget() {
        let budget = MemoryBudget::new(1600);
        let query = || Limits::new(10, budget.clone(), Duration::from_secs(60), CancellationToken::new());
        let (large, other, small) = (query(), query(), query());
        let _held = large.charge(0, 800).unwrap();
        // Up to three quarters for the large ones, the rest for the small ones.
        assert!(matches!(other.charge(0, 500), Err(QueryError::OutOfMemory { limit_bytes: 1600, own_bytes: 500 })));
        let _held_too = other.charge(0, 400).unwrap();
        assert!(small.charge(0, 100).is_ok());
        assert!(matches!(small.charge(0, 101), Err(QueryError::OutOfMemory { .. })));
        assert_eq!(budget.used_bytes(), 1200);
    }

    #[test]
    fn a_cancelled_query_stops() {
        let token = CancellationToken::new();
        let l = Limits::new(1, MemoryBudget::new(1), Duration::from_secs(60), token.clone());
        assert!(l.check().is_ok());
        token.cancel();
        assert!(matches!(l.check(), Err(QueryError::Canceled)));
    }
}
