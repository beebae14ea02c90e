//! The second step of a replay: samples. One thread reads and decodes the log, another stores. Commits go on meanwhile; they write to the
//! log and store nothing. When the log of before the start is through, what they wrote is read after it, until nothing is left and they
//! are let into the head themselves.
//!
//! A replay should take no more memory than what it replays took when it came. So little is under way between the two threads, and
//! chunks that get full go into files as they stand: packing them takes longer than all the rest, and is made up for by blocks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::series::Log;
use super::{Replay, tell_damage};
use crate::disk::wal::{self, ReplayReport, WalPosition};
use crate::tsdb::appender::{Rules, apply};
use crate::tsdb::error::Error;
use crate::tsdb::filenames::WAL_DIR;
use crate::tsdb::maintenance;
use crate::tsdb::self_metrics as count;
use crate::tsdb::shared::{Shared, Upkeep};
use crate::tsdb::wal_record::{self, Batch};

/// Bytes of the log that go from one thread to the other at once, at least: some ten thousand samples.
const LOT_BYTES: usize = 64 << 10;
/// What a batch weighs in a lot beside its bytes, so that many small ones are no large lot.
const BATCH_BYTES: usize = 256;
/// Lots between the two threads.
const QUEUE: usize = 1;
/// Samples for which the memory of a batch is used again; that of a rare larger one is given back.
const KEPT_SAMPLES: usize = 1 << 15;
/// Series with full chunks from which on these go into files.
const FULL_SERIES: usize = 1024;
/// Commits wait while so many bytes of the log at most are replayed, which takes some milliseconds.
const LAST_BYTES: u64 = 1 << 20;
/// Rounds after which they wait for whatever is left: they come faster than it can be replayed.
const MAX_ROUNDS: usize = 20;
/// How often the room on the disk is looked at, which the upkeep does otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The replay was given up because the store closes.
struct Stopped;

/// Decoded records, each with the place after it.
type Lot = Vec<(WalPosition, Batch)>;

struct Storer<'a> {
    shared: &'a Shared,
    upkeep: &'a mut Upkeep,
    log: Log,
    records: u64,
    samples: u64,
    looked: Instant,
    /// Whether full chunks are put into files; not after that has failed.
    files: bool,
}

/// Tells that the replay ended, even if it panicked.
struct End<'a>(&'a Replay);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end(Err("the replay of the metrics log panicked".to_owned()));
    }
}

/// Replays everything; then commits reach the head themselves. `began` is when the start began. Ends early, as a failure, if the store closes.
pub(crate) fn run(shared: &Shared, log: Log, began: Instant) -> Result<(), Error> {
    let replay = shared.replay.clone();
    let _end = End(&replay);
    replay.total.store(log.bytes, Ordering::Relaxed);
    let mut upkeep = shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
    let upkeep = &mut *upkeep;
    let mut storer = Storer { shared, upkeep, log, records: 0, samples: 0, looked: Instant::now(), files: true };
    let outcome = storer.run();
    let said = match &outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stopped)) => Err("the store was closed during the replay".to_owned()),
        Err(e) => Err(e.to_string()),
    };
    if said.is_ok() {
        let seconds = began.elapsed().as_secs_f64();
        count::REPLAY.set(seconds);
        let series = shared.read_head().labels.all().len();
        tracing::info!(records = storer.records, samples = storer.samples, series, seconds, "metrics log replayed");
    }
    replay.end(said);
    outcome.map(|_| ())
}

