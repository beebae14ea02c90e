//! What one query shares while it reads: filters, what the indexes say about them, opened row groups, counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::columns::{RowGroup, RowSet, select};
use super::damage::leave_out;
use super::error::Error;
use super::filter::{CompiledFilters, Required};
use super::index::{Asked, Candidates, candidates};
use super::label_condition::{Conditions, LeafBlocks};
use super::limits;
use super::merge_runs::{OpenRows, Opened, Positions};
use super::scan::ScanRequest;
use super::snapshot::{GroupRef, Run, Snapshot, Source};
use super::stream_index::{StreamId, StreamIndex};
use crate::model::{Labels, TimestampNs};

/// See the module.
pub(super) struct Reader {
    compiled: CompiledFilters,
    required: Required,
    conditions: Conditions,
    streams: Arc<StreamIndex>,
    start: TimestampNs,
    end: TimestampNs,
    /// By place of the segment.
    segments: Vec<Said>,
    asked: Mutex<BTreeMap<String, Option<u64>>>,
    /// Groups that are open, so that the runs of one group share it.
    groups: Mutex<HashMap<(usize, u32), Noted>>,
    pub lines_read: AtomicU64,
    pub bytes_read: AtomicU64,
}

/// A group that was opened.
struct Noted {
    group: Weak<RowGroup>,
    /// Its rows that satisfy the conditions on labels, once somebody needed them.
    of_labels: Option<Arc<RowSet>>,
}

/// What the indexes of a segment say, once they were asked.
#[derive(Default)]
struct Said {
    of_lines: OnceLock<Candidates>,
    of_labels: OnceLock<LeafBlocks>,
}

