//! Merges runs into one order of time, lazily: a run is opened only when the merge has come to its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{ControlFlow, Range};

use super::scan::Direction;
use super::snapshot::{Run, Source};
use super::stream_index::StreamId;
use crate::model::TimestampNs;

/// The entries of a run that are wanted.
pub enum Positions {
    /// All in a range: documents of a segment, or places in a slice of entries.
    Range(Range<u32>),
    /// These, ascending.
    List(Vec<u32>),
}

impl Positions {
    /// Everything in the run.
    pub fn all(run: &Run<'_>) -> Self {
        match &run.source {
            Source::Memory { entries, .. } => Positions::Range(0..entries.len() as u32),
            Source::Segment { docs, .. } => Positions::Range(docs.clone()),
        }
    }

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

/// An entry that the merge has come to; what it says is not read yet.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Which of the runs given.
    pub run: usize,
    /// The document, or the place in the slice of entries.
    pub position: u32,
    /// When it is.
    pub timestamp: TimestampNs,
}

fn time_of(run: &Run<'_>, position: u32) -> TimestampNs {
    match &run.source {
        Source::Memory { entries, .. } => entries.get(position as usize).map_or(0, |e| e.timestamp),
        Source::Segment { segment, .. } => segment.timestamp(position),
    }
}

struct Cursor {
    positions: Positions,
    done: usize,
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
pub fn merge<E>(
    runs: &[Run<'_>],
    direction: Direction,
    mut open: impl FnMut(&Run<'_>) -> Result<Positions, E>,
    mut each: impl FnMut(StreamId, &[Item]) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let bound = |r: &Run<'_>| match direction {
        Direction::Forward => order(direction, r.first),
        Direction::Backward => order(direction, r.last),
    };
    // The next to open is at the end.
    let mut pending: Vec<usize> = (0..runs.len()).collect();
    pending.sort_by_key(|i| Reverse(runs.get(*i).map(bound)));
    let mut cursors: Vec<Option<Cursor>> = Vec::new();
    cursors.resize_with(runs.len(), || None);
    // Time in order, stream, run, position.
    let mut heap: BinaryHeap<Reverse<(i64, StreamId, usize, u32)>> = BinaryHeap::new();
    let next = |cursors: &mut Vec<Option<Cursor>>, i: usize| {
        let (Some(run), Some(Some(c))) = (runs.get(i), cursors.get_mut(i)) else { return None };
        let at = match direction {
            Direction::Forward => c.done,
            Direction::Backward => c.positions.len().checked_sub(c.done + 1)?,
        };
        let position = c.positions.get(at)?;
        c.done += 1;
        Some(Reverse((order(direction, time_of(run, position)), run.stream, i, position)))
    };
    let mut group: Vec<Item> = Vec::new();
    loop {
        while let Some(i) = pending.last().copied()
            && let Some(run) = runs.get(i)
            && heap.peek().is_none_or(|Reverse((time, ..))| bound(run) <= *time)
        {
            pending.pop();
            let positions = open(run)?;
            if let Some(place) = cursors.get_mut(i) {
                *place = Some(Cursor { positions, done: 0 });
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
        if each(stream, &group)?.is_break() {
            return Ok(());
        }
    }
}
