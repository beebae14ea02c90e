//! What goes on in the background: full chunks go into files, checkpoints shorten the log, blocks are cut from the head, compacted
//! and retired.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::SeriesRef;
use super::block::writer::{self, Plan};
use super::block::{Block, catalog};
use super::checkpoint::{self, Checkpoint};
use super::chunk::{Chunk, Packer};
use super::delete;
use super::error::Error;
use super::gather::{Gathered, Numbered};
use super::head::closed::Closed;
use super::head::series::WriteRate;
use super::limits::{
    BLOCK_RANGE_MS, HEAD_MARGIN_MS, LITTLE_SHARE, QUIET_ROUNDS, QUIET_SHARE, REST_ROUNDS, block_number,
};
use super::self_metrics as count;
use super::shared::{Shared, Upkeep};

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

/// One round of everything. What fails keeps nothing else from being tried: retention may be what frees the space the rest needs.
pub(crate) fn round(shared: &Shared) -> Result<(), Error> {
    let mut upkeep = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
    let upkeep = &mut *upkeep;
    shared.check_space();
    let now = shared.options.clock.now_ms();
    shared.cardinality.review(&shared.read_head(), now);
    let stored = store_chunks(shared, upkeep);
    let cut = cut_all(shared, upkeep);
    let covered = cover_log(shared, upkeep, matches!(cut, Ok(true)));
    let compacted = compact_all(shared);
    let retired = retire_blocks(shared, upkeep);
    let blocks = shared.read_blocks().clone();
    for b in &blocks {
        b.release_index(now, INDEX_IDLE_MS);
    }
    count::BLOCKS.set(blocks.len() as i64);
    count::BLOCK_BYTES.set(blocks.iter().map(|b| b.bytes as i64).sum());
    count::HEAD_CHUNK_BYTES.set(upkeep.files.bytes() as i64);
    stored.and(cut.map(|_| ())).and(covered).and(compacted).and(retired)
}

/// The last round of a store that closes.
pub(crate) fn finish(shared: &Shared) -> Result<(), Error> {
    let mut upkeep = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.lock_writing().uncovered < shared.options.checkpoint_log_bytes / QUIET_SHARE {
        return Ok(());
    }
    store_chunks(shared, &mut upkeep)?;
    write_checkpoint(shared, &mut upkeep)
}

/// See [`super::Db::checkpoint`].
pub(crate) fn checkpoint_now(shared: &Shared) -> Result<(), Error> {
    let mut upkeep = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
    store_chunks(shared, &mut upkeep)?;
    write_checkpoint(shared, &mut upkeep)
}

/// Packs closed chunks and puts them into files, a few series at a time.
fn store_chunks(shared: &Shared, upkeep: &mut Upkeep) -> Result<(), Error> {
    let mut packer = Packer::default();
    store_closed(shared, upkeep, |c| packer.pack(c))
}

/// Puts closed chunks into files as they stand, which takes a tenth of the time. The block that they become part of packs them.
pub(crate) fn store_unpacked(shared: &Shared, upkeep: &mut Upkeep) -> Result<(), Error> {
    store_closed(shared, upkeep, |_| None)
}

fn store_closed(
    shared: &Shared,
    upkeep: &mut Upkeep,
    mut pack: impl FnMut(&Chunk) -> Option<Chunk>,
) -> Result<(), Error> {
    let slots = std::mem::take(&mut shared.write_head().to_pack);
    for (done, part) in slots.chunks(PACK_SERIES).enumerate() {
        let mut closed: Vec<(SeriesRef, Arc<Chunk>)> = Vec::new();
        {
            let head = shared.read_head();
            for slot in part {
                let Some(s) = head.at(*slot) else { continue };
                let r = SeriesRef::new(*slot, s.epoch);
                closed.extend(s.closed.iter().filter_map(|c| match c {
                    Closed::Memory(c) => Some((r, c.clone())),
                    Closed::File(_) => None,
                }));
            }
        }
        if closed.is_empty() {
            continue;
        }
        let packed: Vec<Option<Chunk>> = closed.iter().map(|(_, c)| pack(c)).collect();
        let smallest = closed.iter().zip(&packed).map(|((r, c), p)| (*r, p.as_ref().unwrap_or(c)));
        let places = upkeep.files.append(smallest).inspect_err(|_| {
            // They stay in memory; the next round tries again.
            let rest = slots.get(done * PACK_SERIES..).unwrap_or_default();
            shared.write_head().to_pack.extend_from_slice(rest);
        })?;
        let mut head = shared.write_head();
        for ((r, old), place) in closed.into_iter().zip(places) {
            head.exchange(r, &old, place);
        }
    }
    Ok(())
}

fn cut_all(shared: &Shared, upkeep: &mut Upkeep) -> Result<bool, Error> {
    let mut cut = false;
    while !shared.is_stopping() && cut_head(shared)? {
        cut = true;
        upkeep.files.roll();
    }
    Ok(cut)
}

