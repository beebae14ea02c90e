//! Tombstones: stretches of time in which samples of a series count as deleted.
//!
//! Those of a block lie in its folder under the numbers that its index gives series; those of the head in one file of the store under label
//! sets. Queries leave out what they cover; a block written from parts that have some does not hold it any more.
//!
//! Both files: records as in the log. The first holds the version, the others entries: a key (number or packed labels), the count of intervals,
//! and for each its first time and its length in milliseconds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::SeriesRef;
use super::error::Error;
use super::filenames::TOMBSTONES_FILE;
use super::head::Head;
use super::head::lookup::Lookup;
use crate::disk::atomic_file;
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_i64, take_str, take_u64};
use crate::disk::wal::record::{self, Compression, Decoded};
use crate::model::TimestampMs;

const VERSION: u64 = 1;
/// A record is ended when it is this long.
const RECORD_BYTES: usize = 1 << 20;

/// Stretches of time, both ends included, in order, with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intervals(Vec<(TimestampMs, TimestampMs)>);

impl Intervals {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a stretch; it melts with those it touches.
    pub(crate) fn add(&mut self, mut from: TimestampMs, mut to: TimestampMs) {
        if from > to {
            return;
        }
        let first = self.0.partition_point(|i| i.1 < from.saturating_sub(1));
        let after = self.0.partition_point(|i| i.0 <= to.saturating_add(1));
        for i in self.0.get(first..after).unwrap_or_default() {
            from = from.min(i.0);
            to = to.max(i.1);
        }
        self.0.splice(first..after.max(first), [(from, to)]);
    }

    fn add_all(&mut self, other: &Intervals) {
        for (from, to) in &other.0 {
            self.add(*from, *to);
        }
    }

    pub(crate) fn contains(&self, t: TimestampMs) -> bool {
        self.covers(t, t)
    }

    /// Whether all of a stretch is in one of them.
    pub(crate) fn covers(&self, from: TimestampMs, to: TimestampMs) -> bool {
        let i = self.0.partition_point(|i| i.1 < from);
        self.0.get(i).is_some_and(|i| i.0 <= from && i.1 >= to)
    }

    /// Whether a stretch has a part in them.
    pub(crate) fn overlaps(&self, from: TimestampMs, to: TimestampMs) -> bool {
        let i = self.0.partition_point(|i| i.1 < from);
        self.0.get(i).is_some_and(|i| i.0 <= to)
    }

    /// Forgets what lies before `t`.
    fn drop_before(&mut self, t: TimestampMs) {
        self.0.retain(|i| i.1 >= t);
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.0.len() as u64);
        for (from, to) in &self.0 {
            put_i64(out, *from);
            put_u64(out, to.wrapping_sub(*from) as u64);
        }
    }

    fn take(input: &mut &[u8]) -> Option<Intervals> {
        let mut all = Intervals::default();
        for _ in 0..take_u64(input)? {
            let from = take_i64(input)?;
            all.add(from, from.checked_add_unsigned(take_u64(input)?)?);
        }
        Some(all)
    }
}

/// What of a series is deleted; most series have none, which costs one word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deleted(Option<Arc<Intervals>>);

impl Deleted {
    pub(crate) fn intervals(&self) -> Option<&Intervals> {
        self.0.as_deref()
    }

    /// Adds what is deleted in another part of the same series.
    pub(crate) fn join(&mut self, other: Deleted) {
        match (&mut self.0, other.0) {
            (_, None) => {}
            (mine @ None, theirs) => *mine = theirs,
            (Some(mine), Some(theirs)) => Arc::make_mut(mine).add_all(&theirs),
        }
    }

    /// Takes the deleted rows out of two columns, from row `from` on.
    pub(crate) fn remove_from<T>(&self, times: &mut Vec<TimestampMs>, values: &mut Vec<T>, from: usize) {
        let Some(intervals) = self.intervals() else { return };
        let flags: Vec<bool> = times.iter().enumerate().map(|(i, t)| i < from || !intervals.contains(*t)).collect();
        let mut keep = flags.iter();
        times.retain(|_| keep.next().is_none_or(|k| *k));
        let mut keep = flags.iter();
        values.retain(|_| keep.next().is_none_or(|k| *k));
    }
}

