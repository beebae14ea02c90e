//! What the tasks of the alertmanager share.
//!
//! Lock order: `world`, then a group's own lock or `silences`, then `nflog`. None is held over an await or while an observer runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::compiled::Compiled;
use super::dispatch;
use super::group::{Group, GroupId};
use super::inhibit::Inhibitor;
use super::metrics::{ALERTS, GROUPS, RECEIVED, REFUSED, SILENCES};
use super::nflog::Nflog;
use super::notify::record_stage;
use super::observer::Observer;
use super::silence::{SilenceState, Silences};
use super::store::{AlertStore, StoredAlert};
use crate::exec::{CancellationToken, Clock};
use crate::model::TimestampMs;
use crate::state::StateDb;

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
    pub recovering: watch::Sender<HashSet<String>>,
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
    pub fn ingest(self: &Arc<Self>, alerts: Vec<StoredAlert>) -> (Vec<Arc<StoredAlert>>, usize) {
        let now = self.clock.now_ms();
        let (mut taken, mut refused) = (Vec::with_capacity(alerts.len()), 0);
        let mut world = self.world();
        // Loaded under the lock, so that a reload cannot come between the tree and the groups.
        let compiled = self.compiled.load_full();
        for alert in alerts {
            if world.store.len() >= MAX_ALERTS && world.store.get(alert.fingerprint).is_none() {
                refused += 1;
                continue;
            }
            let known = world.store.put(alert, now);
            let status = if known.resolved_at(now) { "resolved" } else { "firing" };
            RECEIVED.with_label_values(&[status]).inc();
            world.inhibitor.update(&known);
            world.changed.insert(known.fingerprint);
            dispatch::insert(self, &mut world, &compiled.tree, &known, now);
            taken.push(known);
        }
        REFUSED.with_label_values(&["too_many"]).inc_by(refused as u64);
        (taken, refused)
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
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(MAINTENANCE) => {}
            }
            let now = self.clock.now_ms();
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
