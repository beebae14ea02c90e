//! What goes on in the background: packing full chunks, cutting blocks from the head, compacting and retiring them.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::block::writer::{self, Plan};
use super::block::{Block, catalog};
use super::checkpoint::{self, Checkpoint};
use super::delete;
use super::error::Error;
use super::head::packed;
use super::limits::{BLOCK_RANGE_MS, HEAD_MARGIN_MS, block_number};
use super::querier::Collector;
use super::self_metrics as count;
use super::shared::Shared;

/// Pause between rounds; a round without work costs next to nothing.
const PAUSE: Duration = Duration::from_secs(1);
/// Series handled under one lock.
const SLOTS: u32 = 4096;
/// Series packed under one lock.
const PACK_SERIES: usize = 256;
/// Ranges that blocks are merged into, smallest first: eight hours, then two days. Larger ones would make retention coarse.
const MERGED_RANGES_MS: [i64; 2] = [4 * BLOCK_RANGE_MS, 24 * BLOCK_RANGE_MS];
/// How long the index of a block nobody asks stays in memory.
const INDEX_IDLE_MS: i64 = 5 * 60 * 1000;

/// Rounds until the store closes.
pub(crate) fn run(shared: &Shared) {
    loop {
        {
            let (stop, bell) = &shared.stop;
            let stopping = stop.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = bell.wait_timeout_while(stopping, PAUSE, |s| !*s);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
        if let Err(e) = round(shared) {
            count::MAINTENANCE_FAILURES.inc();
            tracing::error!(error = %e, "the upkeep of the metrics store failed; it is tried again");
        }
    }
}

/// One round of everything.
pub(crate) fn round(shared: &Shared) -> Result<(), Error> {
    let _alone = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
    shared.check_space();
    let now = shared.options.clock.now_ms();
    shared.cardinality.review(&shared.read_head(), now);
    pack_chunks(shared);
    let mut cut = false;
    while !shared.is_stopping() && cut_head(shared)? {
        cut = true;
    }
    if cut {
        retire_wal(shared)?;
    }
    while !shared.is_stopping() && compact(shared)? {}
    retire_blocks(shared)?;
    let blocks = shared.read_blocks().clone();
    for b in &blocks {
        b.release_index(now, INDEX_IDLE_MS);
    }
    count::BLOCKS.set(blocks.len() as i64);
    count::BLOCK_BYTES.set(blocks.iter().map(|b| b.bytes as i64).sum());
    Ok(())
}

/// Gives closed chunks their smaller form, a few series at a time.
fn pack_chunks(shared: &Shared) {
    let slots = std::mem::take(&mut shared.write_head().to_pack);
    for part in slots.chunks(PACK_SERIES) {
        let chunks: Vec<(u32, Vec<_>)> = {
            let head = shared.read_head();
            part.iter().filter_map(|slot| Some((*slot, head.at(*slot)?.closed.clone()))).collect()
        };
        let smaller: Vec<_> = chunks.into_iter().map(|(slot, c)| (slot, packed(&c))).collect();
        let mut head = shared.write_head();
        for (slot, pairs) in smaller {
            head.exchange(slot, pairs);
        }
    }
}

pub(crate) fn slot_ranges(slots: u32) -> impl Iterator<Item = Range<u32>> {
    (0..slots).step_by(SLOTS as usize).map(move |from| from..from.saturating_add(SLOTS).min(slots))
}

/// Cuts the oldest block off the head if it is complete. Says whether there may be more to cut.
fn cut_head(shared: &Shared) -> Result<bool, Error> {
    let (min_t, max_t, slots) = {
        let head = shared.read_head();
        (head.min_t.max(head.visible_from), head.max_t, head.slots())
    };
    if min_t > max_t {
        return Ok(false);
    }
    let mint = block_number(min_t) * BLOCK_RANGE_MS;
    let end = mint + BLOCK_RANGE_MS;
    // Late samples must still find the head: the margin is at least their window.
    let margin = HEAD_MARGIN_MS.max(shared.options.out_of_order_window_ms);
    if max_t.saturating_sub(end) < margin {
        return Ok(false);
    }
    {
        // From here on nothing is added before `end`, so that the pages below see one state.
        let _writing = shared.lock_writing();
        shared.min_valid.fetch_max(end, Ordering::Relaxed);
    }
    let mut collector = Collector::default();
    for range in slot_ranges(slots) {
        collector.add_head(&shared.read_head(), range, mint, end - 1);
    }
    let selection = collector.finish();
    let block = if selection.is_empty() {
        None
    } else {
        let plan = Plan { mint, end, parents: Vec::new(), created_ns: shared.options.clock.now_ns() };
        let dir = writer::write(&shared.dir, &plan, &selection)?;
        count::COMPACTIONS.inc();
        Some(Arc::new(Block::open(&dir)?))
    };
    {
        let mut head = shared.write_head();
        let mut blocks = shared.write_blocks();
        blocks.extend(block);
        catalog::sort(&mut blocks);
        head.visible_from = end;
        head.min_t = head.min_t.max(end);
    }
    for range in slot_ranges(slots) {
        shared.write_head().drop_before(&shared.lookup, end, range);
    }
    shared.write_head().finish_drop();
    delete::prune_head(shared, end)?;
    Ok(true)
}

/// Removes the segments of the log whose samples are all in blocks, after a checkpoint of what else they held.
fn retire_wal(shared: &Shared) -> Result<(), Error> {
    let cut = shared.cut_at();
    let first_segment = {
        let writing = shared.lock_writing();
        let current = shared.wal.roll()?;
        let needed = writing.segments.iter().find(|(_, newest)| **newest >= cut);
        needed.map_or(current, |(n, _)| (*n).min(current))
    };
    checkpoint::write(shared, Checkpoint { cut, first_segment })?;
    shared.wal.truncate_before(first_segment)?;
    shared.lock_writing().segments.retain(|n, _| *n >= first_segment);
    count::WAL_BYTES.set(shared.wal.size_bytes()? as i64);
    Ok(())
}

/// Merges the blocks of one complete larger range. Says whether it did.
fn compact(shared: &Shared) -> Result<bool, Error> {
    let blocks = shared.read_blocks().clone();
    let newest = blocks.iter().map(|b| b.meta.end).max().unwrap_or(i64::MIN);
    for range in MERGED_RANGES_MS {
        for first in &blocks {
            let mint = first.meta.mint.div_euclid(range) * range;
            let inside = |b: &&Arc<Block>| b.meta.mint >= mint && b.meta.end <= mint + range;
            let parts: Vec<Arc<Block>> = blocks.iter().filter(inside).cloned().collect();
            if parts.len() >= 2 && mint + range <= newest {
                return merge(shared, &parts);
            }
        }
    }
    Ok(false)
}

/// Writes blocks again as one, without what is deleted in them. The caller keeps other upkeep away.
pub(crate) fn merge(shared: &Shared, parts: &[Arc<Block>]) -> Result<bool, Error> {
    let mut collector = Collector::default();
    for b in parts {
        let Some(index) = shared.index_of(b) else { return Ok(true) };
        collector.add_block(b, &index, 0..index.len(), i64::MIN, i64::MAX);
    }
    let plan = Plan {
        mint: parts.iter().map(|b| b.meta.mint).min().unwrap_or_default(),
        end: parts.iter().map(|b| b.meta.end).max().unwrap_or_default(),
        parents: parts.iter().map(|b| b.name()).collect(),
        created_ns: shared.options.clock.now_ns(),
    };
    let written = writer::write(&shared.dir, &plan, &collector.finish());
    if let Err(Error::Block { block, .. }) = &written
        && let Some(bad) = parts.iter().find(|b| b.name() == *block)
        && let Err(e) = &written
    {
        shared.write_blocks().retain(|b| !Arc::ptr_eq(b, bad));
        catalog::set_aside(&bad.dir, e);
    }
    let block = Arc::new(Block::open(&written?)?);
    count::COMPACTIONS.inc();
    {
        let mut blocks = shared.write_blocks();
        blocks.retain(|b| !parts.iter().any(|p| Arc::ptr_eq(p, b)));
        if block.meta.series > 0 {
            blocks.push(block.clone());
        }
        catalog::sort(&mut blocks);
    }
    for p in parts {
        std::fs::remove_dir_all(&p.dir)?;
    }
    if block.meta.series == 0 {
        // Everything in the parts was deleted.
        std::fs::remove_dir_all(&block.dir)?;
    }
    Ok(true)
}

/// Removes blocks past retention, by age and by bytes.
fn retire_blocks(shared: &Shared) -> Result<(), Error> {
    let from = shared.retained_from();
    let limit = shared.options.retention_bytes;
    let wal = if limit > 0 { shared.wal.size_bytes()? } else { 0 };
    let gone: Vec<Arc<Block>> = {
        let mut blocks = shared.write_blocks();
        let mut total = blocks.iter().map(|b| b.bytes).sum::<u64>() + wal;
        let mut over = |b: &Arc<Block>| {
            let old = b.meta.end <= from || (limit > 0 && total > limit);
            if old {
                total = total.saturating_sub(b.bytes);
            }
            old
        };
        blocks.extract_if(.., |b| over(b)).collect()
    };
    for b in gone {
        tracing::info!(block = b.name(), bytes = b.bytes, "a block of metrics is past retention and removed");
        std::fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}