/// The tombstones of a part of the store by series.
#[derive(Clone, Debug)]
pub(crate) struct Tombstones<K>(HashMap<K, Arc<Intervals>>);

/// Those of a block, by number of series.
pub(crate) type BlockTombstones = Tombstones<u32>;
/// Those of the head.
pub(crate) type HeadTombstones = Tombstones<SeriesRef>;

impl<K> Default for Tombstones<K> {
    fn default() -> Self {
        Tombstones(HashMap::new())
    }
}

impl<K: Copy + Eq + std::hash::Hash> Tombstones<K> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many series have some.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, key: K, from: TimestampMs, to: TimestampMs) {
        if from <= to {
            Arc::make_mut(self.0.entry(key).or_default()).add(from, to);
        }
    }

    /// What of a series is deleted in a stretch of time.
    pub(crate) fn of(&self, key: K, mint: TimestampMs, maxt: TimestampMs) -> Deleted {
        if self.0.is_empty() {
            return Deleted(None);
        }
        Deleted(self.0.get(&key).filter(|i| i.overlaps(mint, maxt)).cloned())
    }

    /// Forgets what lies before `t`; says whether there was any.
    pub(crate) fn drop_before(&mut self, t: TimestampMs) -> bool {
        let old = self.0.values().any(|i| i.0.iter().any(|i| i.1 < t));
        if old {
            self.0.values_mut().for_each(|i| Arc::make_mut(i).drop_before(t));
            self.0.retain(|_, i| !i.is_empty());
        }
        old
    }

    /// The content of a tombstone file; `None` without any. Keys that `put_key` does not know any more are left out.
    fn encode(&self, mut put_key: impl FnMut(&mut Vec<u8>, K) -> bool) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let (mut file, mut payload) = (Vec::new(), Vec::new());
        put_u64(&mut payload, VERSION);
        for (key, intervals) in &self.0 {
            let before = payload.len();
            if put_key(&mut payload, *key) {
                intervals.put(&mut payload);
            } else {
                payload.truncate(before);
            }
            if payload.len() >= RECORD_BYTES {
                record::encode(&mut file, &payload, Compression::Zstd);
                payload.clear();
            }
        }
        record::encode(&mut file, &payload, Compression::Zstd);
        Some(file)
    }
}

/// Puts a content into the tombstone file in `dir`, synced before it returns; without one the file goes.
pub(crate) fn write(dir: &Path, content: Option<&[u8]>) -> Result<(), Error> {
    let path = dir.join(TOMBSTONES_FILE);
    match content {
        Some(content) => Ok(atomic_file::write(&path, content)?),
        None => match std::fs::remove_file(&path) {
            Ok(()) => Ok(atomic_file::sync_parent(&path)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e.into()),
        },
    }
}

