//! The query engine: options, errors, and the two ways to ask.

mod evaluate;
mod present;
mod script_backend;
mod time_scope;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec};

use crate::exec::CancellationToken;
use crate::model::TimestampMs;
use crate::promql::annotations::Annotations;
use crate::promql::ast::{Expr, ExprKind};
use crate::promql::duration_expr::DurationExprError;
use crate::promql::limits::{Limits, MemoryBudget};
use crate::promql::parse::{ParseOptions, parse_with};
use crate::promql::parse_error::ParseErrors;
use crate::promql::sample_counts::SampleCounts;
use crate::promql::series_set::{DuplicateSeries, Steps};
use crate::promql::storage::{Storage, StorageError};
use crate::promql::value::{Held, QueryResult, QueryStats, Value};
use crate::telemetry::metrics;

pub(crate) use evaluate::{Context, Evaluated, map_floats};
pub use script_backend::EngineBackend;
pub(crate) use time_scope::{QueryTimes, TimeShift};

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query cannot be read.
    #[error("{0}")]
    Parse(#[from] ParseErrors),
    /// It can be read, but not evaluated over this data.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("query timed out in expression evaluation after {after:?}: narrow the selectors or the time range")]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// The caller went away.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// It would hold too many samples at once.
    #[error(
        "query processing would load too many samples into memory in query execution (limit {limit}): select fewer \
         series, a shorter time range or a longer step"
    )]
    TooManySamples {
        /// The limit.
        limit: u64,
    },
    /// It would take too much memory.
    #[error(
        "query processing would take more than {limit_bytes} bytes of memory: select fewer series, a shorter time \
         range or a longer step"
    )]
    TooMuchMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// All queries together would take too much memory.
    #[error(
        "the queries that run now take all of the {limit_bytes} bytes of memory that queries may have, this one \
         {own_bytes}: try again later, or select fewer series, a shorter time range or a longer step"
    )]
    OutOfMemory {
        /// What all queries may have.
        limit_bytes: u64,
        /// What this one had and wanted.
        own_bytes: u64,
    },
    /// The store failed.
    #[error("{0}")]
    Storage(#[from] StorageError),
}

impl QueryError {
    /// The error type of Prometheus' HTTP API.
    pub fn api_type(&self) -> &'static str {
        match self {
            QueryError::Parse(_) => "bad_data",
            QueryError::Execution(_) | QueryError::TooManySamples { .. } | QueryError::TooMuchMemory { .. } => {
                "execution"
            }
            QueryError::Timeout { .. } => "timeout",
            QueryError::Canceled => "canceled",
            QueryError::OutOfMemory { .. } => "unavailable",
            QueryError::Storage(_) => "internal",
        }
    }

    /// The reason as a label value of `campanile_promql_queries_total`.
    fn outcome(&self) -> &'static str {
        match self {
            QueryError::Parse(_) => "parse",
            QueryError::Execution(_) => "execution",
            QueryError::Timeout { .. } => "timeout",
            QueryError::Canceled => "canceled",
            QueryError::TooManySamples { .. } => "too_many_samples",
            QueryError::TooMuchMemory { .. } => "too_much_memory",
            QueryError::OutOfMemory { .. } => "out_of_memory",
            QueryError::Storage(_) => "storage",
        }
    }
}

static QUERIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_promql_queries_total", "PromQL evaluations by outcome.", &["outcome"])
});
static SAMPLES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_promql_samples_read_total", "Samples that PromQL evaluations read from the store.")
});
static SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| metrics::seconds("campanile_promql_query_duration_seconds", "Time PromQL evaluations took."));

impl From<DuplicateSeries> for QueryError {
    fn from(e: DuplicateSeries) -> Self {
        QueryError::Execution(e.to_string())
    }
}

impl From<DurationExprError> for QueryError {
    fn from(e: DurationExprError) -> Self {
        QueryError::Execution(e.to_string())
    }
}

/// Reads a query; one that cannot be read is counted like those that fail later.
fn read(query: &str, syntax: ParseOptions) -> Result<Expr, QueryError> {
    parse_with(query, syntax).map_err(|e| {
        let e = QueryError::Parse(e);
        QUERIES.with_label_values(&[e.outcome()]).inc();
        e
    })
}

/// How the engine behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineOptions {
    /// The most samples one query may hold at once. Prometheus' default.
    pub max_samples: u64,
    /// The most memory all queries may take at once, in bytes; one may take half of it.
    pub memory_budget_bytes: u64,
    /// The longest a query may take.
    pub timeout: Duration,
    /// How far back an instant selector looks for a sample, in milliseconds.
    pub lookback_delta_ms: i64,
    /// The step of subqueries that name none, in milliseconds (the global evaluation interval).
    pub subquery_step_ms: i64,
    /// Whether metric names are kept until the end of the evaluation (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Whether counters are told by their `__type__` label instead of by their name (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Which experimental parts of the language are understood.
    pub syntax: ParseOptions,
    /// Whether a query may ask for the number of samples of each step (`promql-per-step-stats`).
    pub per_step_stats: bool,
    /// Whether functions of counters make use of start timestamps (`use-start-timestamps`).
    pub use_start_timestamps: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            max_samples: 50_000_000,
            // Twenty of the worst queries at once must fit into a small server beside the stores.
            memory_budget_bytes: 512 << 20,
            timeout: Duration::from_secs(120),
            lookback_delta_ms: 5 * 60_000,
            subquery_step_ms: 60_000,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            syntax: ParseOptions::default(),
            per_step_stats: false,
            use_start_timestamps: false,
        }
    }
}

