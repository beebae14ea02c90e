//! Writes a checkpoint while commits go on.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;

use super::{Checkpoint, STRETCH, TAG_ANNOTATIONS, TAG_END, TAG_SERIES, VERSION};
use crate::disk::atomic_file;
use crate::disk::varint::{put_i64, put_u64};
use crate::disk::wal::WalPosition;
use crate::disk::wal::record::{self, Compression};
use crate::tsdb::SeriesRef;
use crate::tsdb::error::Error;
use crate::tsdb::filenames::{CHECKPOINT_FILE, TEMPORARY_SUFFIX};
use crate::tsdb::head::series_state::{self, Before};
use crate::tsdb::shared::Shared;
use crate::tsdb::wal_record::{put_definitions, put_exemplars, put_metadata};

struct Records {
    file: BufWriter<File>,
    encoded: Vec<u8>,
    count: u64,
    bytes: u64,
}

impl Records {
    fn put(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.encoded.clear();
        record::encode(&mut self.encoded, payload, Compression::Zstd);
        self.count += 1;
        self.bytes += self.encoded.len() as u64;
        self.file.write_all(&self.encoded)
    }
}

fn put_position(out: &mut Vec<u8>, at: WalPosition) {
    put_u64(out, at.segment);
    put_u64(out, at.offset);
}

/// Writes a checkpoint of all that is in the head and in the log, under a temporary name, synced, renamed. Returns its bytes. The
/// caller keeps series from being dropped meanwhile, has begun the segment `at.first_segment`, and has synced the files of chunks.
pub(crate) fn write(shared: &Shared, at: Checkpoint) -> Result<u64, Error> {
    let path = shared.dir.join(CHECKPOINT_FILE);
    let temporary = shared.dir.join(format!("{CHECKPOINT_FILE}{TEMPORARY_SUFFIX}"));
    let written = write_file(shared, at, &temporary).and_then(|bytes| {
        std::fs::rename(&temporary, &path)?;
        atomic_file::sync_parent(&path)?;
        Ok(bytes)
    });
    written.inspect_err(|_| {
        // The rest of an attempt takes space that may be the trouble; the next attempt replaces it in any case.
        let _removed = std::fs::remove_file(&temporary);
    })
}

fn write_file(shared: &Shared, at: Checkpoint, path: &std::path::Path) -> Result<u64, Error> {
    let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
    let mut records = Records { file, encoded: Vec::new(), count: 0, bytes: 0 };
    let mut payload = Vec::new();
    put_u64(&mut payload, VERSION);
    put_i64(&mut payload, at.cut);
    put_u64(&mut payload, at.first_segment);
    records.put(&payload)?;
    let mut from = 0u32;
    let mut definitions = Vec::new();
    loop {
        payload.clear();
        definitions.clear();
        let more = take_stretch(shared, from, &mut definitions, &mut payload);
        if !definitions.is_empty() {
            records.put(&definitions)?;
        }
        records.put(&payload)?;
        if !more {
            break;
        }
        from += STRETCH;
    }
    payload.clear();
    payload.push(TAG_ANNOTATIONS);
    {
        let _writing = shared.lock_writing();
        put_position(&mut payload, shared.wal.position());
        let exemplars = shared.lock_exemplars();
        put_exemplars(&mut payload, exemplars.all().iter().map(|(r, e)| (*r, e)));
        drop(exemplars);
        put_metadata(&mut payload, shared.lock_metadata().all().into_iter());
    }
    records.put(&payload)?;
    payload.clear();
    payload.push(TAG_END);
    put_u64(&mut payload, records.count);
    records.put(&payload)?;
    let file = records.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(records.bytes)
}

/// Takes the series of one stretch of places between two commits. Says whether there are places after it.
fn take_stretch(shared: &Shared, from: u32, definitions: &mut Vec<u8>, held: &mut Vec<u8>) -> bool {
    let _writing = shared.lock_writing();
    let head = shared.read_head();
    let view = shared.lookup.view();
    let (slots, end) = (head.slots(), from.saturating_add(STRETCH).min(head.slots()));
    // What is not in the log was never committed; its definition comes with the first commit.
    let logged = (from..end).filter_map(|slot| {
        let s = head.at(slot)?;
        let r = SeriesRef::new(slot, s.epoch);
        view.facts(r)?.logged.load(Ordering::Relaxed).then_some((r, s))
    });
    put_definitions(definitions, &head.labels, logged.clone().map(|(r, s)| (r, &*s.pairs)));
    held.push(TAG_SERIES);
    put_position(held, shared.wal.position());
    put_u64(held, from.into());
    put_u64(held, end.saturating_sub(from).into());
    let mut before = Before::default();
    for (r, s) in logged {
        series_state::put(held, &mut before, r, s);
    }
    end < slots
}
