//! What one query sees: the batches in memory and the segments at one moment. Commits and merges meanwhile change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::{Batch, Entry, Group};
use super::partition::PartitionView;
use super::scan::Selection;
use super::schema::{NS_PER_DAY, day_of};
use super::segment::SegmentView;
use super::stream_index::{StreamId, StreamIndex};
use crate::model::{Labels, Matcher, TimestampNs};

/// Batches on their way to segments, and the days of them that are there.
pub(super) type FrozenBatches = (Arc<Vec<Arc<Batch>>>, Vec<i32>);

/// See the module.
pub struct Snapshot {
    /// Days with their segments, ascending.
    pub(super) partitions: Vec<Arc<PartitionView>>,
    /// Batches being written to segments, and the days of them that already are.
    pub(super) frozen: Option<FrozenBatches>,
    /// Batches that came after them.
    pub(super) active: Vec<Arc<Batch>>,
    pub(super) streams: Arc<StreamIndex>,
}

/// Entries of one stream in order of time, from one place.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Time of the first entry.
    pub first: TimestampNs,
    /// Time of the last.
    pub last: TimestampNs,
    /// Where they are.
    pub source: Source<'a>,
}

/// Where the entries of a run are.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// In memory.
    Memory {
        /// The batch, which holds the lines.
        batch: &'a Batch,
        /// The entries.
        entries: &'a [Entry],
    },
    /// In a segment.
    Segment {
        /// The segment.
        segment: &'a SegmentView,
        /// Its place among the segments of the snapshot.
        place: usize,
        /// The documents.
        docs: std::ops::Range<u32>,
    },
}

/// A set of streams with a quick test.
pub struct StreamSet(Vec<bool>);

impl StreamSet {
    /// Whether the stream is in the set.
    pub fn contains(&self, id: StreamId) -> bool {
        self.0.get(id.0 as usize).copied().unwrap_or(false)
    }
}

impl FromIterator<StreamId> for StreamSet {
    fn from_iter<I: IntoIterator<Item = StreamId>>(ids: I) -> Self {
        let mut set = Vec::new();
        for id in ids {
            let i = id.0 as usize;
            if set.len() <= i {
                set.resize(i + 1, false);
            }
            if let Some(place) = set.get_mut(i) {
                *place = true;
            }
        }
        StreamSet(set)
    }
}

impl Snapshot {
    /// The labels of a stream.
    pub fn labels(&self, id: StreamId) -> Labels {
        self.streams.labels(id)
    }

    pub(super) fn select(&self, selection: &Selection) -> StreamSet {
        match selection {
            Selection::Matchers(m) => self.streams.select(m).into_iter().collect(),
            Selection::Streams(ids) => ids.iter().copied().collect(),
        }
    }

    /// All segments, oldest day first; their places are those of [`Source::Segment`].
    pub(super) fn segments(&self) -> impl Iterator<Item = &Arc<SegmentView>> {
        self.partitions.iter().flat_map(|p| &p.segments)
    }

