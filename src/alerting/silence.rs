//! Silences: made by people, for a time, by matchers.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::observer::SilenceEvent;
use crate::config::AlertMatcher;
use crate::model::{Labels, MatchOp, TimestampMs};
use crate::state::{Op, Row as StateRow, Table};

/// For how long an ended silence is kept and shown (Alertmanager's data retention, 120 h).
const KEEP_EXPIRED_MS: i64 = 120 * 3_600_000;
/// How many silences there may be; each is tried on each alert.
const MAX_SILENCES: usize = 20_000;

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// A UUID.
    pub id: String,
    /// All must match.
    pub matchers: Vec<AlertMatcher>,
    /// From when.
    pub starts_at: TimestampMs,
    /// Until when.
    pub ends_at: TimestampMs,
    /// When it was made or changed.
    pub updated_at: TimestampMs,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SilenceState {
    /// In force.
    Active,
    /// Yet to come.
    Pending,
    /// Over.
    Expired,
}

impl SilenceState {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            SilenceState::Active => "active",
            SilenceState::Pending => "pending",
            SilenceState::Expired => "expired",
        }
    }
}

/// Why a silence was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No silence with this id.
    #[error("silence not found")]
    NotFound,
    /// Its content is wrong.
    #[error("invalid silence: {0}")]
    Invalid(String),
    /// There are too many.
    #[error("there are {0} silences already, which is the limit; expire some")]
    TooMany(usize),
    /// It could not be written to the state file; it is not in force.
    #[error("the silence could not be stored: {0}")]
    NotStored(String),
}

