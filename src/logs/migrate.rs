//! Rewrites a day of format 1, in which each entry was a document of a Tantivy index, in the present format.
//!
//! The new folder is made beside the old one (`NAME.new`; its format file comes last) and then takes its place: the old one is
//! renamed to `NAME.removed`, or to `NAME.damagedN` if a part of it could not be read. A crash in between is made good by the
//! next start ([`finish_interrupted`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tantivy::schema::document::{
    DeserializeError, DocumentDeserialize, DocumentDeserializer, ValueDeserialize, ValueDeserializer,
};
use tantivy::{Index, Segment, SegmentReader, TantivyError};

use super::batch::take_labels;
use super::detect;
use super::doubles::Doubles;
use super::error::Error;
use super::manifest::{Manifest, segment_file};
use super::metrics;
use super::partition::{FORMAT, FORMAT_FILE, NS_PER_DAY, day_of_name};
use super::segment_writer::SegmentWriter;
use super::stream_index::StreamIndex;
use super::stream_table::StreamTable;
use crate::disk::atomic_file;
use crate::disk::wal::WalPosition;
use crate::disk::wal::record::{self, Decoded};
use crate::model::{Labels, TimestampNs};

/// The format that is rewritten.
const OLD_FORMAT: &str = "1";
/// The stream table of the old format.
const OLD_STREAM_TABLE: &str = "streams.table";
/// Bits of an old sort key that hold the nanosecond of the day; the stream's number is above them.
const TIME_BITS: u32 = 47;

/// Ends what a crash interrupted: puts finished rewritten days in their place, removes unfinished ones.
pub fn finish_interrupted(days_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(days_dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(day) = name.strip_suffix(".new").filter(|d| day_of_name(d).is_some()) else { continue };
        let old = days_dir.join(day);
        if path.join(FORMAT_FILE).try_exists()? && !old.try_exists()? {
            fs::rename(&path, &old)?;
        } else {
            fs::remove_dir_all(&path)?;
        }
    }
    atomic_file::sync_dir(days_dir)
}

/// Rewrites the day `name` in `root` if it has the old format.
pub fn bring_up_to_date(root: &Path, day: i32, name: &str) -> Result<(), Error> {
    let dir = root.join(name);
    match fs::read_to_string(dir.join(FORMAT_FILE)) {
        Ok(text) if text.trim() == OLD_FORMAT => {}
        _ => return Ok(()),
    }
    tracing::info!(partition = name, "log partition of format 1 is rewritten in the present format");
    let new = root.join(format!("{name}.new"));
    let io = || Error::io("rewrite a partition of format 1");
    if new.try_exists().map_err(io())? {
        fs::remove_dir_all(&new).map_err(io())?;
    }
    fs::create_dir_all(&new).map_err(io())?;
    let converted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| convert(&dir, &new, day, name)));
    let damaged = converted.unwrap_or_else(|_| {
        Err(Error::Damaged { file: name.to_owned(), what: "the index library gave up on it".to_owned() })
    })?;
    atomic_file::write(&new.join(FORMAT_FILE), format!("{FORMAT}\n").as_bytes()).map_err(io())?;
    atomic_file::sync_dir(&new).map_err(io())?;
    let aside = if damaged { free_name(&dir) } else { dir.with_extension("removed") };
    fs::rename(&dir, &aside).map_err(io())?;
    fs::rename(&new, &dir).map_err(io())?;
    atomic_file::sync_dir(root).map_err(io())?;
    if damaged {
        tracing::error!(partition = name, kept = %aside.display(), "parts of the old partition could not be read; it is kept");
        return Ok(());
    }
    fs::remove_dir_all(&aside).map_err(io())
}

/// A name beside `dir` for something damaged that nothing has yet.
pub fn free_name(dir: &Path) -> PathBuf {
    let mut n = 0;
    loop {
        let path = dir.with_extension(format!("damaged{n}"));
        if matches!(path.try_exists(), Ok(false)) || n == 1000 {
            return path;
        }
        n += 1;
    }
}

/// Writes the segments of `old` to `new`; says whether something could not be read.
fn convert(old: &Path, new: &Path, day: i32, name: &str) -> Result<bool, Error> {
    let failed = |source| Error::Index { partition: name.to_owned(), what: "read", source };
    let io = || Error::io("rewrite a partition of format 1");
    let streams = old_streams(&old.join(OLD_STREAM_TABLE)).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => {
            Error::Damaged { file: format!("{name}/{OLD_STREAM_TABLE}"), what: e.to_string() }
        }
        _ => Error::Io { what: "rewrite a partition of format 1", source: e },
    })?;
    let index = StreamIndex::default();
    let mut table = StreamTable::open(new, &index).map_err(io())?;
    for labels in &streams {
        table.ordinal(index.intern(labels));
    }
    table.write(&index).map_err(io())?;
    let opened = Index::open_in_dir(old).map_err(failed)?;
    let covered = position_of(&opened).map_err(failed)?;
    let mut manifest = Manifest { covered, next: 1, segments: Vec::new() };
    let mut damaged = false;
    for segment in opened.searchable_segments().map_err(failed)? {
        let path = new.join(segment_file(manifest.next));
        match rewrite(&segment, day, streams.len(), &path) {
            Ok(true) => {
                manifest.segments.push(manifest.next);
                manifest.next += 1;
            }
            Ok(false) => {}
            Err(Failed::Write(source)) => {
                return Err(Error::Io { what: "rewrite a partition of format 1", source });
            }
            Err(Failed::Read(error)) => {
                let segment = segment.id().uuid_string();
                tracing::error!(partition = name, segment, error, "damaged log segment is left out");
                metrics::DAMAGED.with_label_values(&["segment"]).inc();
                damaged = true;
            }
        }
    }
    manifest.write(new).map_err(io())?;
    Ok(damaged)
}

