//! What the rest of the program holds of the alertmanager.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::compiled::{BuildIntegrations, CompileError, Compiled, real_integrations};
use super::core::{Core, Origin};
use super::in_flight::{Claim, InFlight};
use super::inhibit::Inhibitor;
use super::intent::Intent;
use super::metrics::{RECOVERED, REFUSED};
use super::nflog::Nflog;
use super::notify::mute_stage;
use super::notify::record_stage::{self, commit};
use super::observer::{Observer, Suppression};
use super::route::RouteTree;
use super::silence::{Silence, SilenceChange, SilenceError, Silences};
use super::store::StoredAlert;
use super::template_data::{AlertData, label_set_order};
use super::{dispatch, persist};
use crate::config::AlertmanagerConfig;
use crate::exec::{CancellationToken, Clock};
use crate::model::alert::Alert;
use crate::model::{Labels, TimestampMs};
use crate::state::{StateDb, StateError, Table};

/// What the alertmanager needs from outside.
pub struct AlertingOptions {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The state file.
    pub state: Arc<StateDb>,
    /// Where campanile is reached from outside, for links; no slash at the end.
    pub external_url: String,
    /// The folder that relative names in the configuration are meant from.
    pub config_dir: PathBuf,
    /// Who wants to know what happens.
    pub observer: Observer,
}

/// Why the alertmanager could not start.
#[derive(Debug, thiserror::Error)]
pub enum AlertingError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] CompileError),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
}

/// An alert as a client of the API posts it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostedAlert {
    /// Its identity; at least one label.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// Now if not given (or the end, if only that is given).
    pub starts_at: Option<TimestampMs>,
    /// If not given, it ends when it is not posted again for `resolve_timeout`.
    pub ends_at: Option<TimestampMs>,
    /// Where it came from.
    pub generator_url: String,
}

/// Why posted alerts were not taken, all or some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// These reasons; the good alerts of the batch were taken.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// There are too many alerts; so many of the batch were refused.
    #[error("{0} alerts were refused: too many are active")]
    TooMany(usize),
    /// They could not be written down; they are in force until the process ends.
    #[error("the alerts could not be stored: {0}")]
    NotStored(String),
}

/// An alert with where it stands.
#[derive(Clone, Debug)]
pub struct AlertStatus {
    /// The alert.
    pub alert: Arc<StoredAlert>,
    /// Receivers it is routed to, in order.
    pub receivers: Vec<String>,
    /// Ids of active silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<u64>,
    /// Names of time intervals that keep its routes quiet now.
    pub muted_by: Vec<String>,
}

impl AlertStatus {
    /// Whether a silence or another alert keeps it quiet.
    pub fn suppressed(&self) -> bool {
        !self.silenced_by.is_empty() || !self.inhibited_by.is_empty()
    }
}

/// A group with its alerts.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The labels that make it.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// Its key.
    pub group_key: String,
    /// Its alerts that have not ended, in the order of notifications.
    pub alerts: Vec<AlertStatus>,
}

/// The running alertmanager. Clones share it.
#[derive(Clone)]
pub struct AlertingHandle {
    core: Arc<Core>,
    build: BuildIntegrations,
    config_dir: PathBuf,
}

impl AlertingHandle {
    /// Starts it inside the current tokio runtime: reads the state file, sends again what a killed process may not have sent,
    /// takes the stored alerts up again. The configuration must have been validated.
    pub async fn start(options: AlertingOptions, config: AlertmanagerConfig) -> Result<Self, AlertingError> {
        let build = real_integrations(options.config_dir.clone(), options.clock.clone());
        Self::start_with(options, config, build).await
    }

