//! Writes a row group: rows sorted by stream and time come in, bytes go out.
//!
//! ```text
//! row group = chunks, header
//! ```
//!
//! The chunks stand in the order in which the header names them; a chunk is named by its length and its CRC32C. The header is
//! described in `docs/storage-format.md`.

use super::column_writer::{ColumnWriter, Shapes, blocks_of};
use super::packed;
use super::skeleton::{Kind, Skeleton};
use super::split::{Split, split_like, split_line, split_raw};
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_bytes, take_str, take_u64};
use crate::logs::detect::{DETECTED_LEVEL, LEVELS, NO_LEVEL, is_level_only, level_name};
use crate::logs::index::pairs::NameSeed;
use crate::logs::index::{BlockTokens, Texts};
use crate::logs::limits;
use crate::model::{Labels, TimestampNs};

/// Bits of a level code.
pub(super) const LEVEL_BITS: u32 = 4;

/// The rows of one stream in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::logs) struct RunOf {
    /// The stream's number in its day.
    pub ordinal: u32,
    /// How many rows.
    pub rows: u32,
    /// Time of the first.
    pub first: TimestampNs,
    /// Time of the last.
    pub last: TimestampNs,
}

/// What the segment's directory says of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::logs) struct GroupEntry {
    /// Bytes of the chunks.
    pub data_bytes: u64,
    /// Bytes of the header.
    pub header_bytes: u64,
    /// CRC32C of the header.
    pub header_crc: u32,
    /// Streams, in the order of their rows.
    pub runs: Vec<RunOf>,
}

impl GroupEntry {
    /// Rows of all runs.
    pub fn rows(&self) -> u32 {
        self.runs.iter().map(|r| r.rows).sum()
    }

    /// Appends the entry to a directory.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.data_bytes);
        put_u64(out, self.header_bytes);
        out.extend_from_slice(&self.header_crc.to_le_bytes());
        put_u64(out, self.runs.len() as u64);
        let (mut ordinal, mut time) = (0i64, 0i64);
        for run in &self.runs {
            put_i64(out, i64::from(run.ordinal) - ordinal);
            put_u64(out, u64::from(run.rows));
            put_i64(out, run.first.wrapping_sub(time));
            put_u64(out, run.last.wrapping_sub(run.first) as u64);
            (ordinal, time) = (i64::from(run.ordinal), run.first);
        }
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::logs) struct GroupWriter {
    text: Vec<u8>,
    /// Where each line ends in `text`.
    ends: Vec<u32>,
    timestamps: Vec<TimestampNs>,
    levels: Vec<u8>,
    runs: Vec<RunOf>,
    lines: Shapes,
    metadata_text: Vec<u8>,
    metadata: Shapes,
    split: Split,
    writer: ColumnWriter,
    /// Levels without a code, with their rows, ascending.
    level_names: Vec<(u32, Box<str>)>,
}

/// The lines of a group as they were taken apart.
pub(in crate::logs) struct GroupLines<'g>(&'g GroupWriter);

impl<'g> GroupLines<'g> {
    /// Streams, in the order of their rows.
    pub fn runs(&self) -> &'g [RunOf] {
        &self.0.runs
    }

    /// The shapes, by number.
    pub fn skeletons(&self) -> impl Iterator<Item = Option<Skeleton>> + use<'g> {
        self.0.lines.shapes.iter().map(|s| Skeleton::from_key(&s.key))
    }

    /// The shape of a row.
    pub fn shape_of(&self, row: usize) -> u32 {
        self.0.lines.ids.get(row).copied().unwrap_or(u32::MAX)
    }

    /// How many variables a shape has.
    pub fn variables(&self, shape: u32) -> usize {
        self.0.lines.shapes.get(shape as usize).map_or(0, |s| s.variables)
    }

    /// The value of a variable in a row of a shape; `place` is the row's place among those of the shape.
    pub fn value(&self, shape: u32, place: usize, variable: usize) -> &'g [u8] {
        let shape = self.0.lines.shapes.get(shape as usize);
        let span = shape.and_then(|s| s.spans.get(place * s.variables + variable));
        span.and_then(|(start, end)| self.0.text.get(*start as usize..*end as usize)).unwrap_or_default()
    }

    /// When a row came.
    pub fn timestamp(&self, row: usize) -> TimestampNs {
        self.0.timestamps.get(row).copied().unwrap_or_default()
    }

    /// The code of a row's level.
    pub fn level(&self, row: usize) -> u8 {
        self.0.levels.get(row).copied().unwrap_or(NO_LEVEL)
    }

    /// The level of a row whose level has no code, if it has one.
    pub fn level_name(&self, row: usize) -> Option<&'g str> {
        let at = self.0.level_names.binary_search_by_key(&(row as u32), |(r, _)| *r).ok()?;
        self.0.level_names.get(at).map(|(_, name)| name.as_ref())
    }
}

