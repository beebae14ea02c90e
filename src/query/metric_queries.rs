//! PromQL as a service.

use std::sync::{Arc, LazyLock};

use prometheus::{HistogramVec, IntGauge};

use crate::exec::CancellationToken;
use crate::exec::cpu_pool::{self, Lost};
use crate::exec::permits::{Full, Permits};
use crate::model::TimestampMs;
use crate::promql::engine::{Engine, QueryError, QueryOptions};
use crate::promql::value::QueryResult;
use crate::query::metric_storage::MetricStorage;
use crate::telemetry::metrics;
use crate::tsdb::Db;

static RUNNING: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("campanile_query_metrics_running", "PromQL queries that run now."));
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    metrics::seconds_vec(
        "campanile_query_metrics_seconds",
        "Duration of PromQL queries, waiting included.",
        &["kind", "outcome"],
    )
});

/// Why a query gave no result.
#[derive(Debug, thiserror::Error)]
pub enum MetricQueryError {
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

/// When a query is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Instant(TimestampMs),
    /// At each step from start to end inclusive.
    Range {
        /// First.
        start: TimestampMs,
        /// Last possible.
        end: TimestampMs,
        /// Distance.
        step: i64,
    },
}

/// The engine over the metrics store. Clones share everything.
#[derive(Clone)]
pub struct MetricQueries {
    storage: Arc<MetricStorage>,
    engine: Arc<Engine>,
    permits: Permits,
}

/// How many queries may wait for each that may run: a dashboard of thirty panels opened by several people at once.
const WAITING_PER_PLACE: usize = 20;

impl MetricQueries {
    /// Over a store, `concurrency` queries at once.
    pub fn new(db: Arc<Db>, engine: Engine, concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        MetricQueries {
            storage: Arc::new(MetricStorage(db)),
            engine: Arc::new(engine),
            permits: Permits::new(concurrency, concurrency.saturating_mul(WAITING_PER_PLACE)),
        }
    }

    /// The store, for labels and series.
    pub fn db(&self) -> &Arc<Db> {
        &self.storage.0
    }

    /// The engine, for its options.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs a query on the CPU pool. Dropping the future cancels it.
    pub async fn run(
        &self,
        expr: String,
        times: Times,
        mut options: QueryOptions,
    ) -> Result<QueryResult, MetricQueryError> {
        let kind = if matches!(times, Times::Instant(_)) { "instant" } else { "range" };
        let begun = std::time::Instant::now();
        let token = CancellationToken::new();
        options.cancel = token.clone();
        let _cancel_when_dropped = token.drop_guard();
        let result = self.permitted(expr, times, options).await;
        let outcome = if result.is_ok() { "ok" } else { "error" };
        DURATION.with_label_values(&[kind, outcome]).observe(begun.elapsed().as_secs_f64());
        result
    }

    async fn permitted(
        &self,
        expr: String,
        times: Times,
        options: QueryOptions,
    ) -> Result<QueryResult, MetricQueryError> {
        let permit = self.permits.acquire().await?;
        let (storage, engine) = (self.storage.clone(), self.engine.clone());
        let result = cpu_pool::run(move || {
            RUNNING.inc();
            let result = match times {
                Times::Instant(t) => engine.instant(storage.as_ref(), &expr, t, options),
                Times::Range { start, end, step } => engine.range(storage.as_ref(), &expr, start, end, step, options),
            };
            RUNNING.dec();
            drop(permit);
            result
        })
        .await?;
        Ok(result?)
    }
}
