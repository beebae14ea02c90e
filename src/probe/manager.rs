//! Runs the configured probes on their intervals and keeps what they find.
//!
//! Each target of each probe has a task. A reload is a diff: a target whose probe did not change keeps its task and
//! its rhythm. Targets are spread over their interval by a hash of their labels; at most [`MAX_RUNNING`] run at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::probe::{Probe, ProbeModule};
use crate::exec::permits::Permits;
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock};
use crate::logs;
use crate::model::sample::stale_nan;
use crate::model::{Labels, LabelsBuilder, TimestampMs};
use crate::probe::result::ProbeResult;
use crate::probe::{Question, history, probe_once};
use crate::telemetry::metrics;
use crate::tsdb::{AppendError, Db, SeriesRef};

/// Probes under way at the same time. Each holds a socket and little memory; more would fight for the very network
/// that they measure.
pub const MAX_RUNNING: usize = 64;
/// Probes that wait for a place; a probe that finds no place to wait is skipped and counted.
const MAX_WAITING: usize = 4096;
/// The first run of a new target comes within this time, so that a fresh start has something to show.
const FIRST_WITHIN: Duration = Duration::from_secs(3);

static RUNS: LazyLock<IntCounterVec> =
    LazyLock::new(|| metrics::counter_vec("campanile_probe_runs_total", "Probes run.", &["kind", "result"]));
static SKIPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_probe_skipped_total", "Probes not run because too many were waiting already.")
});
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_probe_samples_refused_total",
        "Samples of probes that were not stored.",
        &["reason"],
    )
});
static LOG_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_probe_log_lines_refused_total", "Log lines of probes that were not stored.")
});
static COMPLAINTS: Throttle = Throttle::new(10_000);

/// Where probes write.
#[derive(Clone)]
pub struct Stores {
    /// Series.
    pub db: Arc<Db>,
    /// Log lines.
    pub logs: Arc<logs::Store>,
    /// The time of samples and lines.
    pub clock: Arc<dyn Clock>,
}

/// What one task does.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    target: String,
    module: ProbeModule,
    every: Duration,
}

/// The last run of one target.
#[derive(Clone, Debug)]
pub struct LastRun {
    /// When it began.
    pub at: TimestampMs,
    /// What it gave.
    pub result: ProbeResult,
}

/// One target as the user sees it.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// The labels of its series.
    pub labels: Labels,
    /// Whom it asks.
    pub target: String,
    /// How often.
    pub every: Duration,
    /// Its last run, if there was one.
    pub last: Option<LastRun>,
}

struct Task {
    job: Job,
    last: Arc<Mutex<Option<LastRun>>>,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

/// See the module.
pub struct Manager {
    stores: Stores,
    permits: Permits,
    shutdown: CancellationToken,
    tasks: Mutex<HashMap<Labels, Task>>,
}

impl Manager {
    /// A manager without probes; all tasks end when `shutdown` is cancelled.
    pub fn new(stores: Stores, shutdown: CancellationToken) -> Self {
        Manager { stores, permits: Permits::new(MAX_RUNNING, MAX_WAITING), shutdown, tasks: Mutex::default() }
    }

    /// Makes the running tasks those of this configuration. Must be called inside the runtime. A probe whose module
    /// does not exist was refused when the configuration was loaded; here it is left out.
    pub fn apply(&self, probes: &[Probe], modules: &BTreeMap<String, ProbeModule>) {
        let mut wanted: HashMap<Labels, Job> = HashMap::new();
        for probe in probes {
            let module = match probe.module(modules) {
                Ok(module) => module,
                Err(e) => {
                    tracing::error!(probe = probe.name, error = e, "probe left out");
                    continue;
                }
            };
            for target in probe.all_targets() {
                let every = probe.every().as_duration();
                let job = Job { target: target.to_owned(), module: module.clone(), every };
                wanted.insert(probe.labels_of(target).build(), job);
            }
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|labels, task| {
            let keep = wanted.get(labels) == Some(&task.job);
            if keep {
                wanted.remove(labels);
            } else {
                task.stop.cancel();
            }
            keep
        });
        for (labels, job) in wanted {
            let stop = self.shutdown.child_token();
            let last = Arc::default();
            let target = Target {
                labels: labels.clone(),
                job: job.clone(),
                stores: self.stores.clone(),
                permits: self.permits.clone(),
                last: Arc::clone(&last),
            };
            let handle = tokio::spawn(target.run(stop.clone(), self.shutdown.clone()));
            tasks.insert(labels, Task { job, last, stop, handle });
        }
    }

    /// All targets and their last runs, sorted by labels.
    pub fn status(&self) -> Vec<TargetStatus> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<TargetStatus> = tasks
            .iter()
            .map(|(labels, t)| TargetStatus {
                labels: labels.clone(),
                target: t.job.target.clone(),
                every: t.job.every,
                last: t.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            })
            .collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }

    /// Stops all tasks and waits for them.
    pub async fn stop(&self) {
        let tasks: Vec<Task> = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.drain().map(|(_, t)| t).collect()
        };
        for task in &tasks {
            task.stop.cancel();
        }
        for task in tasks {
            if let Err(e) = task.handle.await {
                tracing::error!(error = %e, "a probe's task ended badly");
            }
        }
    }
}

struct Target {
    labels: Labels,
    job: Job,
    stores: Stores,
    permits: Permits,
    last: Arc<Mutex<Option<LastRun>>>,
}

