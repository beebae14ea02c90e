//! What the tasks of the alertmanager share.
//!
//! Lock order: `world`, then a group's own lock or `silences`, then `nflog`. None is held over an await or while an observer runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::compiled::Compiled;
use super::dispatch;
use super::group::{Group, GroupId};
use super::in_flight::InFlight;
use super::inhibit::Inhibitor;
use super::metrics::{ALERTS, GROUPS, RECEIVED, REFUSED, SILENCE_EVENTS, SILENCES, TRANSITIONS};
use super::nflog::Nflog;
use super::notify::record_stage;
use super::observer::{Because, Event, Observer, SilenceEvent};
use super::silence::{Silence, SilenceState, Silences};
use super::store::{AlertStore, StoredAlert};
use crate::exec::{CancellationToken, Clock};
use crate::model::TimestampMs;
use crate::state::StateDb;

/// Who sends alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The rules, which tell of their alerts themselves.
    Rules,
    /// Clients of the API.
    Clients,
    /// The state file at the start.
    File,
}

/// How many alerts may be known at once. Each costs a few kilobytes and a place in a group.
const MAX_ALERTS: usize = 200_000;

/// How often empty groups and old rows are cleared away (Alertmanager's maintenance interval).
const MAINTENANCE: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Core {
    pub clock: Arc<dyn Clock>,
    pub state: Arc<StateDb>,
    pub observer: Observer,
    pub external_url: String,
    pub runtime: tokio::runtime::Handle,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub compiled: ArcSwap<Compiled>,
    pub in_flight: Arc<InFlight>,
    pub started_at: TimestampMs,
    pub world: Mutex<World>,
    pub silences: Mutex<Silences>,
    pub nflog: Mutex<Nflog>,
}

/// Alerts and where they stand.
#[derive(Default)]
pub(super) struct World {
    pub store: AlertStore,
    pub inhibitor: Inhibitor,
    pub groups: HashMap<GroupId, Arc<Group>>,
    /// Alerts that are not in the state file as they are now, by fingerprint.
    pub changed: HashSet<u64>,
}

impl Core {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn silences(&self) -> MutexGuard<'_, Silences> {
        self.silences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn nflog(&self) -> MutexGuard<'_, Nflog> {
        self.nflog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes alerts in and hands them to their groups. Gives the versions that are now known, and how many were refused because
    /// there are too many.
    pub fn ingest(self: &Arc<Self>, alerts: Vec<StoredAlert>, origin: Origin) -> (Vec<Arc<StoredAlert>>, usize) {
        let now = self.clock.now_ms();
        let (taken, refused, changed) = self.take_in(alerts, now);
        if origin == Origin::Clients {
            for (alert, firing) in changed {
                self.note_alert(&alert, firing, Because::Posted);
            }
        }
        (taken, refused)
    }

    /// The part of [`Core::ingest`] under the lock; gives beside it the alerts that began or ended by it, and whether they fire now.
    #[allow(clippy::type_complexity, reason = "three lists for one caller")]
    fn take_in(
        self: &Arc<Self>,
        alerts: Vec<StoredAlert>,
        now: TimestampMs,
    ) -> (Vec<Arc<StoredAlert>>, usize, Vec<(Arc<StoredAlert>, bool)>) {
        let mut changed = Vec::new();
        let (mut taken, mut refused) = (Vec::with_capacity(alerts.len()), 0);
        let mut world = self.world();
        // Loaded under the lock, so that a reload cannot come between the tree and the groups.
        let compiled = self.compiled.load_full();
        for alert in alerts {
            if world.store.len() >= MAX_ALERTS && world.store.get(alert.fingerprint).is_none() {
                refused += 1;
                continue;
            }
            let fired = world.store.get(alert.fingerprint).is_some_and(|a| !a.resolved_at(now));
            let known = world.store.put(alert, now);
            let fires = !known.resolved_at(now);
            if fires != fired {
                changed.push((known.clone(), fires));
            }
            let status = if known.resolved_at(now) { "resolved" } else { "firing" };
            RECEIVED.with_label_values(&[status]).inc();
            world.inhibitor.update(&known);
            world.changed.insert(known.fingerprint);
            dispatch::insert(self, &mut world, &compiled.tree, &known, now);
            taken.push(known);
        }
        REFUSED.with_label_values(&["too_many"]).inc_by(refused as u64);
        (taken, refused, changed)
    }

