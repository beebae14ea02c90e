//! The way every query takes to its engine: a permit, the logs of queries, the CPU pool, and an end when the caller goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::exec::CancellationToken;
use crate::exec::cpu_pool::{self, Lost};
use crate::exec::permits::{Full, Permits};
use crate::query::NotReplayed;
use crate::query::query_log::{Asked, Ended, QueryLogs};

/// Why a query gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E: std::error::Error + 'static> {
    /// The engine says so.
    #[error(transparent)]
    Query(E),
    /// Too many at once.
    #[error("too many queries: {0}")]
    Busy(Full),
    /// The store is not there yet.
    #[error(transparent)]
    NotReplayed(NotReplayed),
    /// It panicked; the log has the place.
    #[error("the query failed inside campanile: {0}")]
    Lost(Lost),
}

/// How an engine learns that nobody waits for its result any more, in the two forms that engines look at.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled then.
    pub token: CancellationToken,
    /// True then.
    pub flag: Arc<AtomicBool>,
}

struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.token.cancel();
        self.0.flag.store(true, Ordering::Relaxed);
    }
}

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct Admission {
    permits: Permits,
    logs: Arc<QueryLogs>,
}

/// How a query went that gave a result.
#[derive(Debug)]
pub struct Admitted<T> {
    /// The result.
    pub result: T,
    /// How long it waited for a place.
    pub queued: Duration,
}

impl Admission {
    /// Lets `concurrency` queries run at once; for each of them `waiting` may wait.
    pub fn new(concurrency: usize, waiting: usize, logs: Arc<QueryLogs>) -> Self {
        let concurrency = concurrency.max(1);
        Admission { permits: Permits::new(concurrency, concurrency.saturating_mul(waiting)), logs }
    }

    /// The same logs with permits of its own: `concurrency` at once, `waiting` in all may wait.
    pub fn with_own_permits(&self, concurrency: usize, waiting: usize) -> Self {
        Admission { permits: Permits::new(concurrency.max(1), waiting), logs: self.logs.clone() }
    }

    /// Runs `work` on the CPU pool once there is a place. Dropping the future cancels it. `read` tells how many samples or lines a result
    /// was made of.
    pub async fn run<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        asked: Asked,
        read: impl Fn(&T) -> u64 + Send + 'static,
        work: impl FnOnce(&Asked, Stop) -> Result<T, E> + Send + 'static,
    ) -> Result<Admitted<T>, Failure<E>> {
        let asked_at = Instant::now();
        let stop = Stop::default();
        let _stop_when_dropped = StopWhenDropped(stop.clone());
        let permit = self.permits.acquire().await.map_err(Failure::Busy)?;
        let logs = self.logs.clone();
        let outcome = cpu_pool::run(move || {
            let begun = Instant::now();
            let queued = begun - asked_at;
            let slot = logs.begin(&asked);
            let result = work(&asked, stop);
            drop(slot);
            // Logged here and not by the caller, who may have gone away: those queries are of interest, too.
            logs.end(&Ended {
                asked: &asked,
                queued,
                ran: begun.elapsed(),
                samples: result.as_ref().map_or(0, read),
                error: result.as_ref().err().map(ToString::to_string),
            });
            drop(permit);
            result.map(|result| Admitted { result, queued })
        });
        outcome.await.map_err(Failure::Lost)?.map_err(Failure::Query)
    }
}
