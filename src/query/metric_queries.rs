//! PromQL as a service.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use prometheus::{HistogramVec, IntGauge};

use crate::model::TimestampMs;
use crate::promql::engine::{Engine, QueryError, QueryOptions};
use crate::promql::value::QueryResult;
use crate::query::admission::{Admission, Failure, Stop};
use crate::query::asker::Asker;
use crate::query::metric_storage::MetricStorage;
use crate::query::query_log::{Asked, AskedTimes, Language, QueryLogs};
use crate::query::replayed::replayed;
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
pub type MetricQueryError = Failure<QueryError>;

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

impl Times {
    fn asked(self) -> AskedTimes {
        match self {
            Times::Instant(t) => AskedTimes { start_ms: t, end_ms: t, step_ms: 0 },
            Times::Range { start, end, step } => AskedTimes { start_ms: start, end_ms: end, step_ms: step },
        }
    }
}

/// The engine over the metrics store. Clones share everything.
#[derive(Clone)]
pub struct MetricQueries {
    storage: Arc<MetricStorage>,
    engine: Arc<Engine>,
    admission: Admission,
}

/// How many queries may wait for each that may run: a dashboard of thirty panels opened by several people at once.
const WAITING_PER_PLACE: usize = 20;

impl MetricQueries {
    /// Over a store, `concurrency` queries at once.
    pub fn new(db: Arc<Db>, engine: Engine, concurrency: usize, logs: Arc<QueryLogs>) -> Self {
        MetricQueries {
            storage: Arc::new(MetricStorage(db)),
            engine: Arc::new(engine),
            admission: Admission::new(concurrency, WAITING_PER_PLACE, logs),
        }
    }

    /// The same engine over the same store with permits of its own, so that these queries and the others do not wait for each other.
    pub fn with_own_permits(&self, concurrency: usize, waiting: usize) -> Self {
        MetricQueries { admission: self.admission.with_own_permits(concurrency, waiting), ..self.clone() }
    }

    /// The store, for labels and series.
    pub fn db(&self) -> &Arc<Db> {
        &self.storage.0
    }

    /// The engine, for its options.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs a query on the CPU pool. Dropping the future cancels it. After a start it waits for what it needs of the store, within its timeout.
    pub async fn run(
        &self,
        expr: String,
        times: Times,
        options: QueryOptions,
        asker: Asker,
    ) -> Result<QueryResult, MetricQueryError> {
        let begun = Instant::now();
        let outcome = self.when_replayed(expr, times, options, asker).await;
        let kind = if matches!(times, Times::Instant(_)) { "instant" } else { "range" };
        let word = if outcome.is_ok() { "ok" } else { "error" };
        DURATION.with_label_values(&[kind, word]).observe(begun.elapsed().as_secs_f64());
        outcome
    }

    async fn when_replayed(
        &self,
        expr: String,
        times: Times,
        mut options: QueryOptions,
        asker: Asker,
    ) -> Result<QueryResult, MetricQueryError> {
        if self.db().replay().is_complete() {
            return self.at_once(expr, times, options, asker).await;
        }
        let own = self.engine.options().timeout;
        let until = Instant::now() + options.timeout.map_or(own, |t| t.min(own));
        let left = || until.saturating_duration_since(Instant::now());
        replayed(self.db(), times.asked().end_ms, left()).await.map_err(Failure::NotReplayed)?;
        options.timeout = Some(left());
        let first = self.at_once(expr.clone(), times, options.clone(), asker.clone()).await;
        if !matches!(first, Err(Failure::Query(QueryError::Storage(_)))) {
            return first;
        }
        // It may look further than its times say, with an offset or `@`: then it is asked again with everything there.
        replayed(self.db(), TimestampMs::MAX, left()).await.map_err(Failure::NotReplayed)?;
        options.timeout = Some(left());
        self.at_once(expr, times, options, asker).await
    }

    async fn at_once(
        &self,
        expr: String,
        times: Times,
        mut options: QueryOptions,
        asker: Asker,
    ) -> Result<QueryResult, MetricQueryError> {
        let asked = Asked { language: Language::PromQl, query: expr, times: times.asked(), asker };
        let (storage, engine) = (self.storage.clone(), self.engine.clone());
        let work = move |asked: &Asked, stop: Stop| {
            RUNNING.inc();
            options.cancel = stop.token;
            let (storage, expr) = (storage.as_ref(), asked.query.as_str());
            let result = match times {
                Times::Instant(t) => engine.instant(storage, expr, t, options),
                Times::Range { start, end, step } => engine.range(storage, expr, start, end, step, options),
            };
            RUNNING.dec();
            result
        };
        let read = |r: &QueryResult| r.stats.total_queryable_samples;
        let admitted = self.admission.run(asked, read, work).await?;
        let mut result = admitted.result;
        result.stats.queued = admitted.queued;
        Ok(result)
    }
}