    /// Everything of some streams in [start, end), in runs; those from segments first.
    pub(super) fn runs(&self, streams: &StreamSet, start: TimestampNs, end: TimestampNs) -> Vec<Run<'_>> {
        let mut runs = Vec::new();
        let mut place = 0;
        for partition in &self.partitions {
            let day_start = i64::from(partition.day).saturating_mul(NS_PER_DAY);
            if day_start >= end || day_start.saturating_add(NS_PER_DAY) <= start {
                place += partition.segments.len();
                continue;
            }
            for segment in &partition.segments {
                for run in
                    segment.runs().iter().filter(|r| streams.contains(r.stream) && r.first < end && r.last >= start)
                {
                    let mut docs = run.docs.clone();
                    let (mut first, mut last) = (run.first, run.last);
                    if first < start {
                        docs.start = segment.seek(docs.clone(), start);
                    }
                    if last >= end {
                        docs.end = segment.seek(docs.clone(), end);
                    }
                    if docs.is_empty() {
                        continue;
                    }
                    if docs.start != run.docs.start {
                        first = segment.timestamp(docs.start);
                    }
                    if docs.end != run.docs.end {
                        last = segment.timestamp(docs.end - 1);
                    }
                    let source = Source::Segment { segment, place, docs };
                    runs.push(Run { stream: run.stream, first, last, source });
                }
                place += 1;
            }
        }
        if let Some((batches, hidden)) = &self.frozen {
            for batch in batches.iter() {
                memory_runs(batch, streams, start, end, hidden, &mut runs);
            }
        }
        for batch in &self.active {
            memory_runs(batch, streams, start, end, &[], &mut runs);
        }
        runs
    }

    /// The streams that satisfy the matchers and have entries in [start, end) as far as their first and last in each segment
    /// tell, ascending.
    pub fn streams(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<(StreamId, Labels)> {
        let selected = self.select(&Selection::Matchers(matchers.to_vec()));
        let mut found = BTreeSet::new();
        for partition in &self.partitions {
            for run in partition.segments.iter().flat_map(|s| s.runs()) {
                if run.first < end && run.last >= start && selected.contains(run.stream) {
                    found.insert(run.stream);
                }
            }
        }
        let frozen = self.frozen.iter().flat_map(|(batches, _)| batches.iter());
        for group in frozen.chain(&self.active).flat_map(|b| b.groups()) {
            if selected.contains(group.stream)
                && !found.contains(&group.stream)
                && !within(group, start, end).is_empty()
            {
                found.insert(group.stream);
            }
        }
        found.into_iter().map(|id| (id, self.streams.labels(id))).collect()
    }

    /// The label sets of [`Snapshot::streams`], in order.
    pub fn series(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<Labels> {
        let mut all: Vec<Labels> = self.streams(matchers, start, end).into_iter().map(|(_, l)| l).collect();
        all.sort();
        all
    }

    /// The names of labels of [`Snapshot::streams`], in order.
    pub fn label_names(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<String> {
        let streams = self.streams(matchers, start, end);
        let names: BTreeSet<&str> = streams.iter().flat_map(|(_, l)| l.iter().map(|(n, _)| n)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The values of one label of [`Snapshot::streams`], in order.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<String> {
        let streams = self.streams(matchers, start, end);
        let values: BTreeSet<&str> = streams.iter().filter_map(|(_, l)| l.get(name)).collect();
        values.into_iter().map(str::to_owned).collect()
    }

    /// Entries of each stream in memory and in segments, without regard to doubles; for statistics.
    pub fn entries_by_stream(&self) -> BTreeMap<StreamId, u64> {
        let everything = (0..self.streams.len() as u32).map(StreamId).collect();
        let mut counts = BTreeMap::new();
        for run in self.runs(&everything, i64::MIN, i64::MAX) {
            let n = match &run.source {
                Source::Memory { entries, .. } => entries.len() as u64,
                Source::Segment { docs, .. } => docs.len() as u64,
            };
            *counts.entry(run.stream).or_default() += n;
        }
        counts
    }
}

/// The entries of a group in [start, end).
fn within(group: &Group, start: TimestampNs, end: TimestampNs) -> &[Entry] {
    let from = group.entries.partition_point(|e| e.timestamp < start);
    let to = group.entries.partition_point(|e| e.timestamp < end);
    group.entries.get(from..to).unwrap_or_default()
}

fn memory_runs<'a>(
    batch: &'a Batch,
    streams: &StreamSet,
    start: TimestampNs,
    end: TimestampNs,
    hidden_days: &[i32],
    runs: &mut Vec<Run<'a>>,
) {
    for group in batch.groups().iter().filter(|g| streams.contains(g.stream)) {
        let entries = within(group, start, end);
        // With days hidden, each day is a run of its own.
        let same_run = |a: &Entry, b: &Entry| hidden_days.is_empty() || day_of(a.timestamp) == day_of(b.timestamp);
        for entries in entries.chunk_by(same_run) {
            if let (Some(first), Some(last)) = (entries.first(), entries.last())
                && !hidden_days.contains(&day_of(first.timestamp))
            {
                let source = Source::Memory { batch, entries };
                runs.push(Run { stream: group.stream, first: first.timestamp, last: last.timestamp, source });
            }
        }
    }
}
