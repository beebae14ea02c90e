//! The streams of one partition: a file that numbers them, appended to before a commit uses a number.
//!
//! Each record (in the WAL's record format) holds one or more label sets; a stream's number is its place in the file.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::batch::{put_labels, take_labels};
use super::limits::MAX_STREAMS_PER_DAY;
use super::stream_index::{StreamId, StreamIndex};
use crate::disk::atomic_file;
use crate::disk::wal::record::{self, Compression, Decoded};

/// Name of the file in the partition's folder.
pub const FILE: &str = "streams.table";

/// See the module.
#[derive(Debug)]
pub struct StreamTable {
    file: File,
    len_bytes: u64,
    ids: Vec<StreamId>,
    ordinals: HashMap<StreamId, u32>,
    /// Streams that got a number but are not in the file yet.
    unwritten: Vec<StreamId>,
}

impl StreamTable {
    /// Opens or creates the table in `dir`. What a crash left half-written at the end is not used (no commit refers to it) and
    /// cut off by the next write.
    pub fn open(dir: &Path, index: &StreamIndex) -> io::Result<StreamTable> {
        let path = dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(c) => c,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let mut ids = Vec::new();
        let mut good = 0;
        while let Some(rest) = content.get(good..).filter(|r| !r.is_empty()) {
            let Decoded::Record(payload, len) = record::decode(rest) else { break };
            let mut input = &*payload;
            while !input.is_empty() {
                let labels = take_labels(&mut input).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "a record of the stream table is no label set")
                })?;
                ids.push(index.intern(&labels));
            }
            good += len;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        atomic_file::sync_dir(dir)?;
        let ordinals = ids.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
        Ok(StreamTable { file, len_bytes: good as u64, ids, ordinals, unwritten: Vec::new() })
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
        self.unwritten.push(id);
        Some(ordinal)
    }

    /// The stream of each number.
    pub fn ids(&self) -> &[StreamId] {
        &self.ids
    }

    /// Makes the new numbers durable.
    pub fn write(&mut self, index: &StreamIndex) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        for id in &self.unwritten {
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
        self.unwritten.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn numbers_survive_and_torn_tails_are_cut() {
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
        for cut in whole..content.len() {
            fs::write(dir.path().join(FILE), &content[..cut]).unwrap();
            let fresh = StreamIndex::default();
            let table = StreamTable::open(dir.path(), &fresh).unwrap();
            let names: Vec<String> = table.ids().iter().map(|i| fresh.labels(*i).value("app").to_owned()).collect();
            assert_eq!(names, ["b", "a"], "cut at {cut}");
        }
    }
}
