//! Questions to head and blocks at one moment: which series match, and what of them lies in a range of time.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::block::Block;
use super::error::Error;
use super::gather::{Gathered, Numbered};
use super::label_index::LabelIndex;
use super::matching::matching;
use super::selection::Selection;
use super::shared::Shared;
use crate::model::{LabelTable, Matcher, TimestampMs};

/// About what a series takes while it is gathered: its labels' numbers, its chunk, and the copy of that.
const SERIES_BYTES: u64 = 160;

/// See [`super::Db::select_within`].
pub(crate) fn select(
    shared: &Shared,
    matchers: &[Matcher],
    (mint, maxt): (TimestampMs, TimestampMs),
    admit: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Selection>, Error> {
    if mint > maxt {
        return Ok(Some(Selection::default()));
    }
    let mut sources = Vec::new();
    // The head is read first and the blocks under its lock: a cut changes both at once.
    let (blocks, of_head) = {
        let head = shared.read_head();
        let blocks = shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect::<Vec<_>>();
        let mut gathered = Gathered::default();
        if head.max_t >= mint && maxt >= head.visible_from {
            let found = matching(&head.labels, matchers, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
            if !admit(SERIES_BYTES * found.len()) {
                return Ok(None);
            }
            let slots: Vec<u32> = found.iter().collect();
            gathered.add_head_in_parallel(&head, &slots, mint.max(head.visible_from), maxt);
        }
        (blocks, gathered.numbered(&head.labels))
    };
    for (block, at) in blocks.iter().zip(0..) {
        let Some(index) = shared.index_of(block) else { continue };
        let found = matching(&index.labels, matchers, |id| index.pairs(id));
        if !admit(SERIES_BYTES * found.len()) {
            return Ok(None);
        }
        let mut gathered = Gathered::default();
        gathered.add_block((at, block), &index, found.iter(), mint, maxt);
        sources.push(gathered.numbered(&index.labels));
    }
    // What is in the head comes after what is in blocks.
    sources.push(of_head);
    Ok(Numbered::select(sources, blocks, admit))
}

/// See [`super::Db::series`].
pub(crate) fn series(
    shared: &Shared,
    sets: &[&[Matcher]],
    mint: TimestampMs,
    maxt: TimestampMs,
) -> Result<LabelTable, Error> {
    if mint > maxt {
        return Ok(LabelTable::default());
    }
    let mut sources = Vec::new();
    let blocks: Vec<Arc<Block>> = {
        let head = shared.read_head();
        let mut gathered = Gathered::default();
        if head.max_t >= mint && maxt >= head.visible_from {
            let found = matching_any(&head.labels, sets, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
            let from = mint.max(head.visible_from);
            for s in found.iter().filter_map(|slot| head.at(slot)).filter(|s| s.has_between(from, maxt)) {
                gathered.add_labels(&s.pairs);
            }
        }
        sources.push(gathered.numbered(&head.labels));
        shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect()
    };
    for block in &blocks {
        let Some(index) = shared.index_of(block) else { continue };
        let found = matching_any(&index.labels, sets, |id| index.pairs(id));
        let mut gathered = Gathered::default();
        for id in found.iter().filter(|id| index.chunks(*id).iter().any(|c| c.mint <= maxt && c.maxt >= mint)) {
            gathered.add_labels(index.pairs(id));
        }
        sources.push(gathered.numbered(&index.labels));
    }
    Ok(Numbered::into_labels(sources))
}

fn matching_any<'a>(index: &'a LabelIndex, sets: &[&[Matcher]], pairs_of: impl Fn(u32) -> &'a [u32]) -> RoaringBitmap {
    let mut found = RoaringBitmap::new();
    for matchers in sets {
        found |= matching(index, matchers, &pairs_of);
    }
    found
}
