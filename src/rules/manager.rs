//! All groups: started, changed and stopped as their files say, and seen by the API.
//!
//! Lock order: `running` (held over a reload, which waits for evaluations to end), then `shown`, then a group's status.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exec::clock::Clock;
use crate::exec::latch::Latch;
use crate::model::Labels;
use crate::model::sample::stale_nan;
use crate::rules::alerting::ActiveAlert;
use crate::rules::group::{GroupRunner, Restore, SharedStatus};
use crate::rules::interfaces::{
    AlertSink, InstantSample, RuleAppender, RuleQuerier, RuleStateKeeper, TransitionObserver,
};
use crate::rules::metrics;
use crate::rules::restore::{RuleSnapshot, Snapshot};
use crate::rules::spec::GroupSpec;
use crate::rules::status::GroupStatus;

/// Evaluations to wait for before alerts are restored from series.
const EVALUATIONS_BEFORE_RESTORE: u32 = 2;

/// What the rules work with.
pub struct RuleServices {
    /// Answers queries.
    pub querier: Arc<dyn RuleQuerier>,
    /// Takes results.
    pub appender: Arc<dyn RuleAppender>,
    /// Takes alerts.
    pub sink: Arc<dyn AlertSink>,
    /// Keeps the state of alerts for a restart.
    pub keeper: Arc<dyn RuleStateKeeper>,
    /// Hears of changes.
    pub observer: Arc<dyn TransitionObserver>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Open when queries see everything, which after a start takes a while; no rule is evaluated before.
    pub ready: Latch,
}

/// What a reload can change for all groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSettings {
    /// Where users reach this server.
    pub external_url: String,
    /// Labels that alerts get on their way out, unless they have them.
    pub external_labels: Labels,
}

type Key = (String, String);

struct Running {
    spec: Arc<GroupSpec>,
    settings: Arc<RuleSettings>,
    cancel: CancellationToken,
    task: JoinHandle<GroupRunner>,
}

/// Runs all groups.
pub struct RuleManager {
    services: Arc<RuleServices>,
    running: Mutex<BTreeMap<Key, Running>>,
    shown: RwLock<BTreeMap<Key, SharedStatus>>,
    /// The alerts of before the start, until the first groups came.
    saved: Mutex<Option<Start>>,
    stop: CancellationToken,
}

struct Start {
    snapshot: Option<Snapshot>,
}

impl RuleManager {
    /// Makes a manager without groups. `snapshot` is what the keeper was given before the restart; without one, pending alerts
    /// are restored from the `ALERTS_FOR_STATE` series.
    pub fn new(services: RuleServices, snapshot: Option<Snapshot>) -> Self {
        RuleManager {
            services: Arc::new(services),
            running: Mutex::default(),
            shown: RwLock::default(),
            saved: Mutex::new(Some(Start { snapshot })),
            stop: CancellationToken::new(),
        }
    }

