//! Full chunks of the head in files of their own, so that they take no memory and need not be rebuilt at a start.
//!
//! A file is only ever appended to, by the upkeep; a start begins a new one. Magic `CAMPHED1`, then records: CRC32C of what follows
//! (four bytes), length of what follows as a varint, place and epoch of the series as varints, the chunk. Which records count is
//! said by the checkpoint; what was appended after it is made again from the log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::atomic_file;
use crate::disk::varint::{MAX_VARINT_BYTES, put_u64, take_u64};
use crate::disk::window::Window;
use crate::model::TimestampMs;
use crate::tsdb::SeriesRef;
use crate::tsdb::chunk::Chunk;
use crate::tsdb::error::Error;
use crate::tsdb::filenames::{DAMAGED_SUFFIX, HEAD_CHUNKS_SUFFIX, HEAD_DIR};

/// First bytes of a file: magic and version.
const MAGIC: [u8; 8] = *b"CAMPHED1";
/// Length at which the next file is begun; offsets stay far below 4 GiB and space comes back in small pieces.
const FILE_BYTES: u64 = 64 << 20;
/// Longest record that is looked for behind a damaged one.
const RESYNC_BYTES: usize = 16 << 10;
/// Bytes of the checksum before a record.
const CRC_BYTES: usize = 4;

/// A file of chunks; removed from disk once nothing refers to it.
#[derive(Debug)]
pub(crate) struct ChunkFile {
    /// Its number, which is its name.
    pub number: u32,
    path: PathBuf,
    file: File,
}

/// Where a chunk lies, and what must be known of it without reading it.
#[derive(Clone, Debug)]
pub(crate) struct FileChunk {
    file: Arc<ChunkFile>,
    /// Time of its first sample.
    pub mint: TimestampMs,
    /// Time of its last sample less that of its first; a chunk lies inside one block's range.
    pub span: u32,
    /// Where its record begins.
    pub offset: u32,
    /// Length of the record.
    pub len: u32,
    /// Samples in it.
    pub samples: u16,
    /// Whether they are histograms.
    pub histograms: bool,
}

/// What a record says.
pub(crate) struct Record<'a> {
    pub series: SeriesRef,
    pub chunk: &'a [u8],
}

impl FileChunk {
    /// Builds a reference as a checkpoint gives it.
    pub(crate) fn new(file: Arc<ChunkFile>, times: (TimestampMs, u32), place: (u32, u32), kind: (u16, bool)) -> Self {
        FileChunk {
            file,
            mint: times.0,
            span: times.1,
            offset: place.0,
            len: place.1,
            samples: kind.0,
            histograms: kind.1,
        }
    }

    /// Number of its file.
    pub(crate) fn file_number(&self) -> u32 {
        self.file.number
    }

    /// The encoded chunk, read into `buffer` and checked.
    pub(crate) fn read<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        buffer.clear();
        buffer.resize(self.len as usize, 0);
        let damaged = || Error::HeadChunk { file: self.file.path.clone(), offset: self.offset.into() };
        match self.file.file.read_exact_at(buffer, self.offset.into()) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
            other => other?,
        }
        parse(buffer).map(|(record, _)| record.chunk).ok_or_else(damaged)
    }
}

/// The record at the front of some bytes and its length. `None` if it is damaged or cut off.
fn parse(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let len = claimed_len(bytes)?;
    let (crc, mut body) = bytes.get(..len)?.split_first_chunk::<CRC_BYTES>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    take_u64(&mut body)?;
    let slot = u32::try_from(take_u64(&mut body)?).ok()?;
    let epoch = u32::try_from(take_u64(&mut body)?).ok()?;
    Some((Record { series: SeriesRef::new(slot, epoch), chunk: body }, len))
}

/// How long the record is that begins with these bytes.
fn claimed_len(front: &[u8]) -> Option<usize> {
    let mut rest = front.get(CRC_BYTES..)?;
    let body_len = usize::try_from(take_u64(&mut rest)?).ok()?;
    (front.len() - rest.len()).checked_add(body_len)
}

