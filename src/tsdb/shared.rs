//! What the database, its appenders and its maintenance thread share.
//!
//! Locks are taken in this order: `writing`, then `head`, then `blocks`, then `exemplars` or `metadata`, or those of
//! `cardinality`. `writing` puts commits in a row,
//! so that the log and the head see them in the same order; `head` is held for writing only while a batch is stored.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::SeriesRef;
use super::appender::{Buffers, Rules};
use super::block::{Block, BlockIndex, catalog};
use super::cardinality::Cardinality;
use super::checkpoint::Retry;
use super::error::{AppendError, Error};
use super::exemplars::{Exemplars, Kept};
use super::head::Head;
use super::head::aliases::Aliases;
use super::head::chunk_files::ChunkFiles;
use super::head::lookup::Lookup;
use super::metadata::MetadataStore;
use super::options::Options;
use super::replay::Replay;
use super::self_metrics as count;
use super::wal_record::Batch;
use crate::disk::free_space::SpaceGuard;
use crate::disk::wal::Wal;
use crate::exec::throttled_log::Throttle;
use crate::model::TimestampMs;

/// Every batch fails while the log cannot be written.
static COMPLAINTS: Throttle = Throttle::new(60_000);
/// Memory of appenders kept for the next ones.
const MAX_KEPT_BUFFERS: usize = 8;

/// What only one commit at a time may touch.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// Memory for the record of the log.
    pub record: Vec<u8>,
    /// Bytes of the log that the last checkpoint does not cover.
    pub uncovered: u64,
    /// Bytes appended to the log since the start.
    pub appended: u64,
    /// While the log of before the start is replayed: commits write to the log and store nothing, the replay stores it after what came
    /// before.
    pub held: bool,
}

/// What only the upkeep touches.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// The files of full chunks.
    pub files: ChunkFiles,
    /// Bytes of the last checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes appended to the log up to the last round.
    pub appended: u64,
    /// Rounds in a row in which little came.
    pub quiet_rounds: u32,
    /// Rounds in a row in which nothing came.
    pub still_rounds: u32,
    /// When a checkpoint that failed is tried again.
    pub retry: Retry,
}

/// See the module.
pub(crate) struct Shared {
    pub dir: PathBuf,
    pub options: Options,
    pub lookup: Lookup,
    pub aliases: Aliases,
    pub wal: Wal,
    /// Samples before this are refused: they belong to blocks.
    pub min_valid: AtomicI64,
    pub blocks: RwLock<Vec<Arc<Block>>>,
    /// Held while chunks go into files, checkpoints are written, and blocks are cut, compacted or retired.
    pub maintaining: Mutex<Upkeep>,
    /// Whether the store is closing, and the bell for it.
    pub stop: (Mutex<bool>, Condvar),
    pub writing: Mutex<Writing>,
    pub head: RwLock<Head>,
    pub exemplars: Mutex<Exemplars>,
    pub metadata: Mutex<MetadataStore>,
    pub buffers: Mutex<Vec<Buffers>>,
    pub cardinality: Cardinality,
    pub space: SpaceGuard,
    pub replay: Arc<Replay>,
}

