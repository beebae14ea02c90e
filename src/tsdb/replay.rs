//! Rebuilds the head after a start: the checkpoint first, then what the log has beyond it. One thread reads and decodes, another
//! stores.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use super::appender::{Rules, apply};
use super::checkpoint::{self, Loaded};
use super::error::Error;
use super::exemplars::Exemplars;
use super::filenames::WAL_DIR;
use super::head::Head;
use super::head::chunk_files::ChunkFiles;
use super::head::lookup::Lookup;
use super::metadata::MetadataStore;
use super::self_metrics as count;
use super::wal_record::{self, Batch};
use crate::disk::wal::{self, WalPosition, segment};
use crate::model::TimestampMs;

/// Batches between the two threads; each is a few hundred kilobytes at most in practice.
const QUEUE: usize = 16;

/// How far a replay is, for readiness pages; may be read from any thread.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    done: AtomicU64,
    total: AtomicU64,
}

impl ReplayProgress {
    /// Bytes of the log read so far, and all of them. Equal when the replay is over.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// What a replay rebuilds.
#[derive(Default)]
pub(crate) struct Rebuilt {
    pub head: Head,
    pub lookup: Lookup,
    pub exemplars: Exemplars,
    pub metadata: MetadataStore,
    /// Bytes of the log that the checkpoint does not cover.
    pub uncovered: u64,
    /// The first segment that the checkpoint does not cover; the log goes on at least there.
    pub first_segment: u64,
}

impl Rebuilt {
    /// Keeps the exemplars and the metadata of a batch.
    pub(crate) fn annotate(&mut self, mut batch: Batch) {
        self.take_annotations(&mut batch);
    }

    fn take_annotations(&mut self, batch: &mut Batch) {
        for (r, e) in batch.exemplars.drain(..) {
            if self.head.get(r).is_some() {
                self.exemplars.add(r, e);
            }
        }
        for (name, m) in batch.metadata.drain(..) {
            self.metadata.note(&name, m);
        }
    }
}

/// Rebuilds the head of the store in `dir` from its checkpoint, the files of full chunks and the log. Samples before `cut` are in
/// blocks, those before `retained_from` past retention.
pub(crate) fn replay(
    dir: &Path,
    files: &mut ChunkFiles,
    max_exemplars: usize,
    cut: TimestampMs,
    retained_from: TimestampMs,
    progress: &ReplayProgress,
) -> Result<Rebuilt, Error> {
    let wal_dir = dir.join(WAL_DIR);
    let mut state = Rebuilt { exemplars: Exemplars::new(max_exemplars), ..Rebuilt::default() };
    let Loaded { at, covered, damaged } = checkpoint::load(dir, files, &mut state)?;
    let first_segment = at.first_segment;
    state.first_segment = first_segment;
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
    let total = segment::list(&wal_dir)?
        .into_iter()
        .filter(|n| *n >= first_segment)
        .map(|n| std::fs::metadata(segment::path(&wal_dir, n)).map_or(0, |m| m.len()))
        .sum();
    progress.total.store(total, Ordering::Relaxed);
    state.uncovered = total;
    let (full, batches) = sync_channel::<(WalPosition, Batch)>(QUEUE);
    let (empty, used) = sync_channel::<Batch>(QUEUE * 2);
    let read = move || {
        let mut foreign = 0u64;
        let from = WalPosition { segment: first_segment, offset: 0 };
        let mut finished = 0;
        let mut last = from;
        let report = wal::replay(&wal_dir, from, |end, payload| {
            let mut batch = used.try_recv().unwrap_or_default();
            if wal_record::decode(payload, &mut batch).is_none() {
                foreign += payload.len() as u64;
                return Ok(());
            }
            if end.segment != last.segment {
                finished += last.offset;
            }
            last = end;
            progress.done.store(finished + end.offset, Ordering::Relaxed);
            full.send((end, batch)).map_err(|_| std::io::Error::other("the replay ended early"))
        });
        drop(full);
        report.map(|r| (r, foreign))
    };
    let mut samples = 0;
    let report = std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        for (end, mut batch) in batches {
            covered.remove_from(&mut batch, end);
            samples += store(&mut state, &mut batch, min_t);
            // A full return queue only means that the memory is not used again.
            let _kept = empty.try_send(batch);
        }
        reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that reads the log panicked")))
    });
    let (report, foreign) = report?;
    progress.done.store(total, Ordering::Relaxed);
    for d in &report.damage {
        tracing::warn!(
            segment = d.at.segment,
            offset = d.at.offset,
            bytes = d.bytes,
            reason = d.reason,
            "a part of the metrics log is lost"
        );
        count::REPLAY_LOST.inc_by(d.bytes);
    }
    wal::cut_torn_tail(&dir.join(WAL_DIR), &report)?;
    if foreign > 0 {
        tracing::warn!(bytes = foreign, "records of the metrics log could not be decoded and are lost");
        count::REPLAY_LOST.inc_by(foreign);
    }
    state.head.finish_replay();
    tracing::info!(records = report.records, samples, series = state.head.labels.all().len(), "metrics log replayed");
    Ok(state)
}

fn store(state: &mut Rebuilt, batch: &mut Batch, min_t: TimestampMs) -> u64 {
    for (r, packed) in batch.definitions.drain(..) {
        state.head.restore(&state.lookup, &packed, r);
    }
    let view = state.lookup.view();
    let rules = Rules { min_t, replay: true };
    let stored = apply(&mut state.head, batch, rules, |r, newest| {
        if let Some(f) = view.facts(r) {
            f.last_t.store(newest, Ordering::Relaxed);
        }
    });
    state.take_annotations(batch);
    stored
}