    /// Counts and tells that an alert of a client began or ended.
    fn note_alert(&self, alert: &StoredAlert, firing: bool, because: Because) {
        TRANSITIONS.with_label_values(&[if firing { "firing" } else { "resolved" }, because.as_str()]).inc();
        let labels = &alert.alert.labels;
        (self.observer)(&Event::Alert { labels, fingerprint: alert.fingerprint, firing, because });
    }

    /// Counts and tells what happened to a silence.
    pub fn note_silence(&self, silence: &Silence, change: SilenceEvent, now: TimestampMs) {
        SILENCE_EVENTS.with_label_values(&[change.as_str()]).inc();
        (self.observer)(&Event::Silence { silence, state: silence.state(now), change });
    }

    /// Tells what time alone did after `from` and up to `to`: silences that began or ended, alerts that nobody sent again.
    fn note_passed(&self, from: TimestampMs, to: TimestampMs) {
        let passed = self.silences().passed(from, to);
        for (silence, change) in passed {
            self.note_silence(&silence, change, to);
        }
        let inside = |a: &&Arc<StoredAlert>| from < a.alert.ends_at && a.alert.ends_at <= to;
        // An end that was told in time lies before the moment it was told at.
        let guessed = |a: &&Arc<StoredAlert>| a.alert.ends_at > a.alert.updated_at;
        let ended: Vec<_> = self.world().store.iter().filter(inside).filter(guessed).cloned().collect();
        for alert in ended {
            self.note_alert(&alert, false, Because::Timeout);
        }
    }

    /// Puts a new configuration in force.
    pub fn install(self: &Arc<Self>, compiled: Compiled, mut inhibitor: Inhibitor) {
        let now = self.clock.now_ms();
        let mut world = self.world();
        for alert in world.store.iter() {
            inhibitor.update(alert);
        }
        world.inhibitor = inhibitor;
        let compiled = Arc::new(compiled);
        self.compiled.store(compiled.clone());
        dispatch::regroup(self, &mut world, &compiled.tree, now);
    }

    /// Clears away what is over, until the process stops.
    pub async fn maintain(self: Arc<Self>) {
        let mut last = self.started_at;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(MAINTENANCE) => {}
            }
            let now = self.clock.now_ms();
            self.note_passed(last, now);
            last = now;
            let mut ops = self.silences().collect_garbage(now);
            ops.extend(self.nflog().collect_garbage(now));
            let _counted = record_stage::commit(&self.state, ops, now).await;
            self.clear_world(now);
            self.show(now);
        }
    }

    /// Ends empty groups and forgets alerts that ended.
    pub fn clear_world(&self, now: TimestampMs) {
        let mut world = self.world();
        world.groups.retain(|_, g| {
            let over = g.is_over();
            if over {
                g.gone.cancel();
            }
            !over
        });
        let World { store, groups, changed, inhibitor } = &mut *world;
        let needed: HashSet<u64> =
            groups.values().flat_map(|g| g.members().into_iter().map(|m| m.fingerprint)).collect();
        changed.extend(store.collect_garbage(now, |fp| needed.contains(&fp)));
        inhibitor.collect_garbage(now);
    }

    /// Sets the gauges.
    pub fn show(&self, now: TimestampMs) {
        let (mut active, mut suppressed, mut resolved) = (0, 0, 0);
        {
            let world = self.world();
            let silences = self.silences();
            for alert in world.store.iter() {
                let labels = &alert.alert.labels;
                if alert.resolved_at(now) {
                    resolved += 1;
                } else if super::notify::mute_stage::alert_is_quiet(labels, &world.inhibitor, &silences, now).is_some()
                {
                    suppressed += 1;
                } else {
                    active += 1;
                }
            }
            GROUPS.set(i64::try_from(world.groups.len()).unwrap_or(i64::MAX));
            let counts = silences.counts(now);
            for state in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
                SILENCES.with_label_values(&[state.as_str()]).set(counts.get(&state).copied().unwrap_or(0));
            }
        }
        for (state, n) in [("active", active), ("suppressed", suppressed), ("resolved", resolved)] {
            ALERTS.with_label_values(&[state]).set(n);
        }
    }
}
