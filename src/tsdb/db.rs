//! The database as others see it.

use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::appender::Appender;
use super::block::catalog;
use super::cardinality::{Cardinality, SeriesLimits};
use super::error::Error;
use super::filenames::{CHECKPOINT_FILE, WAL_DIR};
use super::head::aliases::Aliases;
use super::head::chunk_files::ChunkFiles;
use super::maintenance;
use super::options::Options;
use super::querier::{self, Selection};
use super::replay::{self, ReplayProgress};
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
    progress: Arc<ReplayProgress>,
    maintenance: Mutex<Option<JoinHandle<()>>>,
    _lock: DirLock,
}

impl Db {
    /// Opens or creates the database in `dir` and replays its log.
    pub fn open(dir: &Path, options: Options) -> Result<Db, Error> {
        Self::open_with_progress(dir, options, Arc::default())
    }

    /// [`Self::open`], telling how far the replay is to whoever holds `progress` too.
    pub fn open_with_progress(dir: &Path, options: Options, progress: Arc<ReplayProgress>) -> Result<Db, Error> {
        let lock = DirLock::acquire(dir, "metrics")?;
        let blocks = catalog::open_all(dir)?;
        let cut = blocks.iter().map(|b| b.meta.end).max().unwrap_or(TimestampMs::MIN);
        let retained_from = options.clock.now_ms().saturating_sub(options.retention_ms);
        let began = std::time::Instant::now();
        let mut files = ChunkFiles::open(dir)?;
        let mut rebuilt = replay::replay(dir, &mut files, options.max_exemplars, cut, retained_from, &progress)?;
        rebuilt.head.tombstones = HeadTombstones::load(dir, &rebuilt.lookup, rebuilt.head.visible_from)?;
        count::REPLAY.set(began.elapsed().as_secs_f64());
        let wal_options = WalOptions {
            segment_bytes: options.wal_segment_bytes,
            sync_always: options.wal_sync_always,
            first_segment: rebuilt.first_segment,
            ..WalOptions::default()
        };
        let wal = Wal::open(&dir.join(WAL_DIR), wal_options)?;
        count::WAL_BYTES.set(wal.size_bytes()? as i64);
        let checkpoint_bytes = std::fs::metadata(dir.join(CHECKPOINT_FILE)).map_or(0, |m| m.len());
        let start_thread = options.maintenance;
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
            maintaining: Mutex::new(Upkeep { files, checkpoint_bytes, appended: 0, quiet_rounds: 0, still_rounds: 0 }),
            stop: Default::default(),
            writing: Mutex::new(Writing { record: Vec::new(), uncovered: rebuilt.uncovered, appended: 0 }),
            head: RwLock::new(rebuilt.head),
            exemplars: Mutex::new(rebuilt.exemplars),
            metadata: Mutex::new(rebuilt.metadata),
            buffers: Mutex::default(),
            cardinality,
            space,
        });
        let thread = if start_thread {
            let shared = shared.clone();
            Some(std::thread::Builder::new().name("tsdb-upkeep".to_owned()).spawn(move || maintenance::run(&shared))?)
        } else {
            None
        };
        Ok(Db { shared, progress, maintenance: Mutex::new(thread), _lock: lock })
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

    /// One round of upkeep: packs chunks, cuts and merges blocks, applies retention. The store's own thread does the same each second.
    pub fn maintain(&self) -> Result<(), Error> {
        maintenance::round(&self.shared)
    }

    /// Puts full chunks into files and writes a checkpoint: after that the log holds little, and what is on disk is everything.
    pub fn checkpoint(&self) -> Result<(), Error> {
        maintenance::checkpoint_now(&self.shared)
    }

    /// How far the replay of the last open was.
    pub fn replay_progress(&self) -> &ReplayProgress {
        &self.progress
    }

    /// Ends the upkeep, writes a checkpoint if that makes the next start faster, and makes everything durable. Appends after it still
    /// work, but nobody looks after them.
    pub fn close(&self) -> Result<(), Error> {
        self.stop();
        maintenance::finish(&self.shared)?;
        self.sync()
    }

    fn stop(&self) {
        let (stop, bell) = &self.shared.stop;
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        let thread = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the upkeep thread of the metrics store had panicked");
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.stop();
    }
}
