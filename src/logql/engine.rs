//! Runs LogQL queries.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::logql::ast::{Expr, LogExpr};
use crate::logql::format;
use crate::logql::label_hints::label_hints;
use crate::logql::labels::Category;
use crate::logql::metric;
use crate::logql::parse::{ParseError, parse};
use crate::logql::patterns::{self, ByLevel};
use crate::logql::stages::{Line, Pipeline};
use crate::logql::storage::{Direction, Entry, Fold, Plan, Select, Storage, StorageError, line_hints};
use crate::model::{Labels, TimestampNs};

/// What bounds a query.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The most lines a log query may give (Loki's `max_entries_limit_per_query`).
    pub max_entries: usize,
    /// The most series a metric query may give or hold.
    pub max_series: usize,
    /// The most bytes a query may hold in memory: lines, points, series.
    pub max_bytes: u64,
    /// The longest a query may run.
    pub timeout: Duration,
}

impl Default for EngineOptions {
    /// Loki's own limits, but for series, where 500 is too few for a server with one user.
    fn default() -> Self {
        EngineOptions { max_entries: 5000, max_series: 10_000, max_bytes: 512 << 20, timeout: Duration::from_secs(120) }
    }
}

/// A query and its frame.
#[derive(Clone, Debug)]
pub struct Query {
    /// The text.
    pub expr: String,
    /// First nanosecond; for metric queries the first point.
    pub start_ns: TimestampNs,
    /// End: exclusive for log queries, the last possible point for metric queries.
    pub end_ns: TimestampNs,
    /// Distance of points; 0 for an instant query.
    pub step_ns: i64,
    /// The most lines over all streams.
    pub limit: usize,
    /// Which lines come first, and are kept by the limit.
    pub direction: Direction,
    /// At least so many nanoseconds lie between a line and the next, over all streams; 0 for all lines.
    pub interval_ns: i64,
    /// Whether [`Stats::plans`] are wanted.
    pub explain: bool,
}

/// Labels of a line that may have empty values, sorted by name.
pub type LabelPairs = Vec<(String, String)>;

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultEntry {
    /// When.
    pub timestamp: TimestampNs,
    /// The text, as the pipeline left it.
    pub line: String,
    /// The labels of the stream that are left.
    pub stream: LabelPairs,
    /// The structured metadata that is left.
    pub metadata: LabelPairs,
    /// What stages made.
    pub parsed: LabelPairs,
}

impl ResultEntry {
    /// A line as it came out of a pipeline.
    pub fn of(entry: &Entry<'_>, line: &Line) -> Self {
        let mut result = ResultEntry {
            timestamp: entry.timestamp,
            line: line.text(entry.line).to_owned(),
            stream: Vec::new(),
            metadata: Vec::new(),
            parsed: Vec::new(),
        };
        line.labels.for_each(|n, v, category| {
            let list = match category {
                Category::Stream => &mut result.stream,
                Category::Metadata => &mut result.metadata,
                Category::Parsed => &mut result.parsed,
            };
            list.push((n.to_owned(), v.to_owned()));
        });
        for list in [&mut result.stream, &mut result.metadata, &mut result.parsed] {
            list.sort();
        }
        result
    }

    /// Memory it takes up, about.
    pub fn bytes(&self) -> u64 {
        let pairs = [&self.stream, &self.metadata, &self.parsed];
        let labels: usize = pairs.iter().flat_map(|p| p.iter()).map(|(n, v)| n.len() + v.len() + 64).sum();
        (self.line.len() + labels + 128) as u64
    }
}

/// A series of an answer: points in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultSeries {
    /// Its labels.
    pub labels: Labels,
    /// Time in milliseconds, value.
    pub points: Vec<(i64, f64)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Of a log query: lines in the asked order.
    Lines(Vec<ResultEntry>),
    /// Of a metric query over a range.
    Matrix(Vec<ResultSeries>),
    /// Of an instant metric query: one point each, in the query's order.
    Vector(Vec<ResultSeries>),
    /// Of a query of plain numbers.
    Scalar(i64, f64),
}

