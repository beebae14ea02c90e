//! The header of a row group: which columns there are, in which form, and where. See `docs/storage-format.md`.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::column::Column;
use super::column_writer::{CONSTANT, DICTIONARY, HEX, INTEGERS, SPLIT, STRINGS};
use super::skeleton::Skeleton;
use crate::disk::varint::{take_bytes, take_str, take_u64};
use crate::logs::limits;

/// Split columns inside split columns; the writer makes two levels.
const MAX_DEPTH: usize = 4;

/// A part of the group's data.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub range: Range<usize>,
    pub crc: u32,
}

/// A column as the header describes it, and as it was decoded.
#[derive(Debug)]
pub(super) struct Node {
    pub form: Form,
    pub len: usize,
    pub decoded: OnceLock<Arc<Column>>,
    /// Whether the chunk's checksum was looked at already.
    pub checked: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Form {
    Constant(Box<str>),
    Integers { width: u8, chunk: Chunk },
    Dictionary { values: usize, chunk: Chunk },
    Hex { text_bytes: usize, chunk: Chunk },
    Strings(Chunk),
    Split(Box<Shaped<Arc<Skeleton>>>),
}

/// Rows told apart by shape.
#[derive(Debug)]
pub(super) struct Shaped<S> {
    /// The shape, how many rows have it, and a column for each of its variables.
    pub shapes: Vec<(S, usize, Vec<Node>)>,
    /// Which row has which shape; none if there is one shape only.
    pub ids: Option<Chunk>,
    pub len: usize,
}

/// See the module.
pub(super) struct GroupHeader {
    pub rows: usize,
    pub timestamps: Chunk,
    /// The code all rows have, or a chunk of codes.
    pub levels: Result<u8, Chunk>,
    pub sizes: Chunk,
    pub lines: Shaped<Arc<Skeleton>>,
    pub metadata: Shaped<Vec<Box<str>>>,
}

impl GroupHeader {
    /// Reads a header whose chunks take up `data_bytes`; `None` if it is not one.
    pub fn read(bytes: &[u8], data_bytes: usize) -> Option<GroupHeader> {
        let mut reader = HeaderReader { input: bytes, at: 0 };
        let rows = reader.number().filter(|n| *n <= limits::MAX_GROUP_ROWS)?;
        let timestamps = reader.chunk()?;
        let levels = match reader.byte()? {
            0 => Ok(reader.byte()?),
            _ => Err(reader.chunk()?),
        };
        let sizes = reader.chunk()?;
        let lines = reader.shaped(rows, 0, skeleton_of)?;
        let metadata = reader.shaped(rows, 0, names_of)?;
        let whole = reader.at == data_bytes && reader.input.is_empty();
        whole.then_some(GroupHeader { rows, timestamps, levels, sizes, lines, metadata })
    }
}

/// Reads a header.
struct HeaderReader<'h> {
    input: &'h [u8],
    /// Bytes of the chunks named so far.
    at: usize,
}

impl<'h> HeaderReader<'h> {
    fn byte(&mut self) -> Option<u8> {
        let (&b, rest) = self.input.split_first()?;
        self.input = rest;
        Some(b)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(take_u64(&mut self.input)?).ok()
    }

    fn chunk(&mut self) -> Option<Chunk> {
        let len = self.number()?;
        let (crc, rest) = self.input.split_first_chunk::<4>()?;
        self.input = rest;
        let start = self.at;
        self.at = start.checked_add(len)?;
        Some(Chunk { range: start..self.at, crc: u32::from_le_bytes(*crc) })
    }

    fn node(&mut self, len: usize, depth: usize) -> Option<Node> {
        let form = match self.byte()? {
            CONSTANT => Form::Constant(take_str(&mut self.input)?.into()),
            INTEGERS => Form::Integers { width: self.byte().filter(|w| *w <= 18)?, chunk: self.chunk()? },
            DICTIONARY => Form::Dictionary {
                values: self.number().filter(|n| (1..=usize::from(u16::MAX)).contains(n))?,
                chunk: self.chunk()?,
            },
            HEX => Form::Hex { text_bytes: self.number().filter(|n| n.is_multiple_of(2))?, chunk: self.chunk()? },
            STRINGS => Form::Strings(self.chunk()?),
            SPLIT if depth < MAX_DEPTH => Form::Split(Box::new(self.shaped(len, depth + 1, skeleton_of)?)),
            _ => return None,
        };
        Some(Node { form, len, decoded: OnceLock::new(), checked: AtomicBool::new(false) })
    }

    fn shaped<S>(
        &mut self,
        len: usize,
        depth: usize,
        shape: impl Fn(&'h [u8]) -> Option<(S, usize)>,
    ) -> Option<Shaped<S>> {
        let count = self.number().filter(|n| *n <= len.max(1))?;
        let mut found = Vec::with_capacity(count);
        let mut sum = 0usize;
        for _ in 0..count {
            let (shape, variables) = shape(take_bytes(&mut self.input)?)?;
            let rows = self.number()?;
            sum = sum.checked_add(rows)?;
            found.push((shape, rows, variables));
        }
        if sum != len {
            return None;
        }
        let ids = if count > 1 { Some(self.chunk()?) } else { None };
        let mut shapes = Vec::with_capacity(count);
        for (shape, rows, variables) in found {
            let nodes = (0..variables).map(|_| self.node(rows, depth)).collect::<Option<Vec<_>>>()?;
            shapes.push((shape, rows, nodes));
        }
        Some(Shaped { shapes, ids, len })
    }
}

fn skeleton_of(key: &[u8]) -> Option<(Arc<Skeleton>, usize)> {
    let skeleton = Skeleton::from_key(key)?;
    let variables = skeleton.variables().len();
    Some((Arc::new(skeleton), variables))
}

fn names_of(mut key: &[u8]) -> Option<(Vec<Box<str>>, usize)> {
    let count = usize::try_from(take_u64(&mut key)?).ok().filter(|n| *n <= key.len())?;
    let names: Vec<Box<str>> = (0..count).map(|_| take_str(&mut key).map(Into::into)).collect::<Option<_>>()?;
    key.is_empty().then_some((names, count))
}
