//! The outbox: a notification is written down before it is sent, and struck out when its outcome is known.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::template_data::Data;
use crate::model::TimestampMs;
use crate::state::{Op, Table};

/// A notification that is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The receiver's name as configured.
    pub receiver: String,
    /// The kind of integration, such as `webhook`.
    pub integration: String,
    /// The how manyth integration of this kind the receiver has.
    pub index: usize,
    /// The group.
    pub group_key: String,
    /// What is told; holds only what the receiver gets to see.
    pub data: Data,
    /// Fingerprints for the notification log.
    pub firing: BTreeSet<u64>,
    /// Fingerprints for the notification log.
    pub resolved: BTreeSet<u64>,
    /// How long the attempts may take altogether, in milliseconds.
    pub patience_ms: i64,
    /// The route's repeat interval in milliseconds.
    pub repeat_interval_ms: i64,
    /// When it was written down.
    pub created_at: TimestampMs,
    /// The receiver that could not be told, where this one stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_for: Option<String>,
    /// Not part of the row: whether it may have been sent before.
    #[serde(skip)]
    pub possible_repeat: bool,
}

impl Intent {
    /// The key of the notification log, which is the key of the row as well: there is one open intent for each at most.
    pub fn key(&self) -> String {
        super::nflog::key(&self.receiver, &self.integration, self.index, &self.group_key)
    }

    /// The row to write before sending.
    pub fn put_op(&self) -> Op {
        Op::Put(Table::Intents, self.key().into_bytes(), serde_json::to_vec(self).unwrap_or_default())
    }

    /// The change that strikes it out.
    pub fn delete_op(&self) -> Op {
        Op::Delete(Table::Intents, self.key().into_bytes())
    }

    /// Reads a row of the state file, found at start.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut intent: Intent = serde_json::from_slice(bytes)?;
        intent.possible_repeat = true;
        Ok(intent)
    }
}
