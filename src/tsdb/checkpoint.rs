//! What must outlive the segments of the log that are removed: series, metadata, exemplars, and where the log goes on.
//!
//! File: records as in the log (checksummed, compressed). The first holds the version, the end of the last block cut and the first segment to
//! replay; the others are payloads of `wal_record`.

use std::path::Path;

use super::SeriesRef;
use super::error::Error;
use super::filenames::CHECKPOINT_FILE;
use super::self_metrics as count;
use super::shared::Shared;
use super::wal_record::{self, Batch, put_definitions, put_exemplars, put_metadata};
use crate::disk::atomic_file;
use crate::disk::varint::{put_i64, put_u64, take_i64, take_u64};
use crate::disk::wal::record::{self, Compression, Decoded};
use crate::model::TimestampMs;

const VERSION: u64 = 1;
/// Series in one record.
const SERIES_PER_RECORD: u32 = 10_000;

/// Where the log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Samples before this are in blocks.
    pub cut: TimestampMs,
    /// The first segment of the log to replay.
    pub first_segment: u64,
}

/// Writes a checkpoint of the series that are in the head and in the log.
pub(crate) fn write(shared: &Shared, at: Checkpoint) -> Result<(), Error> {
    let mut file = Vec::new();
    let mut payload = Vec::new();
    put_u64(&mut payload, VERSION);
    put_i64(&mut payload, at.cut);
    put_u64(&mut payload, at.first_segment);
    record::encode(&mut file, &payload, Compression::None);
    let mut from = 0u32;
    loop {
        payload.clear();
        let end = {
            let head = shared.read_head();
            let view = shared.lookup.view();
            let logged = (from..from.saturating_add(SERIES_PER_RECORD).min(head.slots())).filter_map(|slot| {
                let s = head.at(slot)?;
                let r = SeriesRef::new(slot, s.epoch);
                view.facts(r)?.logged.load(std::sync::atomic::Ordering::Relaxed).then_some((r, &*s.pairs))
            });
            put_definitions(&mut payload, &head.labels, logged);
            from + SERIES_PER_RECORD >= head.slots()
        };
        record::encode(&mut file, &payload, Compression::Zstd);
        from += SERIES_PER_RECORD;
        if end {
            break;
        }
    }
    payload.clear();
    let exemplars = shared.lock_exemplars();
    put_exemplars(&mut payload, exemplars.all().iter().map(|(r, e)| (*r, e)));
    drop(exemplars);
    put_metadata(&mut payload, shared.lock_metadata().all().into_iter());
    record::encode(&mut file, &payload, Compression::Zstd);
    atomic_file::write(&shared.dir.join(CHECKPOINT_FILE), &file)?;
    Ok(())
}

/// Loads the checkpoint of the store in `dir`, giving its content to `each`. Damage is reported and stepped over.
pub(crate) fn load(dir: &Path, mut each: impl FnMut(Batch) -> u64) -> Result<Checkpoint, Error> {
    let mut at = Checkpoint { cut: TimestampMs::MIN, first_segment: 0 };
    let file = match std::fs::read(dir.join(CHECKPOINT_FILE)) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(at),
        Err(e) => return Err(e.into()),
    };
    let (mut rest, mut first, mut lost) = (file.as_slice(), true, 0usize);
    while !rest.is_empty() {
        let len = match record::decode(rest) {
            Decoded::Record(payload, len) => {
                let mut batch = Batch::default();
                if std::mem::take(&mut first) {
                    at = parse_first(&payload).unwrap_or(at);
                } else if wal_record::decode(&payload, &mut batch).is_some() {
                    each(batch);
                } else {
                    lost += len;
                }
                len
            }
            Decoded::Damaged(len) => {
                first = false;
                lost += len.min(rest.len());
                len
            }
            Decoded::Incomplete => {
                lost += rest.len();
                break;
            }
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    if lost > 0 {
        count::REPLAY_LOST.inc_by(lost as u64);
        tracing::warn!(
            bytes = lost,
            "a part of the metrics checkpoint is lost; samples of series defined there are too"
        );
    }
    Ok(at)
}

fn parse_first(mut payload: &[u8]) -> Option<Checkpoint> {
    let input = &mut payload;
    (take_u64(input)? == VERSION).then_some(())?;
    Some(Checkpoint { cut: take_i64(input)?, first_segment: take_u64(input)? })
}
