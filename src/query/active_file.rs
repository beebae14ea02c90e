//! The file of queries that run now. It is written before a query begins and after it ends, so that what a killed process was doing
//! can be read from it at the next start. Nothing is synced: the pages outlive the process, and a power cut is not what it is for.
//!
//! Layout in `docs/storage-format.md`: a header of 16 bytes, then slots of [`SLOT`] bytes each.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::query::asker::cut;
use crate::query::query_log::Asked;

/// The name of the file in the data folder.
pub const FILE_NAME: &str = "queries.active";
const MAGIC: &[u8; 8] = b"CAMPQRY1";
const HEADER: usize = 16;
/// Bytes of a slot: a page, so that a write touches one.
pub const SLOT: usize = 4096;
/// Length and checksum at the front of a slot.
const SLOT_HEAD: usize = 8;
/// What is kept of the text of a query, in bytes. Quotes double when they are written as JSON, and who asked needs room as well.
const MAX_QUERY: usize = 1500;

/// See the module. Clones share the file.
#[derive(Clone, Debug)]
pub struct ActiveQueries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    free: Mutex<Vec<usize>>,
}

/// The place of one running query; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    number: usize,
}

/// What a slot of an ended process held.
#[derive(Clone, Debug, PartialEq)]
pub struct Interrupted {
    /// The JSON object that was written when the query began.
    pub record: Value,
}

impl ActiveQueries {
    /// Reads what the process before left in `path`, then begins anew with room for so many queries at once.
    pub fn open(path: &Path, slots: usize) -> io::Result<(Self, Vec<Interrupted>)> {
        let left = match std::fs::read(path) {
            Ok(bytes) => interrupted(&bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&(SLOT as u32).to_le_bytes());
        header.extend_from_slice(&u32::try_from(slots).unwrap_or(u32::MAX).to_le_bytes());
        file.write_all_at(&header, 0)?;
        file.set_len(offset(slots))?;
        let free = Mutex::new((0..slots).rev().collect());
        Ok((ActiveQueries { shared: Arc::new(Shared { file, free }) }, left))
    }

    /// Writes down a query that begins now, at `now` in RFC 3339. `None` if there is no room or the disk takes no more: the query
    /// runs all the same.
    pub fn enter(&self, asked: &Asked, now: &str) -> Option<Slot> {
        let number = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let slot = Slot { shared: self.shared.clone(), number };
        let record = json!({
            "query": cut(&asked.query, MAX_QUERY), "language": asked.language.as_str(), "times": asked.times.to_json(),
            "asked_by": asked.asker.to_json(), "began": now,
        });
        let mut text = record.to_string();
        if text.len() > SLOT - SLOT_HEAD {
            // Control characters take six bytes each; who asked is left out then.
            let query = cut(&asked.query, MAX_QUERY / 3);
            text = json!({"query": query, "language": asked.language.as_str(), "began": now}).to_string();
        }
        let mut bytes = Vec::with_capacity(SLOT_HEAD + text.len());
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(text.as_bytes()).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        self.shared.file.write_all_at(&bytes, offset(number)).ok().map(|()| slot)
    }
}

fn offset(slot: usize) -> u64 {
    (HEADER + slot * SLOT) as u64
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A slot that cannot be emptied would name this query after a crash; that is the worst that follows.
        if self.shared.file.write_all_at(&[0; SLOT_HEAD], offset(self.number)).is_ok() {
            self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}

fn interrupted(bytes: &[u8]) -> Vec<Interrupted> {
    let Some((header, slots)) = bytes.split_at_checked(HEADER) else { return Vec::new() };
    if !header.starts_with(MAGIC) {
        return Vec::new();
    }
    slots
        .chunks(SLOT)
        .filter_map(|slot| {
            let (len, rest) = slot.split_first_chunk::<4>()?;
            let (crc, rest) = rest.split_first_chunk::<4>()?;
            let text = rest.get(..u32::from_le_bytes(*len) as usize).filter(|t| !t.is_empty())?;
            // A slot that was half written says nothing.
            (crc32c::crc32c(text) == u32::from_le_bytes(*crc)).then_some(())?;
            Some(Interrupted { record: serde_json::from_slice(text).ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::asker::Asker;
    use crate::query::query_log::{AskedTimes, Language};

    fn asked(query: &str) -> Asked {
        let times = AskedTimes { start_ms: 1000, end_ms: 2000, step_ms: 10 };
        Asked { language: Language::PromQl, query: query.to_owned(), times, asker: Asker::inside("rules") }
    }

    #[test]
    fn what_ran_is_found_and_what_ended_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (active, left) = ActiveQueries::open(&path, 3).unwrap();
        assert_eq!(left, []);
        drop(active.enter(&asked("ended"), "now").unwrap());
        let first = active.enter(&asked("up"), "then").unwrap();
        let second = active.enter(&asked(&"\u{1}".repeat(5000)), "then").unwrap();
        let third = active.enter(&asked("torn"), "then").unwrap();
        assert!(active.enter(&asked("no room"), "then").is_none());
        // What a crash leaves: the file as it is now, one slot half written.
        let mut bytes = std::fs::read(&path).unwrap();
        let torn = bytes.windows(4).position(|w| w == b"torn").unwrap();
        bytes[torn] ^= 1;
        drop((first, second, third));
        std::fs::write(&path, bytes).unwrap();
        let (active, left) = ActiveQueries::open(&path, 3).unwrap();
        let queries: Vec<&str> = left.iter().map(|l| l.record["query"].as_str().unwrap()).collect();
        assert_eq!(queries.len(), 2);
        assert!(queries.contains(&"up"));
        let up = left.iter().find(|l| l.record["query"] == "up").unwrap();
        assert_eq!(
            (&up.record["asked_by"]["component"], &up.record["times"]["step_seconds"]),
            (&"rules".into(), &0.01.into())
        );
        drop(active);
        assert_eq!(ActiveQueries::open(&path, 3).unwrap().1, []);
        std::fs::write(&path, b"something else").unwrap();
        assert_eq!(ActiveQueries::open(&path, 1).unwrap().1, []);
    }
}
