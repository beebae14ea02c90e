//! LogQL as a service.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use prometheus::HistogramVec;

use crate::exec::cpu_pool::{self, Lost};
use crate::exec::permits::{Full, Permits};
use crate::logql::engine::{EngineOptions, Output, Query, QueryError, Stats, patterns, run};
use crate::logql::patterns::ByLevel;
use crate::logs::Store;
use crate::query::log_storage::LogStorage;
use crate::telemetry::metrics;

static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::seconds_vec("campanile_query_logs_seconds", "Duration of LogQL queries, waiting included.", &["outcome"])
});

/// Why a query gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LogQueryError {
    /// The engine says so.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Too many at once.
    #[error("too many queries: {0}")]
    Busy(#[from] Full),
    /// It panicked; the log has the place.
    #[error("the query failed inside campanile: {0}")]
    Lost(#[from] Lost),
}

/// The engine over the log store. Clones share everything.
#[derive(Clone)]
pub struct LogQueries {
    storage: Arc<LogStorage>,
    options: Arc<EngineOptions>,
    permits: Permits,
}

/// Tells the engine to stop when the caller has gone away.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Queries that wait for each that may run. A Grafana splits one panel over a month into thirty queries, so the queue is long.
const WAITING_PER_PLACE: usize = 100;

impl LogQueries {
    /// Over a store, `concurrency` queries at once.
    pub fn new(store: Arc<Store>, options: EngineOptions, concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        LogQueries {
            storage: Arc::new(LogStorage(store)),
            options: Arc::new(options),
            permits: Permits::new(concurrency, concurrency.saturating_mul(WAITING_PER_PLACE)),
        }
    }

    /// The store, for labels and streams.
    pub fn store(&self) -> &Arc<Store> {
        &self.storage.0
    }

    /// The bounds in force.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Runs a query on the CPU pool. Dropping the future cancels it.
    pub async fn run(&self, query: Query) -> Result<(Output, Stats), LogQueryError> {
        self.work(move |storage, options, cancelled| run(storage, options, &query, cancelled)).await
    }

    /// The patterns of the lines of a log query, see [`crate::logql::patterns`].
    pub async fn patterns(&self, query: Query) -> Result<ByLevel, LogQueryError> {
        let found = self.work(move |storage, options, cancelled| patterns(storage, options, &query, cancelled)).await?;
        Ok(found.0)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LogStorage, &EngineOptions, &AtomicBool) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, LogQueryError> {
        let begun = std::time::Instant::now();
        let cancelled = Arc::new(AtomicBool::new(false));
        let _stop = StopWhenDropped(cancelled.clone());
        let permit = self.permits.acquire().await?;
        let (storage, options) = (self.storage.clone(), self.options.clone());
        let result = cpu_pool::run(move || {
            let result = work(&storage, &options, &cancelled);
            drop(permit);
            result
        })
        .await?;
        let outcome = if result.is_ok() { "ok" } else { "error" };
        DURATION.with_label_values(&[outcome]).observe(begun.elapsed().as_secs_f64());
        Ok(result?)
    }
}