/// How much work an answer was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Lines read from the store.
    pub lines: u64,
    /// Bytes of those lines.
    pub bytes: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Rows that were answered from their columns, without their lines.
    pub rows: u64,
    /// What each selector of the query took, if it was asked for: the selector with its stages, and the plan.
    pub plans: Vec<(String, Plan)>,
}

impl Stats {
    /// Adds the work of a part.
    pub fn add(&mut self, part: &Stats) {
        self.lines += part.lines;
        self.bytes += part.bytes;
        self.rows += part.rows;
    }
}

/// Why a query failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// It does not parse.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// It asks for something that is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// A line failed in its pipeline and the query does not say what to do with such lines.
    #[error(
        "pipeline error: '{error}' for series: '{series}'.\nUse a label filter to intentionally skip this error. (e.g | __error__!=\"{error}\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\nThe label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    )]
    Pipeline {
        /// The value of `__error__`.
        error: String,
        /// The labels of the line.
        series: String,
    },
    /// The sides of a binary operation do not match one to one.
    #[error("{0}")]
    Matching(String),
    /// A limit was passed.
    #[error("{0}")]
    Limit(String),
    /// It ran too long.
    #[error("the query timed out: narrow the time range or the stream selector")]
    Timeout,
    /// The client went away.
    #[error("the query was cancelled")]
    Canceled,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The memory of one query, over all its threads.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    used: AtomicU64,
}

impl Budget {
    fn new(most: u64) -> Self {
        Budget { most, used: AtomicU64::new(0) }
    }

    /// Takes some of it; what is over ends the query.
    pub fn take(&self, bytes: u64) -> Result<(), QueryError> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used <= self.most {
            return Ok(());
        }
        Err(QueryError::Limit(format!(
            "the query holds more than {} MiB in memory; shorten the range, raise the step or aggregate by fewer labels",
            self.most >> 20
        )))
    }
}

/// What is needed while a query runs: its bounds, and whether it should stop.
pub struct Run<'a> {
    /// The store.
    pub storage: &'a dyn Storage,
    /// The bounds.
    pub options: &'a EngineOptions,
    deadline: Instant,
    cancelled: &'a AtomicBool,
    /// What it may hold.
    pub budget: Budget,
    /// Work done so far.
    pub stats: Stats,
    /// Plans, if they are asked for.
    plans: Option<Mutex<Vec<(String, Plan)>>>,
}

