//! LogQL as a service.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use prometheus::HistogramVec;

use crate::logql::engine::{EngineOptions, Output, Query, QueryError, Stats, patterns, run};
use crate::logql::patterns::ByLevel;
use crate::logs::Store;
use crate::model::time::NS_PER_MS;
use crate::query::admission::{Admission, Failure, Stop};
use crate::query::asker::Asker;
use crate::query::log_storage::LogStorage;
use crate::query::query_log::{Asked, AskedTimes, Language, QueryLogs};
use crate::telemetry::metrics;

static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::seconds_vec("campanile_query_logs_seconds", "Duration of LogQL queries, waiting included.", &["outcome"])
});

/// Why a query gave no result.
pub type LogQueryError = Failure<QueryError>;

/// The engine over the log store. Clones share everything.
#[derive(Clone)]
pub struct LogQueries {
    storage: Arc<LogStorage>,
    options: Arc<EngineOptions>,
    admission: Admission,
}

/// Queries that wait for each that may run. A Grafana splits one panel over a month into thirty queries, so the queue is long.
const WAITING_PER_PLACE: usize = 100;

impl LogQueries {
    /// Over a store, `concurrency` queries at once.
    pub fn new(store: Arc<Store>, options: EngineOptions, concurrency: usize, logs: Arc<QueryLogs>) -> Self {
        LogQueries {
            storage: Arc::new(LogStorage(store)),
            options: Arc::new(options),
            admission: Admission::new(concurrency, WAITING_PER_PLACE, logs),
        }
    }

    /// The same over the same store with permits of its own, so that these queries and the others do not wait for each other.
    pub fn with_own_permits(&self, concurrency: usize, waiting: usize) -> Self {
        LogQueries { admission: self.admission.with_own_permits(concurrency, waiting), ..self.clone() }
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
    pub async fn run(&self, query: Query, asker: Asker) -> Result<(Output, Stats), LogQueryError> {
        self.admitted(query, asker, |s, o, q, stop| run(s, o, q, stop), |answer| answer.1.lines).await
    }

    /// The patterns of the lines of a log query, see [`crate::logql::patterns`].
    pub async fn patterns(&self, query: Query, asker: Asker) -> Result<ByLevel, LogQueryError> {
        Ok(self.admitted(query, asker, |s, o, q, stop| patterns(s, o, q, stop), |answer| answer.1.lines).await?.0)
    }

    async fn admitted<T: Send + 'static>(
        &self,
        query: Query,
        asker: Asker,
        work: impl FnOnce(&LogStorage, &EngineOptions, &Query, &AtomicBool) -> Result<T, QueryError> + Send + 'static,
        read: impl Fn(&T) -> u64 + Send + 'static,
    ) -> Result<T, LogQueryError> {
        let begun = std::time::Instant::now();
        let times = AskedTimes {
            start_ms: query.start_ns / NS_PER_MS,
            end_ms: query.end_ns / NS_PER_MS,
            step_ms: query.step_ns / NS_PER_MS,
        };
        let asked = Asked { language: Language::LogQl, query: query.expr.clone(), times, asker };
        let (storage, options) = (self.storage.clone(), self.options.clone());
        let work = move |_: &Asked, stop: Stop| work(&storage, &options, &query, &stop.flag);
        let outcome = self.admission.run(asked, read, work).await;
        let word = if outcome.is_ok() { "ok" } else { "error" };
        DURATION.with_label_values(&[word]).observe(begun.elapsed().as_secs_f64());
        Ok(outcome?.result)
    }
}
