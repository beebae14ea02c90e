//! Appends records; one `write` for each batch.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::record::{Compression, Encoder, MAX_PAYLOAD};
use super::segment::{self, HEADER, WalPosition};
use crate::disk::atomic_file;

/// Buffers up to this size are kept for the next record.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// A new segment is begun when the current one is this long.
    pub segment_bytes: u64,
    /// Whether each append is synced before it returns; otherwise the owner calls [`Wal::sync`] on a timer.
    pub sync_always: bool,
    /// See [`Compression`].
    pub compression: Compression,
    /// The lowest number that a new segment may have. Whoever remembers positions elsewhere gives one past the highest: if the
    /// log's folder was removed by hand, new records must not take the places of old ones.
    pub first_segment: u64,
}

impl Default for WalOptions {
    /// 64 MiB segments: few files, and little to keep beyond what is already in blocks.
    fn default() -> Self {
        WalOptions { segment_bytes: 64 << 20, sync_always: false, compression: Compression::None, first_segment: 0 }
    }
}

/// The writing end of a log. Appends from several threads are put in a row by a lock.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    options: WalOptions,
    inner: Mutex<Inner>,
    /// Encoders with their buffers, for the next records.
    spare: Mutex<Vec<(Encoder, Vec<u8>)>>,
}

/// A record on its way into a log; made by [`Wal::encode`].
#[derive(Debug)]
pub struct EncodedRecord<'w> {
    wal: &'w Wal,
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl Drop for EncodedRecord<'_> {
    fn drop(&mut self) {
        if self.bytes.capacity() <= KEPT_BUFFER_BYTES {
            let spare = (std::mem::take(&mut self.encoder), std::mem::take(&mut self.bytes));
            self.wal.spare.lock().unwrap_or_else(PoisonError::into_inner).push(spare);
        }
    }
}

#[derive(Debug)]
struct Inner {
    /// None until the first segment could be begun.
    file: Option<File>,
    position: WalPosition,
    unsynced: bool,
    /// Set when a failed write could not be taken back: the next append begins a new segment first.
    torn: bool,
}

impl Wal {
    /// Begins a new segment after all those in `dir` (which is made if missing). Replay what is there before. If the disk is full the segment
    /// is begun by the first append that finds room.
    pub fn open(dir: &Path, options: WalOptions) -> io::Result<Wal> {
        fs::create_dir_all(dir)?;
        let next = segment::list(dir)?.last().map_or(0, |n| n + 1).max(options.first_segment);
        let (file, position) = match new_segment(dir, next) {
            Ok((file, position)) => (Some(file), position),
            Err(e) if e.kind() == io::ErrorKind::StorageFull => (None, WalPosition { segment: next, offset: 0 }),
            Err(e) => return Err(e),
        };
        let inner = Inner { file, position, unsynced: false, torn: false };
        Ok(Wal { dir: dir.to_owned(), options, inner: Mutex::new(inner), spare: Mutex::default() })
    }

    /// Makes the record of a payload. This is where it is compressed, so callers do it before they take locks of their own.
    pub fn encode(&self, payload: &[u8]) -> io::Result<EncodedRecord<'_>> {
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "batch too large for the write-ahead log"));
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut encoder, mut bytes) = spare.unwrap_or_else(|| (Encoder::new(self.options.compression), Vec::new()));
        bytes.clear();
        encoder.encode(&mut bytes, payload);
        Ok(EncodedRecord { wal: self, encoder, bytes })
    }

    /// Appends the record of a payload, see [`Wal::append_encoded`].
    pub fn append(&self, payload: &[u8]) -> io::Result<WalPosition> {
        self.append_encoded(&self.encode(payload)?)
    }

    /// Appends one record and returns the place after it. When it returns, the record survives a crash of the process
    /// (and one of the machine, with `sync_always`). On an error nothing of the record will be replayed; a later append
    /// may succeed again.
    pub fn append_encoded(&self, record: &EncodedRecord<'_>) -> io::Result<WalPosition> {
        let buffer = &record.bytes;
        let mut inner = self.lock();
        let inner = &mut *inner;
        let full = inner.position.offset > HEADER.len() as u64
            && inner.position.offset + buffer.len() as u64 > self.options.segment_bytes;
        if full || inner.torn || inner.file.is_none() {
            self.roll_locked(inner)?;
        }
        let Inner { file: Some(file), position, unsynced, torn } = inner else {
            return Err(io::Error::other("the write-ahead log has no segment"));
        };
        let before = position.offset;
        let written =
            file.write_all(buffer).and_then(|()| if self.options.sync_always { file.sync_data() } else { Ok(()) });
        if let Err(e) = written {
            // Take the part back, so that it is neither replayed nor in the way of the next record.
            let taken_back = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
            *torn = taken_back.is_err();
            return Err(e);
        }
        *unsynced = !self.options.sync_always;
        position.offset += buffer.len() as u64;
        Ok(*position)
    }

    /// Makes everything appended so far survive a crash of the machine.
    pub fn sync(&self) -> io::Result<()> {
        // The descriptor is duplicated so that appends go on while the disk works.
        let file = {
            let mut inner = self.lock();
            if !inner.unsynced {
                return Ok(());
            }
            inner.unsynced = false;
            let Some(file) = &inner.file else { return Ok(()) };
            file.try_clone()?
        };
        file.sync_data().inspect_err(|_| self.lock().unsynced = true)
    }

    /// The place after the last record.
    pub fn position(&self) -> WalPosition {
        self.lock().position
    }

    /// Ends the current segment and begins the next; returns its number. An empty segment is kept.
    pub fn roll(&self) -> io::Result<u64> {
        let mut inner = self.lock();
        if inner.position.offset > HEADER.len() as u64 || inner.torn {
            self.roll_locked(&mut inner)?;
        }
        Ok(inner.position.segment)
    }

    /// Removes the segments before `segment`; the current one always stays.
    pub fn truncate_before(&self, segment: u64) -> io::Result<()> {
        let current = self.position().segment;
        for n in segment::list(&self.dir)?.into_iter().filter(|n| *n < segment && *n < current) {
            fs::remove_file(segment::path(&self.dir, n))?;
        }
        atomic_file::sync_dir(&self.dir)
    }

    /// Bytes of all segments on disk.
    pub fn size_bytes(&self) -> io::Result<u64> {
        segment::list(&self.dir)?.into_iter().map(|n| fs::metadata(segment::path(&self.dir, n)).map(|m| m.len())).sum()
    }

    fn roll_locked(&self, inner: &mut Inner) -> io::Result<()> {
        let mut next = inner.position.segment;
        if let Some(file) = &inner.file {
            file.sync_data()?;
            next += 1;
        }
        let (file, position) = new_segment(&self.dir, next)?;
        inner.file = Some(file);
        inner.position = position;
        inner.torn = false;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while the lock was held leaves at worst a torn record, which replay steps over.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_segment(dir: &Path, number: u64) -> io::Result<(File, WalPosition)> {
    let path = segment::path(dir, number);
    // A file of this number can only be the rest of a start that failed in between: nothing was acknowledged into it.
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    // Append mode is not used: after a failed write the cursor is set back by hand.
    file.write_all(&HEADER)?;
    atomic_file::sync_dir(dir)?;
    Ok((file, WalPosition { segment: number, offset: HEADER.len() as u64 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_log_begins_behind_remembered_positions() {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions { first_segment: 7, ..WalOptions::default() };
        assert_eq!(Wal::open(dir.path(), options).unwrap().position().segment, 7);
        assert_eq!(Wal::open(dir.path(), options).unwrap().position().segment, 8);
    }
}
