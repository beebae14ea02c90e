//! A request cut into pieces that can be worked on side by side: row groups to be read as columns, and what has to be read line
//! by line (batches in memory, and entries at whose time another run of the stream has some as well, where doubles can be).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::columns::{RowGroup, RowSet};
use super::error::Error;
use super::overlaps::{Beside, alone};
use super::reader::Reader;
use super::scan::{Direction, ScanRequest, ScanStats, ScannedEntry, Thread};
use super::snapshot::{GroupRef, Run, Snapshot, Source};
use super::stream_index::StreamId;
use crate::model::TimestampNs;

/// The rows of one stream that a piece is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The stream.
    pub stream: StreamId,
    /// Its rows, ascending by time.
    pub rows: Range<u32>,
    /// Not later than the first.
    pub first: TimestampNs,
    /// Not earlier than the last.
    pub last: TimestampNs,
}

/// Rows of one row group. No other piece holds the same entries or doubles of them.
pub struct GroupPiece {
    at: Arc<GroupRef>,
    parts: Vec<Part>,
    reader: Arc<Reader>,
}

impl GroupPiece {
    /// Opens the group; reads its header only.
    pub fn open(&self) -> Result<Arc<RowGroup>, Error> {
        self.reader.group(&self.at)
    }

    /// What is selected by stream and time.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The rows of the parts that satisfy all filters of the request.
    pub fn select(&self, group: &RowGroup) -> Result<RowSet, Error> {
        let mut among = RowSet::none(group.rows());
        self.parts.iter().for_each(|p| among.insert_range(p.rows.clone()));
        self.reader.select(&self.at, group, among)
    }
}

/// Entries of one stream that have to be read line by line.
pub struct LinesPiece<'s> {
    stream: StreamId,
    runs: Vec<Run<'s>>,
    reader: Arc<Reader>,
}

impl LinesPiece<'_> {
    /// The stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Gives `each` the entries that satisfy all filters, oldest first and without doubles, until it breaks.
    pub fn scan(&self, each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>) -> Result<ScanStats, Error> {
        let mut thread = Thread::default();
        let mut entries = 0;
        thread.read(&self.reader, &self.runs, Direction::Forward, &mut |e| {
            entries += 1;
            each(e)
        })?;
        Ok(ScanStats { lines_read: thread.lines_read, bytes_read: thread.bytes_read, entries })
    }
}

/// A piece of work.
pub enum Piece<'s> {
    /// To be read as columns.
    Group(GroupPiece),
    /// To be read line by line.
    Lines(LinesPiece<'s>),
}

impl Piece<'_> {
    /// Rows at most.
    pub fn rows(&self) -> usize {
        match self {
            Piece::Group(piece) => piece.parts.iter().map(|p| p.rows.len()).sum(),
            Piece::Lines(piece) => piece.runs.iter().map(Run::len).sum(),
        }
    }

    /// Not later than the first entry.
    pub fn first(&self) -> TimestampNs {
        match self {
            Piece::Group(piece) => piece.parts.iter().map(|p| p.first).min().unwrap_or(0),
            Piece::Lines(piece) => piece.runs.iter().map(|r| r.first).min().unwrap_or(0),
        }
    }

    /// Not earlier than the last entry.
    pub fn last(&self) -> TimestampNs {
        match self {
            Piece::Group(piece) => piece.parts.iter().map(|p| p.last).max().unwrap_or(0),
            Piece::Lines(piece) => piece.runs.iter().map(|r| r.last).max().unwrap_or(0),
        }
    }
}

/// What a request has to look at; for those who want to know why a query takes as long as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFacts {
    /// Days with entries in the time asked for.
    pub partitions: usize,
    /// Segments with such entries.
    pub segments: usize,
    /// Streams that have entries.
    pub streams: usize,
    /// Row groups with entries of these streams and this time.
    pub groups: usize,
    /// Those of them that the indexes ruled out.
    pub groups_ruled_out: usize,
    /// Entries of the streams and the time, those in memory included.
    pub rows: u64,
    /// Those that have to be looked at.
    pub rows_to_read: u64,
    /// Those of them that are in memory or have to be read line by line.
    pub rows_line_by_line: u64,
    /// Texts looked up in the dictionaries and pairs (`name=value`) in the index of metadata, with the number of blocks that can hold
    /// them; `None` if an index could not tell.
    pub terms: Vec<(String, Option<u64>)>,
}