impl Storer<'_> {
    fn run(&mut self) -> Result<Result<(), Stopped>, Error> {
        let mut from = WalPosition { segment: self.log.first_segment, offset: 0 };
        let until = self.log.until;
        let before = Rules { min_t: self.log.min_t, replay: true };
        if self.part(from, until, before)?.is_err() {
            return Ok(Err(Stopped));
        }
        from = until;
        for round in 0.. {
            let until = self.shared.wal.position();
            let left = if until.segment == from.segment { until.offset - from.offset } else { u64::MAX };
            let mut writing = (left <= LAST_BYTES || round >= MAX_ROUNDS).then(|| self.shared.lock_writing());
            let until = if writing.is_some() { self.shared.wal.position() } else { until };
            let rules = Rules { min_t: self.shared.min_valid.load(Ordering::Relaxed), replay: false };
            if self.part(from, until, rules)?.is_err() {
                return Ok(Err(Stopped));
            }
            if let Some(writing) = &mut writing {
                writing.held = false;
                break;
            }
            from = until;
        }
        Ok(Ok(()))
    }

    /// Replays the records between two places.
    fn part(&mut self, from: WalPosition, until: WalPosition, rules: Rules) -> Result<Result<(), Stopped>, Error> {
        if from >= until {
            return Ok(Ok(()));
        }
        let shared = self.shared;
        let (full, lots) = sync_channel::<Lot>(QUEUE);
        let (empty, used) = sync_channel::<Lot>(QUEUE + 1);
        let mut stopped = false;
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(move || read(shared, from, until, full, &used));
            for mut lot in lots {
                if shared.is_stopping() {
                    // The reader notices that nobody takes what it reads.
                    stopped = true;
                    break;
                }
                for (end, batch) in &mut lot {
                    self.log.covered.remove_from(batch, *end);
                    self.store(batch, rules);
                    batch.clear();
                }
                self.look_after();
                lot.retain(|(_, batch)| batch.floats.capacity() <= KEPT_SAMPLES);
                // A full return queue only means that the memory is not used again.
                let _kept = empty.try_send(lot);
            }
            reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that reads the log panicked")))
        });
        if stopped {
            return Ok(Err(Stopped));
        }
        let (report, foreign) = read?;
        self.records += report.records;
        if !rules.replay {
            // Of the log of before the start it was told when the series were read.
            tell_damage(&report);
        }
        if foreign > 0 {
            tracing::warn!(bytes = foreign, "records of the metrics log could not be decoded and are lost");
            count::REPLAY_LOST.inc_by(foreign);
        }
        Ok(Ok(()))
    }

    fn store(&mut self, batch: &mut Batch, rules: Rules) {
        let shared = self.shared;
        let view = shared.lookup.view();
        let stored = {
            let mut head = shared.write_head();
            let stored = apply(&mut head, batch, rules, |r, newest| {
                if let Some(f) = view.facts(r) {
                    f.last_t.store(newest, Ordering::Relaxed);
                }
            });
            batch.exemplars.retain(|(r, _)| head.get(*r).is_some());
            stored
        };
        shared.apply_annotations(batch, rules);
        self.samples += stored;
        if !rules.replay {
            count::APPENDED.inc_by(stored);
        }
    }

    /// Does between lots what the upkeep does otherwise.
    fn look_after(&mut self) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.shared.check_space();
        }
        if self.files
            && self.shared.read_head().to_pack.len() >= FULL_SERIES
            && let Err(e) = maintenance::store_unpacked(self.shared, self.upkeep)
        {
            self.files = false;
            count::MAINTENANCE_FAILURES.inc();
            tracing::error!(error = %e, "full chunks cannot be put into files and stay in memory during the replay");
        }
    }
}

/// Reads and decodes the records between two places into lots, for which it takes used ones. Returns besides the report the bytes
/// of records that are not of this store.
fn read(
    shared: &Shared,
    from: WalPosition,
    until: WalPosition,
    full: SyncSender<Lot>,
    used: &Receiver<Lot>,
) -> std::io::Result<(ReplayReport, u64)> {
    let ended = |_| std::io::Error::other("the replay ended early");
    let replay = &shared.replay;
    let (mut lot, mut weight, mut spare) = (Lot::new(), 0, Lot::new());
    let (mut foreign, mut last) = (0u64, from);
    let report = wal::replay(&shared.dir.join(WAL_DIR), from, Some(until), |end, payload| {
        if spare.is_empty() {
            spare = used.try_recv().unwrap_or_default();
        }
        let mut batch = spare.pop().map(|s| s.1).unwrap_or_default();
        let start = if end.segment == last.segment { last.offset } else { 0 };
        let done = replay.done.fetch_add(end.offset - start, Ordering::Relaxed) + (end.offset - start);
        replay.total.fetch_max(done, Ordering::Relaxed);
        last = end;
        if wal_record::decode_beyond_definitions(payload, &mut batch).is_none() {
            foreign += payload.len() as u64;
            return Ok(());
        }
        lot.push((end, batch));
        weight += payload.len() + BATCH_BYTES;
        if weight < LOT_BYTES {
            return Ok(());
        }
        weight = 0;
        full.send(std::mem::take(&mut lot)).map_err(ended)
    })?;
    if !lot.is_empty() {
        full.send(lot).map_err(ended)?;
    }
    Ok((report, foreign))
}
