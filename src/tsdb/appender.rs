//! Batches on their way into the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SeriesRef;
use super::error::{AppendError, Error};
use super::exemplars::{Kept, StoredExemplar};
use super::head::Head;
use super::head::aliases::AliasView;
use super::head::lookup::LookupView;
use super::head::series::{Place, Value};
use super::self_metrics as count;
use super::shared::Shared;
use super::wal_record::{Batch, FloatSample, HistogramSample, put_batch, put_definitions};
use crate::model::labels::{METRIC_NAME, packed_labels, push_part};
use crate::model::{Exemplar, FloatHistogram, Labels, Metadata, TimestampMs};

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Samples stored; while the log is being replayed, samples taken.
    pub samples: u64,
}

/// Memory of an appender that the next one uses again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub batch: Batch,
    /// Series whose definitions may not be in the log yet.
    unlogged: Vec<SeriesRef>,
    packed: String,
}

impl Buffers {
    pub(crate) fn clear(&mut self) {
        self.batch.clear();
        self.unlogged.clear();
    }

    /// Whether it is worth keeping: the memory of a rare huge batch is given back.
    pub(crate) fn is_modest(&self) -> bool {
        self.batch.floats.capacity() <= 1 << 16
    }
}

/// See [`super::Db::appender`]. Dropping it without a commit forgets the batch.
pub struct Appender<'a> {
    shared: &'a Shared,
    view: LookupView,
    aliases: AliasView,
    buffers: Buffers,
    min_t: TimestampMs,
    max_t: TimestampMs,
    vital: bool,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        let now = shared.options.clock.now_ms();
        let oldest = now.saturating_sub(shared.options.retention_ms);
        Appender {
            shared,
            view: shared.lookup.view(),
            aliases: shared.aliases.view(),
            buffers: shared.take_buffers(),
            min_t: shared.min_valid.load(Ordering::Relaxed).max(oldest),
            max_t: now.saturating_add(shared.options.max_future_ms),
            vital: false,
        }
    }

    /// The same for what keeps people informed (campanile's own metrics, the host's, probes, rules): it is stored while the disk is nearly
    /// full and other batches are refused.
    pub fn vital(mut self) -> Self {
        self.vital = true;
        self
    }

    /// The reference of a label set, making the series if it is new. The set must have a metric name and no empty label name.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        self.resolve(labels.packed())
    }

    /// [`Self::series`] for labels that need not be built: pairs sorted by name, empty values stand for absent labels. Pairs that are
    /// not sorted are sorted (slowly); a name twice is refused.
    pub fn series_from_pairs(&mut self, pairs: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        let sorted = pairs.iter().zip(pairs.iter().skip(1)).all(|(a, b)| a.0 < b.0);
        if !sorted {
            let mut names: Vec<&str> = pairs.iter().map(|p| p.0).collect();
            names.sort_unstable();
            if names.iter().zip(names.iter().skip(1)).any(|(a, b)| a == b) {
                return Err(count::refused(AppendError::InvalidLabels));
            }
            return self.series(&Labels::from_pairs(pairs.iter().copied()));
        }
        let mut packed = std::mem::take(&mut self.buffers.packed);
        packed.clear();
        for (name, value) in pairs.iter().filter(|p| !p.1.is_empty()) {
            push_part(&mut packed, name);
            push_part(&mut packed, value);
        }
        let resolved = self.resolve(&packed);
        self.buffers.packed = packed;
        resolved
    }

    /// The living series that [`Self::remember`] was told for the same bytes.
    pub fn known(&self, bytes: &[u8]) -> Option<SeriesRef> {
        let series = self.aliases.find(self.shared.lookup.hash_bytes(bytes))?;
        self.view.facts(series).map(|_| series)
    }

    /// Remembers that a sender's bytes name a series, so that they need not be taken apart the next time. May be forgotten.
    pub fn remember(&self, bytes: &[u8], series: SeriesRef) {
        let lookup = &self.shared.lookup;
        self.shared.aliases.remember(lookup.hash_bytes(bytes), series, lookup.series());
    }

    fn resolve(&mut self, packed: &str) -> Result<SeriesRef, AppendError> {
        let hash = self.shared.lookup.hash(packed);
        if let Some(r) = self.view.find(hash) {
            return Ok(r);
        }
        let mut named = false;
        for (_, name, _) in packed_labels(packed) {
            if name.is_empty() {
                return Err(count::refused(AppendError::InvalidLabels));
            }
            named |= name == METRIC_NAME;
        }
        if !named {
            return Err(count::refused(AppendError::InvalidLabels));
        }
        if self.shared.cardinality.refuses(packed) {
            return Err(count::refused(AppendError::SeriesLimit));
        }
        let made = self.shared.find_or_create(packed, hash);
        self.view = self.shared.lookup.view();
        made.map_err(count::refused)
    }

    /// Adds a float sample; `start` is the start timestamp of a counter where the source gives one, else 0. A sample that is there
    /// already is accepted and not stored again.
    pub fn float(&mut self, series: SeriesRef, t: TimestampMs, v: f64, start: TimestampMs) -> Result<(), AppendError> {
        if self.admit(series, t, &Value::Float(v)).map_err(count::refused)? == Place::Same {
            return Ok(());
        }
        let batch = &mut self.buffers.batch;
        if start != 0 {
            batch.starts.push((batch.floats.len() as u32, start));
        }
        batch.floats.push(FloatSample { series, t, v });
        Ok(())
    }

    /// Adds a float sample only if it is newer than all of its series, whatever the out-of-order window: for writers whose
    /// late samples would be wrong, such as rules that end series which another rule may have taken over.
    pub fn float_in_order(&mut self, series: SeriesRef, t: TimestampMs, v: f64) -> Result<(), AppendError> {
        let newest = self.view.facts(series).map(|f| f.last_t.load(Ordering::Relaxed));
        if newest.is_some_and(|newest| t < newest) {
            return Err(count::refused(AppendError::OutOfOrder));
        }
        self.float(series, t, v, 0)
    }

    /// Adds a native histogram.
    pub fn histogram(
        &mut self,
        series: SeriesRef,
        t: TimestampMs,
        h: &FloatHistogram,
        start: TimestampMs,
    ) -> Result<(), AppendError> {
        if self.admit(series, t, &Value::Histogram(h)).map_err(count::refused)? != Place::Same {
            self.buffers.batch.histograms.push(HistogramSample { series, t, start, h: Arc::new(h.clone()) });
        }
        Ok(())
    }

    /// Whether and where a sample may go in, as far as can be told now; the commit has the last word.
    #[inline]
    fn admit(&mut self, series: SeriesRef, t: TimestampMs, v: &Value<'_>) -> Result<Place, AppendError> {
        if self.view.facts(series).is_none() {
            // The series may be younger than this view.
            self.view = self.shared.lookup.view();
        }
        let facts = self.view.facts(series).ok_or(AppendError::UnknownRef)?;
        if t > self.max_t {
            return Err(AppendError::TooNew);
        }
        if t < self.min_t {
            return Err(AppendError::TooOld);
        }
        if !facts.logged.load(Ordering::Relaxed) && self.buffers.unlogged.last() != Some(&series) {
            self.buffers.unlogged.push(series);
        }
        if t > facts.last_t.load(Ordering::Relaxed) {
            return Ok(Place::Next);
        }
        let head = self.shared.read_head();
        head.get(series).ok_or(AppendError::UnknownRef)?.place(t, v, self.shared.floor(&head))
    }

    /// Adds an exemplar. One that repeats the newest of its series is accepted and not stored again.
    pub fn exemplar(&mut self, series: SeriesRef, exemplar: &Exemplar) -> Result<(), AppendError> {
        if self.view.facts(series).is_none() {
            self.view = self.shared.lookup.view();
        }
        let facts = self.view.facts(series).ok_or(AppendError::UnknownRef).map_err(count::refused)?;
        if !facts.logged.load(Ordering::Relaxed) {
            self.buffers.unlogged.push(series);
        }
        let t = exemplar.timestamp.unwrap_or_else(|| self.shared.options.clock.now_ms());
        let stored = StoredExemplar { labels: exemplar.labels.clone(), value: exemplar.value, t };
        match self.shared.lock_exemplars().check(series, &stored) {
            Kept::Stored => self.buffers.batch.exemplars.push((series, stored)),
            Kept::Same => {}
            Kept::Old => {
                count::EXEMPLARS_REFUSED.inc();
                return Err(AppendError::OutOfOrder);
            }
        }
        Ok(())
    }

    /// Notes the metadata of a metric family.
    pub fn metadata(&mut self, metric: &str, metadata: &Metadata) {
        if self.shared.lock_metadata().is_new(metric, metadata) {
            self.buffers.batch.metadata.push((metric.to_owned(), metadata.clone()));
        }
    }

    /// Makes the batch durable (by policy) and visible, all of it or none. Samples that became inadmissible since they were added
    /// are counted as refused and left out. While the log is replayed after a start the batch becomes durable at once and visible at the
    /// end of the replay; what turns out then to be inadmissible is counted in the same way.
    pub fn commit(mut self) -> Result<Committed, Error> {
        let buffers = &mut self.buffers;
        if buffers.batch.is_empty() {
            return Ok(Committed::default());
        }
        let shared = self.shared;
        shared.admit_space(self.vital)?;
        let mut writing = shared.lock_writing();
        let mut record = std::mem::take(&mut writing.record);
        record.clear();
        buffers.unlogged.sort_unstable();
        buffers.unlogged.dedup();
        buffers.unlogged.retain(|r| self.view.facts(*r).is_some_and(|f| !f.logged.load(Ordering::Relaxed)));
        if !buffers.unlogged.is_empty() {
            let head = shared.read_head();
            let series = buffers.unlogged.iter().filter_map(|r| Some((*r, &*head.get(*r)?.pairs)));
            put_definitions(&mut record, &head.labels, series);
        }
        buffers.batch.floor = shared.floor(&shared.read_head());
        put_batch(&mut record, &buffers.batch);
        let written = shared.append_to_wal(&record, &mut writing);
        if record.capacity() <= 4 << 20 {
            writing.record = record;
        }
        written?;
        for r in &buffers.unlogged {
            if let Some(f) = self.view.facts(*r) {
                f.logged.store(true, Ordering::Relaxed);
            }
        }
        if writing.held {
            let samples = (buffers.batch.floats.len() + buffers.batch.histograms.len()) as u64;
            count::HELD.inc_by(samples);
            return Ok(Committed { samples });
        }
        let rules = Rules { min_t: shared.min_valid.load(Ordering::Relaxed), replay: false };
        let stored = {
            let mut head = shared.write_head();
            apply(&mut head, &buffers.batch, rules, |r, newest| {
                if let Some(f) = self.view.facts(r) {
                    f.last_t.store(newest, Ordering::Relaxed);
                }
            })
        };
        count::APPENDED.inc_by(stored);
        // Still in the row of commits, so that a checkpoint never misses what a removed segment held.
        shared.apply_annotations(&mut buffers.batch, rules);
        drop(writing);
        Ok(Committed { samples: stored })
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.shared.give_buffers(std::mem::take(&mut self.buffers));
    }
}