    pub(super) async fn start_with(
        options: AlertingOptions,
        config: AlertmanagerConfig,
        build: BuildIntegrations,
    ) -> Result<Self, AlertingError> {
        let now = options.clock.now_ms();
        let grace_ms = config.global.resolve_timeout.as_ms();
        let inhibitor = Inhibitor::compile(&config.inhibit_rules).map_err(CompileError::Invalid)?;
        let compiled = Compiled::new(config, &options.config_dir, &options.clock, &build)?;
        let state = options.state.clone();
        let loaded = tokio::task::spawn_blocking(move || Loaded::read(&state, now, grace_ms)).await;
        let loaded = loaded.map_err(|e| StateError::Transaction {
            what: "read",
            source: Arc::new(redb::Error::Io(std::io::Error::other(e.to_string()))),
        })??;
        let core = Arc::new(Core {
            clock: options.clock,
            state: options.state,
            observer: options.observer,
            external_url: options.external_url.trim_end_matches('/').to_owned(),
            runtime: tokio::runtime::Handle::current(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            compiled: ArcSwap::from_pointee(compiled_empty()),
            in_flight: InFlight::new(),
            started_at: now,
            world: Default::default(),
            silences: std::sync::Mutex::new(loaded.silences),
            nflog: std::sync::Mutex::new(loaded.nflog),
        });
        // Before there are groups: their flushes wait until this is cleared up, or it would be told twice.
        let open: Vec<_> = loaded
            .intents
            .into_iter()
            .filter_map(|intent| core.in_flight.try_claim(&intent.key()).map(|claim| (intent, claim)))
            .collect();
        core.install(compiled, inhibitor);
        core.ingest(loaded.alerts, Origin::File);
        for (intent, claim) in open {
            core.tasks.spawn(recover(core.clone(), intent, claim));
        }
        core.tasks.spawn(core.clone().maintain());
        core.tasks.spawn(persist::run(core.clone()));
        core.show(now);
        Ok(AlertingHandle { core, build, config_dir: options.config_dir })
    }

    /// Takes alerts from the rules. Never blocks on anything but short locks. Alerts beyond the limit of known alerts are refused and
    /// counted; the number is given back. An alert that fires must be sent again before its `ends_at`.
    pub fn send(&self, alerts: Vec<Alert>) -> usize {
        let (empty, good): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|a| a.labels.is_empty());
        REFUSED.with_label_values(&["no_labels"]).inc_by(empty.len() as u64);
        let good = good.into_iter().map(|a| StoredAlert::new(a, false)).collect();
        let (_, refused) = self.core.ingest(good, Origin::Rules);
        refused + empty.len()
    }

    /// Takes alerts from clients of the API. Good ones are taken even if others of the batch are refused, and are on disk when this
    /// returns.
    pub async fn post(&self, alerts: Vec<PostedAlert>) -> Result<(), PostError> {
        let now = self.core.clock.now_ms();
        let timeout = self.core.compiled.load().config.global.resolve_timeout.as_ms();
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for posted in alerts {
            let starts_at = posted.starts_at.or(posted.ends_at).unwrap_or(now);
            let ends_at = posted.ends_at.unwrap_or(now + timeout);
            if ends_at < starts_at {
                problems.push("start time must be before end time".to_owned());
            } else if posted.labels.is_empty() {
                problems.push("at least one label pair required".to_owned());
            } else {
                let alert = Alert {
                    labels: posted.labels,
                    annotations: posted.annotations,
                    starts_at,
                    ends_at,
                    updated_at: now,
                    generator_url: posted.generator_url,
                };
                good.push(StoredAlert::new(alert, posted.ends_at.is_none()));
            }
        }
        REFUSED.with_label_values(&["invalid"]).inc_by(problems.len() as u64);
        let (taken, refused) = self.core.ingest(good, Origin::Clients);
        let ops = taken.iter().map(|a| persist::alert_op(a)).chain([persist::alive_op(now)]).collect();
        let stored = if taken.is_empty() { Ok(()) } else { commit(&self.core.state, ops, now).await };
        if !problems.is_empty() {
            return Err(PostError::Invalid(problems));
        }
        if refused > 0 {
            return Err(PostError::TooMany(refused));
        }
        stored.map_err(|e| PostError::NotStored(e.to_string()))
    }

