//! Writes intents before sending and outcomes after, each in one synced transaction.

use std::sync::Arc;

use crate::alerting::intent::Intent;
use crate::alerting::metrics::STATE_FAILURES;
use crate::alerting::nflog::{NflogEntry, put_op};
use crate::alerting::persist::alive_op;
use crate::exec::throttled_log::Throttle;
use crate::model::TimestampMs;
use crate::state::{Op, StateDb, StateError};

/// One message a minute about a state file that takes no writes.
static THROTTLE: Throttle = Throttle::new(60_000);

/// Commits on a blocking thread. Once it returns `Ok` the rows are on disk.
pub async fn commit(state: &Arc<StateDb>, ops: Vec<Op>, now: TimestampMs) -> Result<(), StateError> {
    if ops.is_empty() {
        return Ok(());
    }
    let state = state.clone();
    let result = tokio::task::spawn_blocking(move || state.commit(ops)).await;
    let result = match result {
        Ok(r) => r,
        // The runtime is going down, or the commit panicked: in both cases nothing is known to be on disk.
        Err(e) => Err(StateError::Transaction {
            what: "write",
            source: Arc::new(redb::Error::Io(std::io::Error::other(e.to_string()))),
        }),
    };
    if let Err(e) = &result {
        STATE_FAILURES.inc();
        if let Some(suppressed) = THROTTLE.allow(now) {
            tracing::error!(error = %e, suppressed, "the state file takes no writes: notifications go out, but a restart may repeat or lose them");
        }
    }
    result
}

/// Writes an intent. If the file takes no writes the notification is sent all the same: telling twice is better than not at all.
pub async fn open(state: &Arc<StateDb>, intent: &Intent, now: TimestampMs) {
    let _counted = commit(state, vec![intent.put_op(), alive_op(now)], now).await;
}

/// Strikes an intent out and, if it was sent, writes what was told, both in one transaction.
pub async fn close(state: &Arc<StateDb>, intent: &Intent, told: Option<&NflogEntry>, now: TimestampMs) {
    let mut ops = vec![intent.delete_op(), alive_op(now)];
    ops.extend(told.map(|e| put_op(&intent.key(), e)));
    let _counted = commit(state, ops, now).await;
}
