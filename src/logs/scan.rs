//! Reading entries: which streams, which time, which lines, in which order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use super::damage::leave_out;
use super::doubles::Doubles;
use super::error::Error;
use super::filter::LineFilter;
use super::label_condition::LabelCondition;
use super::merge_runs::{Cursors, Item, OpenRows, merge};
use super::reader::Reader;
use super::snapshot::{Run, Snapshot};
use super::stream_index::StreamId;
use crate::exec::cpu_pool;
use crate::model::{Labels, Matcher, TimestampNs};

/// The order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    #[default]
    Backward,
}

/// Which streams.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those that satisfy all of these.
    Matchers(Vec<Matcher>),
    /// These.
    Streams(Vec<StreamId>),
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Which streams.
    pub selection: Selection,
    /// From this time on.
    pub start_ns: TimestampNs,
    /// Before this time.
    pub end_ns: TimestampNs,
    /// In which order.
    pub direction: Direction,
    /// Lines must satisfy all of these; the index is used where it helps.
    pub filters: Vec<LineFilter>,
    /// Streams and structured metadata must satisfy all of these; likewise.
    pub labels: Vec<LabelCondition>,
    /// So many entries at most.
    pub limit: Option<usize>,
}

/// One entry, borrowed for the time of the call.
#[derive(Clone, Copy, Debug)]
pub struct ScannedEntry<'a> {
    /// Its stream; [`Snapshot::labels`] gives the labels.
    pub stream: StreamId,
    /// When.
    pub timestamp: TimestampNs,
    /// The line.
    pub line: &'a str,
    /// Structured metadata, `detected_level` included.
    pub metadata: &'a Labels,
}

/// What a scan took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Lines looked at.
    pub lines_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Entries given out.
    pub entries: u64,
}

/// What one thread of a scan keeps.
#[derive(Default)]
pub(super) struct Thread {
    line: String,
    pub lines_read: u64,
    pub bytes_read: u64,
}

impl Thread {
    /// Gives `each` the entry of an item, unless it is damaged or its line does not satisfy the filters.
    fn entry<T>(
        &mut self,
        reader: &Reader,
        stream: StreamId,
        item: &Item,
        rows: &OpenRows<'_>,
        each: impl FnOnce(ScannedEntry<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let timestamp = item.timestamp;
        self.lines_read += 1;
        match rows {
            OpenRows::Memory { batch, entries } => {
                let Some(e) = entries.get(item.position as usize) else { return Ok(None) };
                let line = batch.line(e);
                self.bytes_read += line.len() as u64;
                if !reader.accepts(stream, line, &e.metadata) {
                    return Ok(None);
                }
                Ok(Some(each(ScannedEntry { stream, timestamp, line, metadata: &e.metadata })))
            }
            OpenRows::Group(group) => {
                self.line.clear();
                let read =
                    group.line_into(item.position, &mut self.line).and_then(|()| group.metadata_of(item.position));
                let metadata = match read {
                    Ok(metadata) => metadata,
                    Err(error) => return leave_out(error).map(|()| None),
                };
                self.bytes_read += self.line.len() as u64;
                Ok(Some(each(ScannedEntry { stream, timestamp, line: &self.line, metadata: &metadata })))
            }
        }
    }

    /// Reads the items of one stream and time and gives `each` those that are no doubles and satisfy the filters.
    fn visit(
        &mut self,
        reader: &Reader,
        stream: StreamId,
        items: &[Item],
        cursors: &Cursors<'_>,
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut doubles = (items.len() > 1).then(Doubles::default);
        for item in items {
            let Some(rows) = cursors.rows(item.run) else { continue };
            let given = self.entry(reader, stream, item, rows, |entry| {
                if doubles.as_mut().is_some_and(|d| d.is_double((), entry.line, entry.metadata)) {
                    return ControlFlow::Continue(());
                }
                each(entry)
            })?;
            if given.is_some_and(|flow| flow.is_break()) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads runs in order of time until `each` breaks.
    pub fn read(
        &mut self,
        reader: &Reader,
        runs: &[Run<'_>],
        direction: Direction,
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        merge(
            runs,
            direction,
            |run| reader.open(run),
            |stream, items, cursors| self.visit(reader, stream, items, cursors, each),
        )
    }
}

impl Snapshot {
    /// Reads entries in order of time over all streams; `each` may break off. Runs on the caller's thread.
    pub fn scan(
        &self,
        request: &ScanRequest,
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<ScanStats, Error> {
        let limit = request.limit.map_or(u64::MAX, |l| l as u64);
        if limit == 0 {
            return Ok(ScanStats::default());
        }
        let streams = self.select(&request.selection);
        let runs = self.runs(&streams, request.start_ns, request.end_ns);
        let reader = Reader::new(self, request);
        let mut thread = Thread::default();
        let mut entries = 0;
        thread.read(&reader, &runs, request.direction, &mut |e| {
            entries += 1;
            if each(e).is_break() || entries >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let lines_read = thread.lines_read.max(reader.lines_read.into_inner());
        Ok(ScanStats { lines_read, bytes_read: thread.bytes_read, entries })
    }

    /// Reads entries stream by stream, each in the asked order of time, several streams at once on the CPU pool. The limit
    /// of the request counts for each stream. For queries that have no use for an order over all streams.
    pub fn scan_streams(
        &self,
        request: &ScanRequest,
        each: &(dyn Fn(ScannedEntry<'_>) -> ControlFlow<()> + Sync),
    ) -> Result<ScanStats, Error> {
        let streams = self.select(&request.selection);
        let mut by_stream: BTreeMap<StreamId, Vec<Run<'_>>> = BTreeMap::new();
        for run in self.runs(&streams, request.start_ns, request.end_ns) {
            by_stream.entry(run.stream).or_default().push(run);
        }
        let reader = Reader::new(self, request);
        let stop = AtomicBool::new(false);
        let entries = AtomicU64::new(0);
        let lines_read = AtomicU64::new(0);
        let limit = request.limit.map_or(u64::MAX, |l| l as u64);
        let groups: Vec<Vec<Run<'_>>> = by_stream.into_values().collect();
        cpu_pool::pool().install(|| {
            groups.par_iter().try_for_each(|runs| {
                let mut thread = Thread::default();
                let mut taken = 0;
                let done = thread.read(&reader, runs, request.direction, &mut |e| {
                    if taken >= limit || stop.load(Ordering::Relaxed) {
                        return ControlFlow::Break(());
                    }
                    taken += 1;
                    let flow = each(e);
                    if flow.is_break() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    flow
                });
                entries.fetch_add(taken, Ordering::Relaxed);
                lines_read.fetch_add(thread.lines_read, Ordering::Relaxed);
                reader.bytes_read.fetch_add(thread.bytes_read, Ordering::Relaxed);
                done
            })
        })?;
        Ok(ScanStats {
            lines_read: lines_read.into_inner().max(reader.lines_read.into_inner()),
            bytes_read: reader.bytes_read.into_inner(),
            entries: entries.into_inner(),
        })
    }
}