    /// Puts a validated configuration in force. Groups whose route is still there keep their timers; what was told and the silences
    /// stay. On failure the old configuration stays.
    pub fn reload(&self, config: AlertmanagerConfig) -> Result<(), CompileError> {
        let inhibitor = Inhibitor::compile(&config.inhibit_rules).map_err(CompileError::Invalid)?;
        let compiled = Compiled::new(config, &self.config_dir, &self.core.clock, &self.build)?;
        self.core.install(compiled, inhibitor);
        Ok(())
    }

    /// The configuration in force.
    pub fn config(&self) -> AlertmanagerConfig {
        self.core.compiled.load().config.clone()
    }

    /// When it started.
    pub fn started_at(&self) -> TimestampMs {
        self.core.started_at
    }

    /// The time as the alertmanager sees it.
    pub fn now(&self) -> TimestampMs {
        self.core.clock.now_ms()
    }

    /// The alerts that have not ended and that `keep` wants, sorted by fingerprint.
    pub fn alerts(&self, keep: impl Fn(&AlertStatus) -> bool) -> Vec<AlertStatus> {
        let now = self.now();
        let compiled = self.core.compiled.load_full();
        let world = self.core.world();
        let silences = self.core.silences();
        let running = world.store.iter().filter(|a| !a.resolved_at(now));
        let with_status = running.map(|a| status_of(a, &compiled, &world.inhibitor, &silences, now));
        let mut out: Vec<_> = with_status.filter(|a| keep(a)).collect();
        out.sort_by_key(|a| a.alert.fingerprint);
        out
    }

