//! What is written down about queries: the file of those that run, the log of slow ones, and, where asked for, a file of all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};
use serde_json::{Value, json};

use crate::exec::Clock;
use crate::exec::throttled_log::Throttle;
use crate::model::time::rfc3339_ms;
use crate::query::active_file::{ActiveQueries, Slot};
use crate::query::asker::Asker;
use crate::telemetry::metrics;

static SLOW: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_query_slow_total", "Queries that took longer than query.log_slow.", &["language"])
});
static FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_query_log_failures_total", "Lines that could not be written to global.query_log_file.")
});
static UNTRACKED: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter(
        "campanile_query_untracked_total",
        "Queries that ran without a place in the file of active queries.",
    )
});
static COMPLAINTS: Throttle = Throttle::new(60_000);

/// The language of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// PromQL.
    PromQl,
    /// LogQL.
    LogQl,
}

impl Language {
    /// Its name as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::PromQl => "promql",
            Language::LogQl => "logql",
        }
    }
}

/// When a query is evaluated, in milliseconds. Start and end are the same for an instant query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedTimes {
    /// First.
    pub start_ms: i64,
    /// Last.
    pub end_ms: i64,
    /// Distance; 0 for an instant query.
    pub step_ms: i64,
}

impl AskedTimes {
    /// Start and end in RFC 3339, the step in seconds.
    pub fn to_json(self) -> Value {
        json!({
            "start": rfc3339_ms(self.start_ms), "end": rfc3339_ms(self.end_ms), "step_seconds": self.step_ms as f64 / 1000.0,
        })
    }
}

/// What was asked, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The language.
    pub language: Language,
    /// The text.
    pub query: String,
    /// When it is evaluated.
    pub times: AskedTimes,
    /// Who asked.
    pub asker: Asker,
}

/// How a query ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended<'a> {
    /// What was asked.
    pub asked: &'a Asked,
    /// How long it waited for a place.
    pub queued: Duration,
    /// How long it ran.
    pub ran: Duration,
    /// Samples read (PromQL) or lines read (LogQL); 0 where it failed.
    pub samples: u64,
    /// Why it failed.
    pub error: Option<String>,
}

impl Ended<'_> {
    /// Waiting and running.
    pub fn total(&self) -> Duration {
        self.queued + self.ran
    }
}

