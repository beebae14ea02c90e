//! A segment opened for reading: a mapped file of row groups with their token index.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tantivy::directory::{Directory, MmapDirectory, OwnedBytes};

use super::columns::RowGroup;
use super::columns::group_writer::{GroupEntry, RunOf};
use super::error::Error;
use super::index::pairs::{self, PairIndex};
use super::index::{Parts, TokenIndex};
use super::metrics;
use super::patterns::section::{self, Section};
use super::segment_writer::{FOOTER_BYTES, Footer, MAGIC, NO_EXTRA};
use super::stream_index::StreamId;
use crate::disk::varint::{take_i64, take_u64};
use crate::model::TimestampNs;

/// See the module.
pub struct SegmentView {
    number: u64,
    /// Day and file name, for messages.
    place: String,
    bytes: OwnedBytes,
    footer: Footer,
    directory: OwnedBytes,
    streams: Arc<[StreamId]>,
    /// One more than the largest number of a stream in it.
    ordinals: u32,
    index: OnceLock<Option<TokenIndex>>,
    patterns: Option<ExtraAt>,
    /// Whether the patterns turned out to be damaged.
    patterns_damaged: AtomicBool,
    pairs_at: Option<ExtraAt>,
    pairs: OnceLock<Option<PairIndex>>,
}

/// Where the patterns or the pairs lie.
#[derive(Clone, Debug)]
struct ExtraAt {
    range: Range<usize>,
    crc: u32,
}

impl fmt::Debug for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentView").field("place", &self.place).field("rows", &self.footer.rows).finish()
    }
}

/// Where a row group lies in its segment.
#[derive(Clone, Debug)]
pub(super) struct GroupAt {
    /// Its place among the groups.
    pub number: u32,
    offset: u64,
    pub entry: GroupEntry,
}

impl SegmentView {
    /// Opens the file `name` of the day's folder `dir`; `streams` are the day's streams by number.
    pub fn open(
        dir: &Path,
        day: &str,
        number: u64,
        name: &str,
        streams: Arc<[StreamId]>,
    ) -> Result<SegmentView, Error> {
        let place = format!("{day}/{name}");
        let damaged = |what: &str| Error::Damaged { file: place.clone(), what: what.to_owned() };
        let io = |e: &dyn fmt::Display| damaged(&e.to_string());
        let directory = MmapDirectory::open(dir).map_err(|e| io(&e))?;
        let file = directory.open_read(Path::new(name)).map_err(|e| io(&e))?;
        let bytes = file.read_bytes().map_err(|e| io(&e))?;
        let footer_at = bytes.len().checked_sub(FOOTER_BYTES).filter(|_| bytes.starts_with(MAGIC));
        let footer = footer_at.and_then(|at| bytes.get(at..)).and_then(Footer::decode);
        let (Some(footer_at), Some(footer)) = (footer_at, footer) else {
            return Err(damaged("it has no footer"));
        };
        let index_bytes = footer.index_bytes.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
        let directory_at = index_bytes.and_then(|n| n.checked_add(footer.groups_end));
        let whole = directory_at.and_then(|n| n.checked_add(footer.directory_bytes)) == Some(footer_at as u64);
        let (Some(directory_at), true) = (directory_at, whole) else {
            return Err(damaged("its parts do not add up"));
        };
        let directory = bytes.slice(directory_at as usize..footer_at);
        if crc32c::crc32c(&directory) != footer.directory_crc {
            return Err(damaged("its directory has a wrong checksum"));
        }
        let mut view = SegmentView {
            number,
            place,
            bytes,
            footer,
            directory,
            streams,
            ordinals: 0,
            index: OnceLock::new(),
            patterns: None,
            patterns_damaged: AtomicBool::new(false),
            pairs_at: None,
            pairs: OnceLock::new(),
        };
        let mut rows = 0;
        let mut lost = 0;
        let mut ordinals = 0;
        for group in view.groups() {
            let group = group.ok_or_else(|| damaged_of(&view.place, "its directory cannot be read"))?;
            for run in &group.entry.runs {
                rows += u64::from(run.rows);
                ordinals = ordinals.max(run.ordinal.saturating_add(1));
                if view.stream(run.ordinal).is_none() {
                    lost += u64::from(run.rows);
                }
            }
        }
        if rows != footer.rows {
            return Err(damaged_of(&view.place, "its directory cannot be read"));
        }
        if lost > 0 {
            tracing::error!(
                segment = view.place,
                rows = lost,
                "log entries of streams whose labels are lost are left out"
            );
            metrics::DAMAGED.with_label_values(&["stream"]).inc();
        }
        view.ordinals = ordinals;
        (view.patterns, view.pairs_at) = view.find_extras().unwrap_or_default();
        Ok(view)
    }

