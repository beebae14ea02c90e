//! The streams of one partition: a file that numbers them, appended to before a commit uses a number.
//!
//! Each record (in the WAL's record format) holds the number of its first label set and then one or more label sets, whose
//! numbers follow one another. So a record that is damaged costs its own label sets only.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::batch::{put_labels, take_labels};
use super::limits::MAX_STREAMS_PER_DAY;
use super::metrics;
use super::stream_index::{StreamId, StreamIndex};
use crate::disk::atomic_file;
use crate::disk::varint::{put_u64, take_u64};
use crate::disk::wal::record::{self, Compression, Decoded};

/// Name of the file in the partition's folder.
pub const FILE: &str = "streams";

/// See the module.
#[derive(Debug)]
pub struct StreamTable {
    file: File,
    len_bytes: u64,
    /// By number; [`StreamId::LOST`] where the labels are lost.
    ids: Vec<StreamId>,
    ordinals: HashMap<StreamId, u32>,
    /// Streams from this number on are not in the file yet.
    written: usize,
}

/// Reads one record's label sets into their places.
fn read_record(mut payload: &[u8], index: &StreamIndex, ids: &mut Vec<StreamId>) -> Option<()> {
    let input = &mut payload;
    let mut at = usize::try_from(take_u64(input)?).ok().filter(|n| *n <= MAX_STREAMS_PER_DAY)?;
    while !input.is_empty() {
        let labels = take_labels(input)?;
        if at >= MAX_STREAMS_PER_DAY {
            return None;
        }
        if ids.len() <= at {
            ids.resize(at + 1, StreamId::LOST);
        }
        if let Some(place) = ids.get_mut(at) {
            *place = index.intern(&labels);
        }
        at += 1;
    }
    Some(())
}

impl StreamTable {
    /// Opens or creates the table in `dir`. What a crash left half-written at the end is not used (no commit refers to it) and
    /// cut off by the next write; a damaged record in the middle is told and left out.
    pub fn open(dir: &Path, index: &StreamIndex) -> io::Result<StreamTable> {
        let path = dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(c) => c,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let mut ids = Vec::new();
        let (mut at, mut good, mut damaged) = (0, 0, 0u64);
        while let Some(rest) = content.get(at..).filter(|r| !r.is_empty()) {
            match record::decode(rest) {
                Decoded::Record(payload, len) if read_record(&payload, index, &mut ids).is_some() => {
                    at += len;
                    good = at;
                }
                _ => {
                    // The length may be what is damaged: look for the next whole record byte by byte.
                    let whole = |skip: &usize| {
                        matches!(record::decode(rest.get(*skip..).unwrap_or_default()), Decoded::Record(..))
                    };
                    let Some(skip) = (1..rest.len()).find(whole) else { break };
                    damaged += 1;
                    at += skip;
                }
            }
        }
        if damaged > 0 {
            tracing::error!(file = %path.display(), damaged, "records of a stream table are damaged and left out");
            metrics::DAMAGED.with_label_values(&["stream_table"]).inc_by(damaged);
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        atomic_file::sync_dir(dir)?;
        let known = ids.iter().enumerate().filter(|(_, id)| **id != StreamId::LOST);
        let ordinals = known.map(|(i, id)| (*id, i as u32)).collect();
        let written = ids.len();
        Ok(StreamTable { file, len_bytes: good as u64, ids, ordinals, written })
    }

    /// Numbers below this are in use, although the table may have lost them.
    pub fn reserve_up_to(&mut self, used: u32) {
        if self.ids.len() < used as usize {
            self.ids.resize(used as usize, StreamId::LOST);
            self.written = self.ids.len();
        }
    }

    /// The number of a stream here; a new one gets the next. `None` when the partition is full.
    pub fn ordinal(&mut self, id: StreamId) -> Option<u32> {
        if let Some(o) = self.ordinals.get(&id) {
            return Some(*o);
        }
        if self.ids.len() >= MAX_STREAMS_PER_DAY {
            return None;
        }
        let ordinal = self.ids.len() as u32;
        self.ids.push(id);
        self.ordinals.insert(id, ordinal);
        Some(ordinal)
    }

    /// The stream of each number.
    pub fn ids(&self) -> Arc<[StreamId]> {
        self.ids.as_slice().into()
    }

    /// Makes the new numbers durable.
    pub fn write(&mut self, index: &StreamIndex) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let unwritten = self.ids.get(self.written..).unwrap_or_default();
        if unwritten.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        put_u64(&mut payload, self.written as u64);
        for id in unwritten {
            put_labels(&mut payload, &index.labels(*id), None);
        }
        let mut out = Vec::new();
        record::encode(&mut out, &payload, Compression::Zstd);
        self.file.set_len(self.len_bytes)?;
        self.file.seek(SeekFrom::Start(self.len_bytes))?;
        let written = self.file.write_all(&out).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // The next attempt writes over the part; if even cutting fails, it does so all the more.
            let _cut = self.file.set_len(self.len_bytes);
            return Err(e);
        }
        self.len_bytes += out.len() as u64;
        self.written = self.ids.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn numbers_survive_torn_tails_and_damage_in_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        let index = StreamIndex::default();
        let id = |n: &str| index.intern(&Labels::from_pairs([("app", n)]));
        let mut table = StreamTable::open(dir.path(), &index).unwrap();
        assert_eq!(
            (table.ordinal(id("b")), table.ordinal(id("a")), table.ordinal(id("b"))),
            (Some(0), Some(1), Some(0))
        );
        table.write(&index).unwrap();
        let whole = fs::read(dir.path().join(FILE)).unwrap().len();
        table.ordinal(id("c"));
        table.write(&index).unwrap();
        let content = fs::read(dir.path().join(FILE)).unwrap();
        let names = |bytes: &[u8]| {
            fs::write(dir.path().join(FILE), bytes).unwrap();
            let fresh = StreamIndex::default();
            let table = StreamTable::open(dir.path(), &fresh).unwrap();
            let name = |i: &StreamId| (*i != StreamId::LOST).then(|| fresh.labels(*i).value("app").to_owned());
            table.ids().iter().map(name).collect::<Vec<_>>()
        };
        let some = |n: &str| Some(n.to_owned());
        for cut in whole..content.len() {
            assert_eq!(names(&content[..cut]), [some("b"), some("a")], "cut at {cut}");
        }
        for at in 0..whole {
            let mut flipped = content.clone();
            flipped[at] ^= 0x10;
            let found = names(&flipped);
            assert_eq!(found, [None, None, some("c")], "flipped at {at}");
        }
    }
}
