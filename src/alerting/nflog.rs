//! The notification log: what each receiver was last told about each group.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::model::TimestampMs;
use crate::state::{Op, Row, Table};

/// What was told, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NflogEntry {
    /// When it was told.
    pub told_at: TimestampMs,
    /// Fingerprints of the alerts that were firing.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that were resolved.
    pub resolved: BTreeSet<u64>,
    /// When the entry may be forgotten.
    pub expires_at: TimestampMs,
    /// What the integration keeps for its next message, such as where the last one lies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, String>,
}

/// The key of an entry: receiver, integration, group.
pub fn key(receiver: &str, integration: &str, index: usize, group_key: &str) -> String {
    format!("{receiver}/{integration}/{index}:{group_key}")
}

/// The log, a copy in memory of the table of the state file.
#[derive(Debug, Default)]
pub struct Nflog {
    entries: HashMap<String, NflogEntry>,
}

impl Nflog {
    /// Reads the rows of the state file; gives how many could not be read beside it.
    pub fn load(rows: Vec<Row>) -> (Self, usize) {
        let (mut entries, mut bad) = (HashMap::new(), 0);
        for (k, v) in rows {
            match (String::from_utf8(k), serde_json::from_slice(&v)) {
                (Ok(k), Ok(e)) => {
                    entries.insert(k, e);
                }
                _ => bad += 1,
            }
        }
        (Nflog { entries }, bad)
    }

    /// What was last told.
    pub fn get(&self, key: &str) -> Option<&NflogEntry> {
        self.entries.get(key)
    }

    /// Notes what was told in memory; [`put_op`] is the same for the file.
    pub fn set(&mut self, key: String, entry: NflogEntry) {
        self.entries.insert(key, entry);
    }

    /// Forgets expired entries; gives the changes for the file.
    pub fn collect_garbage(&mut self, now: TimestampMs) -> Vec<Op> {
        let mut ops = Vec::new();
        self.entries.retain(|k, e| {
            let keep = e.expires_at > now;
            if !keep {
                ops.push(Op::Delete(Table::Nflog, k.as_bytes().to_vec()));
            }
            keep
        });
        ops
    }
}

/// The row of an entry.
pub fn put_op(key: &str, entry: &NflogEntry) -> Op {
    Op::Put(Table::Nflog, key.as_bytes().to_vec(), serde_json::to_vec(entry).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_what_it_wrote_and_forgets() {
        let kept = BTreeMap::from([("ts".to_owned(), "1.5".to_owned())]);
        let firing = BTreeSet::from([u64::MAX]);
        let entry = NflogEntry { told_at: 1, firing, resolved: BTreeSet::new(), expires_at: 10, kept };
        let k = key("r", "webhook", 0, "{}:{}");
        let Op::Put(_, kb, vb) = put_op(&k, &entry) else { panic!() };
        let old = br#"{"told_at":1,"firing":[2],"resolved":[],"expires_at":20}"#.to_vec();
        let rows = vec![(kb, vb), (b"x".to_vec(), b"junk".to_vec()), (b"old".to_vec(), old)];
        let (mut log, bad) = Nflog::load(rows);
        assert_eq!((log.get(&k), bad), (Some(&entry), 1));
        assert!(log.get("old").unwrap().kept.is_empty(), "a row of an older version");
        assert!(log.collect_garbage(9).is_empty());
        assert_eq!(log.collect_garbage(10).len(), 1);
        assert!(log.get(&k).is_none());
    }
}
