//! Reading entries: which streams, which time, which lines, in which order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use tantivy::TantivyError;
use tantivy::store::StoreReader;

use super::candidates::{Candidates, candidates};
use super::doubles::Doubles;
use super::error::Error;
use super::filter::{CompiledFilters, LineFilter};
use super::merge_runs::{Item, Positions, merge};
use super::snapshot::{Run, Snapshot, Source};
use super::stream_index::StreamId;
use crate::exec::cpu_pool;
use crate::model::{Labels, Matcher, TimestampNs};

/// Decompressed blocks a scan keeps for each segment, at least and at most; it needs one for each stream it is in.
const CACHED_BLOCKS: std::ops::Range<usize> = 4..256;

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

/// What a scan shares over its threads.
struct Shared<'a> {
    filters: &'a [LineFilter],
    compiled: CompiledFilters,
    /// By place of the segment.
    candidates: Vec<OnceLock<Candidates>>,
    lines_read: AtomicU64,
    bytes_read: AtomicU64,
}

/// What one thread of a scan keeps.
struct Thread {
    /// By place of the segment.
    lines: Vec<Option<StoreReader>>,
    cached_blocks: usize,
    lines_read: u64,
    bytes_read: u64,
}

fn failed(source: TantivyError) -> Error {
    Error::Index { partition: "a log query".to_owned(), what: "read", source }
}

