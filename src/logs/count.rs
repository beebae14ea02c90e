//! Counting entries for each stream and stretch of time, on all cores: from the directory of a segment where a row group's rows
//! of a stream lie in one stretch, else from times, levels and sizes. Lines are built only for filters that cannot be told from
//! columns.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::columns::{Levels, RowGroup, RowSet};
use super::damage::leave_out;
use super::detect;
use super::error::Error;
use super::filter::LineFilter;
use super::pieces::{GroupPiece, Piece};
use super::scan::{Direction, ScanRequest, Selection};
use super::snapshot::Snapshot;
use super::stream_index::StreamId;
use crate::exec::cpu_pool;
use crate::model::TimestampNs;

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Measure {
    /// Entries.
    #[default]
    Entries,
    /// Bytes of their lines.
    Bytes,
}

/// What to count.
#[derive(Clone, Debug)]
pub struct CountRequest {
    /// Which streams.
    pub selection: Selection,
    /// Ascending times; bucket `i` is [`boundaries[i]`, `boundaries[i + 1]`).
    pub boundaries: Vec<TimestampNs>,
    /// Only lines that satisfy all of these.
    pub filters: Vec<LineFilter>,
    /// Entries or bytes.
    pub measure: Measure,
    /// Count each level (`detected_level`) of a stream by itself.
    pub by_level: bool,
}

/// The counts of one stream, or of one level of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountRow {
    /// The stream.
    pub stream: StreamId,
    /// With `by_level`, the value of `detected_level`; `None` for entries whose level is none of [`detect::LEVELS`], which
    /// have to be read to tell.
    pub level: Option<&'static str>,
    /// One count for each bucket.
    pub counts: Vec<u64>,
}

impl Snapshot {
    /// Counts entries or bytes; rows by stream, then level; streams without entries have none.
    pub fn count(&self, request: &CountRequest) -> Result<Vec<CountRow>, Error> {
        let (Some(start), Some(end)) = (request.boundaries.first(), request.boundaries.last()) else {
            return Ok(Vec::new());
        };
        let pieces = self.pieces(&ScanRequest {
            selection: request.selection.clone(),
            start_ns: *start,
            end_ns: *end,
            direction: Direction::Forward,
            filters: request.filters.clone(),
            labels: Vec::new(),
            limit: None,
        })?;
        let new = || -> Result<Rows<'_>, Error> { Ok(Rows::new(request)) };
        let rows: Result<Rows<'_>, Error> = cpu_pool::pool().install(|| {
            let folded = pieces.list().par_iter().fold(new, |rows, piece| {
                let mut rows = rows?;
                rows.add_piece(piece)?;
                Ok(rows)
            });
            folded.reduce(new, |a, b| {
                let mut a = a?;
                a.unite(b?);
                Ok(a)
            })
        });
        Ok(rows?.finish())
    }
}

struct Rows<'a> {
    request: &'a CountRequest,
    counts: BTreeMap<(StreamId, u8), Vec<u64>>,
}

impl<'a> Rows<'a> {
    fn new(request: &'a CountRequest) -> Self {
        Rows { request, counts: BTreeMap::new() }
    }

    fn of(&mut self, stream: StreamId, level: u8) -> &mut Vec<u64> {
        let buckets = self.request.boundaries.len() - 1;
        self.counts.entry((stream, level)).or_insert_with(|| vec![0; buckets])
    }

    /// The bucket a time is in.
    fn bucket(&self, timestamp: TimestampNs) -> Option<usize> {
        self.request.boundaries.partition_point(|b| *b <= timestamp).checked_sub(1)
    }

    fn add(&mut self, stream: StreamId, level: u8, timestamp: TimestampNs, n: u64) {
        if let Some(count) = self.bucket(timestamp).and_then(|i| self.of(stream, level).get_mut(i)) {
            *count += n;
        }
    }

    fn unite(&mut self, other: Rows<'_>) {
        for (key, counts) in other.counts {
            match self.counts.entry(key) {
                std::collections::btree_map::Entry::Vacant(e) => {
                    e.insert(counts);
                }
                std::collections::btree_map::Entry::Occupied(mut e) => {
                    e.get_mut().iter_mut().zip(counts).for_each(|(a, b)| *a += b);
                }
            }
        }
    }

