//! The database as others see it.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use super::appender::Appender;
use super::block::catalog;
use super::cardinality::{Cardinality, SeriesLimits};
use super::checkpoint::Retry;
use super::error::Error;
use super::filenames::{CHECKPOINT_FILE, WAL_DIR};
use super::head::aliases::Aliases;
use super::head::chunk_files::ChunkFiles;
use super::maintenance;
use super::options::Options;
use super::querier;
use super::replay::series::Log;
use super::replay::{Replay, samples, series};
use super::selection::Selection;
use super::self_metrics as count;
use super::shared::{Shared, Upkeep, Writing};
use super::tombstones::HeadTombstones;
use crate::disk::dir_lock::DirLock;
use crate::disk::free_space::SpaceGuard;
use crate::disk::wal::{Wal, WalOptions};
use crate::model::{Matcher, TimestampMs};

/// An open database.
pub struct Db {
    pub(crate) shared: Arc<Shared>,
    /// Replays the log if that goes on in the background, then looks after the store.
    thread: Mutex<Option<JoinHandle<()>>>,
    _lock: DirLock,
}

impl Db {
    /// Opens or creates the database in `dir` and replays its log.
    pub fn open(dir: &Path, options: Options) -> Result<Db, Error> {
        let began = Instant::now();
        let (db, log) = Self::begin(dir, options)?;
        samples::run(&db.shared, log, began)?;
        if db.shared.options.maintenance {
            let shared = db.shared.clone();
            let thread = named_thread(move || maintenance::run(&shared))?;
            *db.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Ok(db)
    }

    /// Opens or creates the database in `dir` and returns as soon as its series are known. Samples are taken from then on, while
    /// its log is replayed in the background; until that is done, questions that may concern what is not replayed yet are answered with
    /// [`Error::Replaying`]. See [`Self::replay`].
    pub fn open_early(dir: &Path, options: Options) -> Result<Db, Error> {
        let began = Instant::now();
        let (opened, known) = sync_channel(1);
        let dir = dir.to_owned();
        // All of it on one thread: allocators keep the memory of threads apart, and what one gives back is of no use to the next.
        let thread = named_thread(move || {
            let (shared, log) = match Self::begin(&dir, options) {
                Ok((db, log)) => {
                    let shared = db.shared.clone();
                    if opened.send(Ok(db)).is_err() {
                        return;
                    }
                    (shared, log)
                }
                Err(e) => {
                    let _nobody_waits = opened.send(Err(e));
                    return;
                }
            };
            match samples::run(&shared, log, began) {
                Ok(()) if shared.options.maintenance && shared.replay.is_complete() => maintenance::run(&shared),
                Ok(()) => {}
                Err(e) => tracing::error!(error = %e, "the metrics log cannot be replayed"),
            }
        })?;
        let db = known.recv().map_err(|_| Error::Io(io::Error::other("opening the metrics store panicked")))??;
        *db.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(db)
    }

    /// Opens the store as far as its series go. Commits are held until [`samples::run`] has replayed the rest.
    pub(super) fn begin(dir: &Path, options: Options) -> Result<(Db, Log), Error> {
        let lock = DirLock::acquire(dir, "metrics")?;
        let blocks = catalog::open_all(dir)?;
        let cut = blocks.iter().map(|b| b.meta.end).max().unwrap_or(TimestampMs::MIN);
        let retained_from = options.clock.now_ms().saturating_sub(options.retention_ms);
        let mut files = ChunkFiles::open(dir)?;
        let (mut rebuilt, mut log) = series::rebuild(dir, &mut files, options.max_exemplars, cut, retained_from)?;
        rebuilt.head.tombstones = HeadTombstones::load(dir, &rebuilt.lookup, rebuilt.head.visible_from)?;
        let wal_options = WalOptions {
            segment_bytes: options.wal_segment_bytes,
            sync_always: options.wal_sync_always,
            first_segment: log.first_segment,
            ..WalOptions::default()
        };
        let wal = Wal::open(&dir.join(WAL_DIR), wal_options)?;
        log.until = wal.position();
        count::WAL_BYTES.set(wal.size_bytes()? as i64);
        let checkpoint_bytes = std::fs::metadata(dir.join(CHECKPOINT_FILE)).map_or(0, |m| m.len());
        let cardinality = Cardinality::new(options.series_limits);
        let space = SpaceGuard::new(dir, options.min_free_bytes);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            options,
            lookup: rebuilt.lookup,
            aliases: Aliases::default(),
            wal,
            min_valid: AtomicI64::new(rebuilt.head.visible_from),
            blocks: RwLock::new(blocks),
            maintaining: Mutex::new(Upkeep {
                files,
                checkpoint_bytes,
                appended: 0,
                quiet_rounds: 0,
                still_rounds: 0,
                retry: Retry::default(),
            }),
            stop: Default::default(),
            writing: Mutex::new(Writing { record: Vec::new(), uncovered: log.bytes, appended: 0, held: true }),
            head: RwLock::new(rebuilt.head),
            exemplars: Mutex::new(rebuilt.exemplars),
            metadata: Mutex::new(rebuilt.metadata),
            buffers: Mutex::default(),
            cardinality,
            space,
            replay: Arc::default(),
        });
        shared.check_space();
        Ok((Db { shared, thread: Mutex::default(), _lock: lock }, log))
    }

    /// A batch of samples that becomes visible and durable with [`Appender::commit`].
    pub fn appender(&self) -> Appender<'_> {
        Appender::new(&self.shared)
    }

    /// The series that satisfy all matchers and may have samples in `[mint, maxt]` (milliseconds, both inclusive), sorted by labels. A batch
    /// committed later is not seen by the result, one committed before is seen whole. A block that cannot be read is set aside and left out.
    pub fn select(&self, matchers: &[Matcher], mint: TimestampMs, maxt: TimestampMs) -> Result<Selection, Error> {
        Ok(self.select_within(matchers, mint, maxt, &mut |_| true)?.unwrap_or_default())
    }

    /// The same where memory is scarce: `admit` is asked with about how many bytes before they are taken. If it says no there is no
    /// selection.
    pub fn select_within(
        &self,
        matchers: &[Matcher],
        mint: TimestampMs,
        maxt: TimestampMs,
        admit: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Selection>, Error> {
        self.shared.require_replayed(maxt)?;
        querier::select(&self.shared, matchers, (mint, maxt), admit)
    }

    /// Puts other limits on series in force. What is over them stays.
    pub fn set_series_limits(&self, limits: SeriesLimits) {
        self.shared.cardinality.set_limits(limits);
    }

    /// Makes everything committed so far durable (called by a task every second where the policy says so).
    pub fn sync(&self) -> Result<(), Error> {
        let timer = count::WAL_FSYNC.start_timer();
        self.shared.wal.sync().inspect_err(|_| count::WAL_FAILURES.inc())?;
        timer.observe_duration();
        Ok(())
    }

    /// One round of upkeep: packs chunks, cuts and merges blocks, applies retention. The store's own thread does the same each second, but
    /// gives a checkpoint that could not be written some time.
    pub fn maintain(&self) -> Result<(), Error> {
        self.shared.require_replayed(TimestampMs::MAX)?;
        self.shared.maintaining.lock().unwrap_or_else(PoisonError::into_inner).retry.forget();
        maintenance::round(&self.shared)
    }

    /// Puts full chunks into files and writes a checkpoint: after that the log holds little, and what is on disk is everything.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.shared.require_replayed(TimestampMs::MAX)?;
        maintenance::checkpoint_now(&self.shared)
    }

    /// Whether samples of times up to `maxt` can be asked for; the error is [`Error::Replaying`].
    pub fn readable(&self, maxt: TimestampMs) -> Result<(), Error> {
        self.shared.require_replayed(maxt)
    }

    /// The replay of the log, which goes on for some time after [`Self::open_early`].
    pub fn replay(&self) -> &Arc<Replay> {
        &self.shared.replay
    }

    /// Ends the upkeep, writes a checkpoint if that makes the next start faster, and makes everything durable. Appends after it still
    /// work, but nobody looks after them.
    pub fn close(&self) -> Result<(), Error> {
        self.stop();
        // A checkpoint of half a head would take the place of the log that has the rest.
        if self.shared.replay.is_complete() {
            maintenance::finish(&self.shared)?;
        }
        self.sync()
    }

    fn stop(&self) {
        let (stop, bell) = &self.shared.stop;
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the upkeep thread of the metrics store had panicked");
        }
    }
}

fn named_thread(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("tsdb-upkeep".to_owned()).spawn(work)
}

impl Drop for Db {
    fn drop(&mut self) {
        self.stop();
    }
}
