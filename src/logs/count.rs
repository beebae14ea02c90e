//! Counting entries for each stream and stretch of time, from the sort keys alone where that is exact.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use tantivy::TantivyError;

use super::detect;
use super::error::Error;
use super::filter::LineFilter;
use super::merge_runs::{Positions, merge};
use super::scan::{Direction, ScanRequest, Selection};
use super::snapshot::{Run, Snapshot, Source};
use super::stream_index::StreamId;
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
    /// Counts entries or bytes; rows by stream, then level; streams without entries have none. Without filters nothing is read but sort keys
    /// (and the lines of entries of equal stream and time, to tell doubles).
    pub fn count(&self, request: &CountRequest) -> Result<Vec<CountRow>, Error> {
        let (Some(start), Some(end)) = (request.boundaries.first(), request.boundaries.last()) else {
            return Ok(Vec::new());
        };
        if !request.filters.is_empty() {
            return self.count_by_reading(request, *start, *end);
        }
        let mut by_stream: BTreeMap<StreamId, Vec<Run<'_>>> = BTreeMap::new();
        for run in self.runs(&self.select(&request.selection), *start, *end) {
            by_stream.entry(run.stream).or_default().push(run);
        }
        let mut rows = Rows::new(request);
        for (stream, mut runs) in by_stream {
            runs.sort_by_key(|r| r.first);
            // Runs that do not touch can be counted one by one.
            let apart = runs.is_sorted_by(|a, b| a.last < b.first);
            if apart {
                for run in &runs {
                    count_run(run, &mut rows)?;
                }
            } else {
                let mut lines = self.lines();
                merge(
                    &runs,
                    Direction::Forward,
                    |run| Ok::<_, Error>(Positions::all(run)),
                    |_, items| {
                        for item in self.distinct(&runs, items, &mut lines)? {
                            let Some(run) = runs.get(item.run) else { continue };
                            rows.add_item(stream, run, item.position, item.timestamp);
                        }
                        Ok(ControlFlow::Continue(()))
                    },
                )?;
            }
        }
        Ok(rows.finish())
    }

    fn count_by_reading(&self, request: &CountRequest, start: i64, end: i64) -> Result<Vec<CountRow>, Error> {
        let scan = ScanRequest {
            selection: request.selection.clone(),
            start_ns: start,
            end_ns: end,
            direction: Direction::Forward,
            filters: request.filters.clone(),
            limit: None,
        };
        let rows = Mutex::new(Rows::new(request));
        self.scan_streams(&scan, &|e| {
            let level =
                if request.by_level { e.metadata.get(detect::DETECTED_LEVEL).map_or(0, detect::level_code) } else { 0 };
            let n = match request.measure {
                Measure::Entries => 1,
                Measure::Bytes => e.line.len() as u64,
            };
            rows.lock().unwrap_or_else(PoisonError::into_inner).add(e.stream, level, e.timestamp, n);
            ControlFlow::Continue(())
        })?;
        Ok(rows.into_inner().unwrap_or_else(PoisonError::into_inner).finish())
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

    fn bucket(&mut self, stream: StreamId, level: u8, bucket: usize) -> Option<&mut u64> {
        let buckets = self.request.boundaries.len() - 1;
        self.counts.entry((stream, level)).or_insert_with(|| vec![0; buckets]).get_mut(bucket)
    }

    fn add(&mut self, stream: StreamId, level: u8, timestamp: TimestampNs, n: u64) {
        let after = self.request.boundaries.partition_point(|b| *b <= timestamp);
        if let Some(count) = after.checked_sub(1).and_then(|i| self.bucket(stream, level, i)) {
            *count += n;
        }
    }

    /// Adds an entry by its columns.
    fn add_item(&mut self, stream: StreamId, run: &Run<'_>, position: u32, timestamp: TimestampNs) {
        let (level, bytes) = match &run.source {
            Source::Memory { entries, .. } => {
                entries.get(position as usize).map_or((detect::NO_LEVEL, 0), |e| (e.level, e.line_bytes()))
            }
            Source::Segment { segment, .. } => match self.request.measure {
                Measure::Entries => (segment.level(position), 1),
                Measure::Bytes => (segment.level(position), segment.line_bytes(position)),
            },
        };
        let level = if self.request.by_level { level } else { detect::NO_LEVEL };
        let n = match self.request.measure {
            Measure::Entries => 1,
            Measure::Bytes => bytes,
        };
        self.add(stream, level, timestamp, n);
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

/// Counts a run that no other run of its stream touches.
fn count_run(run: &Run<'_>, rows: &mut Rows<'_>) -> Result<(), Error> {
    let failed = |source: TantivyError| Error::Index { partition: "a log query".to_owned(), what: "read", source };
    if rows.request.by_level || rows.request.measure == Measure::Bytes {
        match &run.source {
            Source::Memory { entries, .. } => {
                for (i, e) in (0..).zip(entries.iter()) {
                    rows.add_item(run.stream, run, i, e.timestamp);
                }
            }
            Source::Segment { segment, docs, .. } => {
                let doubles = segment.doubles().map_err(failed)?;
                for doc in docs.clone().filter(|d| doubles.binary_search(d).is_err()) {
                    rows.add_item(run.stream, run, doc, segment.timestamp(doc));
                }
            }
        }
        return Ok(());
    }
    // From boundary to boundary: a search each, however many entries lie between.
    let boundaries = &rows.request.boundaries;
    let first_bucket = boundaries.partition_point(|b| *b <= run.first).saturating_sub(1);
    let mut found = Vec::new();
    match &run.source {
        Source::Memory { entries, .. } => {
            let mut rest: &[_] = entries;
            for (i, until) in boundaries.iter().enumerate().skip(first_bucket + 1) {
                let n = rest.partition_point(|e| e.timestamp < *until);
                found.push((i - 1, n as u64));
                rest = rest.get(n..).unwrap_or_default();
                if rest.is_empty() {
                    break;
                }
            }
        }
        Source::Segment { segment, docs, .. } => {
            let doubles = segment.doubles().map_err(failed)?;
            let mut rest = docs.clone();
            for (i, until) in boundaries.iter().enumerate().skip(first_bucket + 1) {
                let to = segment.seek(rest.clone(), *until);
                let twice = doubles.partition_point(|d| *d < to) - doubles.partition_point(|d| *d < rest.start);
                found.push((i - 1, u64::from(to - rest.start) - twice as u64));
                rest.start = to;
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
    for (bucket, n) in found.into_iter().filter(|(_, n)| *n > 0) {
        if let Some(count) = rows.bucket(run.stream, detect::NO_LEVEL, bucket) {
            *count += n;
        }
    }
    Ok(())
}