/// Is told of each slow query.
pub type SlowObserver = Arc<dyn Fn(&Ended<'_>) + Send + Sync>;

struct QueryFile {
    path: PathBuf,
    file: File,
}

/// See the module.
pub struct QueryLogs {
    active: Option<ActiveQueries>,
    /// Milliseconds from which on a query is slow; 0 for never.
    slow_ms: AtomicI64,
    all: Mutex<Option<QueryFile>>,
    slow: SlowObserver,
    clock: Arc<dyn Clock>,
}

impl QueryLogs {
    /// Writes down running queries in `active` and tells `slow` of slow ones.
    pub fn new(active: Option<ActiveQueries>, slow: SlowObserver, clock: Arc<dyn Clock>) -> Self {
        QueryLogs { active, slow_ms: AtomicI64::new(0), all: Mutex::default(), slow, clock }
    }

    /// Writes nothing down, for tests.
    pub fn none() -> Self {
        Self::new(None, Arc::new(|_| {}), Arc::new(crate::exec::SystemClock))
    }

    /// Sets from when on a query is slow; zero for never.
    pub fn set_slow(&self, after: Duration) {
        self.slow_ms.store(i64::try_from(after.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Sets the file that gets a line for each query. It is opened again even if it is the same, so that it can be rotated. On an
    /// error the file before stays in use.
    pub fn set_file(&self, path: Option<&Path>) -> io::Result<()> {
        let opened = path
            .map(|p| {
                let file = OpenOptions::new().create(true).append(true).open(p)?;
                Ok::<_, io::Error>(QueryFile { path: p.to_owned(), file })
            })
            .transpose()?;
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// Writes down that a query runs from now on.
    pub fn begin(&self, asked: &Asked) -> Option<Slot> {
        let active = self.active.as_ref()?;
        let slot = active.enter(asked, &rfc3339_ms(self.clock.now_ms()));
        if slot.is_none() {
            UNTRACKED.inc();
        }
        slot
    }

    /// Writes down how it ended.
    pub fn end(&self, ended: &Ended<'_>) {
        let slow_ms = self.slow_ms.load(Ordering::Relaxed);
        if slow_ms > 0 && ended.total().as_millis() >= slow_ms.unsigned_abs().into() {
            let language = ended.asked.language.as_str();
            SLOW.with_label_values(&[language]).inc();
            tracing::warn!(
                language,
                query = ended.asked.query,
                start = rfc3339_ms(ended.asked.times.start_ms),
                end = rfc3339_ms(ended.asked.times.end_ms),
                step_seconds = ended.asked.times.step_ms as f64 / 1000.0,
                seconds = ended.total().as_secs_f64(),
                queued_seconds = ended.queued.as_secs_f64(),
                samples = ended.samples,
                asked_by = %ended.asked.asker.to_json(),
                error = ended.error.as_deref().unwrap_or_default(),
                "slow query"
            );
            (self.slow)(ended);
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = all.as_mut()
            && let Err(e) = to.file.write_all(line(ended, self.clock.now_ms()).as_bytes())
        {
            FAILURES.inc();
            if let Some(before) = COMPLAINTS.allow(self.clock.now_ms()) {
                tracing::error!(file = %to.path.display(), error = %e, before, "the query log cannot be written");
            }
        }
    }
}

/// One line of the file of all queries, in the form of Prometheus' query log.
fn line(ended: &Ended<'_>, now: i64) -> String {
    let asked = ended.asked;
    let mut line = json!({
        "ts": rfc3339_ms(now),
        "language": asked.language.as_str(),
        "params": {
            "query": asked.query, "start": rfc3339_ms(asked.times.start_ms), "end": rfc3339_ms(asked.times.end_ms),
            "step": asked.times.step_ms as f64 / 1000.0,
        },
        "stats": {
            "timings": {
                "execQueueTime": ended.queued.as_secs_f64(), "evalTotalTime": ended.ran.as_secs_f64(),
                "execTotalTime": ended.total().as_secs_f64(),
            },
            "samples": {"totalQueryableSamples": ended.samples},
        },
        "asked_by": asked.asker.to_json(),
    });
    if let Some(map) = line.as_object_mut() {
        if let Some(e) = &ended.error {
            map.insert("error".to_owned(), Value::String(e.clone()));
        }
        let (method, path) = (asked.asker.get("method"), asked.asker.get("path"));
        if !path.is_empty() {
            let client = asked.asker.get("address");
            map.insert("httpRequest".to_owned(), json!({"clientIP": client, "method": method, "path": path}));
        }
    }
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_told_and_all_are_in_the_file() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let observer: SlowObserver = {
            let told = told.clone();
            Arc::new(move |e| told.lock().unwrap().push(e.asked.query.clone()))
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.log");
        let logs = QueryLogs::new(None, observer, Arc::new(crate::exec::SystemClock));
        let mut asker = Asker::default();
        asker.set("address", "127.0.0.1");
        asker.set("path", "/api/v1/query");
        let asked = |q: &str| Asked {
            language: Language::PromQl,
            query: q.to_owned(),
            times: AskedTimes::default(),
            asker: asker.clone(),
        };
        let run = |q: &str, ms: u64| {
            let asked = asked(q);
            let (queued, ran) = (Duration::from_millis(ms / 2), Duration::from_millis(ms - ms / 2));
            logs.end(&Ended { asked: &asked, queued, ran, samples: 7, error: Some("too much".to_owned()) });
        };
        run("nobody listens", 5000);
        logs.set_slow(Duration::from_secs(1));
        logs.set_file(Some(&path)).unwrap();
        run("slow", 1000);
        run("fast", 999);
        logs.set_file(None).unwrap();
        run("slow again", 2000);
        assert_eq!(*told.lock().unwrap(), ["slow", "slow again"]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["params"]["query"], "slow");
        assert_eq!(lines[0]["httpRequest"]["clientIP"], "127.0.0.1");
        assert_eq!(lines[0]["stats"]["timings"]["execTotalTime"], 1.0);
        assert_eq!(lines[1]["error"], "too much");
        assert!(logs.set_file(Some(&dir.path().join("no/such/folder"))).is_err());
    }
}
