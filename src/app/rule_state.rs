//! What is kept of the rules' alerts for a restart, in the state file: a row for each rule that has any.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::rules::{RuleSnapshot, RuleStateKeeper, Snapshot};
use crate::state::{Op, StateDb, Table};

/// See the module.
pub(super) struct RuleStateFile(pub(super) Arc<StateDb>);

impl RuleStateFile {
    /// What was kept; nothing where it cannot be read, so that pending alerts are restored from series.
    pub(super) async fn load(&self) -> Option<Snapshot> {
        let state = self.0.clone();
        let rows = match tokio::task::spawn_blocking(move || state.read_all(Table::RuleState)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(e)) => {
                tracing::error!(error = %e, "the kept state of alerts cannot be read; it is restored from series");
                return None;
            }
            Err(e) => {
                tracing::error!(error = %e, "reading the kept state of alerts ended badly");
                return None;
            }
        };
        let mut snapshot = Snapshot::default();
        let mut bad = 0;
        for (_, value) in rows {
            match serde_json::from_slice::<RuleSnapshot>(&value) {
                Ok(rule) => snapshot.rules.push(rule),
                Err(_) => bad += 1,
            }
        }
        if bad > 0 {
            tracing::error!(rows = bad, "rows with the state of alerts cannot be read and are left out");
        }
        Some(snapshot)
    }
}

impl RuleStateKeeper for RuleStateFile {
    fn keep(&self, rules: Vec<RuleSnapshot>) -> BoxFuture<'_, Result<(), String>> {
        let state = self.0.clone();
        async move {
            let kept = tokio::task::spawn_blocking(move || {
                let ops: Result<Vec<Op>, String> = rules.iter().map(op).collect();
                state.commit(ops?).map_err(|e| e.to_string())
            });
            kept.await.map_err(|e| e.to_string())?
        }
        .boxed()
    }
}

fn op(rule: &RuleSnapshot) -> Result<Op, String> {
    let key = serde_json::to_vec(&rule.key()).map_err(|e| e.to_string())?;
    if rule.alerts.is_empty() {
        return Ok(Op::Delete(Table::RuleState, key));
    }
    Ok(Op::Put(Table::RuleState, key, serde_json::to_vec(rule).map_err(|e| e.to_string())?))
}