    /// One more than the largest number of a stream in it.
    pub fn ordinals(&self) -> u32 {
        self.ordinals
    }

    /// The segment's number in its day.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Day and file name.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Rows of all groups.
    pub fn rows(&self) -> u64 {
        self.footer.rows
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Times of the oldest and the newest entry.
    pub fn bounds(&self) -> (TimestampNs, TimestampNs) {
        (self.footer.first, self.footer.last)
    }

    /// The stream with a number, unless its labels are lost.
    pub fn stream(&self, ordinal: u32) -> Option<StreamId> {
        self.streams.get(ordinal as usize).copied().filter(|s| *s != StreamId::LOST)
    }

    /// The row groups in order; a `None` ends a directory that cannot be read.
    pub(super) fn groups(&self) -> impl Iterator<Item = Option<GroupAt>> + '_ {
        let mut input: &[u8] = &self.directory;
        let mut left = take_u64(&mut input);
        let mut number = 0;
        let mut offset = MAGIC.len() as u64;
        std::iter::from_fn(move || {
            let more = match &mut left {
                None => {
                    left = Some(0);
                    return Some(None);
                }
                Some(n) => n,
            };
            *more = more.checked_sub(1)?;
            let Some(entry) = take_entry(&mut input) else {
                left = Some(0);
                return Some(None);
            };
            let at = GroupAt { number, offset, entry };
            number += 1;
            offset = offset.saturating_add(at.entry.data_bytes).saturating_add(at.entry.header_bytes);
            Some(Some(at))
        })
    }

    /// The bytes of a group.
    pub(super) fn group_bytes(&self, at: &GroupAt) -> Result<OwnedBytes, Error> {
        let end = at.offset.saturating_add(at.entry.data_bytes).saturating_add(at.entry.header_bytes);
        if end > self.footer.groups_end {
            return Err(damaged_of(&self.place, "a row group lies outside"));
        }
        Ok(self.bytes.slice(at.offset as usize..end as usize))
    }

    /// Opens a group.
    pub(super) fn open_group(&self, at: &GroupAt) -> Result<RowGroup, Error> {
        let place = format!("{} row group {}", self.place, at.number);
        RowGroup::open(self.group_bytes(at)?, &at.entry, &self.streams, &place)
    }

