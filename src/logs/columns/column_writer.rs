//! Chooses the form of a column and writes it.
//!
//! A column is a descriptor in the header of its row group and at most one chunk of data; a split column has a descriptor for
//! each of its parts. While a column is written its tokens go to the index, because what repeats is already known here.

use std::collections::HashMap;

use super::column::{MAX_DIGITS, parse_canonical, parse_digits, push_integer};
use super::group_writer::shape_bits;
use super::packed;
use super::skeleton::Kind;
use super::split::{Span, Split, split_text};
use crate::disk::varint::{put_bytes, put_u64};
use crate::logs::byte_hash::ByHash;
use crate::logs::index::{BlockTokens, Texts};
use crate::logs::limits;

/// Descriptor: the same value everywhere; the value follows.
pub(super) const CONSTANT: u8 = 0;
/// Descriptor: whole numbers; digits they are padded to, a chunk of integers.
pub(super) const INTEGERS: u8 = 1;
/// Descriptor: a dictionary; number of values, a chunk of texts and codes.
pub(super) const DICTIONARY: u8 = 2;
/// Descriptor: hexadecimal texts of one length; the length, a chunk of bytes.
pub(super) const HEX: u8 = 3;
/// Descriptor: texts; a chunk of texts.
pub(super) const STRINGS: u8 = 4;
/// Descriptor: texts taken apart; skeletons, a chunk with the skeleton of each row, the columns of each skeleton.
pub(super) const SPLIT: u8 = 5;

/// Dictionaries have fewer values than this, so that a code fits two bytes and a query can look at each.
const MAX_DICTIONARY: usize = 4096;
/// So many values are looked at to tell whether a dictionary is worth trying.
const SAMPLE: usize = 64;
/// Texts below this are not worth compressing.
const COMPRESS_FROM: usize = 64;
/// Columns shorter than this are not taken apart further.
const SPLIT_FROM: usize = 32;
/// zstd level of texts: level 1 takes half the time of level 3 for a tenth more bytes.
const ZSTD_LEVEL: i32 = 1;

/// The block of the row at a place.
fn block_of(rows: &[u32], place: usize) -> u32 {
    rows.get(place).map_or(0, |row| row / limits::BLOCK_ROWS)
}

/// A bit for each block of the group with at least one of the rows.
pub(super) fn blocks_of(rows: &[u32]) -> u32 {
    rows.iter().fold(0, |blocks, row| blocks | 1 << (row / limits::BLOCK_ROWS))
}

/// Rows told apart by shape.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    by_key: HashMap<Box<[u8]>, u32, ByHash>,
    /// The shape of each row.
    pub ids: Vec<u32>,
    pub shapes: Vec<Shape>,
}

/// Rows of one shape.
#[derive(Debug)]
pub(super) struct Shape {
    pub key: Box<[u8]>,
    pub variables: usize,
    /// For each row its variables' places, one row after another.
    pub spans: Vec<Span>,
    pub rows: Vec<u32>,
}

impl Shapes {
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.ids.clear();
        self.shapes.clear();
    }

    /// Adds the next row; `false` (and nothing added) if it would be a new shape and there are `max`.
    pub fn add(&mut self, key: &[u8], spans: impl ExactSizeIterator<Item = Span>, max: usize) -> bool {
        let id = match self.by_key.get(key) {
            Some(id) => *id,
            None if self.shapes.len() >= max => return false,
            None => {
                let id = self.shapes.len() as u32;
                self.by_key.insert(key.into(), id);
                let variables = spans.len();
                self.shapes.push(Shape { key: key.into(), variables, spans: Vec::new(), rows: Vec::new() });
                id
            }
        };
        self.add_to(id, spans);
        true
    }

    /// Adds the next row, which has this shape.
    pub fn add_to(&mut self, id: u32, spans: impl Iterator<Item = Span>) {
        if let Some(shape) = self.shapes.get_mut(id as usize) {
            shape.rows.push(self.ids.len() as u32);
            shape.spans.extend(spans);
        }
        self.ids.push(id);
    }
}

