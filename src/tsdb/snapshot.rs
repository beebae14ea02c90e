//! Snapshots: the whole store at one moment as a data folder of its own, which costs next to no space.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::PoisonError;

use super::block::writer::{self, Plan};
use super::db::Db;
use super::error::Error;
use super::filenames::{BLOCKS_DIR, SNAPSHOTS_DIR, TEMPORARY_SUFFIX};
use super::gather::{Gathered, Numbered};
use super::limits::{BLOCK_RANGE_MS, block_number};
use super::maintenance::slot_ranges;
use super::shared::Shared;
use crate::disk::atomic_file;
use crate::model::TimestampMs;
use crate::model::time::rfc3339_ms;

/// The store's folder inside a data folder, so that a snapshot can be opened where a data folder is asked for.
const STORE_DIR: &str = "metrics";

impl Db {
    /// Makes a snapshot in `snapshots/NAME` of the store's folder and returns the name. Blocks are hard links; what is in the head becomes
    /// blocks of the snapshot unless `skip_head` is set. The folder can be given to a server as its data folder. Waits for upkeep under way.
    pub fn snapshot(&self, skip_head: bool) -> Result<String, Error> {
        let shared = &*self.shared;
        shared.require_replayed(TimestampMs::MAX)?;
        let _alone = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
        let all = shared.dir.join(SNAPSHOTS_DIR);
        fs::create_dir_all(&all)?;
        remove_leftovers(&all)?;
        let name = new_name(shared.options.clock.now_ms());
        let temporary = all.join(format!("{name}{TEMPORARY_SUFFIX}"));
        let made = fill(shared, &temporary.join(STORE_DIR), skip_head).and_then(|()| {
            let path = all.join(&name);
            fs::rename(&temporary, &path)?;
            Ok(atomic_file::sync_parent(&path)?)
        });
        if made.is_err() {
            // It is in nobody's way but takes up space.
            let _removed = fs::remove_dir_all(&temporary);
        }
        made.map(|()| name)
    }
}

/// `20260102T030405Z-` and 16 random hexadecimal digits, as Prometheus names them.
fn new_name(now_ms: TimestampMs) -> String {
    let time: String = rfc3339_ms(now_ms).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    // RandomState takes its keys from the system's random source.
    format!("{time}Z-{:016x}", RandomState::new().hash_one(now_ms))
}

fn remove_leftovers(all: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(TEMPORARY_SUFFIX)) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn fill(shared: &Shared, store: &Path, skip_head: bool) -> Result<(), Error> {
    let blocks_dir = store.join(BLOCKS_DIR);
    fs::create_dir_all(&blocks_dir)?;
    // Blocks are removed by upkeep alone, which waits for us.
    let blocks = shared.read_blocks().clone();
    for block in &blocks {
        let copy = blocks_dir.join(block.name());
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(&block.dir)? {
            let entry = entry?;
            fs::hard_link(entry.path(), copy.join(entry.file_name()))?;
        }
        atomic_file::sync_dir(&copy)?;
    }
    if !skip_head {
        write_head(shared, store)?;
    }
    Ok(atomic_file::sync_dir(&blocks_dir)?)
}

/// Writes what is in the head as blocks; the last one ends with the newest sample, so that a server on the snapshot takes newer ones.
fn write_head(shared: &Shared, store: &Path) -> Result<(), Error> {
    let (min_t, max_t, slots) = {
        let head = shared.read_head();
        (head.min_t.max(head.visible_from), head.max_t, head.slots())
    };
    if min_t > max_t {
        return Ok(());
    }
    for number in block_number(min_t)..=block_number(max_t) {
        let mint = number * BLOCK_RANGE_MS;
        let end = (mint + BLOCK_RANGE_MS).min(max_t.saturating_add(1));
        let pages =
            slot_ranges(slots).map(|range| Gathered::page(&shared.read_head(), range, mint.max(min_t), end - 1));
        let selection = Numbered::whole(pages.collect(), Vec::new());
        if !selection.is_empty() {
            let plan = Plan { mint, end, parents: Vec::new(), created_ns: shared.options.clock.now_ns() };
            writer::write(store, &plan, &selection)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let name = new_name(1_767_323_045_678);
        let (time, random) = name.split_once('-').unwrap();
        assert_eq!(time, "20260102T030405Z");
        assert!(random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(name, new_name(1_767_323_045_678));
    }
}