/// The series of the last run, so that one that is gone can be marked stale and the others need no lookup.
type Known = HashMap<Labels, SeriesRef>;

impl Target {
    async fn run(self, stop: CancellationToken, shutdown: CancellationToken) {
        let mut known = Known::new();
        let hash = self.labels.hash64();
        let every = self.job.every.as_millis().max(1) as u64;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(hash % FIRST_WITHIN.as_millis() as u64)) => {}
        }
        self.once(&mut known, &stop).await;
        // From then on at the offset that the hash gives, the same after every restart.
        let now = self.stores.clock.now_ms().max(0) as u64;
        let wait = (hash % every + every - now % every) % every;
        let mut ticks = tokio::time::interval_at(
            Instant::now() + Duration::from_millis(if wait < every / 2 { wait + every } else { wait }),
            self.job.every,
        );
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.once(&mut known, &stop).await;
        }
        // A target that was taken out of the configuration is gone; a process that stops says nothing about it.
        if !shutdown.is_cancelled() {
            let at = self.stores.clock.now_ms();
            let store = self.stores.clone();
            let stale = move || write_series(&store, &mut known, &[], at);
            finish(tokio::task::spawn_blocking(stale).await);
        }
    }

    /// One run. A stop ends the asking, never the writing: what was written must be known to be marked stale.
    async fn once(&self, known: &mut Known, stop: &CancellationToken) {
        let kind = self.job.module.prober.0;
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = self.permits.acquire() => permit,
        };
        let Ok(_permit) = permit else {
            SKIPPED.inc();
            return;
        };
        let at_ns = self.stores.clock.now_ns();
        let timeout = self.job.module.timeout.as_duration();
        let question = Question { module: &self.job.module, target: &self.job.target, hostname: None, timeout };
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = probe_once(question) => result,
        };
        RUNS.with_label_values(&[kind.as_str(), if result.success { "success" } else { "failure" }]).inc();
        let at = at_ns / crate::model::time::NS_PER_MS;
        let samples: Vec<(Labels, f64)> = result
            .gauges
            .iter()
            .map(|g| {
                let mut b: LabelsBuilder = self.labels.to_builder();
                for (n, v) in &g.labels {
                    b.set(n, v.as_str());
                }
                b.set(crate::model::labels::METRIC_NAME, g.name);
                (b.build(), g.value)
            })
            .collect();
        let stream = history::stream(&self.labels, kind, &self.job.target, &result, at_ns);
        let stores = self.stores.clone();
        let mut series = std::mem::take(known);
        let written = tokio::task::spawn_blocking(move || {
            write_series(&stores, &mut series, &samples, at);
            write_line(&stores, stream);
            series
        });
        if let Some(series) = finish(written.await) {
            *known = series;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(LastRun { at, result });
    }
}

fn finish<T>(joined: Result<T, tokio::task::JoinError>) -> Option<T> {
    joined.inspect_err(|e| tracing::error!(error = %e, "writing what a probe found ended badly")).ok()
}

/// Writes samples, and stale markers for the series of the last run that are not among them.
fn write_series(stores: &Stores, known: &mut Known, samples: &[(Labels, f64)], at: TimestampMs) {
    let mut appender = stores.db.appender().vital();
    let mut next = Known::with_capacity(samples.len());
    let refused = |e: AppendError| REFUSED.with_label_values(&[reason(e)]).inc();
    for (labels, value) in samples {
        let series = match known.remove(labels) {
            Some(series) => Ok(series),
            None => appender.series(labels),
        };
        let appended = series.and_then(|series| match appender.float(series, at, *value, 0) {
            // The store forgot it meanwhile.
            Err(AppendError::UnknownRef) => {
                let series = appender.series(labels)?;
                appender.float(series, at, *value, 0).map(|()| series)
            }
            other => other.map(|()| series),
        });
        match appended {
            Ok(series) => drop(next.insert(labels.clone(), series)),
            Err(e) => refused(e),
        }
    }
    for series in known.values() {
        match appender.float(*series, at, stale_nan(), 0) {
            // A series that the store forgot is as stale as can be.
            Ok(()) | Err(AppendError::UnknownRef) => {}
            Err(e) => refused(e),
        }
    }
    if let Err(e) = appender.commit() {
        REFUSED.with_label_values(&["store"]).inc_by(samples.len() as u64);
        if let Some(held_back) = COMPLAINTS.allow(stores.clock.now_ms()) {
            tracing::error!(error = %e, held_back, "the samples of a probe were not stored");
        }
    }
    *known = next;
}

fn write_line(stores: &Stores, stream: crate::model::LogStream) {
    let failure = match stores.logs.push(vec![stream]) {
        Ok(pushed) if pushed.refused.is_empty() => return,
        Ok(pushed) => pushed.refused.join("; "),
        Err(e) => e.to_string(),
    };
    LOG_FAILURES.inc();
    if let Some(held_back) = COMPLAINTS.allow(stores.clock.now_ms()) {
        tracing::error!(error = failure, held_back, "the log line of a probe was not stored");
    }
}

fn reason(e: AppendError) -> &'static str {
    match e {
        AppendError::UnknownRef => "unknown_series",
        AppendError::Duplicate => "duplicate",
        AppendError::OutOfOrder => "out_of_order",
        AppendError::TooOld => "too_old",
        AppendError::TooNew => "too_new",
        AppendError::SeriesLimit => "series_limit",
        AppendError::InvalidLabels => "invalid_labels",
    }
}