/// Reads the tombstone file in `dir`. What cannot be read is told: samples deleted there show again.
fn read(dir: &Path, mut each: impl FnMut(&mut &[u8]) -> Option<()>) -> Result<(), Error> {
    let path = dir.join(TOMBSTONES_FILE);
    let file = match std::fs::read(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let (mut rest, mut first, mut lost) = (file.as_slice(), true, 0usize);
    while !rest.is_empty() {
        let len = match record::decode(rest) {
            Decoded::Record(payload, len) => {
                let input = &mut &*payload;
                let known = !std::mem::take(&mut first) || take_u64(input) == Some(VERSION);
                while known && !input.is_empty() {
                    if each(input).is_none() {
                        break;
                    }
                }
                lost += if input.is_empty() { 0 } else { len };
                len
            }
            Decoded::Damaged(len) => {
                first = false;
                lost += len.min(rest.len());
                len
            }
            Decoded::Incomplete => {
                lost += rest.len();
                break;
            }
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    if lost > 0 {
        tracing::error!(path = %path.display(), bytes = lost, "tombstones cannot be read; samples deleted there show again");
    }
    Ok(())
}

impl Tombstones<u32> {
    /// Reads those of the block in `dir`.
    pub(crate) fn load(dir: &Path) -> Result<Self, Error> {
        let mut all = Self::default();
        read(dir, |input| {
            let key = u32::try_from(take_u64(input)?).ok()?;
            all.0.insert(key, Arc::new(Intervals::take(input)?));
            Some(())
        })?;
        Ok(all)
    }

    /// Writes them into the folder of their block.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), Error> {
        let content = self.encode(|out, key| {
            put_u64(out, key.into());
            true
        });
        write(dir, content.as_deref())
    }
}

impl Tombstones<SeriesRef> {
    /// Reads those of the head of the store in `dir`, for series that are in the head and for times from `cut` on.
    pub(crate) fn load(dir: &Path, lookup: &Lookup, cut: TimestampMs) -> Result<Self, Error> {
        let mut all = Self::default();
        let view = lookup.view();
        read(dir, |input| {
            let packed = take_str(input)?;
            let intervals = Intervals::take(input)?;
            if let Some(r) = view.find(lookup.hash(packed)) {
                all.0.insert(r, Arc::new(intervals));
            }
            Some(())
        })?;
        all.drop_before(cut);
        Ok(all)
    }

    /// What [`write`] is to put into the folder of the store.
    pub(crate) fn content(&self, head: &Head) -> Option<Vec<u8>> {
        let mut packed = String::new();
        self.encode(|out, r| {
            let Some(s) = head.get(r) else { return false };
            packed.clear();
            head.labels.packed(&s.pairs, &mut packed);
            put_bytes(out, packed.as_bytes());
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intervals_are_a_set_of_times(parts in prop::collection::vec((0i64..60, 0i64..9), 0..12)) {
            let mut all = Intervals::default();
            let mut model = [false; 80];
            for (from, len) in parts {
                all.add(from, from + len);
                model[from as usize..=(from + len) as usize].fill(true);
            }
            prop_assert!(all.0.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{:?}", all);
            for from in 0..80usize {
                prop_assert_eq!(all.contains(from as i64), model[from]);
                for to in from..80 {
                    let part = &model[from..=to];
                    prop_assert_eq!(all.covers(from as i64, to as i64), part.iter().all(|x| *x));
                    prop_assert_eq!(all.overlaps(from as i64, to as i64), part.iter().any(|x| *x));
                }
            }
            let mut bytes = Vec::new();
            all.put(&mut bytes);
            prop_assert_eq!(Intervals::take(&mut bytes.as_slice()), Some(all));
        }
    }

    #[test]
    fn rows_before_the_part_asked_for_stay() {
        let mut stones = Tombstones::<u32>::default();
        stones.add(1, 2, 3);
        stones.add(1, 9, i64::MAX);
        let (mut t, mut v) = (vec![2, 3, 1, 2, 3, 4, 9], vec!['a', 'b', 'c', 'd', 'e', 'f', 'g']);
        stones.of(1, 0, 100).remove_from(&mut t, &mut v, 2);
        assert_eq!((t, v), (vec![2, 3, 1, 4], vec!['a', 'b', 'c', 'f']));
        assert!(stones.of(1, 4, 8).intervals().is_none() && stones.of(2, 0, 100).intervals().is_none());
    }

    #[test]
    fn a_file_comes_back_and_damage_is_no_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let mut stones = BlockTombstones::default();
        for i in 0..1000 {
            stones.add(i, i64::from(i), i64::from(i) + 5);
        }
        stones.save(dir.path()).unwrap();
        assert_eq!(BlockTombstones::load(dir.path()).unwrap().0, stones.0);
        let path = dir.path().join(TOMBSTONES_FILE);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x20;
            std::fs::write(&path, &bad).unwrap();
            assert!(BlockTombstones::load(dir.path()).unwrap().0.iter().all(|(k, v)| stones.0.get(k) == Some(v)));
        }
        BlockTombstones::default().save(dir.path()).unwrap();
        assert!(!path.exists() && BlockTombstones::load(dir.path()).unwrap().is_empty());
    }
}
