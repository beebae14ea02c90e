//! Deleting series in a stretch of time, and making the space free again.

use std::sync::{Arc, PoisonError};

use super::SeriesRef;
use super::block::Block;
use super::db::Db;
use super::error::Error;
use super::maintenance;
use super::matching::matching;
use super::shared::Shared;
use super::tombstones;
use crate::model::{Matcher, TimestampMs};

impl Db {
    /// Deletes the samples in `[mint, maxt]` (milliseconds, both inclusive) of all series that satisfy all matchers, as far as they are there
    /// now. When it returns, queries do not see them and a crash does not bring them back; their space is given back when their blocks are
    /// merged or by [`Self::clean_tombstones`]. Waits for upkeep under way.
    pub fn delete_series(&self, matchers: &[Matcher], mint: TimestampMs, maxt: TimestampMs) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.require_replayed(TimestampMs::MAX)?;
        let _alone = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect::<Vec<_>>();
        for block in &blocks {
            delete_in_block(shared, block, matchers, mint, maxt)?;
        }
        delete_in_head(shared, matchers, mint, maxt)
    }

    /// Writes the blocks that have deleted samples again without them. Waits for upkeep under way.
    pub fn clean_tombstones(&self) -> Result<(), Error> {
        let shared = &*self.shared;
        shared.require_replayed(TimestampMs::MAX)?;
        let _alone = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = shared.read_blocks().clone();
        for block in blocks.iter().filter(|b| !b.tombstones().is_empty()) {
            maintenance::merge(shared, std::slice::from_ref(block))?;
        }
        Ok(())
    }
}

fn delete_in_block(
    shared: &Shared,
    block: &Arc<Block>,
    matchers: &[Matcher],
    mint: TimestampMs,
    maxt: TimestampMs,
) -> Result<(), Error> {
    let Some(index) = shared.index_of(block) else { return Ok(()) };
    // Kept to the block's range: what comes into the head later must not be hidden when the two are read together.
    let (mint, maxt) = (mint.max(block.meta.mint), maxt.min(block.meta.end - 1));
    let mut stones = (*block.tombstones()).clone();
    let found = matching(&index.labels, matchers, |id| index.pairs(id));
    let before = stones.len();
    let mut changed = false;
    for id in found.iter().filter(|id| index.chunks(*id).iter().any(|c| c.mint <= maxt && c.maxt >= mint)) {
        stones.add(id, mint, maxt);
        changed = true;
    }
    if !changed {
        return Ok(());
    }
    stones.save(&block.dir)?;
    tracing::info!(block = block.name(), series = stones.len(), before, "samples deleted in a block of metrics");
    block.set_tombstones(stones);
    Ok(())
}

fn delete_in_head(shared: &Shared, matchers: &[Matcher], mint: TimestampMs, maxt: TimestampMs) -> Result<(), Error> {
    let (stones, content) = {
        let head = shared.read_head();
        let mint = mint.max(head.visible_from);
        let mut stones = head.tombstones.clone();
        let found = matching(&head.labels, matchers, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
        let mut changed = false;
        for slot in &found {
            let Some(s) = head.at(slot) else { continue };
            if mint <= maxt && s.has_between(mint, maxt) {
                // Not past the newest sample: what comes after it was not there to be deleted.
                stones.add(SeriesRef::new(slot, s.epoch), mint, maxt.min(s.newest));
                changed = true;
            }
        }
        if !changed {
            return Ok(());
        }
        let content = stones.content(&head);
        (stones, content)
    };
    tombstones::write(&shared.dir, content.as_deref())?;
    tracing::info!(series = stones.len(), "samples deleted in the head of the metrics store");
    shared.write_head().tombstones = stones;
    Ok(())
}

/// Forgets tombstones of the head that are in blocks now. The caller keeps other upkeep away.
pub(crate) fn prune_head(shared: &Shared, cut: TimestampMs) -> Result<(), Error> {
    if !shared.write_head().tombstones.drop_before(cut) {
        return Ok(());
    }
    let content = {
        let head = shared.read_head();
        head.tombstones.content(&head)
    };
    tombstones::write(&shared.dir, content.as_deref())
}
