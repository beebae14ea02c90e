//! The alerts that are known now, one for each label set.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::alert::Alert;
use crate::model::{Labels, TimestampMs};

/// For how long an ended alert stays known after nobody needs it any more, so that one that comes back late joins its past.
pub const KEEP_RESOLVED_MS: i64 = 5 * 60_000;

/// One alert as it is held here.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// The alert.
    pub alert: Alert,
    /// Its identity.
    pub fingerprint: u64,
    /// Whether its end is a guess (it was sent without one), which any given end overrides.
    pub end_is_timeout: bool,
    /// Whether it comes from the state file and nobody has sent it since the start.
    pub restored: bool,
}

#[derive(Serialize, Deserialize)]
struct Row {
    labels: Labels,
    annotations: Labels,
    starts_at: TimestampMs,
    ends_at: TimestampMs,
    updated_at: TimestampMs,
    generator_url: String,
    end_is_timeout: bool,
}

impl StoredAlert {
    /// Takes an alert in.
    pub fn new(alert: Alert, end_is_timeout: bool) -> Self {
        StoredAlert { fingerprint: alert.labels.fingerprint(), alert, end_is_timeout, restored: false }
    }

    /// Whether it has ended at `now`.
    pub fn resolved_at(&self, now: TimestampMs) -> bool {
        self.alert.resolved_at(now)
    }

    /// The bytes for the state file.
    pub fn encode(&self) -> Vec<u8> {
        let a = &self.alert;
        let row = Row {
            labels: a.labels.clone(),
            annotations: a.annotations.clone(),
            starts_at: a.starts_at,
            ends_at: a.ends_at,
            updated_at: a.updated_at,
            generator_url: a.generator_url.clone(),
            end_is_timeout: self.end_is_timeout,
        };
        serde_json::to_vec(&row).unwrap_or_default()
    }

    /// Reads what [`StoredAlert::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let row: Row = serde_json::from_slice(bytes)?;
        let alert = Alert {
            labels: row.labels,
            annotations: row.annotations,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            updated_at: row.updated_at,
            generator_url: row.generator_url,
        };
        Ok(StoredAlert { restored: true, ..StoredAlert::new(alert, row.end_is_timeout) })
    }

    /// This and a later version of the same alert in one: the earliest start, and the end that is known best.
    fn merged_with(&self, later: &StoredAlert, now: TimestampMs) -> StoredAlert {
        if later.alert.updated_at < self.alert.updated_at {
            return later.merged_with(self, now);
        }
        let mut out = later.clone();
        out.alert.starts_at = out.alert.starts_at.min(self.alert.starts_at);
        let mine = self.alert.ends_at;
        if later.resolved_at(now) {
            // Of two ends in the past the latest wins.
            if self.resolved_at(now) && mine > out.alert.ends_at {
                out.alert.ends_at = mine;
            }
        } else if mine > out.alert.ends_at && !self.end_is_timeout {
            // An end that was given beats a guess.
            out.alert.ends_at = mine;
        }
        out
    }
}

/// The alerts by fingerprint.
#[derive(Debug, Default)]
pub struct AlertStore {
    alerts: HashMap<u64, Arc<StoredAlert>>,
}

impl AlertStore {
    /// Takes an alert in; one that overlaps in time with what is known is merged with it. Gives what is now known.
    pub fn put(&mut self, alert: StoredAlert, now: TimestampMs) -> Arc<StoredAlert> {
        let merged = match self.alerts.get(&alert.fingerprint) {
            // Who sends a restored alert again as firing knows better than the file when it began; its end still needs the beginning.
            Some(old) if old.restored && !alert.resolved_at(now) => alert,
            Some(old) => {
                let (o, n) = (&old.alert, &alert.alert);
                let end_inside = n.ends_at > o.starts_at && n.ends_at < o.ends_at;
                let start_inside = n.starts_at > o.starts_at && n.starts_at < o.ends_at;
                if end_inside || start_inside { old.merged_with(&alert, now) } else { alert }
            }
            None => alert,
        };
        let merged = Arc::new(merged);
        self.alerts.insert(merged.fingerprint, merged.clone());
        merged
    }

    /// One alert.
    pub fn get(&self, fingerprint: u64) -> Option<&Arc<StoredAlert>> {
        self.alerts.get(&fingerprint)
    }

    /// All alerts in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredAlert>> {
        self.alerts.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.alerts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    /// Forgets alerts that ended some time ago and that nobody `needs`; gives their fingerprints.
    pub fn collect_garbage(&mut self, now: TimestampMs, needs: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut gone = Vec::new();
        self.alerts.retain(|fp, a| {
            let keep = !a.resolved_at(now - KEEP_RESOLVED_MS) || needs(*fp);
            if !keep {
                gone.push(*fp);
            }
            keep
        });
        gone
    }
}

#[cfg(test)]
pub(super) fn test_alert(labels: &[(&str, &str)], starts_at: i64, ends_at: i64, updated_at: i64) -> StoredAlert {
    let alert = Alert {
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: Labels::empty(),
        starts_at,
        ends_at,
        updated_at,
        generator_url: String::new(),
    };
    StoredAlert::new(alert, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging() {
        let l = [("a", "1")];
        // name, old (start, end, timeout), new (start, end, timeout), now, merged (start, end)
        for (name, old, new, now, want) in [
            ("the earliest start stays", (10, 100, false), (20, 200, false), 30, (10, 200)),
            ("an earlier start is taken", (10, 100, false), (5, 90, true), 30, (5, 100)),
            ("a given end beats a guess", (10, 100, false), (20, 90, true), 30, (10, 100)),
            ("a guess gives way", (10, 100, true), (20, 90, false), 30, (10, 90)),
            ("resolving ends it", (10, 100, true), (15, 25, false), 30, (10, 25)),
            ("without overlap the new one stands alone", (10, 20, false), (25, 100, false), 30, (25, 100)),
        ] {
            let mut s = AlertStore::default();
            let mut a = test_alert(&l, old.0, old.1, 1);
            a.end_is_timeout = old.2;
            s.put(a, now);
            let mut b = test_alert(&l, new.0, new.1, 2);
            b.end_is_timeout = new.2;
            let got = s.put(b, now);
            assert_eq!((got.alert.starts_at, got.alert.ends_at), want, "{name}");
            assert_eq!(s.len(), 1);
        }
    }

    #[test]
    fn garbage_is_what_ended_long_ago_and_nobody_needs() {
        let mut s = AlertStore::default();
        let old = s.put(test_alert(&[("a", "1")], 0, 10, 0), 0).fingerprint;
        let needed = s.put(test_alert(&[("a", "2")], 0, 10, 0), 0).fingerprint;
        let fresh = s.put(test_alert(&[("a", "3")], 0, KEEP_RESOLVED_MS, 0), 0).fingerprint;
        assert_eq!(s.collect_garbage(KEEP_RESOLVED_MS + 10, |fp| fp == needed), [old]);
        assert!(s.get(fresh).is_some() && s.get(needed).is_some());
    }

    #[test]
    fn survives_encoding() {
        let mut a = test_alert(&[("a", "é\n"), ("b", "x")], 5, 10, 7);
        a.end_is_timeout = true;
        let back = StoredAlert::decode(&a.encode()).unwrap();
        assert!(back.restored);
        assert_eq!(StoredAlert { restored: false, ..back }, a);
    }
}
