//! The cardinality guard: limits on series, and who may not make new ones any more.
//!
//! A *group* is a metric of a target. When a limit is reached, the group that made most of the newest series of that scope is closed: its series go
//! on, it gets no new ones. The others may go on past the limit, and whenever the scope has grown by another hundredth the next group is
//! closed, up to a tenth over the limit, where nobody gets new series. A group opens again when its scope is a twentieth below the limit.
//!
//! Sizes of scopes are those of posting lists, so that they need no memory of their own and are right after a restart.

pub(crate) mod group;
mod suspects;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use prometheus::IntCounter;

use self::group::{Group, GroupKey, Lists, Scope};
use self::suspects::Suspects;
use super::SeriesRef;
use super::head::Head;
use super::self_metrics as count;
use crate::exec::throttled_log::Throttle;
use crate::model::TimestampMs;

/// Groups that the metric of refusals names; further ones share one set of labels.
const MAX_NAMED: usize = 200;
/// How long the metric goes on naming a group that is open again.
const NAMED_AFTER_MS: i64 = 3600 * 1000;
/// Jobs whose new series are counted one by one.
const MAX_JOBS: usize = 5_000;
/// New series of jobs are counted in steps of this.
const STEP_MS: i64 = 5 * 60 * 1000;
/// Steps of an hour.
const STEPS: usize = 12;

/// Most series the head may hold; 0 stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// All together.
    pub total: u64,
    /// Of one value of `job`.
    pub job: u64,
    /// Of one target, that is values of `job` and `instance`.
    pub target: u64,
    /// Of one metric name.
    pub metric: u64,
    /// Of one metric name of one target.
    pub target_metric: u64,
}

impl SeriesLimits {
    /// No limits.
    pub const NONE: SeriesLimits = SeriesLimits { total: 0, job: 0, target: 0, metric: 0, target_metric: 0 };
}

/// A group that gets no new series.
struct Closed {
    scope: Scope,
    /// Labels of one of its series.
    member: String,
    refused: IntCounter,
    /// Label values of the metric, if it names the group.
    named: Option<[String; 6]>,
}

#[derive(Default)]
struct Inner {
    suspects: Suspects,
    /// For each scope over its limit, the size at which the next group is looked for.
    next_look: HashMap<(Scope, GroupKey), u64>,
    /// Label sets of the metric whose groups are open again, and since when.
    opened: Vec<(TimestampMs, [String; 6])>,
    named: usize,
    jobs: HashMap<String, JobSteps>,
}

/// New series of a job in the steps of the last hour.
#[derive(Clone, Copy, Default)]
struct JobSteps {
    counts: [u64; STEPS],
    newest: i64,
}

impl JobSteps {
    fn move_to(&mut self, step: i64) {
        // A clock that was set back counts on in the step it had reached.
        let steps = step.saturating_sub(self.newest).clamp(0, STEPS as i64);
        self.newest = self.newest.max(step);
        for n in 0..steps {
            let i = (self.newest - n).rem_euclid(STEPS as i64) as usize;
            if let Some(c) = self.counts.get_mut(i) {
                *c = 0;
            }
        }
    }

    fn add(&mut self, step: i64) {
        self.move_to(step);
        if let Some(c) = self.counts.get_mut(self.newest.rem_euclid(STEPS as i64) as usize) {
            *c += 1;
        }
    }
}

/// See the module. Its locks are taken after the head's, `inner` before `closed`.
pub(crate) struct Cardinality {
    limits: RwLock<SeriesLimits>,
    any_closed: AtomicBool,
    closed: RwLock<HashMap<GroupKey, Closed>>,
    inner: Mutex<Inner>,
    log: Throttle,
}