impl GroupWriter {
    /// The lines of the rows so far.
    pub fn lines(&self) -> GroupLines<'_> {
        GroupLines(self)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether the group is to end before a row of this stream.
    pub fn is_full(&self, ordinal: u32) -> bool {
        let rows = self.rows();
        let other = self.runs.last().is_some_and(|r| r.ordinal != ordinal);
        // A stream of its own group is read without its neighbours.
        rows >= limits::GROUP_ROWS
            || self.text.len() + self.metadata_text.len() >= limits::GROUP_BYTES
            || other && rows >= limits::GROUP_ROWS / 2
    }

    /// Adds a row; rows come sorted by stream and time.
    pub fn add(&mut self, ordinal: u32, timestamp: TimestampNs, level: u8, line: &str, metadata: &Labels) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(line.as_bytes());
        self.ends.push(self.text.len() as u32);
        self.timestamps.push(timestamp);
        self.levels.push(level);
        match self.runs.last_mut().filter(|r| r.ordinal == ordinal) {
            Some(run) => {
                run.rows += 1;
                run.last = timestamp;
            }
            None => self.runs.push(RunOf { ordinal, rows: 1, first: timestamp, last: timestamp }),
        }
        if !self.add_like_another(line, start) {
            split_line(line, &mut self.split);
            let spans = self.split.spans.iter().map(|(s, e)| (s + start, e + start));
            if !self.lines.add(&self.split.key, spans, limits::MAX_SKELETONS) {
                split_raw(line.as_bytes(), &mut self.split);
                let spans = self.split.spans.iter().map(|(s, e)| (s + start, e + start));
                self.lines.add(&self.split.key, spans, usize::MAX);
            }
        }
        self.add_metadata(level, metadata);
    }

    /// Adds a line that has the shape of one of the last rows; `false` if it has not.
    fn add_like_another(&mut self, line: &str, start: u32) -> bool {
        /// Rows whose shapes are tried. Streams write lines of a few shapes in turn.
        const TRIED: usize = 3;
        let mut tried = [u32::MAX; TRIED];
        for (place, id) in (0..TRIED).zip(self.lines.ids.iter().rev()) {
            if tried.contains(id) {
                continue;
            }
            if let Some(tried) = tried.get_mut(place) {
                *tried = *id;
            }
            let Some(shape) = self.lines.shapes.get(*id as usize) else { continue };
            if split_like(&shape.key, line.as_bytes(), &mut self.split) {
                let spans = self.split.spans.iter().map(|(s, e)| (s + start, e + start));
                self.lines.add_to(*id, spans);
                return true;
            }
        }
        false
    }

    fn add_metadata(&mut self, level: u8, metadata: &Labels) {
        if level == NO_LEVEL
            && let Some(name) = metadata.get(DETECTED_LEVEL)
        {
            self.level_names.push((self.rows() as u32 - 1, name.into()));
        }
        let key = &mut self.split.key;
        key.clear();
        self.split.spans.clear();
        if is_level_only(metadata, level) {
            put_u64(key, 0);
            self.metadata.add(key, std::iter::empty(), usize::MAX);
            return;
        }
        let kept = || metadata.iter().filter(|(n, _)| level == NO_LEVEL || *n != DETECTED_LEVEL);
        put_u64(key, kept().count() as u64);
        for (name, value) in kept() {
            put_bytes(&mut self.split.key, name.as_bytes());
            let start = self.metadata_text.len() as u32;
            self.metadata_text.extend_from_slice(value.as_bytes());
            self.split.spans.push((start, self.metadata_text.len() as u32));
        }
        self.metadata.add(&self.split.key, self.split.spans.iter().copied(), usize::MAX);
    }

    /// Rows of shapes that are too rare for columns of their own become whole lines.
    fn drop_rare_shapes(&mut self) {
        let rows = self.rows();
        let rare = |n: usize| n < limits::MIN_SKELETON_ROWS && n * limits::RARE_SKELETON < rows;
        if !self.lines.shapes.iter().any(|s| rare(s.rows.len())) {
            return;
        }
        let old = std::mem::take(&mut self.lines);
        let mut at = vec![0usize; old.shapes.len()];
        for (row, id) in old.ids.iter().enumerate() {
            let Some((shape, at)) = old.shapes.get(*id as usize).zip(at.get_mut(*id as usize)) else { continue };
            let spans = shape.spans.get(*at..*at + shape.variables).unwrap_or_default();
            *at += shape.variables;
            if rare(shape.rows.len()) {
                let end = self.ends.get(row).copied().unwrap_or(0);
                let start = row.checked_sub(1).and_then(|r| self.ends.get(r).copied()).unwrap_or(0);
                split_raw(&[], &mut self.split);
                self.lines.add(&self.split.key, [(start, end)].into_iter(), usize::MAX);
            } else {
                self.lines.add(&shape.key, spans.iter().copied(), usize::MAX);
            }
        }
    }

    /// Ends the group: appends its bytes to `out`, gives its tokens to `tokens`, and is empty again.
    pub fn finish(&mut self, out: &mut Vec<u8>, tokens: &mut BlockTokens) -> GroupEntry {
        self.drop_rare_shapes();
        let rows = self.rows();
        let w = &mut self.writer;
        w.clear();
        put_u64(&mut w.header, rows as u64);
        w.integers(&self.timestamps);
        match self.levels.first().filter(|first| self.levels.iter().all(|l| l == *first)) {
            Some(level) => w.header.extend([0, *level]),
            None => {
                w.header.push(1);
                w.codes(self.levels.iter().map(|l| u64::from(*l)), LEVEL_BITS);
            }
        }
        let mut start = 0;
        let sizes: Vec<i64> =
            self.ends.iter().map(|end| i64::from(end - std::mem::replace(&mut start, *end))).collect();
        w.integers(&sizes);
        w.shapes(&self.text, &self.lines, tokens, |tokens, shape, variable| {
            if variable.is_none() && shape.key.first() != Some(&(Kind::Raw as u8)) {
                tokens.skeleton(&shape.key, blocks_of(&shape.rows));
            }
        });
        w.shapes(&self.metadata_text, &self.metadata, tokens, |tokens, shape, variable| {
            if let Some(name) = variable.and_then(|v| name_at(&shape.key, v)) {
                tokens.expect_texts(Texts::ValuesOf(NameSeed::of(name)));
            }
        });
        give_levels(&self.levels, tokens);
        tokens.expect_texts(Texts::OfLines);
        tokens.end_group();
        let header = w.compressed_header();
        out.extend_from_slice(&w.data);
        out.extend_from_slice(&header);
        let entry = GroupEntry {
            data_bytes: w.data.len() as u64,
            header_bytes: header.len() as u64,
            header_crc: crc32c::crc32c(&header),
            runs: std::mem::take(&mut self.runs),
        };
        self.text.clear();
        self.metadata_text.clear();
        self.ends.clear();
        self.timestamps.clear();
        self.levels.clear();
        self.level_names.clear();
        self.lines.clear();
        self.metadata.clear();
        entry
    }
}

/// Gives the levels that have a code to the index, as the metadata they stand for.
fn give_levels(levels: &[u8], tokens: &mut BlockTokens) {
    let mut blocks = [0u32; LEVELS.len() + 1];
    for (codes, block) in levels.chunks(limits::BLOCK_ROWS as usize).zip(0..) {
        for code in codes {
            if let Some(blocks) = blocks.get_mut(usize::from(*code)) {
                *blocks |= 1 << block;
            }
        }
    }
    tokens.expect_texts(Texts::ValuesOf(NameSeed::of(DETECTED_LEVEL)));
    for (code, blocks) in (0..).zip(blocks) {
        if let Some(name) = level_name(code) {
            tokens.text(name.as_bytes(), blocks);
        }
    }
}

/// The name of that place in the key of a set of metadata.
fn name_at(mut key: &[u8], place: usize) -> Option<&str> {
    take_u64(&mut key)?;
    for _ in 0..place {
        take_bytes(&mut key)?;
    }
    take_str(&mut key)
}

/// Bits of the shape of a row among so many shapes.
pub(super) fn shape_bits(shapes: usize) -> u32 {
    packed::width_of((shapes as u64).saturating_sub(1))
}
