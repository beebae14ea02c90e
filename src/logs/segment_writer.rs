//! Writes a segment: a file of row groups, what is found in them (patterns, pairs of metadata, tokens) and a directory. See
//! `docs/storage-format.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::columns::group_writer::{GroupEntry, GroupWriter};
use super::index::pairs::{self, PairIndex};
use super::index::{self, BlockTokens, Built, TokenIndex};
use super::patterns::mine::PatternMiner;
use super::patterns::section;
use crate::disk::atomic_file;
use crate::disk::varint::put_u64;
use crate::model::{Labels, TimestampNs};

/// First and last bytes of the file.
pub const MAGIC: &[u8; 8] = b"CAMPLOG2";
/// Numbers in the footer.
pub const FOOTER_NUMBERS: usize = 12;
/// Bytes of the footer: its numbers, their checksum, [`MAGIC`].
pub const FOOTER_BYTES: usize = FOOTER_NUMBERS * 8 + 4 + MAGIC.len();

/// Stands in the directory for patterns or pairs that are not there.
pub const NO_EXTRA: u8 = 0;

/// What the footer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// Bytes up to the end of the row groups, the patterns and the pairs.
    pub groups_end: u64,
    /// Bytes of the index' parts: words, ids, postings of words, postings of ids, trigrams.
    pub index_bytes: [u64; 5],
    /// CRC32C of the index.
    pub index_crc: u32,
    /// Bytes of the directory.
    pub directory_bytes: u64,
    /// CRC32C of the directory.
    pub directory_crc: u32,
    /// Rows of all groups.
    pub rows: u64,
    /// Time of the oldest entry.
    pub first: TimestampNs,
    /// Time of the newest.
    pub last: TimestampNs,
}

impl Footer {
    /// Writes the footer.
    pub fn encode(&self) -> Vec<u8> {
        let [a, b, c, d, e] = self.index_bytes;
        let numbers: [u64; FOOTER_NUMBERS] = [
            self.groups_end,
            a,
            b,
            c,
            d,
            e,
            u64::from(self.index_crc),
            self.directory_bytes,
            u64::from(self.directory_crc),
            self.rows,
            self.first as u64,
            self.last as u64,
        ];
        let mut out: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// Reads a footer; `None` if it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Footer> {
        let (numbers, rest) = bytes.split_at_checked(FOOTER_NUMBERS * 8)?;
        let (crc, magic) = rest.split_first_chunk::<4>()?;
        if magic != MAGIC || crc32c::crc32c(numbers) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|n| u64::from_le_bytes(*n));
        let mut next = || numbers.next();
        Some(Footer {
            groups_end: next()?,
            index_bytes: [next()?, next()?, next()?, next()?, next()?],
            index_crc: u32::try_from(next()?).ok()?,
            directory_bytes: next()?,
            directory_crc: u32::try_from(next()?).ok()?,
            rows: next()?,
            first: next()? as i64,
            last: next()? as i64,
        })
    }
}

/// A file that counts and checks what is written to it.
struct Output {
    file: File,
    /// What is not in the file yet. Dictionaries come byte by byte.
    buffer: Vec<u8>,
    bytes: u64,
    crc: u32,
    /// Bytes of the buffer that are in `crc`, or are not to be.
    summed: usize,
}

impl Output {
    /// So much is written at once.
    const BUFFER_BYTES: usize = 1 << 18;

    fn new(file: File) -> Output {
        Output { file, buffer: Vec::with_capacity(Output::BUFFER_BYTES), bytes: 0, crc: 0, summed: 0 }
    }

    fn add_up(&mut self) {
        self.crc = crc32c::crc32c_append(self.crc, self.buffer.get(self.summed..).unwrap_or_default());
        self.summed = self.buffer.len();
    }

    /// Begins a checksum of what is to come.
    fn begin_crc(&mut self) {
        (self.crc, self.summed) = (0, self.buffer.len());
    }

    /// The checksum of what came since.
    fn crc(&mut self) -> u32 {
        self.add_up();
        self.crc
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.add_up();
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.summed = 0;
        Ok(())
    }
}

impl Write for Output {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        if self.buffer.len() >= Output::BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }
}

/// Where the patterns of a segment come from.
enum Patterns {
    /// From its lines.
    Mined(Box<PatternMiner>),
    /// They are known, as [`section`] writes them; `None`: the segment is to have none.
    Given(Option<Vec<u8>>),
}

/// See the module. What is not finished is removed when the writer is dropped.
pub struct SegmentWriter {
    temporary: PathBuf,
    path: PathBuf,
    out: Output,
    group: GroupWriter,
    tokens: BlockTokens,
    patterns: Patterns,
    buffer: Vec<u8>,
    entries: Vec<GroupEntry>,
    finished: bool,
}