/// Which samples are counted for the statistics of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// Those read from the store, each once; costs nothing.
    #[default]
    Read,
    /// Those that selectors see, at each step anew.
    Seen,
    /// The same, told for each step where the engine allows it.
    SeenPerStep,
}

/// What one query may have otherwise than the engine.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Another lookback delta, in milliseconds.
    pub lookback_delta_ms: Option<i64>,
    /// A shorter timeout.
    pub timeout: Option<Duration>,
    /// Ends the evaluation when cancelled; looked at between batches of series.
    pub cancel: CancellationToken,
    /// Which samples are counted for the statistics.
    pub counting: Counting,
}

/// See the module. Clones share the memory budget.
#[derive(Clone, Debug)]
pub struct Engine {
    options: EngineOptions,
    budget: Arc<MemoryBudget>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new(EngineOptions::default())
    }
}

impl Engine {
    /// An engine with these options.
    pub fn new(options: EngineOptions) -> Self {
        let budget = MemoryBudget::new(options.memory_budget_bytes);
        Engine { options, budget }
    }

    /// The memory that its queries share.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Reads and evaluates a query at one time.
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        t: TimestampMs,
        options: QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let expr = read(query, self.options.syntax)?;
        self.instant_expr(storage, &expr, query, t, options)
    }

    /// Evaluates an expression at one time; `query` is its source, for the positions of warnings (may be empty).
    pub fn instant_expr(
        &self,
        storage: &dyn Storage,
        expr: &Expr,
        query: &str,
        t: TimestampMs,
        options: QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let steps = Steps::instant(t);
        // `step()` of an instant query is the default evaluation interval.
        let times = QueryTimes { start: t, end: t, step: self.options.subquery_step_ms.max(1) };
        self.run(storage, (expr, query), times, options, true, |cx| {
            let inner = expr.unwrap_parens();
            match &inner.kind {
                ExprKind::Matrix(m) => present::raw_matrix(cx, m, t),
                ExprKind::Subquery(s) => present::subquery_matrix(cx, s, &steps),
                _ => present::instant(cx, cx.evaluate(expr, &steps)?, t),
            }
        })
    }

    /// Reads and evaluates a query at every step from `start` to `end` inclusive.
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start: TimestampMs,
        end: TimestampMs,
        step: i64,
        options: QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let expr = read(query, self.options.syntax)?;
        self.range_expr(storage, &expr, query, (start, end, step), options)
    }

    /// Evaluates an expression at every step of `(start, end, step)`; `query` is its source, for the positions of warnings.
    pub fn range_expr(
        &self,
        storage: &dyn Storage,
        expr: &Expr,
        query: &str,
        (start, end, step): (TimestampMs, TimestampMs, i64),
        options: QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let ty = expr.value_type();
        if !matches!(ty, crate::promql::ast::ValueType::Scalar | crate::promql::ast::ValueType::Vector) {
            return Err(QueryError::Execution(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                ty.documented_name()
            )));
        }
        if step <= 0 || end < start {
            return Err(QueryError::Execution(
                "a range query needs a step above zero and an end not before its start".to_owned(),
            ));
        }
        let steps = Steps::range(start, end, step);
        let times = QueryTimes { start, end, step };
        self.run(storage, (expr, query), times, options, false, |cx| {
            present::range(cx, cx.evaluate(expr, &steps)?, &steps)
        })
    }

    fn run(
        &self,
        storage: &dyn Storage,
        (expr, query): (&Expr, &str),
        times: QueryTimes,
        options: QueryOptions,
        is_instant: bool,
        work: impl FnOnce(&Context<'_>) -> Result<Value, QueryError>,
    ) -> Result<QueryResult, QueryError> {
        let timeout = options.timeout.map_or(self.options.timeout, |t| t.min(self.options.timeout));
        let limits = Limits::new(self.options.max_samples, self.budget.clone(), timeout, options.cancel);
        let cx = Context {
            storage,
            options: &self.options,
            lookback: options.lookback_delta_ms.unwrap_or(self.options.lookback_delta_ms).max(1),
            times,
            is_instant,
            limits,
            notes: std::sync::Mutex::new(Annotations::default()),
            query,
            compared_hints: time_scope::selectors_with_compared_hints(expr),
            counts: (options.counting != Counting::Read).then(|| SampleCounts::new(times)),
        };
        // Every node holds at least one number for each step.
        let steps = (times.end.saturating_sub(times.start) / times.step.max(1)).unsigned_abs();
        let outcome = cx.limits.charge(steps, steps.saturating_mul(8)).and_then(|_steps| work(&cx));
        QUERIES.with_label_values(&[outcome.as_ref().map_or_else(QueryError::outcome, |_| "ok")]).inc();
        SAMPLES.inc_by(cx.limits.samples_read());
        SECONDS.observe(cx.limits.elapsed().as_secs_f64());
        let value = outcome?;
        let per_step = options.counting == Counting::SeenPerStep && self.options.per_step_stats;
        let held = cx.limits.charge(0, value.size_bytes())?;
        let stats = QueryStats {
            total_queryable_samples: cx.counts.as_ref().map_or_else(|| cx.limits.samples_read(), SampleCounts::total),
            samples_per_step: cx.counts.as_ref().filter(|_| per_step).map_or_else(Vec::new, SampleCounts::per_step),
            peak_samples: cx.limits.peak_samples(),
            eval_time: cx.limits.elapsed(),
            queued: Duration::ZERO,
        };
        let notes = cx.notes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (warnings, infos) = notes.render(query);
        Ok(QueryResult { value, warnings, infos, stats, held: Held(Arc::new(held)) })
    }
}

#[cfg(test)]
mod tests;