impl<'a> Shared<'a> {
    fn new(snapshot: &Snapshot, filters: &'a [LineFilter]) -> Self {
        let mut candidates = Vec::new();
        candidates.resize_with(snapshot.segments().count(), OnceLock::new);
        Shared {
            filters,
            compiled: CompiledFilters::new(filters),
            candidates,
            lines_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    fn positions(&self, run: &Run<'_>) -> Result<Positions, Error> {
        let Source::Segment { segment, place, docs } = &run.source else { return Ok(Positions::all(run)) };
        if self.compiled.is_empty() {
            return Ok(Positions::all(run));
        }
        let Some(slot) = self.candidates.get(*place) else { return Ok(Positions::all(run)) };
        let found = match slot.get() {
            Some(c) => c,
            None => {
                let c = candidates(segment, self.filters).map_err(failed)?;
                slot.get_or_init(|| c)
            }
        };
        Ok(match found {
            Candidates::All => Positions::all(run),
            Candidates::Docs(list) => {
                let from = list.partition_point(|d| *d < docs.start);
                let to = list.partition_point(|d| *d < docs.end);
                Positions::List(list.get(from..to).unwrap_or_default().to_vec())
            }
        })
    }

    fn thread(&self, runs: usize) -> Thread {
        let mut lines = Vec::new();
        lines.resize_with(self.candidates.len(), || None);
        let cached_blocks = (runs + 2).clamp(CACHED_BLOCKS.start, CACHED_BLOCKS.end);
        Thread { lines, cached_blocks, lines_read: 0, bytes_read: 0 }
    }

    fn add(&self, thread: &Thread) {
        self.lines_read.fetch_add(thread.lines_read, Ordering::Relaxed);
        self.bytes_read.fetch_add(thread.bytes_read, Ordering::Relaxed);
    }
}

impl Thread {
    /// Reads what an item says.
    fn load<'r>(&mut self, run: &Run<'r>, position: u32) -> Result<(Cow<'r, str>, Cow<'r, Labels>), Error> {
        let loaded = match &run.source {
            Source::Memory { batch, entries } => match entries.get(position as usize) {
                Some(e) => (Cow::Borrowed(batch.line(e)), Cow::Borrowed(&e.metadata)),
                None => (Cow::Borrowed(""), Cow::Owned(Labels::empty())),
            },
            Source::Segment { segment, place, .. } => {
                let slot = self.lines.get_mut(*place).ok_or(Error::Closed)?;
                let lines = match slot {
                    Some(l) => l,
                    None => slot.insert(segment.lines(self.cached_blocks).map_err(Error::io("read log lines"))?),
                };
                let (line, metadata) = segment.read(lines, position).map_err(failed)?;
                (Cow::Owned(line), Cow::Owned(metadata))
            }
        };
        self.lines_read += 1;
        self.bytes_read += loaded.0.len() as u64;
        Ok(loaded)
    }

    /// Reads the items of one stream and time and gives `each` those that are no doubles and satisfy the filters.
    fn visit(
        &mut self,
        shared: &Shared<'_>,
        runs: &[Run<'_>],
        stream: StreamId,
        items: &[Item],
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut doubles = (items.len() > 1).then(Doubles::default);
        for item in items {
            let Some(run) = runs.get(item.run) else { continue };
            let (line, metadata) = self.load(run, item.position)?;
            if !shared.compiled.accept(&line) || doubles.as_mut().is_some_and(|d| d.is_double((), &line, &metadata)) {
                continue;
            }
            let entry = ScannedEntry { stream, timestamp: item.timestamp, line: &line, metadata: &metadata };
            if each(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Snapshot {
    /// Reads entries in order of time over all streams; `each` may break off. Runs on the caller's thread.
    pub fn scan(
        &self,
        request: &ScanRequest,
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<ScanStats, Error> {
        let streams = self.select(&request.selection);
        let runs = self.runs(&streams, request.start_ns, request.end_ns);
        let shared = Shared::new(self, &request.filters);
        let mut thread = shared.thread(runs.len());
        let limit = request.limit.map_or(u64::MAX, |l| l as u64);
        let mut entries = 0;
        if limit == 0 {
            return Ok(ScanStats::default());
        }
        let mut counted = |e: ScannedEntry<'_>| {
            entries += 1;
            if each(e).is_break() || entries >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        merge(
            &runs,
            request.direction,
            |run| shared.positions(run),
            |stream, items| thread.visit(&shared, &runs, stream, items, &mut counted),
        )?;
        Ok(ScanStats { lines_read: thread.lines_read, bytes_read: thread.bytes_read, entries })
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
        let shared = Shared::new(self, &request.filters);
        let stop = AtomicBool::new(false);
        let entries = AtomicU64::new(0);
        let limit = request.limit.map_or(u64::MAX, |l| l as u64);
        let groups: Vec<Vec<Run<'_>>> = by_stream.into_values().collect();
        cpu_pool::pool().install(|| {
            groups.par_iter().try_for_each(|runs| {
                let mut thread = shared.thread(2);
                let mut taken = 0;
                let mut counted = |e: ScannedEntry<'_>| {
                    if taken >= limit {
                        return ControlFlow::Break(());
                    }
                    taken += 1;
                    if each(e).is_break() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let done = merge(
                    runs,
                    request.direction,
                    |run| shared.positions(run),
                    |stream, items| {
                        if stop.load(Ordering::Relaxed) {
                            return Ok(ControlFlow::Break(()));
                        }
                        thread.visit(&shared, runs, stream, items, &mut counted)
                    },
                );
                entries.fetch_add(taken, Ordering::Relaxed);
                shared.add(&thread);
                done
            })
        })?;
        Ok(ScanStats {
            lines_read: shared.lines_read.into_inner(),
            bytes_read: shared.bytes_read.into_inner(),
            entries: entries.into_inner(),
        })
    }

    /// Whether items of equal stream and time are all different; reads them only if there are several.
    pub(super) fn distinct(&self, runs: &[Run<'_>], items: &[Item], lines: &mut Lines) -> Result<Vec<Item>, Error> {
        if items.len() < 2 {
            return Ok(items.to_vec());
        }
        let mut doubles = Doubles::default();
        let mut kept = Vec::with_capacity(items.len());
        for item in items {
            let Some(run) = runs.get(item.run) else { continue };
            let (line, metadata) = lines.0.load(run, item.position)?;
            if !doubles.is_double((), &line, &metadata) {
                kept.push(*item);
            }
        }
        Ok(kept)
    }

    /// Readers of lines for [`Snapshot::distinct`].
    pub(super) fn lines(&self) -> Lines {
        Lines(Shared::new(self, &[]).thread(2))
    }
}

/// Readers of lines, opened as they are needed.
pub(super) struct Lines(Thread);