impl Reader {
    /// For what a request asks for.
    pub fn new(snapshot: &Snapshot, request: &ScanRequest) -> Self {
        let mut segments = Vec::new();
        segments.resize_with(snapshot.segments().count(), Said::default);
        let compiled = CompiledFilters::new(&request.filters);
        Reader {
            required: compiled.required(),
            compiled,
            conditions: Conditions::new(&request.labels),
            streams: snapshot.streams.clone(),
            start: request.start_ns,
            end: request.end_ns,
            segments,
            asked: Mutex::default(),
            groups: Mutex::default(),
            lines_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    /// Whether everything of the streams and the time is wanted.
    fn takes_all(&self) -> bool {
        self.compiled.is_empty() && self.conditions.is_empty()
    }

    /// Which conditions on labels the stream settles.
    fn held_by(&self, stream: StreamId) -> u64 {
        self.conditions.held_by(stream, &self.streams)
    }

    /// Whether an entry that was read satisfies the filters.
    pub fn accepts(&self, stream: StreamId, line: &str, metadata: &Labels) -> bool {
        let labels = || self.conditions.is_empty() || self.conditions.accept(self.held_by(stream), metadata);
        self.compiled.accept(line) && labels()
    }

    /// Opens a group, unless another run has it open.
    pub fn group(&self, group: &GroupRef) -> Result<Arc<RowGroup>, Error> {
        let key = (group.place, group.at.number);
        if let Some(open) = self.noted().get(&key).and_then(|n| n.group.upgrade()) {
            return Ok(open);
        }
        let opened = Arc::new(group.segment.open_group(&group.at)?);
        let mut groups = self.noted();
        if groups.len() >= limits::OPEN_GROUPS_NOTED {
            groups.retain(|_, n| n.group.strong_count() > 0);
        }
        groups.insert(key, Noted { group: Arc::downgrade(&opened), of_labels: None });
        Ok(opened)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<(usize, u32), Noted>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of a group that satisfy the conditions on labels; the runs of a group share them.
    fn rows_of_labels(&self, at: &GroupRef, group: &RowGroup) -> Result<Arc<RowSet>, Error> {
        let key = (at.place, at.at.number);
        if let Some(known) = self.noted().get(&key).and_then(|n| n.of_labels.clone()) {
            return Ok(known);
        }
        let rows = Arc::new(self.conditions.rows(group, |stream| self.held_by(stream))?);
        if let Some(noted) = self.noted().get_mut(&key) {
            noted.of_labels = Some(rows.clone());
        }
        Ok(rows)
    }

    /// The blocks of a group that can hold entries of a stream that satisfy the filters, a bit each.
    pub fn blocks(&self, group: &GroupRef, stream: StreamId) -> u32 {
        const ALL: u32 = u32::MAX;
        let Some(said) = self.segments.get(group.place) else { return ALL };
        let mut blocks = ALL;
        if !self.required.is_empty() {
            blocks &= match said.of_lines.get_or_init(|| self.ask_of_lines(group)) {
                Candidates::All => ALL,
                Candidates::Blocks(list) => mask_of(list, group.at.number),
            };
        }
        if !self.conditions.is_empty() && blocks != 0 {
            let said = said.of_labels.get_or_init(|| self.ask_of_labels(group));
            let of_leaf = |i: usize| match said.get(i) {
                Some(Some(list)) => mask_of(list, group.at.number),
                _ => ALL,
            };
            blocks &= self.conditions.blocks(self.held_by(stream), of_leaf);
        }
        blocks
    }

    fn ask_of_labels(&self, group: &GroupRef) -> LeafBlocks {
        let mut sums = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.conditions.ask(group.segment.pairs(), |text, blocks| add_up(&mut sums, text, blocks))
    }

    fn ask_of_lines(&self, group: &GroupRef) -> Candidates {
        let Some(index) = group.segment.index() else { return Candidates::All };
        let blocks = group.segment.groups().count() as u32 * limits::BLOCKS_PER_GROUP;
        let mut asked: Vec<Asked> = Vec::new();
        // The dictionaries' bytes were checked; an error or a panic in them can only mean that they were written wrong.
        let ask = || candidates(index, blocks, &self.required, &mut asked);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask));
        let mut sums = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.into_iter().for_each(|one| add_up(&mut sums, one.text, one.blocks));
        match found {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Candidates::All,
        }
    }

    /// The texts that were looked up, with the number of blocks they can be in; `None` where an index could not tell.
    pub fn asked(&self) -> Vec<(String, Option<u64>)> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|(text, blocks)| (text.clone(), *blocks)).collect()
    }

    /// The part of `rows` in the time asked for; times ascend inside `rows`.
    pub fn in_time(&self, group: &RowGroup, rows: std::ops::Range<u32>) -> Result<std::ops::Range<u32>, Error> {
        let times = group.timestamps()?.get(rows.start as usize..rows.end as usize).unwrap_or_default();
        let from = rows.start + times.partition_point(|t| *t < self.start) as u32;
        let to = rows.start + times.partition_point(|t| *t < self.end) as u32;
        Ok(from..to.max(from))
    }

    /// The rows of `among` that satisfy the filters.
    pub fn select(&self, at: &GroupRef, group: &RowGroup, mut among: RowSet) -> Result<RowSet, Error> {
        if self.takes_all() {
            return Ok(among);
        }
        let mut of_blocks = RowSet::none(group.rows());
        for stream in group.streams().iter().filter(|s| among.count_in(s.rows.clone()) > 0) {
            let mask = self.blocks(at, stream.stream);
            for block in (0..limits::BLOCKS_PER_GROUP).filter(|b| mask >> b & 1 == 1) {
                let (first, end) = (block * limits::BLOCK_ROWS, (block + 1) * limits::BLOCK_ROWS);
                let rows = first.max(stream.rows.start)..end.min(stream.rows.end);
                if !rows.is_empty() {
                    of_blocks.insert_range(rows);
                }
            }
        }
        among.intersect(&of_blocks);
        if !self.conditions.is_empty() && !among.is_empty() {
            let of_labels = self.rows_of_labels(at, group)?;
            among.intersect(&of_labels);
        }
        self.lines_read.fetch_add(among.count() as u64, Ordering::Relaxed);
        select(group, &self.compiled, among)
    }

    /// Opens a run; damage is told and left out.
    pub fn open<'r>(&self, run: &Run<'r>) -> Result<Option<Opened<'r>>, Error> {
        let at = match &run.source {
            Source::Memory { batch, entries } => {
                let rows = OpenRows::Memory { batch, entries };
                return Ok(Some(Opened { positions: Positions::Range(0..entries.len() as u32), rows }));
            }
            Source::Group { group, .. } | Source::Rows { group, .. } => group,
        };
        if self.blocks(at, run.stream) == 0 {
            return Ok(None);
        }
        let open = || {
            let group = self.group(at)?;
            group.timestamps()?;
            let among = match &run.source {
                Source::Rows { rows, .. } => RowSet::clone(rows),
                Source::Group { rows, whole, .. } => {
                    let rows = if *whole { rows.clone() } else { self.in_time(&group, rows.clone())? };
                    if self.takes_all() {
                        return Ok(Opened { positions: Positions::Range(rows), rows: OpenRows::Group(group) });
                    }
                    let mut among = RowSet::none(group.rows());
                    among.insert_range(rows);
                    among
                }
                Source::Memory { .. } => RowSet::none(0),
            };
            let positions = Positions::List(self.select(at, &group, among)?.iter().collect());
            Ok(Opened { positions, rows: OpenRows::Group(group) })
        };
        match open() {
            Ok(opened) => Ok(Some(opened)),
            Err(error) => leave_out(error).map(|()| None),
        }
    }
}

/// Adds what an index said of a text to what others did; `None`: it could not tell.
fn add_up(sums: &mut BTreeMap<String, Option<u64>>, text: String, blocks: Option<u64>) {
    let sum = sums.entry(text).or_insert(Some(0));
    *sum = sum.zip(blocks).map(|(a, b)| a + b);
}

/// Of an ascending list of blocks those of a group, a bit each.
fn mask_of(list: &[u32], group: u32) -> u32 {
    let first = group.saturating_mul(limits::BLOCKS_PER_GROUP);
    let from = list.partition_point(|b| *b < first);
    let of_group = list.iter().skip(from).map(|b| b - first).take_while(|b| *b < limits::BLOCKS_PER_GROUP);
    of_group.fold(0, |mask, b| mask | 1 << b)
}