    /// The groups whose receiver `keep_receiver` wants, with those of their alerts that have not ended and that `keep` wants; groups
    /// without such alerts are left out.
    pub fn groups(
        &self,
        keep_receiver: impl Fn(&str) -> bool,
        keep: impl Fn(&AlertStatus) -> bool,
    ) -> Vec<GroupStatus> {
        let now = self.now();
        let compiled = self.core.compiled.load_full();
        let world = self.core.world();
        let silences = self.core.silences();
        let mut out = Vec::new();
        for group in world.groups.values() {
            let route = group.route();
            if !keep_receiver(&route.options.receiver) {
                continue;
            }
            let running = group.members().into_iter().filter(|a| !a.resolved_at(now));
            let with_status = running.map(|a| status_of(&a, &compiled, &world.inhibitor, &silences, now));
            let mut alerts: Vec<_> = with_status.filter(|a| keep(a)).collect();
            if alerts.is_empty() {
                continue;
            }
            alerts.sort_by_cached_key(|a| SortKey(AlertData::new(&a.alert, now)));
            out.push(GroupStatus {
                labels: group.id.labels.clone(),
                receiver: route.options.receiver.clone(),
                group_key: group.key(),
                alerts,
            });
        }
        out.sort_by(|a, b| label_set_order(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
        out
    }

    /// All silences in no order.
    pub fn silences(&self) -> Vec<Arc<Silence>> {
        self.core.silences().iter().cloned().collect()
    }

    /// One silence.
    pub fn silence(&self, id: &str) -> Option<Arc<Silence>> {
        self.core.silences().get(id).cloned()
    }

    /// Makes a silence (empty id) or changes one; gives the id that is now valid. It is on disk when this returns.
    pub async fn set_silence(&self, silence: Silence) -> Result<String, SilenceError> {
        self.change_silences(|all, now| all.plan_set(silence, now)).await
    }

    /// Ends a silence. One that has ended stays as it is.
    pub async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        self.change_silences(|all, now| all.plan_expire(id, now)).await.map(|_| ())
    }

    async fn change_silences(
        &self,
        plan: impl FnOnce(&Silences, TimestampMs) -> Result<SilenceChange, SilenceError>,
    ) -> Result<String, SilenceError> {
        let now = self.now();
        // In force at once: a notification must not slip out while the file is written. If it cannot be written, it is said so.
        let change = {
            let mut all = self.core.silences();
            let change = plan(&all, now)?;
            all.apply(&change);
            change
        };
        let stored = commit(&self.core.state, change.ops.clone(), now).await;
        for (silence, event) in &change.versions {
            self.core.note_silence(silence, *event, now);
        }
        stored.map(|()| change.id).map_err(|e| SilenceError::NotStored(e.to_string()))
    }

    /// The names of the receivers, as configured.
    pub fn receivers(&self) -> Vec<String> {
        self.core.compiled.load().config.receivers.iter().map(|r| r.name.clone()).collect()
    }

    /// Stops: no new flush begins, attempts in flight are waited for, pauses between attempts are cut short (their intents stay
    /// open and are sent after the next start), changed alerts are written. The caller sets the deadline.
    pub async fn shutdown(&self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
        persist::write_changed(&self.core).await;
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

struct SortKey(AlertData);

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.order(&other.0)
    }
}

fn status_of(
    alert: &Arc<StoredAlert>,
    compiled: &Compiled,
    inhibitor: &Inhibitor,
    silences: &Silences,
    now: TimestampMs,
) -> AlertStatus {
    let labels = &alert.alert.labels;
    let routes = compiled.tree.matching(labels);
    let mut muted_by = BTreeSet::new();
    for route in &routes {
        if let Some(Suppression::TimeInterval(names)) =
            mute_stage::route_is_quiet(&route.options, &compiled.intervals, now)
        {
            muted_by.extend(names);
        }
    }
    AlertStatus {
        alert: alert.clone(),
        receivers: routes.iter().map(|r| r.options.receiver.clone()).collect(),
        silenced_by: silences.silenced_by(labels, now),
        inhibited_by: inhibitor.inhibited_by(labels, now),
        muted_by: muted_by.into_iter().collect(),
    }
}

/// What the state file holds.
struct Loaded {
    silences: Silences,
    nflog: Nflog,
    intents: Vec<Intent>,
    alerts: Vec<StoredAlert>,
}

impl Loaded {
    fn read(state: &StateDb, now: TimestampMs, grace_ms: i64) -> Result<Self, StateError> {
        let (silences, bad_silences) = Silences::load(state.read_all(Table::Silences)?);
        let (nflog, bad_nflog) = Nflog::load(state.read_all(Table::Nflog)?);
        let (alerts, bad_alerts) = persist::load(state, now, grace_ms)?;
        let (mut intents, mut bad_intents) = (Vec::new(), 0);
        for (_, row) in state.read_all(Table::Intents)? {
            match Intent::decode(&row) {
                Ok(intent) => intents.push(intent),
                Err(_) => bad_intents += 1,
            }
        }
        if bad_silences + bad_nflog + bad_alerts + bad_intents > 0 {
            tracing::error!(
                silences = bad_silences,
                nflog = bad_nflog,
                alerts = bad_alerts,
                intents = bad_intents,
                "rows of the state file cannot be read and are left out"
            );
        }
        Ok(Loaded { silences, nflog, intents, alerts })
    }
}

fn compiled_empty() -> Compiled {
    Compiled {
        config: AlertmanagerConfig::default(),
        tree: RouteTree::default(),
        receivers: Default::default(),
        intervals: Default::default(),
    }
}

/// Sends what a killed process may not have sent; then, with the claim given back, the group may go on.
async fn recover(core: Arc<Core>, intent: Intent, _claim: Claim) {
    let compiled = core.compiled.load_full();
    let found = compiled
        .receivers
        .get(&intent.receiver)
        .and_then(|all| all.iter().find(|i| i.kind == intent.integration && i.index == intent.index));
    let outcome = match found {
        Some(integration) if dispatch::deliver(&core, integration, &intent).await => "sent",
        Some(_) => "failed",
        None => {
            tracing::warn!(receiver = %intent.receiver, integration = %intent.integration, "a notification that was not sent before the restart has no receiver any more");
            record_stage::close(&core.state, &intent, None, core.clock.now_ms()).await;
            "receiver_gone"
        }
    };
    RECOVERED.with_label_values(&[outcome]).inc();
}
