//! Rebuilds the head after a start: the checkpoint first, then the log. One thread reads and decodes, another stores.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use super::appender::{Rules, apply};
use super::checkpoint::{self, Checkpoint};
use super::error::Error;
use super::exemplars::Exemplars;
use super::filenames::WAL_DIR;
use super::head::Head;
use super::head::lookup::Lookup;
use super::metadata::MetadataStore;
use super::self_metrics as count;
use super::shared::Writing;
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
pub(crate) struct Rebuilt {
    pub head: Head,
    pub lookup: Lookup,
    pub exemplars: Exemplars,
    pub metadata: MetadataStore,
    pub writing: Writing,
    /// The first segment that the checkpoint does not cover; the log goes on at least there.
    pub(crate) first_segment: u64,
}

/// Replays checkpoint and log of the store in `dir`. Samples before `cut` are in blocks, those before `retained_from` past retention.
pub(crate) fn replay(
    dir: &Path,
    max_exemplars: usize,
    cut: TimestampMs,
    retained_from: TimestampMs,
    progress: &ReplayProgress,
) -> Result<Rebuilt, Error> {
    let wal_dir = dir.join(WAL_DIR);
    let mut state = Rebuilt {
        head: Head::default(),
        lookup: Lookup::default(),
        exemplars: Exemplars::new(max_exemplars),
        metadata: MetadataStore::default(),
        writing: Writing::default(),
        first_segment: 0,
    };
    let Checkpoint { cut: checkpoint_cut, first_segment } =
        checkpoint::load(dir, |mut batch| store(&mut state, &mut batch, TimestampMs::MAX))?;
    state.first_segment = first_segment;
    let cut = cut.max(checkpoint_cut);
    state.head.visible_from = cut;
    let min_t = cut.max(retained_from);
    let total = segment::list(&wal_dir)?
        .into_iter()
        .filter(|n| *n >= first_segment)
        .map(|n| std::fs::metadata(segment::path(&wal_dir, n)).map_or(0, |m| m.len()))
        .sum();
    progress.total.store(total, Ordering::Relaxed);
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
            let newest = state.writing.segments.entry(end.segment).or_insert(TimestampMs::MIN);
            *newest = (*newest).max(batch.max_t().unwrap_or(TimestampMs::MIN));
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
    for (r, e) in batch.exemplars.drain(..) {
        if state.head.get(r).is_some() {
            state.exemplars.add(r, e);
        }
    }
    for (name, m) in batch.metadata.drain(..) {
        state.metadata.note(&name, m);
    }
    stored
}