fn put_record(out: &mut Vec<u8>, series: SeriesRef, chunk: &[u8], body: &mut Vec<u8>) {
    body.clear();
    put_u64(body, series.slot().into());
    put_u64(body, series.epoch().into());
    let start = out.len();
    out.extend_from_slice(&[0; CRC_BYTES]);
    put_u64(out, (body.len() + chunk.len()) as u64);
    out.extend_from_slice(body);
    out.extend_from_slice(chunk);
    let crc = crc32c::crc32c(out.get(start + CRC_BYTES..).unwrap_or_default());
    if let Some(place) = out.get_mut(start..start + CRC_BYTES) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// All files of the head and the writing end of the newest.
#[derive(Debug)]
pub(crate) struct ChunkFiles {
    dir: PathBuf,
    all: Vec<Arc<ChunkFile>>,
    /// The file at work, and its length.
    current: Option<(Arc<ChunkFile>, u64)>,
    next: u32,
    unsynced: bool,
}

impl ChunkFiles {
    /// Opens the files of the store in `store` for reading. A file of another format is set aside.
    pub(crate) fn open(store: &Path) -> io::Result<ChunkFiles> {
        let dir = store.join(HEAD_DIR);
        fs::create_dir_all(&dir)?;
        let (mut all, mut next) = (Vec::new(), 0);
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number = name.split('.').next().and_then(|n| n.parse::<u32>().ok());
            let Some(number) = number else { continue };
            // Numbers of files that were set aside are not given again either.
            next = next.max(number.saturating_add(1));
            if !name.ends_with(HEAD_CHUNKS_SUFFIX) {
                continue;
            }
            let file = File::open(&path)?;
            let mut magic = [0; MAGIC.len()];
            match file.read_exact_at(&mut magic, 0) {
                Ok(()) if magic == MAGIC => all.push(Arc::new(ChunkFile { number, path, file })),
                // A crash at its birth: nothing refers to it.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => fs::remove_file(&path)?,
                Ok(()) => set_aside(&path, "it is not of this format")?,
                Err(e) => return Err(e),
            }
        }
        all.sort_by_key(|f| f.number);
        Ok(ChunkFiles { dir, all, current: None, next, unsynced: false })
    }

    /// The file of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<ChunkFile>> {
        self.all.binary_search_by_key(&number, |f| f.number).ok().and_then(|i| self.all.get(i))
    }

    /// Appends chunks in one write and says where they are, in the same order. On an error nothing is kept of them.
    pub(crate) fn append<'a>(
        &mut self,
        chunks: impl Iterator<Item = (SeriesRef, &'a Chunk)>,
    ) -> io::Result<Vec<FileChunk>> {
        let (file, start) = self.writable()?;
        let (mut out, mut body, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (series, c) in chunks {
            let from = out.len();
            put_record(&mut out, series, &c.data, &mut body);
            let samples = crate::tsdb::chunk::View::parse(&c.data).map_or(0, |v| v.sample_count()) as u16;
            places.push(FileChunk {
                file: file.clone(),
                mint: c.mint,
                span: u32::try_from(c.maxt.saturating_sub(c.mint)).unwrap_or(u32::MAX),
                offset: (start + from as u64) as u32,
                len: (out.len() - from) as u32,
                samples,
                histograms: crate::tsdb::chunk::is_histograms(&c.data),
            });
        }
        self.unsynced = true;
        if let Err(e) = file.file.write_all_at(&out, start) {
            // What may stand there now is never referred to; the next chunks go to another file.
            self.current = None;
            return Err(e);
        }
        self.current = Some((file, start + out.len() as u64));
        Ok(places)
    }

    fn writable(&mut self) -> io::Result<(Arc<ChunkFile>, u64)> {
        if let Some((file, len)) = &self.current
            && *len < FILE_BYTES
        {
            return Ok((file.clone(), *len));
        }
        self.sync()?;
        let number = self.next;
        let path = self.dir.join(format!("{number:08}{HEAD_CHUNKS_SUFFIX}"));
        let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        file.write_all(&MAGIC)?;
        atomic_file::sync_dir(&self.dir)?;
        self.next += 1;
        let file = Arc::new(ChunkFile { number, path, file });
        self.all.push(file.clone());
        self.current = Some((file.clone(), MAGIC.len() as u64));
        Ok((file, MAGIC.len() as u64))
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            // A failed write leaves no current file, but what was written before may be referred to.
            for f in self.all.iter().rev().take(2) {
                f.file.sync_data()?;
            }
            self.unsynced = false;
        }
        Ok(())
    }

    /// Ends the file at work: a file then holds little more than the chunks that become one block, and goes with them.
    pub(crate) fn roll(&mut self) {
        self.current = None;
    }

    /// Takes the files out that nothing in memory refers to; they may be removed once no checkpoint refers to them either.
    pub(crate) fn take_unused(&mut self) -> Vec<Arc<ChunkFile>> {
        self.all.extract_if(.., |f| Arc::strong_count(f) == 1).collect()
    }

    /// Puts files back that could not be removed yet.
    pub(crate) fn put_back(&mut self, files: Vec<Arc<ChunkFile>>) {
        self.all.extend(files);
        self.all.sort_by_key(|f| f.number);
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.all.iter().map(|f| f.file.metadata().map_or(0, |m| m.len())).sum()
    }

    /// Gives every whole record of all files, with where it is; what cannot be read is stepped over. For a checkpoint in which
    /// places of chunks were lost.
    pub(crate) fn scan(&self, mut each: impl FnMut(&Arc<ChunkFile>, u32, u32, Record<'_>)) -> io::Result<()> {
        for f in &self.all {
            let mut window = Window::open(&f.path, None)?;
            let mut at = MAGIC.len() as u64;
            while at < window.end() {
                if let Some((record, len)) = record_at(&mut window, at)? {
                    each(f, at as u32, len as u32, record);
                    at += len as u64;
                    continue;
                }
                // Without a good length there is no telling where the next record begins but to try. Long records are not looked
                // for: each try would read as much as chance says.
                at += 1;
                while at < window.end() {
                    let rest = window.at(at, RESYNC_BYTES)?;
                    if parse(rest.get(..RESYNC_BYTES).unwrap_or(rest)).is_some() {
                        break;
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }
}

/// The record at a place of a file and its length. `None` if it is damaged or cut off.
fn record_at(window: &mut Window, at: u64) -> io::Result<Option<(Record<'_>, usize)>> {
    let front = window.at(at, CRC_BYTES + MAX_VARINT_BYTES)?;
    let Some(len) = claimed_len(front).filter(|len| *len as u64 <= window.end().saturating_sub(at)) else {
        return Ok(None);
    };
    Ok(parse(window.at(at, len)?))
}

impl ChunkFile {
    /// Removes it from the disk.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Renames it, so that people can look at it and no start reads it.
    pub(crate) fn set_aside(&self, why: &str) -> io::Result<()> {
        set_aside(&self.path, why)
    }
}

fn set_aside(path: &Path, why: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(DAMAGED_SUFFIX);
    tracing::error!(file = %path.display(), why, "a chunk file of the metrics head is set aside");
    fs::rename(path, path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsdb::chunk::encode_floats;

    #[test]
    fn chunks_come_back_and_every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = ChunkFiles::open(dir.path()).unwrap();
        let chunks: Vec<Chunk> =
            (0..3i64).map(|i| encode_floats(&[i, i + 5, i + 9], &[1.0, 2.5, i as f64], &[])).collect();
        let refs: Vec<SeriesRef> = (0..3).map(|i| SeriesRef::new(i * 200, 7)).collect();
        let places = files.append(refs.iter().copied().zip(&chunks)).unwrap();
        let again = files.append(refs.iter().copied().zip(&chunks).take(1)).unwrap();
        assert_eq!(again[0].offset, places[2].offset + places[2].len);
        let mut buffer = Vec::new();
        for (p, c) in places.iter().zip(&chunks) {
            assert_eq!(p.read(&mut buffer).unwrap(), &*c.data);
            assert_eq!((p.mint, p.mint + i64::from(p.span), p.samples, p.histograms), (c.mint, c.maxt, 3, false));
        }
        let mut seen = Vec::new();
        files.scan(|_, offset, len, r| seen.push((offset, len, r.series, r.chunk.to_vec()))).unwrap();
        assert_eq!(seen.len(), 4);
        for ((offset, len, series, chunk), i) in seen.iter().zip([0, 1, 2, 0]) {
            assert_eq!((*series, chunk.as_slice()), (refs[i], &*chunks[i].data));
            assert!(*offset >= 8 && *len as usize > chunk.len());
        }
        let path = dir.path().join(HEAD_DIR).join("00000000.chunks");
        let whole = fs::read(&path).unwrap();
        for at in MAGIC.len()..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x24;
            fs::write(&path, &bad).unwrap();
            let bad: Vec<bool> = places.iter().chain(&again).map(|p| p.read(&mut buffer).is_err()).collect();
            assert_eq!(bad.iter().filter(|b| **b).count(), 1, "byte {at}");
            let mut left = 0;
            files.scan(|_, _, _, _| left += 1).unwrap();
            assert_eq!(left, 3, "byte {at}");
        }
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let whole_records = places.iter().chain(&again).filter(|p| (p.offset + p.len) as usize <= cut).count();
            let good = places.iter().chain(&again).filter(|p| p.read(&mut buffer).is_ok()).count();
            assert_eq!(good, whole_records, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_goes_when_nothing_refers_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = ChunkFiles::open(dir.path()).unwrap();
        let chunk = encode_floats(&[1, 2], &[1.0, 2.0], &[]);
        let place = files.append([(SeriesRef::new(1, 1), &chunk)].into_iter()).unwrap();
        assert!(files.take_unused().is_empty());
        files.roll();
        assert!(files.take_unused().is_empty());
        drop(place);
        let unused = files.take_unused();
        assert_eq!(unused.len(), 1);
        unused[0].remove().unwrap();
        let again = files.append([(SeriesRef::new(1, 1), &chunk)].into_iter()).unwrap();
        assert_eq!(again[0].file_number(), 1, "numbers are not used twice");
        fs::write(dir.path().join(HEAD_DIR).join("00000007.chunks"), b"CAMPHED9 or so").unwrap();
        let files = ChunkFiles::open(dir.path()).unwrap();
        assert!(files.get(7).is_none() && files.get(1).is_some());
        assert_eq!(files.next, 8);
    }
}