/// See the module.
pub(super) struct ColumnWriter {
    /// Descriptors.
    pub header: Vec<u8>,
    /// Chunks.
    pub data: Vec<u8>,
    chunk: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// Reused for each column.
    spans: Vec<Span>,
    integers: Vec<i64>,
}

impl Default for ColumnWriter {
    fn default() -> Self {
        ColumnWriter {
            header: Vec::new(),
            data: Vec::new(),
            chunk: Vec::new(),
            zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL).ok(),
            spans: Vec::new(),
            integers: Vec::new(),
        }
    }
}

fn slice<'a>(text: &'a [u8], (start, end): &Span) -> &'a [u8] {
    text.get(*start as usize..*end as usize).unwrap_or_default()
}

impl ColumnWriter {
    pub fn clear(&mut self) {
        self.header.clear();
        self.data.clear();
    }

    /// Ends the chunk that was written to `self.chunk`: its length and checksum go to the header.
    fn end_chunk(&mut self) {
        put_u64(&mut self.header, self.chunk.len() as u64);
        self.header.extend_from_slice(&crc32c::crc32c(&self.chunk).to_le_bytes());
        self.data.append(&mut self.chunk);
    }

    /// Writes a chunk of integers.
    pub fn integers(&mut self, values: &[i64]) {
        packed::put_integers(&mut self.chunk, values);
        self.end_chunk();
    }

    /// Writes a chunk of small numbers, `width` bits each.
    pub fn codes(&mut self, codes: impl Iterator<Item = u64>, width: u32) {
        packed::pack(&mut self.chunk, codes, width);
        self.end_chunk();
    }

    fn put_compressed(&mut self, bytes: &[u8]) {
        let compressed = self
            .zstd
            .as_mut()
            .filter(|_| bytes.len() >= COMPRESS_FROM)
            .and_then(|z| z.compress(bytes).ok())
            .filter(|c| c.len() < bytes.len());
        match compressed {
            Some(c) => {
                put_u64(&mut self.chunk, bytes.len() as u64);
                put_bytes(&mut self.chunk, &c);
            }
            None => {
                put_u64(&mut self.chunk, 0);
                put_bytes(&mut self.chunk, bytes);
            }
        }
    }