    /// The token index; checked when it is first asked for. `None` if it is damaged: then every block is a candidate.
    pub(super) fn index(&self) -> Option<&TokenIndex> {
        let open = || {
            // Damage that no checksum shows could still show as a panic inside the dictionaries' code.
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.open_index()));
            match opened {
                Ok(Ok(index)) => Some(index),
                failed => {
                    let error = match failed {
                        Ok(Err(e)) => e.to_string(),
                        _ => "the index library gave up on it".to_owned(),
                    };
                    tracing::error!(
                        segment = self.place,
                        error,
                        "damaged token index of a log segment is not used; lines are read instead"
                    );
                    metrics::DAMAGED.with_label_values(&["index"]).inc();
                    None
                }
            }
        };
        self.index.get_or_init(open).as_ref()
    }

    /// What the directory says behind its groups of patterns and pairs. Older segments say nothing there or less; what has a form
    /// that this version does not know is left alone.
    fn find_extras(&self) -> Option<(Option<ExtraAt>, Option<ExtraAt>)> {
        let mut input: &[u8] = &self.directory;
        let mut start = MAGIC.len() as u64;
        for _ in 0..take_u64(&mut input)? {
            let entry = take_entry(&mut input)?;
            start = start.checked_add(entry.data_bytes)?.checked_add(entry.header_bytes)?;
        }
        let mut extra = |known: u8| -> Option<Option<ExtraAt>> {
            let (version, rest) = input.split_first()?;
            input = rest;
            if *version == NO_EXTRA {
                return Some(None);
            }
            let end = start.checked_add(take_u64(&mut input)?).filter(|end| *end <= self.footer.groups_end)?;
            let (crc, rest) = input.split_first_chunk::<4>()?;
            input = rest;
            let range = start as usize..end as usize;
            start = end;
            Some((*version == known).then(|| ExtraAt { range, crc: u32::from_le_bytes(*crc) }))
        };
        let patterns = extra(section::VERSION)?;
        Some((patterns, extra(pairs::VERSION).flatten()))
    }

    /// The index of the pairs of structured metadata, checked when it is first asked for; `None` if the segment was written without, or
    /// it is damaged: then every block can hold any pair.
    pub(super) fn pairs(&self) -> Option<&PairIndex> {
        let at = self.pairs_at.as_ref()?;
        let open = || {
            let bytes = self.bytes.slice(at.range.clone());
            let pairs = (crc32c::crc32c(&bytes) == at.crc).then(|| PairIndex::open(bytes)).flatten();
            if pairs.is_none() {
                tracing::error!(
                    segment = self.place,
                    "damaged index of the metadata in a log segment is not used; the metadata is read instead"
                );
                metrics::DAMAGED.with_label_values(&["index"]).inc();
            }
            pairs
        };
        self.pairs.get_or_init(open).as_ref()
    }

    /// The patterns of its lines; `None` if it was written without, or they are damaged, which is told once.
    pub(super) fn patterns(&self) -> Option<Section> {
        let at = self.patterns.as_ref().filter(|_| !self.patterns_damaged.load(Ordering::Relaxed))?;
        let bytes = self.bytes.get(at.range.clone()).unwrap_or_default();
        let section = (crc32c::crc32c(bytes) == at.crc).then(|| Section::read(bytes)).flatten();
        if section.is_none() && !self.patterns_damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                segment = self.place,
                "damaged patterns of a log segment are not used; they are found anew"
            );
            metrics::DAMAGED.with_label_values(&["patterns"]).inc();
        }
        section
    }

    /// Where the patterns lie in the file.
    #[cfg(test)]
    pub(super) fn patterns_range(&self) -> Option<Range<usize>> {
        self.patterns.as_ref().map(|p| p.range.clone())
    }

    fn open_index(&self) -> Result<TokenIndex, Error> {
        let mut at = self.footer.groups_end as usize;
        let end = at + self.footer.index_bytes.iter().sum::<u64>() as usize;
        if crc32c::crc32c(self.bytes.get(at..end).unwrap_or_default()) != self.footer.index_crc {
            return Err(damaged_of(&self.place, "its token index has a wrong checksum"));
        }
        let [words, ids, word_postings, id_postings, trigrams] = self.footer.index_bytes.map(|n| {
            let start = at;
            at += n as usize;
            self.bytes.slice(start..at)
        });
        let parts = Parts { word_terms: words, id_terms: ids, word_postings, id_postings, trigrams };
        TokenIndex::open(parts).map_err(|e| damaged_of(&self.place, &e.to_string()))
    }
}

fn damaged_of(place: &str, what: &str) -> Error {
    Error::Damaged { file: place.to_owned(), what: what.to_owned() }
}

fn take_entry(input: &mut &[u8]) -> Option<GroupEntry> {
    let data_bytes = take_u64(input)?;
    let header_bytes = take_u64(input)?;
    let (crc, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    let count = usize::try_from(take_u64(input)?).ok().filter(|n| *n <= input.len())?;
    let mut runs = Vec::with_capacity(count);
    let (mut ordinal, mut time) = (0i64, 0i64);
    let mut sum = 0u32;
    for _ in 0..count {
        ordinal = ordinal.checked_add(take_i64(input)?)?;
        let rows = u32::try_from(take_u64(input)?).ok()?;
        sum = sum.checked_add(rows)?;
        time = time.wrapping_add(take_i64(input)?);
        let last = time.wrapping_add(take_u64(input)? as i64);
        runs.push(RunOf { ordinal: u32::try_from(ordinal).ok()?, rows, first: time, last });
    }
    Some(GroupEntry { data_bytes, header_bytes, header_crc: u32::from_le_bytes(*crc), runs })
}