impl SegmentWriter {
    /// Begins the file that is to be `path`.
    pub fn create(path: &Path) -> io::Result<SegmentWriter> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary)?;
        let mut writer = SegmentWriter {
            temporary,
            path: path.to_owned(),
            out: Output::new(file),
            group: GroupWriter::default(),
            tokens: BlockTokens::default(),
            patterns: Patterns::Mined(Box::default()),
            buffer: Vec::new(),
            entries: Vec::new(),
            finished: false,
        };
        writer.out.write_all(MAGIC)?;
        Ok(writer)
    }

    /// Says what patterns the lines to come have; otherwise they are found from the lines, but not from those of copied groups.
    pub(super) fn give_patterns(&mut self, patterns: Option<Vec<u8>>) {
        self.patterns = Patterns::Given(patterns);
    }

    /// Adds a row; rows come sorted by the stream's number, then time.
    pub fn add(
        &mut self,
        ordinal: u32,
        timestamp: TimestampNs,
        level: u8,
        line: &str,
        metadata: &Labels,
    ) -> io::Result<()> {
        if self.group.is_full(ordinal) {
            self.end_group()?;
        }
        self.group.add(ordinal, timestamp, level, line, metadata);
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        if self.group.rows() == 0 {
            return Ok(());
        }
        if let Patterns::Mined(miner) = &mut self.patterns {
            miner.take(&self.group.lines());
        }
        self.buffer.clear();
        let entry = self.group.finish(&mut self.buffer, &mut self.tokens);
        self.out.write_all(&self.buffer)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds a group as another segment has it.
    pub(super) fn copy_group(&mut self, bytes: &[u8], entry: GroupEntry) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Groups so far.
    pub fn groups(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Ends a segment of added rows: indexed, synced and in its place. Without rows there is no file.
    pub fn finish(mut self) -> io::Result<Option<Footer>> {
        self.end_group()?;
        let mut tokens = std::mem::take(&mut self.tokens);
        let pairs = tokens.take_pairs().finish();
        let said = self.put_extras(pairs)?;
        self.out.begin_crc();
        let groups_end = self.out.bytes;
        let built = index::build(tokens, &mut self.out)?;
        self.end(groups_end, built, said)
    }

    /// Ends a segment of copied groups with what their indexes hold; each comes with the number of its first block here. Without
    /// an index of the pairs of each there will be none.
    pub(super) fn finish_copied(
        mut self,
        sources: &[(&TokenIndex, u32)],
        pairs: Option<&[(&PairIndex, u32)]>,
    ) -> io::Result<Option<Footer>> {
        let said = self.put_extras(pairs.and_then(pairs::merge))?;
        self.out.begin_crc();
        let groups_end = self.out.bytes;
        let built = index::merge(sources, &mut self.out)?;
        self.end(groups_end, built, said)
    }

    /// Writes the patterns and the pairs; gives what the directory is to say of them.
    fn put_extras(&mut self, pairs: Option<Vec<u8>>) -> io::Result<Vec<u8>> {
        let given = Patterns::Given(None);
        let patterns = match std::mem::replace(&mut self.patterns, given) {
            Patterns::Mined(miner) => Some(miner.finish()),
            Patterns::Given(bytes) => bytes,
        };
        let mut said = Vec::new();
        for (version, bytes) in [(section::VERSION, patterns), (pairs::VERSION, pairs)] {
            let Some(bytes) = bytes else {
                said.push(NO_EXTRA);
                continue;
            };
            self.out.write_all(&bytes)?;
            said.push(version);
            put_u64(&mut said, bytes.len() as u64);
            said.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        }
        Ok(said)
    }

    fn end(mut self, groups_end: u64, built: Built, extras: Vec<u8>) -> io::Result<Option<Footer>> {
        let runs = || self.entries.iter().flat_map(|e| &e.runs);
        let (Some(first), Some(last)) = (runs().map(|r| r.first).min(), runs().map(|r| r.last).max()) else {
            return Ok(None);
        };
        for part in [&built.word_postings, &built.id_postings, &built.trigrams] {
            self.out.write_all(part)?;
        }
        let index_crc = self.out.crc();
        let mut directory = Vec::new();
        put_u64(&mut directory, self.entries.len() as u64);
        self.entries.iter().for_each(|e| e.put(&mut directory));
        directory.extend_from_slice(&extras);
        self.out.write_all(&directory)?;
        let footer = Footer {
            groups_end,
            index_bytes: [
                built.word_terms_bytes,
                built.id_terms_bytes,
                built.word_postings.len() as u64,
                built.id_postings.len() as u64,
                built.trigrams.len() as u64,
            ],
            index_crc,
            directory_bytes: directory.len() as u64,
            directory_crc: crc32c::crc32c(&directory),
            rows: runs().map(|r| u64::from(r.rows)).sum(),
            first,
            last,
        };
        self.out.write_all(&footer.encode())?;
        self.out.flush()?;
        self.out.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.finished = true;
        atomic_file::sync_parent(&self.path)?;
        Ok(Some(footer))
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails, the next opening of the partition removes it.
            let _left = fs::remove_file(&self.temporary);
        }
    }
}