    fn put_texts<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        let lengths: Vec<i64> = texts.clone().map(|t| t.len() as i64).collect();
        packed::put_integers(&mut self.chunk, &lengths);
        let mut joined = Vec::with_capacity(texts.clone().map(<[u8]>::len).sum());
        texts.for_each(|t| joined.extend_from_slice(t));
        self.put_compressed(&joined);
    }

    /// Compresses what the caller wrote; for headers.
    pub fn compressed_header(&mut self) -> Vec<u8> {
        let header = std::mem::take(&mut self.header);
        self.put_compressed(&header);
        self.header = header;
        std::mem::take(&mut self.chunk)
    }

    /// Writes the columns of all shapes, after their keys and the shape of each row. `before` is called for each shape, and then
    /// for each of its columns with its number, before what is in it goes to the index.
    pub fn shapes(
        &mut self,
        text: &[u8],
        shapes: &Shapes,
        tokens: &mut BlockTokens,
        before: impl Fn(&mut BlockTokens, &Shape, Option<usize>),
    ) {
        self.put_shapes(shapes);
        for shape in &shapes.shapes {
            before(tokens, shape, None);
            for v in 0..shape.variables {
                before(tokens, shape, Some(v));
                let mut spans = std::mem::take(&mut self.spans);
                spans.clear();
                spans.extend(shape.spans.iter().skip(v).step_by(shape.variables));
                self.column(text, &spans, &shape.rows, true, tokens);
                self.spans = spans;
            }
        }
    }

    /// Writes the keys, and which row has which.
    fn put_shapes(&mut self, shapes: &Shapes) {
        put_u64(&mut self.header, shapes.shapes.len() as u64);
        for shape in &shapes.shapes {
            put_bytes(&mut self.header, &shape.key);
            put_u64(&mut self.header, shape.rows.len() as u64);
        }
        if let Some(last @ 1..) = shapes.shapes.len().checked_sub(1) {
            self.codes(shapes.ids.iter().map(|i| u64::from(*i)), shape_bits(last + 1));
        }
    }

    /// Writes one column in the form that suits it.
    pub fn column(&mut self, text: &[u8], spans: &[Span], rows: &[u32], may_split: bool, tokens: &mut BlockTokens) {
        let Some(first) = spans.first().map(|s| slice(text, s)) else {
            self.header.push(CONSTANT);
            return put_bytes(&mut self.header, b"");
        };
        if spans.iter().all(|s| slice(text, s) == first) {
            self.header.push(CONSTANT);
            put_bytes(&mut self.header, first);
            return tokens.text(first, blocks_of(rows));
        }
        if self.try_integers(text, spans, rows, tokens)
            || self.try_dictionary(text, spans, rows, tokens)
            || self.try_hex(text, spans, rows, tokens)
            || may_split && self.try_split(text, spans, rows, tokens)
        {
            return;
        }
        self.header.push(STRINGS);
        self.put_texts(spans.iter().map(|s| slice(text, s)));
        self.end_chunk();
        for (place, span) in spans.iter().enumerate() {
            tokens.text(slice(text, span), 1 << block_of(rows, place));
        }
    }

    fn try_integers(&mut self, text: &[u8], spans: &[Span], rows: &[u32], tokens: &mut BlockTokens) -> bool {
        let mut values = std::mem::take(&mut self.integers);
        values.clear();
        let first_len = spans.first().map_or(0, |(s, e)| e - s);
        let mut width = 0;
        for span in spans {
            match parse_canonical(slice(text, span)) {
                Some(v) => values.push(v),
                None => break,
            }
        }
        if values.len() < spans.len() && (2..=MAX_DIGITS as u32).contains(&first_len) {
            values.clear();
            width = first_len as u8;
            for span in spans.iter().take_while(|(s, e)| e - s == first_len) {
                match parse_digits(slice(text, span)) {
                    Some(v) => values.push(v),
                    None => break,
                }
            }
        }
        let whole = values.len() == spans.len();
        let few = whole && few_of_wide_range(&values);
        if whole && !few {
            self.header.extend([INTEGERS, width]);
            self.integers(&values);
            tokens.integers(&values, width, |place| block_of(rows, place));
        }
        self.integers = values;
        whole && !few
    }

    fn try_dictionary(&mut self, text: &[u8], spans: &[Span], rows: &[u32], tokens: &mut BlockTokens) -> bool {
        let mut by_value: HashMap<&[u8], u32, ByHash> = HashMap::default();
        let sample = spans.len().min(SAMPLE);
        let step = spans.len() / sample.max(1);
        by_value.extend(spans.iter().step_by(step.max(1)).map(|s| (slice(text, s), 0)));
        if spans.len() > SAMPLE && by_value.len() * 8 > SAMPLE * 7 {
            return false;
        }
        by_value.clear();
        let max = (spans.len() / 2).clamp(1, MAX_DICTIONARY);
        let mut values: Vec<&[u8]> = Vec::new();
        // Of each value the blocks it is in.
        let mut blocks: Vec<u32> = Vec::new();
        let mut codes: Vec<u32> = Vec::with_capacity(spans.len());
        for (place, span) in spans.iter().enumerate() {
            let value = slice(text, span);
            let code = match by_value.get(value) {
                Some(code) => *code,
                None if values.len() >= max => return false,
                None => {
                    let code = values.len() as u32;
                    by_value.insert(value, code);
                    values.push(value);
                    blocks.push(0);
                    code
                }
            };
            codes.push(code);
            if let Some(b) = blocks.get_mut(code as usize) {
                *b |= 1 << block_of(rows, place);
            }
        }
        self.header.push(DICTIONARY);
        put_u64(&mut self.header, values.len() as u64);
        self.put_texts(values.iter().copied());
        let width = packed::width_of(values.len() as u64 - 1);
        packed::pack(&mut self.chunk, codes.iter().map(|c| u64::from(*c)), width);
        self.end_chunk();
        for (value, blocks) in values.iter().zip(blocks) {
            tokens.text(value, blocks);
        }
        true
    }

    fn try_hex(&mut self, text: &[u8], spans: &[Span], rows: &[u32], tokens: &mut BlockTokens) -> bool {
        let len = spans.first().map_or(0, |(s, e)| e - s);
        if len < 8 || len % 2 == 1 || spans.iter().any(|(s, e)| e - s != len) {
            return false;
        }
        let start = self.chunk.len();
        for span in spans {
            for pair in slice(text, span).chunks_exact(2) {
                match pair {
                    [a, b] if hex_digit(*a) < 16 && hex_digit(*b) < 16 => {
                        self.chunk.push(hex_digit(*a) << 4 | hex_digit(*b));
                    }
                    _ => {
                        self.chunk.truncate(start);
                        return false;
                    }
                }
            }
        }
        self.header.push(HEX);
        put_u64(&mut self.header, u64::from(len));
        self.end_chunk();
        for (place, span) in spans.iter().enumerate() {
            tokens.text(slice(text, span), 1 << block_of(rows, place));
        }
        true
    }

    /// Takes the values apart as texts are; worth it when nearly all have one of a few shapes.
    fn try_split(&mut self, text: &[u8], spans: &[Span], rows: &[u32], tokens: &mut BlockTokens) -> bool {
        if spans.len() < SPLIT_FROM {
            return false;
        }
        let max = (spans.len() / SPLIT_FROM).min(limits::MAX_SKELETONS);
        let mut shapes = Shapes::default();
        let mut split = Split::default();
        for span in spans {
            split_text(slice(text, span), &mut split);
            // A shape without variables is a value of its own: a dictionary would have taken few of them.
            let start = span.0;
            let whole = split.key.first() == Some(&(Kind::Raw as u8));
            let moved = split.spans.iter().map(|(s, e)| (s + start, e + start));
            if whole || !shapes.add(&split.key, moved, max) {
                return false;
            }
        }
        if shapes.shapes.iter().all(|s| s.variables == 0 || s.key.len() == s.variables * 2 + 1) {
            // Nothing but one variable in each value: there is nothing to gain.
            return false;
        }
        self.header.push(SPLIT);
        self.put_shapes(&shapes);
        let texts = tokens.texts();
        if let Texts::ValuesOf(_) = texts {
            for (place, span) in spans.iter().enumerate() {
                tokens.text(slice(text, span), 1 << block_of(rows, place));
            }
            tokens.expect_texts(Texts::Parts);
        }
        for shape in &mut shapes.shapes {
            // From places in this column to rows of the group.
            for row in &mut shape.rows {
                *row = rows.get(*row as usize).copied().unwrap_or(0);
            }
            if texts == Texts::OfLines {
                tokens.skeleton(&shape.key, blocks_of(&shape.rows));
            }
            let mut part = Vec::with_capacity(shape.rows.len());
            for v in 0..shape.variables {
                part.clear();
                part.extend(shape.spans.iter().skip(v).step_by(shape.variables));
                self.column(text, &part, &shape.rows, false, tokens);
            }
        }
        tokens.expect_texts(texts);
        true
    }
}

/// Whether a dictionary of these numbers is smaller than the numbers themselves.
fn few_of_wide_range(values: &[i64]) -> bool {
    const MANY: usize = 16;
    let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) else { return false };
    let width = packed::width_of(max.wrapping_sub(*min) as u64);
    if width <= 4 || values.len() < SAMPLE {
        return false;
    }
    let mut seen = [0i64; MANY];
    let mut n = 0;
    for v in values {
        if !seen.iter().take(n).any(|s| s == v) {
            match seen.get_mut(n) {
                Some(place) => *place = *v,
                None => return false,
            }
            n += 1;
        }
    }
    true
}

/// Writes a number as [`push_integer`] does; for tokens.
pub(in crate::logs) fn integer_text(out: &mut String, value: i64, width: u8) {
    out.clear();
    push_integer(out, value, width);
}

/// The value of a hexadecimal digit in lower case; 16 and more for anything else.
fn hex_digit(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'f' => b - b'a' + 10,
        _ => 0xff,
    }
}