impl Cardinality {
    pub(crate) fn new(limits: SeriesLimits) -> Self {
        Cardinality {
            limits: RwLock::new(limits),
            any_closed: AtomicBool::new(false),
            closed: RwLock::default(),
            inner: Mutex::default(),
            log: Throttle::new(1000),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn limits(&self) -> SeriesLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_limits(&self, limits: SeriesLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Whether the group of a label set is closed, asked without the head; counts the refusal.
    pub(crate) fn refuses(&self, packed: &str) -> bool {
        if !self.any_closed.load(Ordering::Relaxed) {
            return false;
        }
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let found = closed.get(&Group::of(packed).key());
        if let Some(c) = found {
            c.refused.inc();
        }
        found.is_some()
    }

    /// Whether a series that is not in the head may be made. The caller holds the head's lock.
    pub(crate) fn admits(&self, head: &Head, packed: &str, now_ms: TimestampMs) -> bool {
        let limits = self.limits();
        if limits == SeriesLimits::NONE {
            return true;
        }
        let group = Group::of(packed);
        let lists = Lists::of(&head.labels, group);
        for scope in Scope::ALL {
            let limit = scope.limit(&limits);
            if limit == 0 || !scope.applies(group) {
                continue;
            }
            let Some(size) = lists.size_from(scope, limit) else { continue };
            let guilty = if scope == Scope::TargetMetric || size >= limit.saturating_add(limit / 10) {
                Some(group.key())
            } else {
                self.look_for_guilty(head, scope, group, limit, size)
            };
            let Some(guilty) = guilty else { continue };
            if guilty == group.key() {
                self.close(head, scope, packed, size, limit, now_ms);
                // Counts the refusal.
                return !self.refuses(packed);
            }
            let other = self.inner().suspects.member_of(head, guilty);
            if let Some(other) = other {
                self.close(head, scope, &other, size, limit, now_ms);
            }
        }
        true
    }

    /// The group to close next in a scope that is over its limit, if it has grown enough since the last.
    fn look_for_guilty(&self, head: &Head, scope: Scope, group: Group<'_>, limit: u64, size: u64) -> Option<GroupKey> {
        let mut inner = self.inner();
        let at = (scope, scope.key(group));
        if inner.next_look.get(&at).is_some_and(|next| size < *next) {
            return None;
        }
        inner.next_look.insert(at, size.saturating_add((limit / 100).max(1)));
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        inner.suspects.guilty(head, scope, group, |key| closed.contains_key(&key))
    }

    fn close(&self, head: &Head, scope: Scope, member: &str, size: u64, limit: u64, now_ms: TimestampMs) {
        let group = Group::of(member);
        let key = group.key();
        let mut inner = self.inner();
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        if closed.contains_key(&key) {
            return;
        }
        let exploding = group::exploding_label(head, group);
        let examples = exploding.examples.join(", ");
        let names = (inner.named < MAX_NAMED).then(|| {
            inner.named += 1;
            let parts: [&str; 6] =
                [scope.reason(), group.job, group.instance, group.metric, &exploding.label, &examples];
            parts.map(str::to_owned)
        });
        drop(inner);
        let others = [scope.reason(), "", "", "", "", ""].map(str::to_owned);
        let values: Vec<&str> = names.as_ref().unwrap_or(&others).iter().map(String::as_str).collect();
        let refused = count::SERIES_REFUSED.with_label_values(&values);
        if let Some(before) = self.log.allow(now_ms) {
            tracing::warn!(
                limit_of = scope.reason(),
                limit,
                series = size,
                job = group.job,
                instance = group.instance,
                metric = group.metric,
                label = exploding.label,
                label_values = exploding.values,
                examples,
                unreported = before,
                "too many series: this metric of this target gets no new ones; those it has go on"
            );
        }
        closed.insert(key, Closed { scope, member: member.to_owned(), refused, named: names });
        self.any_closed.store(true, Ordering::Relaxed);
        count::GROUPS_CLOSED.set(closed.len() as i64);
    }

    /// Notes a series that was made.
    pub(crate) fn made(&self, packed: &str, series: SeriesRef, now_ms: TimestampMs) {
        let group = Group::of(packed);
        let mut inner = self.inner();
        inner.suspects.note(group, series);
        let jobs = &mut inner.jobs;
        let job = if jobs.len() < MAX_JOBS || jobs.contains_key(group.job) { group.job } else { "" };
        let step = now_ms.div_euclid(STEP_MS);
        match jobs.get_mut(job) {
            Some(steps) => steps.add(step),
            None => jobs.entry(job.to_owned()).or_default().add(step),
        }
    }

    /// New series of the last hour by job, most first; jobs past the first thousands are together under an empty name.
    pub(crate) fn made_by_job(&self, now_ms: TimestampMs, limit: usize) -> Vec<(String, u64)> {
        let step = now_ms.div_euclid(STEP_MS);
        let mut inner = self.inner();
        let mut all = Vec::new();
        inner.jobs.retain(|job, steps| {
            steps.move_to(step);
            let sum: u64 = steps.counts.iter().sum();
            if sum > 0 {
                all.push((job.clone(), sum));
            }
            sum > 0
        });
        drop(inner);
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(limit);
        all
    }

    /// Opens the groups whose scope has room again. Called by upkeep.
    pub(crate) fn review(&self, head: &Head, now_ms: TimestampMs) {
        self.forget_names(now_ms);
        if !self.any_closed.load(Ordering::Relaxed) {
            return;
        }
        let limits = self.limits();
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        let opened: Vec<Closed> = closed
            .extract_if(|_, c| {
                let limit = c.scope.limit(&limits);
                let still = limit.saturating_sub((limit / 20).max(1));
                let lists = Lists::of(&head.labels, Group::of(&c.member));
                limit == 0 || lists.size_from(c.scope, still.max(1)).is_none()
            })
            .map(|(_, c)| c)
            .collect();
        self.any_closed.store(!closed.is_empty(), Ordering::Relaxed);
        count::GROUPS_CLOSED.set(closed.len() as i64);
        drop(closed);
        let mut inner = self.inner();
        for c in opened {
            let group = Group::of(&c.member);
            inner.next_look.remove(&(c.scope, c.scope.key(group)));
            tracing::info!(
                job = group.job,
                instance = group.instance,
                metric = group.metric,
                "this metric of this target gets new series again"
            );
            inner.opened.extend(c.named.map(|n| (now_ms, n)));
        }
        if !self.any_closed.load(Ordering::Relaxed) {
            inner.next_look.clear();
        }
    }

    fn forget_names(&self, now_ms: TimestampMs) {
        let mut inner = self.inner();
        if inner.opened.is_empty() {
            return;
        }
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<[String; 6]> =
            inner.opened.extract_if(.., |o| (now_ms - o.0).abs() > NAMED_AFTER_MS).map(|o| o.1).collect();
        for names in due {
            inner.named = inner.named.saturating_sub(1);
            let again =
                closed.values().any(|c| c.named.as_ref() == Some(&names)) || inner.opened.iter().any(|o| o.1 == names);
            if !again {
                let values: Vec<&str> = names.iter().map(String::as_str).collect();
                // It is there unless another one of the same name was removed already.
                let _gone = count::SERIES_REFUSED.remove_label_values(&values);
            }
        }
    }
}
