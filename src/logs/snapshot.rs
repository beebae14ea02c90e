//! What one query sees: the batches in memory and the segments at one moment. Commits and merges meanwhile change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::{Batch, Entry, Group};
use super::columns::RowSet;
use super::partition::{PartitionView, day_of};
use super::scan::Selection;
use super::segment::{GroupAt, SegmentView};
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
pub(super) struct Run<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Not later than the first entry that is asked for.
    pub first: TimestampNs,
    /// Not earlier than the last.
    pub last: TimestampNs,
    /// Where they are.
    pub source: Source<'a>,
}

/// Where the entries of a run are.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    /// In memory.
    Memory {
        /// The batch, which holds the lines.
        batch: &'a Batch,
        /// The entries.
        entries: &'a [Entry],
    },
    /// In a row group.
    Group {
        /// The group.
        group: Arc<GroupRef>,
        /// The rows of the stream. Those at the ends may lie outside of the time that is asked for.
        rows: std::ops::Range<u32>,
        /// Whether they all lie inside.
        whole: bool,
    },
    /// Some rows of a row group.
    Rows {
        /// The group.
        group: Arc<GroupRef>,
        /// Which rows of it.
        rows: Arc<RowSet>,
    },
}

impl Run<'_> {
    /// Entries at most.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Memory { entries, .. } => entries.len(),
            Source::Group { rows, .. } => rows.len(),
            Source::Rows { rows, .. } => rows.count(),
        }
    }
}

/// A row group of a segment, not opened.
#[derive(Debug)]
pub(super) struct GroupRef {
    pub segment: Arc<SegmentView>,
    /// The segment's place among those of the snapshot.
    pub place: usize,
    pub at: GroupAt,
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

    /// All segments, oldest day first; their places are those of [`GroupRef::place`].
    pub(super) fn segments(&self) -> impl Iterator<Item = &Arc<SegmentView>> {
        self.partitions.iter().flat_map(|p| &p.segments)
    }

    /// The segments with entries in [start, end), with their places.
    fn segments_in(&self, start: TimestampNs, end: TimestampNs) -> impl Iterator<Item = (usize, &Arc<SegmentView>)> {
        self.segments().enumerate().filter(move |(_, s)| s.bounds().0 < end && s.bounds().1 >= start)
    }

    /// Everything of some streams in [start, end), in runs; those from segments first.
    pub(super) fn runs(&self, streams: &StreamSet, start: TimestampNs, end: TimestampNs) -> Vec<Run<'_>> {
        let mut runs = Vec::new();
        if start >= end {
            return runs;
        }
        for (place, segment) in self.segments_in(start, end) {
            for at in segment.groups().flatten() {
                let mut from = 0;
                let mut found = Vec::new();
                for run in &at.entry.runs {
                    let rows = from..from + run.rows;
                    from = rows.end;
                    if let Some(stream) = segment.stream(run.ordinal).filter(|s| streams.contains(*s))
                        && run.first < end
                        && run.last >= start
                    {
                        found.push((stream, run.first, run.last, rows));
                    }
                }
                if found.is_empty() {
                    continue;
                }
                let group = Arc::new(GroupRef { segment: segment.clone(), place, at });
                runs.extend(found.into_iter().map(|(stream, first, last, rows)| {
                    let whole = first >= start && last < end;
                    let source = Source::Group { group: group.clone(), rows, whole };
                    Run { stream, first: first.max(start), last: last.min(end.saturating_sub(1)), source }
                }));
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
        for (_, segment) in self.segments_in(start, end) {
            for at in segment.groups().flatten() {
                for run in at.entry.runs.iter().filter(|r| r.first < end && r.last >= start) {
                    found.extend(segment.stream(run.ordinal).filter(|s| selected.contains(*s)));
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
            *counts.entry(run.stream).or_default() += run.len() as u64;
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