/// Writes a checkpoint if there is a reason: blocks were cut, the log has grown, or little is being written; after a failure with pauses.
fn cover_log(shared: &Shared, upkeep: &mut Upkeep, cut: bool) -> Result<(), Error> {
    let (uncovered, appended) = {
        let writing = shared.lock_writing();
        (writing.uncovered, writing.appended)
    };
    let enough = shared.options.checkpoint_log_bytes;
    let new = appended - upkeep.appended;
    upkeep.appended = appended;
    upkeep.quiet_rounds = if new <= enough / LITTLE_SHARE { upkeep.quiet_rounds.saturating_add(1) } else { 0 };
    upkeep.still_rounds = if new == 0 { upkeep.still_rounds.saturating_add(1) } else { 0 };
    let rate = match (upkeep.still_rounds, upkeep.quiet_rounds) {
        (QUIET_ROUNDS.., _) => WriteRate::Nothing,
        (_, QUIET_ROUNDS..) => WriteRate::Little,
        _ => WriteRate::Much,
    };
    let grown = uncovered >= enough.max(upkeep.checkpoint_bytes);
    let quiet = upkeep.quiet_rounds >= QUIET_ROUNDS && uncovered >= enough / QUIET_SHARE;
    upkeep.retry.owed |= cut;
    // When it becomes quiet; later again, for then it was too early to tell of some. No other reason for a checkpoint may come for long.
    let rounds = upkeep.quiet_rounds;
    if rounds == QUIET_ROUNDS || (rounds > 0 && rounds.is_multiple_of(REST_ROUNDS)) {
        let (closed, series) = close_resting(shared, upkeep, rate)?;
        upkeep.retry.owed |= closed > 0 && closed >= series / QUIET_SHARE;
    }
    let free = || shared.space.look().0;
    if !(upkeep.retry.owed || grown || quiet) || !upkeep.retry.is_due(Instant::now(), free) {
        return Ok(());
    }
    let covered = close_resting(shared, upkeep, rate).and_then(|_| write_checkpoint(shared, upkeep));
    if covered.is_err() {
        count::CHECKPOINT_FAILURES.inc();
    }
    upkeep.retry.note(&covered, Instant::now(), free);
    covered
}

/// Closes the chunks of series that are not likely to grow, and puts them into files. Says how many, and how many series there are places for.
fn close_resting(shared: &Shared, upkeep: &mut Upkeep, rate: WriteRate) -> Result<(u64, u64), Error> {
    let clock = shared.options.clock.now_ms();
    // On a line of its own: a lock taken in the head of a loop is held to its end.
    let slots = shared.read_head().slots();
    let mut closed = 0;
    for range in slot_ranges(slots) {
        closed += shared.write_head().close_early(range, rate, clock);
        // A few at a time, so that not all of them are in memory twice.
        store_chunks(shared, upkeep)?;
    }
    Ok((closed, slots.into()))
}

/// Begins a segment and writes the checkpoint of what is before it. Returns the segment, the bytes of the log that are covered now, and
/// those of the checkpoint.
fn begin_and_write(shared: &Shared) -> Result<(u64, u64, u64), Error> {
    let (first_segment, before) = {
        let writing = shared.lock_writing();
        (shared.wal.roll()?, writing.uncovered)
    };
    // Not the time before which samples are refused: that is set before the block is there, and a cut may fail.
    let cut = shared.read_head().visible_from;
    let bytes = checkpoint::write(shared, Checkpoint { cut, first_segment })?;
    Ok((first_segment, before, bytes))
}

/// Writes a checkpoint, then removes what it makes superfluous: segments of the log and files of chunks that are all in blocks.
fn write_checkpoint(shared: &Shared, upkeep: &mut Upkeep) -> Result<(), Error> {
    let timer = count::CHECKPOINT_SECONDS.start_timer();
    upkeep.files.sync()?;
    // Synced before, so that commits do not wait for the disk while the segment is changed.
    shared.wal.sync()?;
    let unused = upkeep.files.take_unused();
    let (first_segment, before, bytes) = match begin_and_write(shared) {
        Ok(w) => w,
        Err(e) => {
            // The checkpoint that is still in force may refer to them.
            upkeep.files.put_back(unused);
            return Err(e);
        }
    };
    shared.lock_writing().uncovered -= before;
    upkeep.checkpoint_bytes = bytes;
    count::CHECKPOINTS.inc();
    count::CHECKPOINT_BYTES.set(bytes as i64);
    for f in unused {
        f.remove()?;
    }
    shared.wal.truncate_before(first_segment)?;
    count::WAL_BYTES.set(shared.wal.size_bytes()? as i64);
    timer.observe_duration();
    Ok(())
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
    let pages = slot_ranges(slots).map(|range| Gathered::page(&shared.read_head(), range, mint, end - 1));
    let selection = Numbered::whole(pages.collect(), Vec::new());
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

fn compact_all(shared: &Shared) -> Result<(), Error> {
    while !shared.is_stopping() && compact(shared)? {}
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
    let mut pages = Vec::with_capacity(parts.len());
    for (b, at) in parts.iter().zip(0..) {
        let Some(index) = shared.index_of(b) else { return Ok(true) };
        let mut gathered = Gathered::default();
        gathered.add_block((at, b), &index, 0..index.len(), i64::MIN, i64::MAX);
        pages.push(gathered.numbered(&index.labels));
    }
    let selection = Numbered::whole(pages, parts.to_vec());
    let plan = Plan {
        mint: parts.iter().map(|b| b.meta.mint).min().unwrap_or_default(),
        end: parts.iter().map(|b| b.meta.end).max().unwrap_or_default(),
        parents: parts.iter().map(|b| b.name()).collect(),
        created_ns: shared.options.clock.now_ns(),
    };
    let written = writer::write(&shared.dir, &plan, &selection);
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
fn retire_blocks(shared: &Shared, upkeep: &Upkeep) -> Result<(), Error> {
    let from = shared.retained_from();
    let limit = shared.options.retention_bytes;
    let head = if limit > 0 { shared.wal.size_bytes()? + upkeep.files.bytes() + upkeep.checkpoint_bytes } else { 0 };
    let gone: Vec<Arc<Block>> = {
        let mut blocks = shared.write_blocks();
        let mut total = blocks.iter().map(|b| b.bytes).sum::<u64>() + head;
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