/// See the module.
pub struct Pieces<'s> {
    list: Vec<Piece<'s>>,
    facts: PlanFacts,
    reader: Arc<Reader>,
}

impl<'s> Pieces<'s> {
    /// The pieces, in no particular order.
    pub fn list(&self) -> &[Piece<'s>] {
        &self.list
    }

    /// What has to be looked at.
    pub fn facts(&self) -> &PlanFacts {
        &self.facts
    }

    /// Rows that filters were asked about so far.
    pub fn lines_filtered(&self) -> u64 {
        self.reader.lines_read.load(Ordering::Relaxed)
    }
}

impl Snapshot {
    /// Cuts a request into pieces; its direction and limit are not regarded.
    pub fn pieces(&self, request: &ScanRequest) -> Result<Pieces<'_>, Error> {
        let (start, end) = (request.start_ns, request.end_ns);
        let reader = Arc::new(Reader::new(self, request));
        let mut by_stream: BTreeMap<StreamId, Vec<Run<'_>>> = BTreeMap::new();
        for run in self.runs(&self.select(&request.selection), start, end) {
            by_stream.entry(run.stream).or_default().push(run);
        }
        let mut facts = PlanFacts { streams: by_stream.len(), ..PlanFacts::default() };
        let mut groups: HashMap<(usize, u32), GroupPiece> = HashMap::new();
        let mut looked_at: HashSet<(usize, u32)> = HashSet::new();
        let mut list = Vec::new();
        for (stream, mut runs) in by_stream {
            // Stable: runs of one beginning stay in the order received.
            runs.sort_by_key(|r| r.first);
            let alone = alone(&runs);
            let mut beside = Beside::default();
            for (run, alone) in runs.into_iter().zip(alone) {
                facts.rows += run.len() as u64;
                let (group, rows, whole) = match &run.source {
                    Source::Memory { .. } | Source::Rows { .. } => {
                        beside.add(run);
                        continue;
                    }
                    Source::Group { group, rows, whole } => (group.clone(), rows.clone(), *whole),
                };
                let key = (group.place, group.at.number);
                let piece = groups.entry(key).or_insert_with(|| GroupPiece {
                    at: group.clone(),
                    parts: Vec::new(),
                    reader: reader.clone(),
                });
                if reader.blocks(&group, stream) == 0 {
                    continue;
                }
                looked_at.insert(key);
                if whole && alone {
                    piece.parts.push(Part { stream, rows, first: run.first, last: run.last });
                } else {
                    beside.add(run);
                }
            }
            let lines = beside.take_apart(&reader, |group, part| {
                if let Some(piece) = groups.get_mut(&(group.place, group.at.number)) {
                    piece.parts.push(part);
                }
            })?;
            if !lines.is_empty() {
                list.push(Piece::Lines(LinesPiece { stream, runs: lines, reader: reader.clone() }));
            }
        }
        let of_groups = || groups.values().map(|g| &g.at);
        let mut segments: Vec<usize> = of_groups().map(|at| at.place).collect();
        segments.sort_unstable();
        segments.dedup();
        facts.segments = segments.len();
        let days = self.partitions.iter().scan(0, |place, p| {
            let from = *place;
            *place += p.segments.len();
            Some(from..*place)
        });
        facts.partitions = days.filter(|places| segments.iter().any(|s| places.contains(s))).count();
        facts.groups = groups.len();
        facts.groups_ruled_out = groups.len() - looked_at.len();
        facts.rows_line_by_line = list.iter().map(|p| p.rows() as u64).sum();
        for (_, mut piece) in groups {
            if piece.parts.is_empty() {
                continue;
            }
            piece.parts.sort_by_key(|p| p.rows.start);
            list.push(Piece::Group(piece));
        }
        // Large pieces first, so that no thread begins one when the others are through.
        list.sort_by_key(|p| std::cmp::Reverse(p.rows()));
        facts.rows_to_read = list.iter().map(|p| p.rows() as u64).sum();
        facts.terms = reader.asked();
        Ok(Pieces { list, facts, reader })
    }
}
