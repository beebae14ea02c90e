//! The second step of a replay: samples. One thread reads and decodes the log, another stores. Commits go on meanwhile; they write to the
//! log and store nothing. When the log of before the start is through, what they wrote is read after it, until nothing is left and they
//! are let into the head themselves.

use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::series::Log;
use super::{Replay, tell_damage};
use crate::disk::wal::{self, WalPosition};
use crate::tsdb::appender::{Rules, apply};
use crate::tsdb::error::Error;
use crate::tsdb::filenames::WAL_DIR;
use crate::tsdb::self_metrics as count;
use crate::tsdb::shared::Shared;
use crate::tsdb::wal_record::{self, Batch};

/// Batches between the two threads; each is a few hundred kilobytes at most in practice.
const QUEUE: usize = 16;
/// Commits wait while so many bytes of the log at most are replayed, which takes some milliseconds.
const LAST_BYTES: u64 = 1 << 20;
/// Rounds after which they wait for whatever is left: they come faster than it can be replayed.
const MAX_ROUNDS: usize = 20;
/// How often the room on the disk is looked at, which the upkeep does otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The replay was given up because the store closes.
struct Stopped;

struct Reader<'a> {
    shared: &'a Shared,
    log: Log,
    records: u64,
    samples: u64,
    looked: Instant,
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
    let mut reader = Reader { shared, log, records: 0, samples: 0, looked: Instant::now() };
    let outcome = reader.run();
    let said = match &outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stopped)) => Err("the store was closed during the replay".to_owned()),
        Err(e) => Err(e.to_string()),
    };
    if said.is_ok() {
        let seconds = began.elapsed().as_secs_f64();
        count::REPLAY.set(seconds);
        let series = shared.read_head().labels.all().len();
        tracing::info!(records = reader.records, samples = reader.samples, series, seconds, "metrics log replayed");
    }
    replay.end(said);
    outcome.map(|_| ())
}

impl Reader<'_> {
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
        let wal_dir = self.shared.dir.join(WAL_DIR);
        let (full, batches) = sync_channel::<(WalPosition, Batch)>(QUEUE);
        let (empty, used) = sync_channel::<Batch>(QUEUE * 2);
        let replay = &self.shared.replay;
        let read = move || {
            let mut foreign = 0u64;
            let mut last = from;
            let report = wal::replay(&wal_dir, from, Some(until), |end, payload| {
                let mut batch = used.try_recv().unwrap_or_default();
                let start = if end.segment == last.segment { last.offset } else { 0 };
                let done = replay.done.fetch_add(end.offset - start, Ordering::Relaxed) + (end.offset - start);
                replay.total.fetch_max(done, Ordering::Relaxed);
                last = end;
                if wal_record::decode_beyond_definitions(payload, &mut batch).is_none() {
                    foreign += payload.len() as u64;
                    return Ok(());
                }
                full.send((end, batch)).map_err(|_| std::io::Error::other("the replay ended early"))
            });
            drop(full);
            report.map(|r| (r, foreign))
        };
        let mut stopped = false;
        let report = std::thread::scope(|scope| {
            let reader = scope.spawn(read);
            for (end, mut batch) in batches {
                if self.shared.is_stopping() {
                    // The reader notices that nobody takes what it reads.
                    stopped = true;
                    break;
                }
                self.log.covered.remove_from(&mut batch, end);
                self.store(&mut batch, rules);
                // A full return queue only means that the memory is not used again.
                let _kept = empty.try_send(batch);
            }
            reader.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that reads the log panicked")))
        });
        if stopped {
            return Ok(Err(Stopped));
        }
        let (report, foreign) = report?;
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
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            shared.check_space();
        }
    }
}
