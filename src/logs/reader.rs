//! What one query shares while it reads: filters, what the token indexes say about them, opened row groups, counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::columns::{RowGroup, RowSet, select};
use super::damage::leave_out;
use super::error::Error;
use super::filter::{CompiledFilters, LineFilter};
use super::index::{Asked, Candidates, candidates};
use super::limits;
use super::merge_runs::{OpenRows, Opened, Positions};
use super::snapshot::{GroupRef, Run, Snapshot, Source};
use crate::model::TimestampNs;

/// See the module.
pub(super) struct Reader {
    filters: Vec<LineFilter>,
    pub compiled: CompiledFilters,
    start: TimestampNs,
    end: TimestampNs,
    /// By place of the segment.
    candidates: Vec<OnceLock<Candidates>>,
    asked: Mutex<BTreeMap<String, Option<u64>>>,
    /// Groups that are open, so that the runs of one group share it.
    groups: Mutex<HashMap<(usize, u32), Weak<RowGroup>>>,
    pub lines_read: AtomicU64,
    pub bytes_read: AtomicU64,
}

impl Reader {
    /// For entries in [start, end) whose lines satisfy the filters.
    pub fn new(snapshot: &Snapshot, filters: &[LineFilter], start: TimestampNs, end: TimestampNs) -> Self {
        let mut candidates = Vec::new();
        candidates.resize_with(snapshot.segments().count(), OnceLock::new);
        Reader {
            filters: filters.to_vec(),
            compiled: CompiledFilters::new(filters),
            start,
            end,
            candidates,
            asked: Mutex::default(),
            groups: Mutex::default(),
            lines_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    /// Opens a group, unless another run has it open.
    pub fn group(&self, group: &GroupRef) -> Result<Arc<RowGroup>, Error> {
        let key = (group.place, group.at.number);
        let lock = || self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = lock().get(&key).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let opened = Arc::new(group.segment.open_group(&group.at)?);
        let mut groups = lock();
        if groups.len() >= limits::OPEN_GROUPS_NOTED {
            groups.retain(|_, g| g.strong_count() > 0);
        }
        groups.insert(key, Arc::downgrade(&opened));
        Ok(opened)
    }

    /// The blocks of a group that can hold lines that satisfy the filters, a bit each.
    pub fn blocks(&self, group: &GroupRef) -> u32 {
        const ALL: u32 = u32::MAX;
        if self.filters.is_empty() {
            return ALL;
        }
        let Some(slot) = self.candidates.get(group.place) else { return ALL };
        match slot.get_or_init(|| self.ask(group)) {
            Candidates::All => ALL,
            Candidates::Blocks(list) => {
                let first = group.at.number.saturating_mul(limits::BLOCKS_PER_GROUP);
                let from = list.partition_point(|b| *b < first);
                let of_group = list.iter().skip(from).map(|b| b - first).take_while(|b| *b < limits::BLOCKS_PER_GROUP);
                of_group.fold(0, |mask, b| mask | 1 << b)
            }
        }
    }

    fn ask(&self, group: &GroupRef) -> Candidates {
        let Some(index) = group.segment.index() else { return Candidates::All };
        let blocks = group.segment.groups().count() as u32 * limits::BLOCKS_PER_GROUP;
        let mut asked: Vec<Asked> = Vec::new();
        // The dictionaries' bytes were checked; an error or a panic in them can only mean that they were written wrong.
        let ask = || candidates(index, blocks, &self.filters, &mut asked);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask));
        let mut sums = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for one in asked {
            let sum = sums.entry(one.text).or_insert(Some(0));
            *sum = sum.zip(one.blocks).map(|(a, b)| a + b);
        }
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
        if self.filters.is_empty() {
            return Ok(among);
        }
        let mask = self.blocks(at);
        let mut of_blocks = RowSet::none(group.rows());
        for block in (0..limits::BLOCKS_PER_GROUP).filter(|b| mask >> b & 1 == 1) {
            of_blocks.insert_range(block * limits::BLOCK_ROWS..(block + 1) * limits::BLOCK_ROWS);
        }
        among.intersect(&of_blocks);
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
        if self.blocks(at) == 0 {
            return Ok(None);
        }
        let open = || {
            let group = self.group(at)?;
            group.timestamps()?;
            let among = match &run.source {
                Source::Rows { rows, .. } => RowSet::clone(rows),
                Source::Group { rows, whole, .. } => {
                    let rows = if *whole { rows.clone() } else { self.in_time(&group, rows.clone())? };
                    if self.filters.is_empty() {
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
