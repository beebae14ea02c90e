//! Immutable blocks: the samples of one stretch of time, on disk.
//!
//! A block is a folder with `meta.json`, `chunks` (magic, then for each chunk CRC32C and bytes) and `index` (checksummed, compressed
//! records: labels in order, then series as label numbers and places of chunks). The index is loaded when a query needs it and
//! let go when none has for a while. `tombstones` beside them says what was deleted since; it is replaced as a whole.

pub(crate) mod catalog;
pub(crate) mod index;
pub(crate) mod meta;
pub(crate) mod undeleted;
pub(crate) mod writer;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(crate) use self::index::BlockIndex;
use self::meta::Meta;
use super::error::Error;
use super::filenames::{CHUNKS_FILE, INDEX_FILE, META_FILE};
use super::tombstones::BlockTombstones;
use crate::model::TimestampMs;

/// First bytes of a chunk file: magic and version.
pub(crate) const CHUNKS_MAGIC: [u8; 8] = *b"CAMPCHK1";
/// A chunk is never longer; a longer one is damage.
const MAX_CHUNK_BYTES: u32 = 64 << 20;

/// A chunk of a block: when, and where in the chunk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub mint: TimestampMs,
    pub maxt: TimestampMs,
    /// Where its checksum begins.
    pub offset: u64,
    /// Bytes after the checksum.
    pub len: u32,
}

/// An open block.
#[derive(Debug)]
pub(crate) struct Block {
    pub meta: Meta,
    pub dir: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    chunks: File,
    index: Mutex<Option<Arc<BlockIndex>>>,
    tombstones: RwLock<Arc<BlockTombstones>>,
    /// When the index was asked for last.
    used_ms: AtomicI64,
}

impl Block {
    /// Opens the block in a folder. The index is read at the first question.
    pub(crate) fn open(dir: &Path) -> Result<Block, Error> {
        let damaged = |reason| Error::Block { block: dir.display().to_string(), reason };
        let meta = Meta::read(&dir.join(META_FILE))?.ok_or_else(|| damaged("meta.json is not of this version"))?;
        // The range decides what of the log is replayed: a damaged digit must not pass. The name repeats it.
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(&format!("{}-{}-", meta.mint, meta.end)) {
            return Err(damaged("meta.json gives another range than the name of the folder"));
        }
        let chunks = File::open(dir.join(CHUNKS_FILE))?;
        let mut magic = [0; CHUNKS_MAGIC.len()];
        chunks.read_exact_at(&mut magic, 0)?;
        if magic != CHUNKS_MAGIC {
            return Err(damaged("the chunk file is not of this version"));
        }
        let length = chunks.metadata()?.len();
        if length != meta.chunk_bytes {
            return Err(damaged("the chunk file has another length than its meta.json says"));
        }
        let bytes = length + std::fs::metadata(dir.join(INDEX_FILE))?.len();
        let block = Block {
            meta,
            dir: dir.to_owned(),
            bytes,
            chunks,
            index: Mutex::default(),
            tombstones: RwLock::new(Arc::new(BlockTombstones::load(dir)?)),
            used_ms: AtomicI64::new(TimestampMs::MIN),
        };
        Ok(block)
    }

    /// The folder's name.
    pub(crate) fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn overlaps(&self, mint: TimestampMs, maxt: TimestampMs) -> bool {
        self.meta.mint <= maxt && self.meta.end > mint
    }

    /// The index, loaded if need be.
    pub(crate) fn index(&self) -> Result<Arc<BlockIndex>, Error> {
        let mut cached = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        self.used_ms.store(TimestampMs::MAX, Ordering::Relaxed);
        if let Some(i) = &*cached {
            return Ok(i.clone());
        }
        let loaded = BlockIndex::load(&self.dir.join(INDEX_FILE))?
            .ok_or_else(|| Error::Block { block: self.name(), reason: "the index is damaged" })?;
        Ok(cached.insert(Arc::new(loaded)).clone())
    }

    /// What of it is deleted.
    pub(crate) fn tombstones(&self) -> Arc<BlockTombstones> {
        self.tombstones.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts tombstones in force that are on disk already.
    pub(crate) fn set_tombstones(&self, stones: BlockTombstones) {
        *self.tombstones.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(stones);
    }

    /// Lets the index go if nobody has asked for it for `idle_ms`, as seen by calls of this function.
    pub(crate) fn release_index(&self, now_ms: TimestampMs, idle_ms: i64) {
        let used = self.used_ms.load(Ordering::Relaxed);
        if used == TimestampMs::MAX {
            self.used_ms.store(now_ms, Ordering::Relaxed);
        } else if now_ms.saturating_sub(used) > idle_ms {
            *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Reads a chunk's bytes into `buffer` and checks them.
    pub(crate) fn read_chunk<'a>(&self, at: &ChunkRef, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        let damaged = |reason| Error::Block { block: self.name(), reason };
        if at.len > MAX_CHUNK_BYTES {
            return Err(damaged("a chunk is too long"));
        }
        buffer.clear();
        buffer.resize(at.len as usize + 4, 0);
        self.chunks.read_exact_at(buffer, at.offset)?;
        let (crc, data) = buffer.split_first_chunk::<4>().ok_or_else(|| damaged("a chunk is too short"))?;
        if crc32c::crc32c(data) != u32::from_le_bytes(*crc) {
            return Err(damaged("the checksum of a chunk is wrong"));
        }
        Ok(data)
    }
}
