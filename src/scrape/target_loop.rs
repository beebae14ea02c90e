//! The life of one target: wait, fetch, store, again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exec::{CancellationToken, Clock};
use crate::model::TimestampMs;
use crate::model::time::{ZERO_TIME, rfc3339_ms};
use crate::scrape::append::{Scrape, StoreRules, Stored, TargetState};
use crate::scrape::client::{Body, Source};
use crate::scrape::metrics;
use crate::scrape::status::{Health, TargetMetadata, TargetStatus};
use crate::scrape::target::Target;
use crate::tsdb::Db;

/// A scrape that starts this late at most (and at most a hundredth of the interval) gets its planned time, so that timestamps are
/// regular and compress to almost nothing. The number is Prometheus'.
const ALIGN_TOLERANCE_MS: i64 = 2;

/// What all loops share.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub db: Arc<Db>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Last {
    at: Option<TimestampMs>,
    duration_seconds: f64,
    health: Health,
    error: String,
}

/// The scraper of one target.
pub struct TargetLoop {
    shared: Shared,
    /// The target; discovered labels may change without a new loop.
    target: Mutex<Arc<Target>>,
    source: Source,
    rules: Arc<StoreRules>,
    state: Arc<Mutex<TargetState>>,
    last: Mutex<Last>,
    /// Set while the whole pool must fail, with the reason.
    forced_error: Mutex<Option<String>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TargetLoop {
    /// A scraper; `state` comes from the one before it, if the target had one.
    pub fn new(
        shared: Shared,
        target: Target,
        source: Source,
        rules: Arc<StoreRules>,
        state: Option<Arc<Mutex<TargetState>>>,
    ) -> Self {
        TargetLoop {
            shared,
            target: Mutex::new(Arc::new(target)),
            source,
            rules,
            state: state.unwrap_or_default(),
            last: Mutex::default(),
            forced_error: Mutex::default(),
        }
    }

    /// The target.
    pub fn target(&self) -> Arc<Target> {
        lock(&self.target).clone()
    }

    /// Notes how the target was found this time.
    pub fn set_target(&self, target: Target) {
        *lock(&self.target) = Arc::new(target);
    }

    /// Makes every scrape fail with a reason, or ends that.
    pub fn force_error(&self, error: Option<String>) {
        *lock(&self.forced_error) = error;
    }

    /// What the loop remembers, for its successor.
    pub fn state(&self) -> Arc<Mutex<TargetState>> {
        self.state.clone()
    }

    /// Scrapes until the token is cancelled. A scrape on its way is dropped then; what is being stored is finished.
    pub async fn run(self: Arc<Self>, token: CancellationToken) {
        let target = self.target();
        let interval = target.interval_ms.max(1);
        let offset = target.offset_ms();
        let now = self.shared.clock.now_ms();
        let mut planned = now - now.rem_euclid(interval) + offset;
        if planned < now {
            planned += interval;
        }
        loop {
            let now = self.shared.clock.now_ms();
            if planned - now > interval {
                // The clock was set back: waiting for the old time would mean not to look for as long.
                planned -= (planned - now - 1).div_euclid(interval) * interval;
            }
            let wait = (planned - now).max(0);
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
            let now = self.shared.clock.now_ms();
            let tolerance = ALIGN_TOLERANCE_MS.min(interval / 100);
            let t = if (now - planned).abs() <= tolerance { planned } else { now };
            self.scrape(t, &token).await;
            let now = self.shared.clock.now_ms();
            let late = (now - planned).div_euclid(interval).max(0);
            if late > 0 {
                metrics::SKIPPED.inc_by(late.unsigned_abs());
            }
            planned += interval * (late + 1);
        }
    }

    /// One scrape with the timestamp `t`. Does nothing if the token is cancelled before the body is there.
    pub async fn scrape(&self, t: TimestampMs, token: &CancellationToken) {
        let target = self.target();
        let started = Instant::now();
        let forced = lock(&self.forced_error).clone();
        let fetched: Result<Body, String> = match forced {
            Some(e) => Err(e),
            None => {
                let timeout = Duration::from_millis(target.timeout_ms.unsigned_abs());
                tokio::select! {
                    () = token.cancelled() => return,
                    r = self.source.fetch(&target.url, timeout) => r.map_err(|e| e.to_string()),
                }
            }
        };
        let (db, rules, state) = (self.shared.db.clone(), self.rules.clone(), self.state.clone());
        let stored = tokio::task::spawn_blocking(move || {
            let scrape = Scrape {
                db: &db,
                rules: &rules,
                target: &target.labels,
                timeout_seconds: target.timeout_ms as f64 / 1000.0,
                t,
            };
            scrape.store(&mut lock(&state), fetched, started)
        })
        .await;
        let mut last = lock(&self.last);
        last.at = Some(t);
        match stored {
            Ok(Stored { report, error }) => {
                last.duration_seconds = report.duration_seconds;
                last.health = if error.is_none() { Health::Up } else { Health::Down };
                last.error = error.unwrap_or_default();
            }
            Err(e) => {
                last.health = Health::Down;
                last.error = format!("the scrape could not be stored: {e}");
            }
        }
    }

    /// Writes staleness markers for everything the target had.
    pub async fn end(&self) {
        let target = self.target();
        // After the last sample, even if the clock did not move on: a marker at its time would be a duplicate.
        let t = self.shared.clock.now_ms().max(lock(&self.last).at.map_or(i64::MIN, |at| at.saturating_add(1)));
        let (db, rules, state) = (self.shared.db.clone(), self.rules.clone(), self.state.clone());
        let done = tokio::task::spawn_blocking(move || {
            let scrape = Scrape { db: &db, rules: &rules, target: &target.labels, timeout_seconds: 0.0, t };
            scrape.end(&mut lock(&state));
        });
        if let Err(e) = done.await {
            tracing::warn!(error = %e, "staleness markers were not written");
        }
    }

    /// What the API shows.
    pub fn status(&self, pool: &str) -> TargetStatus {
        let target = self.target();
        let last = lock(&self.last);
        TargetStatus {
            discovered_labels: target.discovered.clone(),
            labels: target.labels.clone(),
            scrape_pool: pool.to_owned(),
            scrape_url: target.url.clone(),
            global_url: target.url.clone(),
            last_error: last.error.clone(),
            last_scrape: last.at.map_or_else(|| ZERO_TIME.to_owned(), rfc3339_ms),
            last_scrape_duration: last.duration_seconds,
            health: last.health,
            scrape_interval: target.interval_text(),
            scrape_timeout: target.timeout_text(),
        }
    }

    /// The metadata the target gave.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        let labels = self.target().labels.clone();
        let state = lock(&self.state);
        let mut all: Vec<_> = state
            .cache
            .metadata()
            .map(|(metric, m)| TargetMetadata {
                target: labels.clone(),
                metric: metric.to_owned(),
                metadata: m.clone(),
            })
            .collect();
        all.sort_by(|a, b| a.metric.cmp(&b.metric));
        all
    }
}
