//! One group of alerts on one route: its members, its timer, its flushes.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::Core;
use super::metrics::SUPPRESSION_CHANGES;
use super::observer::{Event, Suppression};
use super::route::Route;
use super::store::StoredAlert;
use crate::exec::CancellationToken;
use crate::model::{Labels, TimestampMs};

/// What makes a group: the route (by its id) and the values of the labels it groups by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId {
    pub route: String,
    pub labels: Labels,
}

/// A group. It lives as long as it has members, and a little longer, so that an alert that comes back meets the old timer.
pub(super) struct Group {
    /// Its identity.
    pub id: GroupId,
    /// Stops its task.
    pub gone: CancellationToken,
    wake: Notify,
    state: Mutex<State>,
}

struct State {
    route: Arc<Route>,
    members: HashMap<u64, Arc<StoredAlert>>,
    has_flushed: bool,
    flushing: bool,
    next_flush: Instant,
    suppressed: HashMap<u64, (Labels, Suppression)>,
    failing_since: Option<TimestampMs>,
}

impl Group {
    /// A group that flushes for the first time after the route's group_wait.
    pub fn new(id: GroupId, route: Arc<Route>, gone: CancellationToken) -> Self {
        let next_flush = Instant::now() + millis(route.options.group_wait_ms);
        let state = State {
            route,
            members: HashMap::new(),
            has_flushed: false,
            flushing: false,
            next_flush,
            suppressed: HashMap::new(),
            failing_since: None,
        };
        Group { id, gone, wake: Notify::new(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that receivers see.
    pub fn key(&self) -> String {
        format!("{}:{}", self.lock().route.key, self.id.labels)
    }

    /// Its route as configured now.
    pub fn route(&self) -> Arc<Route> {
        self.lock().route.clone()
    }

    /// Its members in no order.
    pub fn members(&self) -> Vec<Arc<StoredAlert>> {
        self.lock().members.values().cloned().collect()
    }

    /// Whether an alert is a member.
    pub fn holds(&self, fingerprint: u64) -> bool {
        self.lock().members.contains_key(&fingerprint)
    }

    /// Whether it can be taken away: it has flushed, is not flushing now, and has no member.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.has_flushed && !state.flushing && state.members.is_empty()
    }

    /// Takes note of whether its receiver fails, and gives since when it does.
    pub fn failing_since(&self, failing: bool, now: TimestampMs) -> Option<TimestampMs> {
        let mut state = self.lock();
        state.failing_since = failing.then(|| state.failing_since.unwrap_or(now));
        state.failing_since
    }

    /// Takes a new version of an alert in. If the first flush is still to come, and the alert began so long ago that it has waited
    /// enough already, the flush comes at once.
    pub fn insert(&self, alert: Arc<StoredAlert>, now: TimestampMs) {
        let mut state = self.lock();
        let waited = alert.alert.starts_at.saturating_add(state.route.options.group_wait_ms) < now;
        state.members.insert(alert.fingerprint, alert);
        if !state.has_flushed && waited {
            state.next_flush = Instant::now();
            self.wake.notify_one();
        }
    }

    /// Takes over the route of a new configuration and the members it is to have now; the timer stays.
    pub fn rehang(&self, route: Arc<Route>, members: HashMap<u64, Arc<StoredAlert>>) {
        let mut state = self.lock();
        state.route = route;
        state.members = members;
    }

    /// Waits for the next flush and sets the timer for the one after it. `false` when the group is gone.
    async fn tick(&self, stop: &CancellationToken) -> bool {
        loop {
            let next = self.lock().next_flush;
            tokio::select! {
                () = stop.cancelled() => return false,
                () = self.gone.cancelled() => return false,
                () = self.wake.notified() => continue,
                () = tokio::time::sleep_until(next) => {}
            }
            let mut state = self.lock();
            let now = Instant::now();
            if state.next_flush > now {
                continue;
            }
            state.next_flush = now + millis(state.route.options.group_interval_ms.max(1));
            state.has_flushed = true;
            state.flushing = true;
            return true;
        }
    }

    /// Forgets members that were told to be over, unless they have changed meanwhile.
    fn forget(&self, told: &[Arc<StoredAlert>]) {
        let mut state = self.lock();
        for alert in told {
            if state.members.get(&alert.fingerprint).is_some_and(|m| Arc::ptr_eq(m, alert)) {
                state.members.remove(&alert.fingerprint);
            }
        }
    }

    /// Takes note of what is kept quiet now, and tells what changed.
    pub fn note_suppressed(&self, core: &Core, key: &str, now_quiet: HashMap<u64, (Labels, Suppression)>) {
        let before = std::mem::replace(&mut self.lock().suppressed, now_quiet.clone());
        for (fp, (labels, by)) in &now_quiet {
            if before.get(fp).is_none_or(|(_, was)| was != by) {
                SUPPRESSION_CHANGES.with_label_values(&[by.kind(), "began"]).inc();
                (core.observer)(&Event::Suppressed { labels, fingerprint: *fp, group_key: key, by });
            }
        }
        for (fp, (labels, was)) in &before {
            match now_quiet.get(fp) {
                Some((_, by)) if by == was => continue,
                _ => SUPPRESSION_CHANGES.with_label_values(&[was.kind(), "ended"]).inc(),
            }
            if now_quiet.contains_key(fp) {
                continue;
            }
            (core.observer)(&Event::Unsuppressed { labels, fingerprint: *fp, group_key: key });
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The group's task: flushes until the group is gone or the process stops.
pub(super) async fn run(core: Arc<Core>, group: Arc<Group>) {
    while group.tick(&core.stop).await {
        // A panic in one receiver's code must not leave the group without a task: it would never be told again.
        if AssertUnwindSafe(flush(&core, &group)).catch_unwind().await.is_err() {
            tracing::error!(group = %group.key(), "a flush panicked; the next one comes after group_interval");
        }
        group.lock().flushing = false;
    }
}

async fn flush(core: &Arc<Core>, group: &Arc<Group>) {
    let members = group.members();
    if members.is_empty() {
        return;
    }
    // Alerts do not resolve while the flush goes on: all of it looks at one moment.
    let now = core.clock.now_ms();
    if super::dispatch::notify_group(core, group, &members, now).await {
        let over: Vec<_> = members.into_iter().filter(|m| m.resolved_at(now)).collect();
        group.forget(&over);
    }
}
