//! What a loop remembers between scrapes: which text is which series, and which series are alive.
//!
//! Two texts may be one series (labels in another order, or made equal by relabelling), so texts point to states and states are
//! found by reference. A series is alive from its first stored sample until its staleness marker.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::model::{Labels, Metadata};
use crate::tsdb::SeriesRef;

/// After so many good scrapes without a text it is forgotten.
const KEEP_SCRAPES: u64 = 10;
/// Families whose metadata is kept for each target; more are of no use to people.
const MAX_FAMILIES: usize = 50_000;

/// XXH3 over the text; the texts come from targets the user chose, a keyed hash is not needed.
#[derive(Default)]
struct TextHasher(Xxh3Default);

impl Hasher for TextHasher {
    fn finish(&self) -> u64 {
        self.0.digest()
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

struct Text {
    bytes: Arc<[u8]>,
    /// Index of the state; `None` for a series that relabelling dropped.
    state: Option<u32>,
    seen: u64,
    /// The text that came after this one the last time.
    next: u32,
}

/// What is known of one series.
pub struct SeriesState {
    /// Its reference in the store.
    pub reference: SeriesRef,
    /// Its labels, to find it again when the store has forgotten the reference.
    pub labels: Labels,
    /// The scrape that brought it last.
    seen: u64,
    /// The scrape that brought it last in a way that asks for staleness markers.
    tracked: u64,
    /// Whether a marker is due when it stays away.
    alive: bool,
}

/// See the module.
#[derive(Default)]
pub struct SeriesCache {
    texts: Vec<Text>,
    /// The texts by their bytes.
    by_text: HashMap<Arc<[u8]>, u32, BuildHasherDefault<TextHasher>>,
    /// The text that came first the last time.
    first: u32,
    /// The text that was looked up last in this scrape.
    last: Option<u32>,
    states: Vec<SeriesState>,
    by_reference: HashMap<SeriesRef, u32>,
    metadata: HashMap<String, Metadata>,
    /// Families whose metadata the store has not been told yet.
    untold: BTreeSet<String>,
    scrape: u64,
}

/// What is known of a text.
pub enum Lookup {
    /// Never seen.
    New,
    /// Dropped by relabelling.
    Dropped,
    /// A series, by index.
    Series(u32),
}

impl SeriesCache {
    /// Begins a scrape.
    pub fn begin(&mut self) {
        self.scrape += 1;
        self.last = None;
    }

    /// The text after the one looked up last, or the first, as it was the last time.
    fn expected(&mut self) -> &mut u32 {
        match self.last.and_then(|i| self.texts.get_mut(i as usize)) {
            Some(last) => &mut last.next,
            None => &mut self.first,
        }
    }

    /// The text that is likely to be looked up next; empty if there is none.
    pub fn expected_text(&self) -> &[u8] {
        let next = self.last.and_then(|i| self.texts.get(i as usize)).map_or(self.first, |last| last.next);
        self.texts.get(next as usize).map_or(&[], |t| &t.bytes)
    }

    /// Looks a text up and notes that it was seen. Targets mostly write their series in the same order, so that the text to compare with
    /// is known before any hashing.
    pub fn look_up(&mut self, text: &[u8]) -> Lookup {
        let expected = *self.expected();
        let index = match self.texts.get(expected as usize).filter(|t| *t.bytes == *text) {
            Some(_) => expected,
            None => match self.by_text.get(text).copied() {
                Some(found) => {
                    *self.expected() = found;
                    found
                }
                None => return Lookup::New,
            },
        };
        self.last = Some(index);
        match self.texts.get_mut(index as usize) {
            None => Lookup::New,
            Some(t) => {
                t.seen = self.scrape;
                t.state.map_or(Lookup::Dropped, Lookup::Series)
            }
        }
    }

    fn insert_text(&mut self, text: &[u8], state: Option<u32>) {
        let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let bytes: Arc<[u8]> = text.into();
        *self.expected() = index;
        self.last = Some(index);
        self.by_text.insert(bytes.clone(), index);
        self.texts.push(Text { bytes, state, seen: self.scrape, next: index.saturating_add(1) });
    }

    /// Remembers that relabelling drops this text, which is new.
    pub fn insert_dropped(&mut self, text: &[u8]) {
        self.insert_text(text, None);
    }

    /// Remembers the series of a text, which is new; its index, and whether the series is new as well.
    pub fn insert(&mut self, text: &[u8], reference: SeriesRef, labels: &Labels) -> (u32, bool) {
        let (index, new) = match self.by_reference.get(&reference) {
            Some(i) => (*i, false),
            None => {
                let i = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
                self.states.push(SeriesState { reference, labels: labels.clone(), seen: 0, tracked: 0, alive: false });
                self.by_reference.insert(reference, i);
                (i, true)
            }
        };
        self.insert_text(text, Some(index));
        (index, new)
    }

    /// A series by index.
    pub fn series(&self, index: u32) -> Option<&SeriesState> {
        self.states.get(index as usize)
    }

    /// Notes the series' new reference.
    pub fn set_reference(&mut self, index: u32, reference: SeriesRef) {
        if let Some(s) = self.states.get_mut(index as usize) {
            self.by_reference.remove(&s.reference);
            s.reference = reference;
            self.by_reference.insert(reference, index);
        }
    }

    /// Notes that this scrape brings the series; `true` if it did so before. `tracked` says whether its absence later means staleness.
    pub fn mark(&mut self, index: u32, tracked: bool) -> bool {
        let Some(s) = self.states.get_mut(index as usize) else { return false };
        let again = s.seen == self.scrape;
        s.seen = self.scrape;
        if tracked {
            s.tracked = self.scrape;
        }
        again
    }

    /// Ends a scrape whose samples are to be stored: the series that need a staleness marker now.
    pub fn vanished(&self) -> Vec<u32> {
        self.due(|s| s.tracked != self.scrape)
    }

    /// All living series: what needs a marker when the target is gone or the scrape failed.
    pub fn living(&self) -> Vec<u32> {
        self.due(|_| true)
    }

    fn due(&self, pick: impl Fn(&SeriesState) -> bool) -> Vec<u32> {
        let due = self.states.iter().enumerate().filter(|(_, s)| s.alive && pick(s));
        due.filter_map(|(i, _)| u32::try_from(i).ok()).collect()
    }

    /// After a good scrape is stored: what it brought is alive, the rest is not; long unseen texts are forgotten; the store knows all metadata.
    pub fn settle(&mut self) {
        self.untold.clear();
        let now = self.scrape;
        for s in &mut self.states {
            s.alive = s.tracked == now;
        }
        if now.is_multiple_of(KEEP_SCRAPES) {
            self.forget();
        }
    }

    /// After a failed scrape's markers are stored: nothing is alive.
    pub fn settle_failed(&mut self) {
        for s in &mut self.states {
            s.alive = false;
        }
        if self.scrape.is_multiple_of(KEEP_SCRAPES) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let oldest = self.scrape.saturating_sub(KEEP_SCRAPES);
        let stale = |seen: u64| seen < oldest;
        if !self.texts.iter().any(|t| stale(t.seen)) {
            return;
        }
        self.texts.retain(|t| !stale(t.seen));
        self.by_text = self.texts.iter().zip(0..).map(|(t, i)| (t.bytes.clone(), i)).collect();
        for (t, i) in self.texts.iter_mut().zip(0u32..) {
            // Mostly right, and learnt anew where it is not.
            t.next = i.saturating_add(1);
        }
        self.first = 0;
        self.last = None;
        // States that no text points to are dropped, and the indexes of the rest close up.
        let mut used = vec![false; self.states.len()];
        for i in self.texts.iter().filter_map(|t| t.state) {
            if let Some(u) = used.get_mut(i as usize) {
                *u = true;
            }
        }
        for (u, s) in used.iter_mut().zip(&self.states) {
            *u |= s.alive;
        }
        let mut moved = Vec::with_capacity(used.len());
        let mut next = 0u32;
        for u in &used {
            moved.push(next);
            next += u32::from(*u);
        }
        let mut flags = used.iter();
        self.states.retain(|_| flags.next() == Some(&true));
        for t in &mut self.texts {
            t.state = t.state.and_then(|i| moved.get(i as usize).copied());
        }
        self.by_reference = self.states.iter().zip(0u32..).map(|(s, i)| (s.reference, i)).collect();
    }

    /// Changes the metadata of a family. Type, help and unit come one by one, so that the store is told after the whole body.
    pub fn change_metadata(&mut self, family: &str, change: impl FnOnce(&mut Metadata)) {
        if let Some(m) = self.metadata.get_mut(family) {
            let before = m.clone();
            change(m);
            if *m == before {
                return;
            }
        } else if self.metadata.len() < MAX_FAMILIES {
            change(self.metadata.entry(family.to_owned()).or_default());
        } else {
            return;
        }
        self.untold.insert(family.to_owned());
    }

    /// Families that changed since [`SeriesCache::settle`].
    pub fn untold_metadata(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.untold.iter().filter_map(|f| Some((f.as_str(), self.metadata.get(f)?)))
    }

    /// All metadata the target gave.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.metadata.iter().map(|(k, v)| (k.as_str(), v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_any_order_and_forgotten_when_they_stay_away() {
        let mut cache = SeriesCache::default();
        let text = |i: u64| format!("metric{{i=\"{i}\"}}").into_bytes();
        // Each scrape with another order, and some texts missing.
        for scrape in 0..40u64 {
            cache.begin();
            let mut order: Vec<u64> = (0..20).filter(|i| scrape < 20 || i % 3 > 0).collect();
            order.rotate_left(scrape as usize % 4 / 3 * 7);
            if scrape % 5 == 4 {
                order.reverse();
            }
            for i in order {
                match cache.look_up(&text(i)) {
                    Lookup::New => {
                        assert!(scrape == 0, "{scrape} {i}");
                        match i {
                            7 => cache.insert_dropped(&text(i)),
                            _ => {
                                let labels = Labels::from_pairs([("i", i.to_string().as_str())]);
                                cache.insert(&text(i), SeriesRef(i + 1), &labels);
                            }
                        }
                    }
                    Lookup::Dropped => assert_eq!(i, 7),
                    Lookup::Series(index) => {
                        assert_eq!(cache.series(index).unwrap().reference, SeriesRef(i + 1));
                        cache.mark(index, true);
                    }
                }
            }
            cache.settle();
        }
        assert_eq!((cache.texts.len(), cache.by_text.len()), (13, 13));
        cache.begin();
        assert!(matches!(cache.look_up(&text(3)), Lookup::New));
    }
}
