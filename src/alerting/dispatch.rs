//! From alerts to groups, and from a group's flush to its receiver's integrations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::compiled::Compiled;
use super::core::{Core, World};
use super::group::{self, Group, GroupId};
use super::intent::Intent;
use super::metrics::{ATTEMPTS, INTENTS_OPEN, NOTIFICATIONS, SUPPRESSED, TOLD_DELAY};
use super::nflog::NflogEntry;
use super::notify::retry_stage::{self, Outcome};
use super::notify::{Integration, Kept, Notification, dedup_stage, mute_stage, record_stage};
use super::observer::Event;
use super::route::{Route, RouteTree};
use super::store::StoredAlert;
use super::template_data::{AlertData, Data, Reason, Status};
use crate::config::notify::FallbackConfig;
use crate::model::{Labels, TimestampMs};

/// Attempts go on until the next flush, but for so long at least (Alertmanager's minimum): a short group_interval must not
/// keep a slow receiver from ever being told.
const LEAST_PATIENCE_MS: i64 = 10_000;

/// Puts a new version of an alert into the groups that its labels lead to, making those that are missing.
pub(super) fn insert(
    core: &Arc<Core>,
    world: &mut World,
    tree: &RouteTree,
    alert: &Arc<StoredAlert>,
    now: TimestampMs,
) {
    for route in tree.matching(&alert.alert.labels) {
        let id = GroupId { route: route.id.clone(), labels: route.group_labels(&alert.alert.labels) };
        let group = match world.groups.get(&id) {
            Some(g) => g.clone(),
            None => {
                let group = Arc::new(Group::new(id.clone(), route, core.stop.child_token()));
                world.groups.insert(id, group.clone());
                core.tasks.spawn_on(group::run(core.clone(), group.clone()), &core.runtime);
                group
            }
        };
        group.insert(alert.clone(), now);
    }
}

/// Hangs all alerts into a new tree. Groups whose route and labels exist in both keep their timers; the others end.
pub(super) fn regroup(core: &Arc<Core>, world: &mut World, tree: &RouteTree, now: TimestampMs) {
    let old = std::mem::take(&mut world.groups);
    let alerts: Vec<_> = world
        .store
        .iter()
        .filter(|a| !a.resolved_at(now) || old.values().any(|g| g.holds(a.fingerprint)))
        .cloned()
        .collect();
    type Wanted = (Arc<Route>, HashMap<u64, Arc<StoredAlert>>);
    let mut wanted: HashMap<GroupId, Wanted> = HashMap::new();
    for alert in &alerts {
        for route in tree.matching(&alert.alert.labels) {
            let id = GroupId { route: route.id.clone(), labels: route.group_labels(&alert.alert.labels) };
            let (_, members) = wanted.entry(id).or_insert_with(|| (route, HashMap::new()));
            members.insert(alert.fingerprint, alert.clone());
        }
    }
    for (id, group) in old {
        match wanted.remove(&id) {
            Some((route, members)) => {
                group.rehang(route, members);
                world.groups.insert(id, group);
            }
            None => group.gone.cancel(),
        }
    }
    for (id, (route, members)) in wanted {
        let group = Arc::new(Group::new(id.clone(), route, core.stop.child_token()));
        for alert in members.into_values() {
            group.insert(alert, now);
        }
        world.groups.insert(id, group.clone());
        core.tasks.spawn_on(group::run(core.clone(), group), &core.runtime);
    }
}

/// Tells the receiver of a group what is new. `true` when every integration knows now what it is to know.
pub(super) async fn notify_group(
    core: &Arc<Core>,
    group: &Arc<Group>,
    members: &[Arc<StoredAlert>],
    now: TimestampMs,
) -> bool {
    let compiled = core.compiled.load_full();
    let route = group.route();
    let key = group.key();
    let audible = audible(core, &compiled, group, &route, &key, members, now);
    if audible.is_empty() {
        return true;
    }
    let mut alerts: Vec<_> = audible.iter().map(|a| AlertData::new(a, now)).collect();
    alerts.sort_by(AlertData::order);
    let of = |over: bool| -> BTreeSet<u64> {
        audible.iter().filter(|a| a.resolved_at(now) == over).map(|a| a.fingerprint).collect()
    };
    let (firing, resolved) = (of(false), of(true));
    let options = &route.options;
    let Some(integrations) = compiled.receivers.get(&options.receiver) else {
        return true;
    };
    let told = join_all(integrations.iter().map(|integration| {
        let blank = Intent {
            receiver: options.receiver.clone(),
            integration: integration.kind.to_owned(),
            index: integration.index,
            group_key: key.clone(),
            data: Data::new("", group.id.labels.clone(), Vec::new(), "", Reason::First),
            firing: firing.clone(),
            resolved: resolved.clone(),
            patience_ms: options.group_interval_ms.max(LEAST_PATIENCE_MS),
            repeat_interval_ms: options.repeat_interval_ms,
            created_at: now,
            fallback_for: None,
            possible_repeat: false,
        };
        tell(core, integration, blank, &alerts)
    }))
    .await;
    let all_told = told.into_iter().all(|ok| ok);
    if let Some(fallback) = compiled.config.fallback_of(&options.receiver) {
        let flush = Flush { key: &key, alerts: &alerts, firing, resolved, started: now };
        stand_in(core, &compiled, group, &route, fallback, flush, all_told).await;
    }
    all_told
}