impl Silence {
    /// Where it stands at `now`.
    pub fn state(&self, now: TimestampMs) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now < self.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    /// Whether its matchers hold for a label set; time does not matter here.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches_labels(labels))
    }

    fn validate(&self) -> Result<(), SilenceError> {
        let invalid = |m: &str| Err(SilenceError::Invalid(m.to_owned()));
        if self.matchers.is_empty() {
            return invalid("at least one matcher required");
        }
        let takes_all = |m: &AlertMatcher| !m.op().is_negative() && m.matches("");
        if self.matchers.iter().all(takes_all) {
            return invalid("at least one matcher must not match the empty string");
        }
        if self.ends_at <= self.starts_at {
            return invalid("end time must be after the start time");
        }
        Ok(())
    }

    fn put_op(&self) -> Op {
        let row = Row {
            matchers: self
                .matchers
                .iter()
                .map(|m| (m.name().into(), m.op().as_str().into(), m.value().into()))
                .collect(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            updated_at: self.updated_at,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
        };
        let value = serde_json::to_vec(&row).unwrap_or_default();
        Op::Put(Table::Silences, self.id.as_bytes().to_vec(), value)
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    matchers: Vec<(String, String, String)>,
    starts_at: TimestampMs,
    ends_at: TimestampMs,
    updated_at: TimestampMs,
    created_by: String,
    comment: String,
}

impl Row {
    fn read(id: String, bytes: &[u8]) -> Option<Silence> {
        let row: Row = serde_json::from_slice(bytes).ok()?;
        let matchers = row.matchers.into_iter().map(|(name, op, value)| {
            let op = match op.as_str() {
                "=" => MatchOp::Equal,
                "!=" => MatchOp::NotEqual,
                "=~" => MatchOp::Regex,
                "!~" => MatchOp::NotRegex,
                _ => return None,
            };
            AlertMatcher::new(name, op, value).ok()
        });
        Some(Silence {
            id,
            matchers: matchers.collect::<Option<_>>()?,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            updated_at: row.updated_at,
            created_by: row.created_by,
            comment: row.comment,
        })
    }
}

/// What a change of silences means for the file and for those who watch.
#[derive(Debug)]
pub struct SilenceChange {
    /// The id that is now valid.
    pub id: String,
    /// Rows to write before the change is acknowledged.
    pub ops: Vec<Op>,
    /// New versions and what happened to them, in order: first what was expired, then what was made.
    pub versions: Vec<(Arc<Silence>, SilenceEvent)>,
}

/// All silences, a copy in memory of the table of the state file.
#[derive(Debug, Default)]
pub struct Silences {
    by_id: HashMap<String, Arc<Silence>>,
}

impl Silences {
    /// Reads the rows of the state file; gives how many could not be read beside it.
    pub fn load(rows: Vec<StateRow>) -> (Self, usize) {
        let (mut by_id, mut bad) = (HashMap::new(), 0);
        for (k, v) in rows {
            match String::from_utf8(k).ok().and_then(|id| Row::read(id, &v)) {
                Some(s) => {
                    by_id.insert(s.id.clone(), Arc::new(s));
                }
                None => bad += 1,
            }
        }
        (Silences { by_id }, bad)
    }

    /// One silence.
    pub fn get(&self, id: &str) -> Option<&Arc<Silence>> {
        self.by_id.get(id)
    }

    /// All silences in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.by_id.values()
    }

    /// The ids of the active silences that match, sorted.
    pub fn silenced_by(&self, labels: &Labels, now: TimestampMs) -> Vec<String> {
        let hits = self.by_id.values().filter(|s| s.state(now) == SilenceState::Active && s.matches(labels));
        let mut ids: Vec<_> = hits.map(|s| s.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// Works out what making or changing a silence means, without doing it. An empty id makes a new one. A change that keeps the
    /// matchers (and the start, once active) keeps the id; any other expires the old one and makes a new one.
    pub fn plan_set(&self, mut new: Silence, now: TimestampMs) -> Result<SilenceChange, SilenceError> {
        new.validate()?;
        new.updated_at = now;
        let mut versions = Vec::new();
        if !new.id.is_empty() {
            let old = self.by_id.get(&new.id).ok_or(SilenceError::NotFound)?;
            if can_change(old, &new, now) {
                versions.push((Arc::new(new), SilenceEvent::Changed));
                return Ok(change(versions));
            }
            if old.state(now) != SilenceState::Expired {
                versions.push((expired(old, now), SilenceEvent::Expired));
            }
        }
        if self.by_id.len() >= MAX_SILENCES {
            return Err(SilenceError::TooMany(MAX_SILENCES));
        }
        new.id = uuid::Uuid::new_v4().to_string();
        new.starts_at = new.starts_at.max(now);
        versions.push((Arc::new(new), SilenceEvent::Created));
        Ok(change(versions))
    }

    /// Works out what ending a silence means; ending an ended one changes nothing.
    pub fn plan_expire(&self, id: &str, now: TimestampMs) -> Result<SilenceChange, SilenceError> {
        let old = self.by_id.get(id).ok_or(SilenceError::NotFound)?;
        if old.state(now) == SilenceState::Expired {
            return Ok(SilenceChange { id: id.to_owned(), ops: Vec::new(), versions: Vec::new() });
        }
        Ok(change(vec![(expired(old, now), SilenceEvent::Expired)]))
    }

    /// Puts planned versions in force.
    pub fn apply(&mut self, change: &SilenceChange) {
        for (s, _) in &change.versions {
            self.by_id.insert(s.id.clone(), s.clone());
        }
    }

    /// How many are active, pending, expired.
    pub fn counts(&self, now: TimestampMs) -> HashMap<SilenceState, i64> {
        let mut counts = HashMap::new();
        for s in self.by_id.values() {
            *counts.entry(s.state(now)).or_insert(0) += 1;
        }
        counts
    }

    /// The silences that time alone brought into force, or over, after `from` and up to `to`.
    pub fn passed(&self, from: TimestampMs, to: TimestampMs) -> Vec<(Arc<Silence>, SilenceEvent)> {
        let inside = |t: TimestampMs| from < t && t <= to;
        let mut out = Vec::new();
        for s in self.by_id.values() {
            // One that was ended by hand has its end where it was changed, and one that begins at once where it was made.
            if inside(s.starts_at) && s.starts_at > s.updated_at {
                out.push((s.clone(), SilenceEvent::Began));
            }
            if inside(s.ends_at) && s.ends_at > s.updated_at {
                out.push((s.clone(), SilenceEvent::Ended));
            }
        }
        out
    }

    /// Forgets silences that ended long ago; gives the changes for the file.
    pub fn collect_garbage(&mut self, now: TimestampMs) -> Vec<Op> {
        let mut ops = Vec::new();
        self.by_id.retain(|id, s| {
            let keep = s.ends_at + KEEP_EXPIRED_MS > now;
            if !keep {
                ops.push(Op::Delete(Table::Silences, id.as_bytes().to_vec()));
            }
            keep
        });
        ops
    }
}

fn change(versions: Vec<(Arc<Silence>, SilenceEvent)>) -> SilenceChange {
    SilenceChange {
        id: versions.last().map(|(s, _)| s.id.clone()).unwrap_or_default(),
        ops: versions.iter().map(|(s, _)| s.put_op()).collect(),
        versions,
    }
}

fn can_change(old: &Silence, new: &Silence, now: TimestampMs) -> bool {
    old.matchers == new.matchers
        && match old.state(now) {
            SilenceState::Active => new.starts_at == old.starts_at && new.ends_at >= now,
            SilenceState::Pending => new.starts_at >= now,
            SilenceState::Expired => false,
        }
}

fn expired(old: &Silence, now: TimestampMs) -> Arc<Silence> {
    Arc::new(Silence { starts_at: old.starts_at.min(now), ends_at: now, updated_at: now, ..old.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(id: &str, matcher: &str, starts_at: i64, ends_at: i64) -> Silence {
        Silence {
            id: id.to_owned(),
            matchers: vec![crate::config::alert_matcher::parse_matcher(matcher).unwrap()],
            starts_at,
            ends_at,
            updated_at: 0,
            created_by: "ann".to_owned(),
            comment: "because".to_owned(),
        }
    }

    fn set(all: &mut Silences, s: Silence, now: i64) -> Result<SilenceChange, SilenceError> {
        let change = all.plan_set(s, now)?;
        all.apply(&change);
        Ok(change)
    }

    #[test]
    fn life_of_a_silence() {
        let mut all = Silences::default();
        let labels = Labels::from_pairs([("a", "1")]);
        let id = set(&mut all, silence("", "a=1", 0, 100), 10).unwrap().id;
        assert_eq!(all.get(&id).unwrap().starts_at, 10, "a start in the past becomes now");
        assert_eq!(all.silenced_by(&labels, 50), std::slice::from_ref(&id));
        // A longer end keeps the id; other matchers make a new one.
        let same = set(&mut all, silence(&id, "a=1", 10, 200), 20).unwrap();
        assert_eq!(same.id, id);
        let other = set(&mut all, silence(&id, "a=~\"1|2\"", 10, 200), 30).unwrap();
        assert_ne!(other.id, id);
        assert_eq!((other.versions.len(), all.get(&id).unwrap().ends_at), (2, 30));
        assert_eq!(all.silenced_by(&labels, 50), std::slice::from_ref(&other.id));
        let gone = all.plan_expire(&other.id, 60).unwrap();
        all.apply(&gone);
        assert!(all.silenced_by(&labels, 60).is_empty());
        assert!(all.plan_expire(&other.id, 70).unwrap().versions.is_empty());
        assert_eq!(all.plan_expire("x", 0).unwrap_err(), SilenceError::NotFound);
        assert_eq!(set(&mut all, silence("x", "a=1", 0, 100), 10).unwrap_err(), SilenceError::NotFound);
        // A pending one that is ended never started.
        let pending = set(&mut all, silence("", "a=1", 1000, 2000), 70).unwrap().id;
        let change = all.plan_expire(&pending, 80).unwrap();
        all.apply(&change);
        let s = all.get(&pending).unwrap();
        assert_eq!((s.starts_at, s.ends_at, s.state(80)), (80, 80, SilenceState::Expired));
        assert_eq!(all.collect_garbage(80 + KEEP_EXPIRED_MS).len(), 3);
    }

    #[test]
    fn content_is_checked() {
        let all = Silences::default();
        for (matcher, good) in
            [("a=1", true), ("a=\"\"", false), ("a=~\".*\"", false), ("a!=b", true), ("a!~\"x\"", true)]
        {
            assert_eq!(all.plan_set(silence("", matcher, 0, 10), 0).is_ok(), good, "{matcher}");
        }
        assert!(all.plan_set(silence("", "a=1", 10, 10), 0).is_err());
    }

    #[test]
    fn survives_the_file() {
        let mut all = Silences::default();
        let change = set(&mut all, silence("", "a!~\"x|y\"", 0, 100), 0).unwrap();
        let rows = change.ops.into_iter().map(|op| match op {
            Op::Put(_, k, v) => (k, v),
            Op::Delete(..) => panic!(),
        });
        let (back, bad) = Silences::load(rows.chain([(b"id".to_vec(), b"junk".to_vec())]).collect());
        assert_eq!((back.get(&change.id), bad), (all.get(&change.id), 1));
    }
}