    fn add_piece(&mut self, piece: &Piece<'_>) -> Result<(), Error> {
        let lines = match piece {
            Piece::Group(group) => {
                let mut of_group = Rows::new(self.request);
                match of_group.add_group(group) {
                    Ok(()) => self.unite(of_group),
                    Err(error) => leave_out(error)?,
                }
                return Ok(());
            }
            Piece::Lines(lines) => lines,
        };
        let request = self.request;
        lines.scan(&mut |e| {
            let level = if request.by_level {
                e.metadata.get(detect::DETECTED_LEVEL).map_or(detect::NO_LEVEL, detect::level_code)
            } else {
                detect::NO_LEVEL
            };
            let n = match request.measure {
                Measure::Entries => 1,
                Measure::Bytes => e.line.len() as u64,
            };
            self.add(e.stream, level, e.timestamp, n);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    fn add_group(&mut self, piece: &GroupPiece) -> Result<(), Error> {
        let request = self.request;
        let entries_only = request.measure == Measure::Entries && !request.by_level && request.filters.is_empty();
        let mut group = None;
        let mut selected = None;
        for part in piece.parts() {
            let one_bucket = self.bucket(part.first).filter(|b| Some(*b) == self.bucket(part.last));
            if let (true, Some(bucket)) = (entries_only, one_bucket) {
                if let Some(count) = self.of(part.stream, detect::NO_LEVEL).get_mut(bucket) {
                    *count += part.rows.len() as u64;
                }
                continue;
            }
            let group = match &group {
                Some(g) => g,
                None => group.insert(piece.open()?),
            };
            if selected.is_none() && !request.filters.is_empty() {
                selected = Some(piece.select(group)?);
            }
            if selected.as_ref().is_some_and(|s| s.is_empty()) {
                return Ok(());
            }
            let times = group.timestamps()?;
            // From boundary to boundary: a search each, however many entries lie between.
            let mut from = part.rows.start;
            let mut bucket = self.bucket(part.first).unwrap_or(0);
            while from < part.rows.end {
                let Some(until) = request.boundaries.get(bucket + 1) else { break };
                let rest = times.get(from as usize..part.rows.end as usize).unwrap_or_default();
                let to = from + rest.partition_point(|t| t < until) as u32;
                if to > from {
                    self.add_rows(part.stream, bucket, from..to, group, selected.as_ref())?;
                }
                from = to;
                bucket += 1;
            }
        }
        Ok(())
    }

    fn add_rows(
        &mut self,
        stream: StreamId,
        bucket: usize,
        rows: std::ops::Range<u32>,
        group: &RowGroup,
        selected: Option<&RowSet>,
    ) -> Result<(), Error> {
        let request = self.request;
        let levels = if request.by_level { Some(group.levels()?) } else { None };
        let sizes = match request.measure {
            Measure::Bytes => Some(group.line_bytes()?),
            Measure::Entries => None,
        };
        let mut sums = [0u64; 16];
        match (levels.map_or(Some(detect::NO_LEVEL), Levels::constant), sizes, selected) {
            (Some(level), None, None) => add_to(&mut sums, level, rows.len() as u64),
            (Some(level), Some(sizes), None) => add_to(&mut sums, level, sizes.sum(rows)),
            (Some(level), None, Some(selected)) => add_to(&mut sums, level, selected.count_in(rows) as u64),
            _ => {
                for row in rows.filter(|row| selected.is_none_or(|s| s.contains(*row))) {
                    let level = levels.map_or(detect::NO_LEVEL, |l| l.get(row));
                    add_to(&mut sums, level, sizes.map_or(1, |s| u64::from(s.get(row))));
                }
            }
        }
        for (level, sum) in (0..).zip(sums).filter(|(_, sum)| *sum > 0) {
            if let Some(count) = self.of(stream, level).get_mut(bucket) {
                *count += sum;
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<CountRow> {
        let by_level = self.request.by_level;
        let row = |((stream, level), counts)| CountRow {
            stream,
            level: if by_level { detect::level_name(level) } else { None },
            counts,
        };
        self.counts.into_iter().filter(|(_, c)| c.iter().any(|n| *n > 0)).map(row).collect()
    }
}

fn add_to(sums: &mut [u64; 16], level: u8, n: u64) {
    if let Some(sum) = sums.get_mut(usize::from(level)) {
        *sum += n;
    }
}
