//! Runs of one stream whose times overlap, as they do at the borders of segments: which of their rows are at times of their own, so
//! that no other run can hold doubles of them. Only times are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use super::batch::Entry;
use super::columns::{RowGroup, RowSet};
use super::damage::leave_out;
use super::error::Error;
use super::pieces::Part;
use super::reader::Reader;
use super::snapshot::{GroupRef, Run, Source};
use crate::model::TimestampNs;

/// Of runs sorted by their first entry, whether each is the only one in its stretch of time.
pub(super) fn alone(runs: &[Run<'_>]) -> Vec<bool> {
    let mut latest: Option<TimestampNs> = None;
    let next = runs.iter().skip(1).map(|r| Some(r.first)).chain(std::iter::once(None));
    runs.iter()
        .zip(next)
        .map(|(run, next)| {
            let alone = latest.is_none_or(|t| run.first > t) && next.is_none_or(|t| run.last < t);
            latest = latest.max(Some(run.last));
            alone
        })
        .collect()
}

/// Runs of one stream that have to be looked at side by side.
#[derive(Default)]
pub(super) struct Beside<'s> {
    /// Sorted by their first entry.
    runs: Vec<Run<'s>>,
    in_groups: bool,
}

/// A run that was opened.
struct Open<'s> {
    run: Run<'s>,
    times: Times<'s>,
    /// The next entry.
    at: usize,
    /// Places at whose time another run has entries as well.
    shared: Vec<Range<usize>>,
}

enum Times<'s> {
    Memory(&'s [Entry]),
    Group { at: Arc<GroupRef>, group: Arc<RowGroup>, rows: Range<u32> },
}

impl Times<'_> {
    fn get(&self, i: usize) -> Option<TimestampNs> {
        match self {
            Times::Memory(entries) => entries.get(i).map(|e| e.timestamp),
            Times::Group { group, rows, .. } => {
                // Looked at when the run was opened.
                let row = Some(rows.start as usize + i).filter(|row| *row < rows.end as usize)?;
                group.timestamps().ok()?.get(row).copied()
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Times::Memory(entries) => entries.len(),
            Times::Group { rows, .. } => rows.len(),
        }
    }

    /// The first place from `from` on whose time is not before `t`. Steps double, for it is mostly near or at the end.
    fn seek(&self, from: usize, t: TimestampNs) -> usize {
        let before = |i: usize| self.get(i).is_some_and(|x| x < t);
        let (mut low, mut step) = (from, 1);
        while before(low + step) {
            low += step;
            step *= 2;
        }
        let mut high = (low + step).min(self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl<'s> Beside<'s> {
    /// Adds a run that does not begin before the one added last.
    pub fn add(&mut self, run: Run<'s>) {
        self.in_groups |= matches!(run.source, Source::Group { .. });
        self.runs.push(run);
    }

    /// Gives `each` the rows of groups that are alone at their time, and returns what has to be read line by line: all of the runs in
    /// memory, and the other rows. Runs of damaged groups are left out.
    pub fn take_apart(self, reader: &Reader, mut each: impl FnMut(&GroupRef, Part)) -> Result<Vec<Run<'s>>, Error> {
        if !self.in_groups {
            return Ok(self.runs);
        }
        let mut lines = Vec::new();
        let mut open: Vec<Option<Open<'s>>> = Vec::new();
        // The next time of each run that is open.
        let mut heap: BinaryHeap<Reverse<(TimestampNs, usize)>> = BinaryHeap::new();
        let mut pending = self.runs.into_iter().peekable();
        let mut shared: Option<TimestampNs> = None;
        loop {
            while let Some(run) = pending.next_if(|r| heap.peek().is_none_or(|Reverse((t, _))| r.first <= *t)) {
                if matches!(run.source, Source::Rows { .. }) {
                    // Taken apart already.
                    lines.push(run);
                    continue;
                }
                let opened = match Open::new(reader, run) {
                    Ok(opened) => opened,
                    Err(error) => {
                        leave_out(error)?;
                        continue;
                    }
                };
                heap.extend(opened.times.get(0).map(|t| Reverse((t, open.len()))));
                open.push(Some(opened));
            }
            let Some(Reverse((t, i))) = heap.pop() else { break };
            let Some(place) = open.get_mut(i) else { break };
            let Some(run) = place else { continue };
            let others = heap.peek().map(|Reverse((t, _))| *t);
            if others == Some(t) || shared == Some(t) {
                shared = Some(t);
                let from = run.at;
                run.at = run.times.seek(from, t.saturating_add(1));
                // At the end of time nothing is later.
                run.at = run.at.max(from + 1);
                run.share(from..run.at);
            } else {
                let until = others.into_iter().chain(pending.peek().map(|r| r.first)).min();
                run.at = until.map_or(run.times.len(), |until| run.times.seek(run.at, until));
            }
            match run.times.get(run.at) {
                Some(next) => heap.push(Reverse((next, i))),
                None => {
                    if let Some(run) = place.take() {
                        run.finish(&mut each, &mut lines);
                    }
                }
            }
        }
        Ok(lines)
    }
}

impl<'s> Open<'s> {
    fn new(reader: &Reader, run: Run<'s>) -> Result<Open<'s>, Error> {
        let times = match &run.source {
            Source::Memory { entries, .. } => Times::Memory(entries),
            Source::Rows { .. } => Times::Memory(&[]),
            Source::Group { group, rows, whole } => {
                let opened = reader.group(group)?;
                opened.timestamps()?;
                let rows = if *whole { rows.clone() } else { reader.in_time(&opened, rows.clone())? };
                Times::Group { at: group.clone(), group: opened, rows }
            }
        };
        Ok(Open { run, times, at: 0, shared: Vec::new() })
    }

    fn share(&mut self, places: Range<usize>) {
        match self.shared.last_mut().filter(|last| last.end == places.start) {
            Some(last) => last.end = places.end,
            None => self.shared.push(places),
        }
    }

    fn finish(self, each: &mut impl FnMut(&GroupRef, Part), lines: &mut Vec<Run<'s>>) {
        let Times::Group { at, group, rows } = &self.times else {
            lines.push(self.run);
            return;
        };
        let stream = self.run.stream;
        let time = |place: usize| self.times.get(place).unwrap_or(self.run.first);
        let rows_of = |places: &Range<usize>| rows.start + places.start as u32..rows.start + places.end as u32;
        let mut alone = |places: Range<usize>| {
            if !places.is_empty() {
                let (first, last) = (time(places.start), time(places.end - 1));
                each(at, Part { stream, rows: rows_of(&places), first, last });
            }
        };
        let mut from = 0;
        let mut shared = RowSet::none(group.rows());
        for places in &self.shared {
            alone(from..places.start);
            from = places.end;
            shared.insert_range(rows_of(places));
        }
        alone(from..rows.len());
        if let (Some(first), Some(last)) = (self.shared.first(), self.shared.last()) {
            let (first, last) = (time(first.start), time(last.end.saturating_sub(1)));
            let source = Source::Rows { group: at.clone(), rows: Arc::new(shared) };
            lines.push(Run { stream, first, last, source });
        }
    }
}