/// One flush as the fallback needs it.
struct Flush<'a> {
    key: &'a str,
    alerts: &'a [AlertData],
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
    started: TimestampMs,
}

/// Tells the fallback what the group's own receiver could not be told for long enough; and tells it the end of what it was told, even
/// if the receiver works again.
async fn stand_in(
    core: &Arc<Core>,
    compiled: &Compiled,
    group: &Group,
    route: &Route,
    fallback: &FallbackConfig,
    flush: Flush<'_>,
    all_told: bool,
) {
    let options = &route.options;
    let failing_since = group.failing_since(!all_told, flush.started);
    if core.stop.is_cancelled() {
        return;
    }
    let due = failing_since.is_some_and(|since| core.clock.now_ms() - since >= fallback.after.as_ms());
    let Some(integrations) = compiled.receivers.get(&fallback.receiver) else { return };
    let _told = join_all(integrations.iter().filter_map(|integration| {
        let intent = Intent {
            receiver: fallback.receiver.clone(),
            integration: integration.kind.to_owned(),
            index: integration.index,
            group_key: flush.key.to_owned(),
            data: Data::new("", group.id.labels.clone(), Vec::new(), "", Reason::First),
            firing: flush.firing.clone(),
            resolved: flush.resolved.clone(),
            patience_ms: options.group_interval_ms.max(LEAST_PATIENCE_MS),
            repeat_interval_ms: options.repeat_interval_ms,
            created_at: flush.started,
            fallback_for: Some(options.receiver.clone()),
            possible_repeat: false,
        };
        let was_told = core.nflog().get(&intent.key()).is_some_and(|e| !e.firing.is_empty());
        (due || (was_told && flush.firing.is_empty())).then(|| {
            tracing::warn!(receiver = %options.receiver, fallback = %fallback.receiver, group = %flush.key, "the fallback is told");
            tell(core, integration, intent, flush.alerts)
        })
    }))
    .await;
}

/// The annotation that says, in any template that lists annotations, for whom a fallback stands in.
const FALLBACK_ANNOTATION: &str = "fallback_for";

/// Alerts as a fallback is told them.
fn marked(alerts: &mut [AlertData], instead_of: &str) {
    for alert in alerts {
        let more = (FALLBACK_ANNOTATION, instead_of);
        alert.annotations = Labels::from_pairs(alert.annotations.iter().filter(|(n, _)| *n != more.0).chain([more]));
    }
}

/// The members that nothing keeps quiet.
fn audible(
    core: &Core,
    compiled: &Compiled,
    group: &Group,
    route: &Route,
    key: &str,
    members: &[Arc<StoredAlert>],
    now: TimestampMs,
) -> Vec<Arc<StoredAlert>> {
    let quiet_route = mute_stage::route_is_quiet(&route.options, &compiled.intervals, now);
    let (mut audible, mut quiet) = (Vec::new(), HashMap::new());
    {
        // Lock order: world, then silences.
        let world = core.world();
        let silences = core.silences();
        for member in members {
            let labels = &member.alert.labels;
            let by = mute_stage::alert_is_quiet(labels, &world.inhibitor, &silences, now);
            match by.or_else(|| quiet_route.clone()) {
                Some(by) => {
                    SUPPRESSED.with_label_values(&[by.kind()]).inc();
                    quiet.insert(member.fingerprint, (labels.clone(), by));
                }
                None => audible.push(member.clone()),
            }
        }
    }
    group.note_suppressed(core, key, quiet);
    audible
}

/// Tells one integration, if there is anything to tell. `intent` comes without its data.
async fn tell(core: &Arc<Core>, integration: &Integration, mut intent: Intent, alerts: &[AlertData]) -> bool {
    let key = intent.key();
    let _claim = core.in_flight.claim(&key).await;
    let now = core.clock.now_ms();
    let told = core.nflog().get(&key).cloned();
    let decided = dedup_stage::decide(
        told.as_ref(),
        &intent.firing,
        &intent.resolved,
        integration.send_resolved,
        intent.repeat_interval_ms,
        now,
    );
    let Some(reason) = decided else { return true };
    let mut shown: Vec<_> =
        alerts.iter().filter(|a| integration.send_resolved || a.status == Status::Firing).cloned().collect();
    intent.created_at = now;
    intent.possible_repeat = core.in_flight.is_doubtful(&key);
    if shown.is_empty() {
        // All is over and that is not told: only the log takes note.
        record_told(core, &intent, BTreeMap::new()).await;
        return true;
    }
    if let Some(instead_of) = &intent.fallback_for {
        marked(&mut shown, instead_of);
    }
    let labels = std::mem::take(&mut intent.data.group_labels);
    intent.data = Data::new(&intent.receiver, labels, shown, &core.external_url, reason);
    record_stage::open(&core.state, &intent, now).await;
    deliver(core, integration, &intent).await
}