/// The old table: label sets in records, numbered by their place.
fn old_streams(path: &Path) -> io::Result<Vec<Labels>> {
    let content = match fs::read(path) {
        Ok(c) => c,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let mut streams = Vec::new();
    let mut rest = content.as_slice();
    while let Decoded::Record(payload, len) = record::decode(rest) {
        let mut input = &*payload;
        while !input.is_empty() {
            streams.push(take_labels(&mut input).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "a record of the stream table is no label set")
            })?);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    Ok(streams)
}

/// The WAL position the last commit carries.
fn position_of(index: &Index) -> tantivy::Result<WalPosition> {
    let Some(payload) = index.load_metas()?.payload else { return Ok(WalPosition::default()) };
    let mut parts = payload.split(' ').skip(1).map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(segment)), Some(Ok(offset))) => Ok(WalPosition { segment, offset }),
        _ => Err(TantivyError::InvalidArgument(format!("commit without a WAL position: {payload:?}"))),
    }
}

enum Failed {
    Read(String),
    Write(io::Error),
}

/// Writes the documents of a segment, which are sorted by stream and time, to the segment `path`; `false` if there are none.
fn rewrite(segment: &Segment, day: i32, streams: usize, path: &Path) -> Result<bool, Failed> {
    let read = |e: TantivyError| Failed::Read(e.to_string());
    let reader = SegmentReader::open(segment).map_err(read)?;
    let column = |name| {
        let column = reader.fast_fields().u64(name).map_err(read)?;
        if column.get_cardinality().is_full() && column.values.num_vals() == reader.max_doc() {
            Ok(column.values)
        } else {
            Err(Failed::Read(format!("column {name} is not complete")))
        }
    };
    let (keys, levels) = (column("key")?, column("level")?);
    let lines = reader.get_store_reader(1).map_err(|e| Failed::Read(e.to_string()))?;
    let day_start = i64::from(day).saturating_mul(NS_PER_DAY);
    let mut writer = SegmentWriter::create(path).map_err(Failed::Write)?;
    let mut doubles = Doubles::default();
    for doc in 0..reader.max_doc() {
        let key = keys.get_val(doc);
        let ordinal = (key >> TIME_BITS) as u32;
        if ordinal as usize >= streams {
            return Err(Failed::Read(format!("stream number {ordinal} is not in the stream table")));
        }
        let timestamp: TimestampNs = day_start + (key & ((1 << TIME_BITS) - 1)) as i64;
        let level = u8::try_from(levels.get_val(doc)).unwrap_or(detect::NO_LEVEL);
        let stored: StoredEntry = lines.get(doc).map_err(read)?;
        let extra = match stored.extra.as_slice() {
            [] => Labels::empty(),
            mut extra => take_labels(&mut extra).ok_or_else(|| Failed::Read("metadata cannot be read".to_owned()))?,
        };
        let line = String::from_utf8_lossy(&stored.line);
        let metadata = detect::with_level(&extra, level);
        if !doubles.is_double(key, &line, &metadata) {
            writer.add(ordinal, timestamp, level, &line, &metadata).map_err(Failed::Write)?;
        }
    }
    Ok(writer.finish().map_err(Failed::Write)?.is_some())
}

/// What the old format stored of an entry.
#[derive(Debug, Default)]
struct StoredEntry {
    line: Vec<u8>,
    /// Metadata without a coded level; empty if there is none.
    extra: Vec<u8>,
}

struct StoredBytes(Vec<u8>);

impl ValueDeserialize for StoredBytes {
    fn deserialize<'de, D: ValueDeserializer<'de>>(deserializer: D) -> Result<Self, DeserializeError> {
        deserializer.deserialize_bytes().map(StoredBytes)
    }
}

impl DocumentDeserialize for StoredEntry {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut deserializer: D) -> Result<Self, DeserializeError> {
        // The line, then perhaps the metadata.
        let mut entry = StoredEntry::default();
        if let Some((_, StoredBytes(line))) = deserializer.next_field()? {
            entry.line = line;
        }
        if let Some((_, StoredBytes(extra))) = deserializer.next_field()? {
            entry.extra = extra;
        }
        Ok(entry)
    }
}
