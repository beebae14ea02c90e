//! Keeps the alerts themselves in the state file, so that those that clients posted survive a kill.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::notify::record_stage::commit;
use super::store::StoredAlert;
use crate::model::TimestampMs;
use crate::state::{Op, StateDb, StateError, Table};

/// How often changed alerts are written. Alerts of rules come again after a restart anyway; posted ones are written at once.
const INTERVAL: Duration = Duration::from_secs(1);

const ALIVE_KEY: &[u8] = b"alerting_alive_at";

/// The row that says when the process was last seen alive; it goes along with other writes.
pub fn alive_op(now: TimestampMs) -> Op {
    Op::Put(Table::Meta, ALIVE_KEY.to_vec(), now.to_le_bytes().to_vec())
}

/// The row of an alert.
pub fn alert_op(alert: &StoredAlert) -> Op {
    Op::Put(Table::Alerts, alert.fingerprint.to_be_bytes().to_vec(), alert.encode())
}

/// The alerts of the state file as they are to be taken up now; gives how many could not be read beside them.
///
/// An alert that was firing when the process was last alive may have run out of time only because nobody could send it again:
/// it gets `grace_ms` from now. One that ended while the process lived stays ended.
pub fn load(state: &StateDb, now: TimestampMs, grace_ms: i64) -> Result<(Vec<StoredAlert>, usize), StateError> {
    let alive_at =
        state.get(Table::Meta, ALIVE_KEY)?.and_then(|v| v.as_slice().try_into().ok()).map_or(now, i64::from_le_bytes);
    let (mut alerts, mut bad) = (Vec::new(), 0);
    for (_, value) in state.read_all(Table::Alerts)? {
        match StoredAlert::decode(&value) {
            Ok(mut a) => {
                if a.alert.ends_at > alive_at && a.alert.ends_at < now + grace_ms {
                    a.alert.ends_at = now + grace_ms;
                    a.end_is_timeout = true;
                }
                alerts.push(a);
            }
            Err(_) => bad += 1,
        }
    }
    Ok((alerts, bad))
}

/// Writes changed alerts until the process stops, and a last time then.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let stopping = tokio::select! {
            () = core.stop.cancelled() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        write_changed(&core).await;
        if stopping {
            return;
        }
    }
}

/// Writes the alerts that changed since the last time. What the file does not take is tried again.
pub(super) async fn write_changed(core: &Core) {
    let now = core.clock.now_ms();
    let (ops, changed) = {
        let mut world = core.world();
        let changed = std::mem::take(&mut world.changed);
        (ops_of(&world.store, &changed), changed)
    };
    if ops.is_empty() {
        return;
    }
    let with_alive = ops.into_iter().chain([alive_op(now)]).collect();
    if commit(&core.state, with_alive, now).await.is_err() {
        core.world().changed.extend(changed);
    }
}

fn ops_of(store: &super::store::AlertStore, changed: &HashSet<u64>) -> Vec<Op> {
    let op = |fp: &u64| match store.get(*fp) {
        Some(a) => alert_op(a),
        None => Op::Delete(Table::Alerts, fp.to_be_bytes().to_vec()),
    };
    changed.iter().map(op).collect()
}