    /// Makes the groups that run those given. Unchanged ones go on undisturbed; changed ones keep the state of the
    /// rules that stay; the series of those that go are ended. Of two groups with the same file and name the last counts.
    pub async fn update(&self, groups: Vec<GroupSpec>, settings: RuleSettings) {
        let mut running = self.running.lock().await;
        if self.stop.is_cancelled() {
            return;
        }
        let settings = Arc::new(settings);
        let start = self.saved.lock().await.take();
        let mut wanted: BTreeMap<Key, GroupSpec> = groups.into_iter().map(|g| (g.key(), g)).collect();
        let mut forgotten: Vec<RuleSnapshot> = Vec::new();
        // Only at the start: what was kept, by group, or that it is lost.
        let is_lost = start.as_ref().is_some_and(|s| s.snapshot.is_none());
        let mut kept: BTreeMap<Key, Vec<RuleSnapshot>> = BTreeMap::new();
        for rule in start.and_then(|s| s.snapshot).unwrap_or_default().rules {
            kept.entry((rule.file.clone(), rule.group.clone())).or_default().push(rule);
        }

        let gone: Vec<Key> = running.keys().filter(|k| !wanted.contains_key(*k)).cloned().collect();
        for key in gone {
            if let Some(old) = running.remove(&key) {
                self.shown.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
                metrics::forget(&old.spec.metric_label());
                if let Some(runner) = stop_group(old).await {
                    forgotten.extend(self.end_series_later(runner));
                }
            }
        }
        let now = self.services.clock.now_ms();
        while let Some((key, spec)) = wanted.pop_first() {
            let unchanged = running.get(&key).is_some_and(|r| *r.spec == spec && *r.settings == *settings);
            if unchanged {
                continue;
            }
            let restore = if is_lost {
                Restore::FromSeries { evaluations_left: EVALUATIONS_BEFORE_RESTORE }
            } else {
                Restore::Done
            };
            let mut runner = GroupRunner::new(Arc::new(spec), settings.clone(), self.services.clone(), restore);
            if let Some(rules) = kept.remove(&key) {
                forgotten.extend(runner.load(rules, now));
            }
            if let Some(old) = running.remove(&key)
                && let Some(before) = stop_group(old).await
            {
                forgotten.extend(runner.take_over(before));
            }
            let rules = i64::try_from(runner.spec.rules.len()).unwrap_or(i64::MAX);
            metrics::RULES.with_label_values(&[&runner.spec.metric_label()]).set(rules);
            self.shown.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), runner.status.clone());
            let cancel = self.stop.child_token();
            let spec = runner.spec.clone();
            let task = tokio::spawn(runner.run(cancel.clone()));
            running.insert(key, Running { spec, settings: settings.clone(), cancel, task });
        }
        metrics::GROUPS.set(i64::try_from(running.len()).unwrap_or(i64::MAX));
        forgotten.extend(kept.into_values().flatten());
        forgotten.iter_mut().for_each(|r| r.alerts.clear());
        if !forgotten.is_empty()
            && let Err(error) = self.services.keeper.keep(forgotten).await
        {
            tracing::warn!(error, "what was kept of removed rules cannot be forgotten; it does no harm");
        }
    }

    /// Ends the series of a removed group, after two intervals: a group of another name may have taken them over, and
    /// then its newer samples make the store refuse the markers.
    /// Gives what is no longer to be kept of it.
    fn end_series_later(&self, runner: GroupRunner) -> Vec<RuleSnapshot> {
        let services = self.services.clone();
        let wait = Duration::from_millis(runner.spec.interval_ms.unsigned_abs().saturating_mul(2));
        let at = services.clock.now_ms() - runner.spec.query_offset_ms;
        let group = runner.spec.name.clone();
        let (series, forgotten) = runner.into_remains();
        let stop = self.stop.clone();
        if series.is_empty() {
            return forgotten;
        }
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let samples = series.into_iter().map(|l| InstantSample::float(l, stale_nan())).collect();
            if let Err(error) = services.appender.append(vec![samples], at).await {
                tracing::warn!(group, %error, "series of a removed group cannot be ended");
            }
        });
        forgotten
    }

    /// Stops all groups and waits until running evaluations have ended. Series are not ended: a restart goes on with them.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut running = self.running.lock().await;
        while let Some((_, group)) = running.pop_first() {
            stop_group(group).await;
        }
    }

    /// All groups, in order of file and name.
    pub fn groups(&self) -> Vec<GroupStatus> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.values().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// All pending and firing alerts.
    pub fn active_alerts(&self) -> Vec<ActiveAlert> {
        let groups = self.groups();
        groups.iter().flat_map(|g| &g.rules).flat_map(|r| r.active_alerts().cloned()).collect()
    }
}

async fn stop_group(group: Running) -> Option<GroupRunner> {
    group.cancel.cancel();
    match group.task.await {
        Ok(runner) => Some(runner),
        Err(error) => {
            tracing::error!(group = group.spec.name, %error, "the task of a rule group ended badly; its state is lost");
            None
        }
    }
}
