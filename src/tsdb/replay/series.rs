//! The first step of a replay: what series there are, from the checkpoint and from the definitions in the log. Every reference that a
//! record of the log uses is known after it, so that new series get others.

use std::path::Path;

use super::tell_damage;
use crate::disk::wal::{self, WalPosition, segment};
use crate::model::TimestampMs;
use crate::tsdb::checkpoint::{self, Covered, Loaded};
use crate::tsdb::error::Error;
use crate::tsdb::exemplars::Exemplars;
use crate::tsdb::filenames::WAL_DIR;
use crate::tsdb::head::Head;
use crate::tsdb::head::chunk_files::ChunkFiles;
use crate::tsdb::head::lookup::Lookup;
use crate::tsdb::metadata::MetadataStore;
use crate::tsdb::wal_record::{self, Batch};

/// What the first step rebuilds.
#[derive(Default)]
pub(crate) struct Rebuilt {
    pub head: Head,
    pub lookup: Lookup,
    pub exemplars: Exemplars,
    pub metadata: MetadataStore,
}

impl Rebuilt {
    /// Keeps the exemplars and the metadata of a batch.
    pub(crate) fn annotate(&mut self, batch: Batch) {
        for (r, e) in batch.exemplars {
            if self.head.get(r).is_some() {
                self.exemplars.add(r, e);
            }
        }
        for (name, m) in batch.metadata {
            self.metadata.note(&name, m);
        }
    }
}

/// The log whose samples are yet to be replayed.
pub(crate) struct Log {
    /// What the checkpoint has already.
    pub covered: Covered,
    /// The first segment that the checkpoint does not cover; the log goes on at least there.
    pub first_segment: u64,
    /// Where the log of before the start ends; what comes after it was written since.
    pub until: WalPosition,
    /// Bytes of the log of before the start.
    pub bytes: u64,
    /// Samples before this are in blocks or past retention.
    pub min_t: TimestampMs,
}

/// Rebuilds the series of the store in `dir` and what its checkpoint holds of them. Samples before `cut` are in blocks, those before
/// `retained_from` past retention.
pub(crate) fn rebuild(
    dir: &Path,
    files: &mut ChunkFiles,
    max_exemplars: usize,
    cut: TimestampMs,
    retained_from: TimestampMs,
) -> Result<(Rebuilt, Log), Error> {
    let wal_dir = dir.join(WAL_DIR);
    let mut state = Rebuilt { exemplars: Exemplars::new(max_exemplars), ..Rebuilt::default() };
    let Loaded { at, covered, damaged } = checkpoint::load(dir, files, &mut state)?;
    let first_segment = at.first_segment;
    let cut = cut.max(at.cut);
    state.head.visible_from = cut;
    if damaged {
        let found = checkpoint::find_chunks(files, &mut state)?;
        tracing::warn!(chunks = found, "full chunks were found in their files");
    }
    // Before anything is forgotten: what the checkpoint refers to stays until the next one is there.
    for f in files.take_unused() {
        if damaged {
            f.set_aside("nothing refers to it since the checkpoint was damaged")?;
        } else {
            f.remove()?;
        }
    }
    let min_t = cut.max(retained_from);
    state.head.forget_before(min_t);
    let lost = define(&wal_dir, first_segment, &covered, &mut state)?;
    state.head.finish_replay(lost || damaged);
    let bytes = segment::list(&wal_dir)?
        .into_iter()
        .filter(|n| *n >= first_segment)
        .map(|n| std::fs::metadata(segment::path(&wal_dir, n)).map_or(0, |m| m.len()))
        .sum();
    let until = WalPosition { segment: u64::MAX, offset: 0 };
    Ok((state, Log { covered, first_segment, until, bytes, min_t }))
}

/// Makes the series that the log defines. Each record is looked at, and what is damaged told; samples are not decoded. Says whether
/// definitions may be lost.
fn define(wal_dir: &Path, first_segment: u64, covered: &Covered, state: &mut Rebuilt) -> Result<bool, Error> {
    let mut batch = Batch::default();
    let mut foreign = false;
    let from = WalPosition { segment: first_segment, offset: 0 };
    let report = wal::replay(wal_dir, from, None, |end, payload| {
        if wal_record::decode_definitions(payload, &mut batch).is_none() {
            // It is counted when its samples are replayed.
            foreign = true;
            return Ok(());
        }
        for (r, packed) in batch.definitions.drain(..).filter(|d| !covered.has(d.0, end)) {
            state.head.restore(&state.lookup, &packed, r);
        }
        Ok(())
    })?;
    tell_damage(&report);
    wal::cut_torn_tail(wal_dir, &report)?;
    Ok(foreign || !report.damage.is_empty())
}