/// Sends what an intent holds and writes the outcome. `true` if it was sent.
pub(super) async fn deliver(core: &Arc<Core>, integration: &Integration, intent: &Intent) -> bool {
    INTENTS_OPEN.inc();
    // A group of which all was over begins anew.
    let kept = core.nflog().get(&intent.key()).filter(|e| !e.firing.is_empty()).map(|e| e.kept.clone());
    let kept = Kept::new(kept.unwrap_or_default());
    let notification = Notification {
        kept: Some(&kept),
        possible_repeat: intent.possible_repeat,
        fallback_for: intent.fallback_for.as_deref(),
        ..Notification::new(&intent.data, &intent.group_key)
    };
    let patience = Duration::from_millis(intent.patience_ms.unsigned_abs());
    let mut last = (0, intent.possible_repeat);
    let outcome = retry_stage::send(integration, &notification, patience, &core.stop, |attempt| {
        last = (attempt.number, attempt.possible_repeat);
        let outcome = if attempt.error.is_none() { "sent" } else { "failed" };
        ATTEMPTS.with_label_values(&[intent.receiver.as_str(), integration.kind, outcome]).inc();
        (core.observer)(&Event::Attempt {
            receiver: &intent.receiver,
            integration: integration.kind,
            group_key: &intent.group_key,
            reason: intent.data.reason,
            alerts: &intent.data.alerts,
            attempt: attempt.number,
            possible_repeat: attempt.possible_repeat,
            latency: attempt.latency,
            error: attempt.error.map(|e| e.message.as_str()),
            retried: attempt.retried,
        });
    })
    .await;
    INTENTS_OPEN.dec();
    let count = |outcome: &str| {
        NOTIFICATIONS.with_label_values(&[intent.receiver.as_str(), integration.kind, outcome]).inc();
    };
    match outcome {
        Outcome::Sent => {
            count("ok");
            core.in_flight.ended(&intent.key(), false);
            tell_of_it(core, integration, intent, last);
            record_told(core, intent, kept.into_after()).await;
            true
        }
        Outcome::Failed { error, doubtful } => {
            count("failed");
            core.in_flight.ended(&intent.key(), doubtful);
            tracing::warn!(receiver = %intent.receiver, integration = integration.kind, group = %intent.group_key, %error, "notification failed; the next flush tries again");
            record_stage::close(&core.state, intent, None, core.clock.now_ms()).await;
            false
        }
        Outcome::Interrupted => false,
    }
}

/// Says of each alert that the receiver did not know of as it is now that it was told, and how late.
fn tell_of_it(core: &Core, integration: &Integration, intent: &Intent, (attempt, possible_repeat): (u32, bool)) {
    let now = core.clock.now_ms();
    let before = core.nflog().get(&intent.key()).cloned();
    for alert in &intent.data.alerts {
        let fingerprint = u64::from_str_radix(&alert.fingerprint, 16).unwrap_or_default();
        let (known, since) = match alert.status {
            Status::Firing => (before.as_ref().is_some_and(|b| b.firing.contains(&fingerprint)), alert.starts_at.0),
            Status::Resolved => (before.as_ref().is_some_and(|b| b.resolved.contains(&fingerprint)), alert.ends_at.0),
        };
        if known {
            continue;
        }
        let delay = Duration::from_millis(u64::try_from(now - since.unwrap_or(now)).unwrap_or(0));
        TOLD_DELAY
            .with_label_values(&[intent.receiver.as_str(), integration.kind, alert.status.as_str()])
            .observe(delay.as_secs_f64());
        (core.observer)(&Event::Told {
            alert,
            receiver: &intent.receiver,
            integration: integration.kind,
            group_key: &intent.group_key,
            attempt,
            possible_repeat,
            delay,
        });
    }
}

async fn record_told(core: &Core, intent: &Intent, kept: BTreeMap<String, String>) {
    let now = core.clock.now_ms();
    let entry = NflogEntry {
        told_at: now,
        firing: intent.firing.clone(),
        resolved: intent.resolved.clone(),
        expires_at: now.saturating_add(intent.repeat_interval_ms.saturating_mul(2)),
        kept,
    };
    core.nflog().set(intent.key(), entry.clone());
    record_stage::close(&core.state, intent, Some(&entry), now).await;
}
