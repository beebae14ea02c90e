//! Merges runs into one order of time, lazily: a run is opened only when the merge has come to its time, and let go at its end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::batch::{Batch, Entry};
use super::columns::RowGroup;
use super::scan::Direction;
use super::snapshot::Run;
use super::stream_index::StreamId;
use crate::model::TimestampNs;

/// The entries of a run that are wanted.
#[derive(Clone, Debug)]
pub(super) enum Positions {
    /// All in a range: rows of a group, or places in a slice of entries.
    Range(Range<u32>),
    /// These, ascending.
    List(Vec<u32>),
}

impl Positions {
    fn len(&self) -> usize {
        match self {
            Positions::Range(r) => r.len(),
            Positions::List(l) => l.len(),
        }
    }

    fn get(&self, i: usize) -> Option<u32> {
        match self {
            Positions::Range(r) => r.start.checked_add(i as u32).filter(|p| *p < r.end),
            Positions::List(l) => l.get(i).copied(),
        }
    }
}

/// A run that was opened.
pub(super) struct Opened<'r> {
    pub positions: Positions,
    pub rows: OpenRows<'r>,
}

/// Where the entries of an opened run are.
pub(super) enum OpenRows<'r> {
    /// In memory.
    Memory { batch: &'r Batch, entries: &'r [Entry] },
    /// In a row group whose times were read.
    Group(Arc<RowGroup>),
}

impl OpenRows<'_> {
    fn time(&self, position: u32) -> TimestampNs {
        match self {
            OpenRows::Memory { entries, .. } => entries.get(position as usize).map_or(0, |e| e.timestamp),
            OpenRows::Group(group) => {
                group.timestamps().ok().and_then(|t| t.get(position as usize)).copied().unwrap_or(0)
            }
        }
    }
}

/// An entry that the merge has come to; what it says is not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Which of the runs given.
    pub run: usize,
    /// The row, or the place in the slice of entries.
    pub position: u32,
    /// When it is.
    pub timestamp: TimestampNs,
}

struct Cursor<'r> {
    opened: Opened<'r>,
    done: usize,
}

/// The runs that are open.
pub(super) struct Cursors<'r>(Vec<Option<Cursor<'r>>>);

impl<'r> Cursors<'r> {
    /// Where the entries of a run are.
    pub fn rows(&self, run: usize) -> Option<&OpenRows<'r>> {
        self.0.get(run)?.as_ref().map(|c| &c.opened.rows)
    }

    fn next(&mut self, run: usize, direction: Direction) -> Option<(TimestampNs, u32)> {
        let cursor = self.0.get_mut(run)?.as_mut()?;
        let at = match direction {
            Direction::Forward => cursor.done,
            Direction::Backward => cursor.opened.positions.len().checked_sub(cursor.done + 1)?,
        };
        let position = cursor.opened.positions.get(at)?;
        cursor.done += 1;
        Some((cursor.opened.rows.time(position), position))
    }

    fn let_go(&mut self, run: usize) {
        if let Some(place) = self.0.get_mut(run)
            && place.as_ref().is_some_and(|c| c.done >= c.opened.positions.len())
        {
            *place = None;
        }
    }
}

/// Times that ascend in the asked direction. `!t` turns the order round without overflow.
fn order(direction: Direction, t: TimestampNs) -> i64 {
    match direction {
        Direction::Forward => t,
        Direction::Backward => !t,
    }
}

/// Gives `each` the entries of all runs in order of time, those of equal stream and time together (in the order of the runs
/// for forward, turned round for backward), until it breaks. `open` says which entries of a run are wanted.
pub(super) fn merge<'r, E>(
    runs: &[Run<'r>],
    direction: Direction,
    mut open: impl FnMut(&Run<'r>) -> Result<Option<Opened<'r>>, E>,
    mut each: impl FnMut(StreamId, &[Item], &Cursors<'r>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let bound = |r: &Run<'_>| match direction {
        Direction::Forward => order(direction, r.first),
        Direction::Backward => order(direction, r.last),
    };
    // The next to open is at the end.
    let mut pending: Vec<usize> = (0..runs.len()).collect();
    pending.sort_by_key(|i| Reverse(runs.get(*i).map(bound)));
    let mut cursors = Cursors(Vec::new());
    cursors.0.resize_with(runs.len(), || None);
    // Time in order, stream, run, position.
    let mut heap: BinaryHeap<Reverse<(i64, StreamId, usize, u32)>> = BinaryHeap::new();
    let next = |cursors: &mut Cursors<'r>, run: usize| {
        let stream = runs.get(run)?.stream;
        let (time, position) = cursors.next(run, direction)?;
        Some(Reverse((order(direction, time), stream, run, position)))
    };
    let mut group: Vec<Item> = Vec::new();
    loop {
        while let Some(i) = pending.last().copied()
            && let Some(run) = runs.get(i)
            && heap.peek().is_none_or(|Reverse((time, ..))| bound(run) <= *time)
        {
            pending.pop();
            let opened = open(run)?;
            if let Some(place) = cursors.0.get_mut(i) {
                *place = opened.map(|opened| Cursor { opened, done: 0 });
            }
            heap.extend(next(&mut cursors, i));
        }
        let Some(Reverse((time, stream, run, position))) = heap.pop() else { return Ok(()) };
        group.clear();
        group.push(Item { run, position, timestamp: order(direction, time) });
        heap.extend(next(&mut cursors, run));
        while let Some(Reverse((t, s, run, position))) = heap.peek().copied()
            && t == time
            && s == stream
        {
            heap.pop();
            group.push(Item { run, position, timestamp: order(direction, time) });
            heap.extend(next(&mut cursors, run));
        }
        if group.len() > 1 {
            group.sort_by_key(|i| (i.run, i.position));
            if direction == Direction::Backward {
                group.reverse();
            }
        }
        if each(stream, &group, &cursors)?.is_break() {
            return Ok(());
        }
        // The heap may still hold the last entry of a run that is through.
        let waiting = |run: usize| heap.iter().any(|Reverse((_, _, r, _))| *r == run);
        for item in &group {
            let through = cursors.0.get(item.run).and_then(Option::as_ref);
            if through.is_some_and(|c| c.done >= c.opened.positions.len()) && !waiting(item.run) {
                cursors.let_go(item.run);
            }
        }
    }
}