/// What a batch must satisfy when it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Samples before this are in blocks or past retention.
    pub min_t: TimestampMs,
    /// Whether the batch comes from the log: what was refused then is refused again, and not counted twice.
    pub replay: bool,
}

impl Rules {
    fn refuse(self, e: AppendError) {
        if !self.replay {
            count::refused(e);
        }
    }
}

/// Stores the samples of a batch in the head; `newest` is told the newest time of each series touched. Returns how many were stored.
pub(crate) fn apply(
    head: &mut Head,
    batch: &Batch,
    rules: Rules,
    mut newest: impl FnMut(SeriesRef, TimestampMs),
) -> u64 {
    let (mut stored, mut late) = (0, 0);
    let (mut min_t, mut max_t) = (head.min_t, head.max_t);
    let mut closed: Vec<u32> = Vec::new();
    let mut starts = batch.starts.iter().peekable();
    let mut settle = |series: SeriesRef, t: TimestampMs, place: Place, last: TimestampMs| {
        stored += u64::from(place != Place::Same);
        late += u64::from(place == Place::Late);
        newest(series, last);
        (min_t, max_t) = (min_t.min(t), max_t.max(t));
    };
    for (i, f) in batch.floats.iter().enumerate() {
        let start = starts.next_if(|s| s.0 as usize == i).map_or(0, |s| s.1);
        if f.t < rules.min_t {
            rules.refuse(AppendError::TooOld);
            continue;
        }
        let Some(s) = head.get_mut(f.series) else {
            rules.refuse(AppendError::UnknownRef);
            continue;
        };
        match s.place(f.t, &Value::Float(f.v), batch.floor) {
            Ok(place) => {
                if s.push_float(place, f.t, f.v, start) {
                    closed.push(f.series.slot());
                }
                settle(f.series, f.t, place, s.newest);
            }
            Err(e) => rules.refuse(e),
        }
    }
    for h in &batch.histograms {
        if h.t < rules.min_t {
            rules.refuse(AppendError::TooOld);
            continue;
        }
        let Some(s) = head.get_mut(h.series) else {
            rules.refuse(AppendError::UnknownRef);
            continue;
        };
        match s.place(h.t, &Value::Histogram(&h.h), batch.floor) {
            Ok(place) => {
                if s.push_histogram(place, h.t, &h.h, h.start) {
                    closed.push(h.series.slot());
                }
                settle(h.series, h.t, place, s.newest);
            }
            Err(e) => rules.refuse(e),
        }
    }
    (head.min_t, head.max_t) = (min_t, max_t);
    head.to_pack.append(&mut closed);
    count::LATE.inc_by(late);
    stored
}