impl Run<'_> {
    /// Whether to go on; asked now and then.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(QueryError::Canceled)
        } else if Instant::now() >= self.deadline {
            Err(QueryError::Timeout)
        } else {
            Ok(())
        }
    }

    /// Notes what a log expression takes, if anybody asks.
    pub fn explain(&self, log: &LogExpr, select: &Select) -> Result<(), QueryError> {
        if let Some(plans) = &self.plans {
            let plan = self.storage.plan(select)?;
            plans
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((format::one_line(&Expr::Log(log.clone())), plan));
        }
        Ok(())
    }

    /// Gives all lines of a log expression in parts that run side by side.
    pub fn fold(
        &self,
        log: &LogExpr,
        (start_ns, end_ns): (TimestampNs, TimestampNs),
        fold: &dyn Fold,
    ) -> Result<(), QueryError> {
        let select = select_of(log, (start_ns, end_ns), Direction::Forward);
        self.explain(log, &select)?;
        Ok(self.storage.fold(&select, fold)?)
    }

    /// Runs every line of a log expression through its pipeline; `each` sees those that pass, with the text as it came.
    pub fn lines(
        &mut self,
        log: &LogExpr,
        (start_ns, end_ns): (TimestampNs, TimestampNs),
        direction: Direction,
        mut each: impl FnMut(&Entry<'_>, &mut Line) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<(), QueryError> {
        /// How many lines are read between two looks at the clock.
        const CHECK_EVERY: u64 = 4096;
        let pipeline = Pipeline::compile(&log.stages).map_err(QueryError::Invalid)?;
        let select = select_of(log, (start_ns, end_ns), direction);
        self.explain(log, &select)?;
        let mut line = Line::default();
        let mut failed = None;
        let mut stats = std::mem::take(&mut self.stats);
        let result = self.storage.scan(&select, &mut |entry| {
            stats.lines += 1;
            stats.bytes += entry.line.len() as u64;
            if stats.lines.is_multiple_of(CHECK_EVERY)
                && let Err(e) = self.check()
            {
                failed = Some(e);
                return ControlFlow::Break(());
            }
            if !pipeline.run(&mut line, &entry) {
                return ControlFlow::Continue(());
            }
            match each(&entry, &mut line) {
                Ok(flow) => flow,
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        });
        self.stats = stats;
        result?;
        failed.map_or(Ok(()), Err)
    }
}

/// What is asked of the store for a log expression.
fn select_of(log: &LogExpr, (start_ns, end_ns): (TimestampNs, TimestampNs), direction: Direction) -> Select {
    let (hints, labels) = (line_hints(log), label_hints(log));
    Select { matchers: log.matchers.clone(), start_ns, end_ns, direction, hints, labels }
}

/// Runs a query against a store. `cancelled` may be set from outside at any time.
pub fn run(
    storage: &dyn Storage,
    options: &EngineOptions,
    query: &Query,
    cancelled: &AtomicBool,
) -> Result<(Output, Stats), QueryError> {
    let expr = parse(&query.expr)?;
    with_run(storage, options, query, cancelled, |run| match &expr {
        Expr::Log(log) => {
            if query.limit > options.max_entries {
                return Err(QueryError::Limit(format!(
                    "max entries limit per query exceeded, limit > max_entries_limit_per_query ({} > {})",
                    query.limit, options.max_entries
                )));
            }
            log_query(run, log, query).map(Output::Lines)
        }
        Expr::Metric(m) => metric::evaluate(run, m, query),
    })
}

/// The patterns of the lines of a log query, counted in steps. Filters for texts and regexes are minded, other stages are not.
pub fn patterns(
    storage: &dyn Storage,
    options: &EngineOptions,
    query: &Query,
    cancelled: &AtomicBool,
) -> Result<(ByLevel, Stats), QueryError> {
    let Expr::Log(log) = parse(&query.expr)? else {
        return Err(QueryError::Invalid("patterns are those of a log query, not of a metric query".to_owned()));
    };
    with_run(storage, options, query, cancelled, |run| {
        patterns::mine(run, &log, (query.start_ns, query.end_ns), query.step_ns)
    })
}

fn with_run<T>(
    storage: &dyn Storage,
    options: &EngineOptions,
    query: &Query,
    cancelled: &AtomicBool,
    work: impl FnOnce(&mut Run<'_>) -> Result<T, QueryError>,
) -> Result<(T, Stats), QueryError> {
    let begun = Instant::now();
    let mut run = Run {
        storage,
        options,
        deadline: begun + options.timeout,
        cancelled,
        budget: Budget::new(options.max_bytes),
        stats: Stats::default(),
        plans: query.explain.then(Mutex::default),
    };
    let output = work(&mut run)?;
    let mut stats = run.stats;
    stats.plans = run.plans.map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default();
    stats.seconds = begun.elapsed().as_secs_f64();
    Ok((output, stats))
}

fn log_query(run: &mut Run<'_>, log: &LogExpr, query: &Query) -> Result<Vec<ResultEntry>, QueryError> {
    let mut out: Vec<ResultEntry> = Vec::new();
    if query.limit == 0 {
        return Ok(out);
    }
    let budget = Budget::new(run.options.max_bytes);
    // With an interval: when the last line was given, whatever its stream.
    let mut last_given: Option<TimestampNs> = None;
    run.lines(log, (query.start_ns, query.end_ns), query.direction, |entry, line| {
        if query.interval_ns > 0 {
            if last_given.is_some_and(|t| entry.timestamp.abs_diff(t) < query.interval_ns.unsigned_abs()) {
                return Ok(ControlFlow::Continue(()));
            }
            last_given = Some(entry.timestamp);
        }
        let result = ResultEntry::of(entry, line);
        budget.take(result.bytes())?;
        out.push(result);
        Ok(if out.len() >= query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(out)
}