impl Shared {
    pub(crate) fn read_head(&self) -> RwLockReadGuard<'_, Head> {
        // A panic under the lock is a bug of ours; going on with what is there beats refusing everything.
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_head(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read_blocks(&self) -> RwLockReadGuard<'_, Vec<Arc<Block>>> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_blocks(&self) -> RwLockWriteGuard<'_, Vec<Arc<Block>>> {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_exemplars(&self) -> MutexGuard<'_, Exemplars> {
        self.exemplars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_metadata(&self) -> MutexGuard<'_, MetadataStore> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples older than this must come in order within their series.
    pub(crate) fn floor(&self, head: &Head) -> TimestampMs {
        head.max_t.saturating_sub(self.options.out_of_order_window_ms)
    }

    /// The series of a label set, made if need be.
    pub(crate) fn find_or_create(&self, packed: &str, hash: u128) -> Result<SeriesRef, AppendError> {
        let mut head = self.write_head();
        if let Some(r) = self.lookup.view().find(hash) {
            return Ok(r);
        }
        let now = self.options.clock.now_ms();
        if !self.cardinality.admits(&head, packed, now) {
            return Err(AppendError::SeriesLimit);
        }
        let r = head.create(&self.lookup, packed, hash);
        self.cardinality.made(packed, r, now);
        Ok(r)
    }

    /// Whether there is room on the disk for a batch.
    pub(crate) fn admit_space(&self, vital: bool) -> Result<(), Error> {
        self.space.admit(vital).map_err(|e| {
            count::NO_SPACE.inc();
            e.into()
        })
    }

    /// Asks for the room on the disk and tells of changes.
    pub(crate) fn check_space(&self) {
        let (free, low) = self.space.look();
        count::FREE_BYTES.set(i64::try_from(free).unwrap_or(i64::MAX));
        let before = count::SPACE_LOW.get() != 0;
        count::SPACE_LOW.set(low.into());
        if low && !before {
            let min = self.options.min_free_bytes;
            tracing::error!(free, min, "the disk is nearly full: samples are refused until there is room again");
        } else if before && !low {
            tracing::info!(free, "the disk has room again: samples are taken");
        }
    }

    /// Appends a record to the log; on failure nothing of it will come back.
    pub(crate) fn append_to_wal(&self, record: &[u8], writing: &mut Writing) -> Result<(), Error> {
        self.wal.append(record).map_err(|source| {
            count::WAL_FAILURES.inc();
            if let Some(before) = COMPLAINTS.allow(self.options.clock.now_ms()) {
                tracing::error!(error = %source, before, "the metrics log cannot be written: samples are refused");
            }
            Error::Wal { dir: self.dir.clone(), source }
        })?;
        count::WAL_BYTES.add(record.len() as i64);
        writing.uncovered += record.len() as u64;
        writing.appended += record.len() as u64;
        Ok(())
    }

    /// An error while the head may lack samples of times up to `maxt`, because the log is still being replayed.
    pub(crate) fn require_replayed(&self, maxt: TimestampMs) -> Result<(), Error> {
        if self.replay.is_complete() || maxt < self.read_head().visible_from {
            return Ok(());
        }
        Err(Error::Replaying { percent: self.replay.percent() })
    }

    /// Keeps the exemplars and the metadata of a batch.
    pub(crate) fn apply_annotations(&self, batch: &mut Batch, rules: Rules) {
        if !batch.exemplars.is_empty() {
            let mut exemplars = self.lock_exemplars();
            for (r, e) in batch.exemplars.drain(..) {
                match exemplars.add(r, e) {
                    _ if rules.replay => {}
                    Kept::Stored => count::EXEMPLARS.inc(),
                    Kept::Same => {}
                    Kept::Old => count::EXEMPLARS_REFUSED.inc(),
                }
            }
        }
        if !batch.metadata.is_empty() {
            let mut metadata = self.lock_metadata();
            for (name, m) in batch.metadata.drain(..) {
                if !metadata.note(&name, m) && !rules.replay {
                    count::METADATA_REFUSED.inc();
                }
            }
        }
    }

    pub(crate) fn take_buffers(&self) -> Buffers {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn give_buffers(&self, mut buffers: Buffers) {
        if buffers.is_modest() {
            buffers.clear();
            let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT_BUFFERS {
                kept.push(buffers);
            }
        }
    }

    /// The index of a block; a block that cannot be read is set aside, so that the rest goes on.
    pub(crate) fn index_of(&self, block: &Arc<Block>) -> Option<Arc<BlockIndex>> {
        match block.index() {
            Ok(index) => Some(index),
            Err(e) => {
                self.write_blocks().retain(|b| !Arc::ptr_eq(b, block));
                catalog::set_aside(&block.dir, &e);
                None
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest time that retention keeps.
    pub(crate) fn retained_from(&self) -> TimestampMs {
        self.options.clock.now_ms().saturating_sub(self.options.retention_ms)
    }
}
