//! The index of a block. Record 1: version, labels in order as packed texts. Records after it: series in order of their labels, each
//! `label count, label numbers, chunk count`, and for each chunk `mint, maxt - mint, length` (offsets follow from the lengths).

use std::path::Path;

use super::{CHUNKS_MAGIC, ChunkRef};
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_i64, take_str, take_u64};
use crate::disk::wal::record::{self, Compression, Decoded};
use crate::model::labels::packed_labels;
use crate::tsdb::label_index::LabelIndex;

const VERSION: u64 = 1;
/// A record of series is ended when it is this long.
const RECORD_BYTES: usize = 4 << 20;

/// A loaded index.
#[derive(Debug, Default)]
pub(crate) struct BlockIndex {
    /// Which series carry which labels.
    pub labels: LabelIndex,
    /// Where the labels and chunks of each series begin; one more at the end.
    bounds: Vec<(u32, u32)>,
    pairs: Vec<u32>,
    chunks: Vec<ChunkRef>,
}

impl BlockIndex {
    /// How many series it has.
    pub(crate) fn len(&self) -> u32 {
        self.bounds.len().saturating_sub(1) as u32
    }

    fn bounds(&self, series: u32) -> Option<((u32, u32), (u32, u32))> {
        let i = series as usize;
        Some((*self.bounds.get(i)?, *self.bounds.get(i + 1)?))
    }

    /// The label numbers of a series.
    pub(crate) fn pairs(&self, series: u32) -> &[u32] {
        self.bounds(series).and_then(|(a, b)| self.pairs.get(a.0 as usize..b.0 as usize)).unwrap_or_default()
    }

    /// The chunks of a series.
    pub(crate) fn chunks(&self, series: u32) -> &[ChunkRef] {
        self.bounds(series).and_then(|(a, b)| self.chunks.get(a.1 as usize..b.1 as usize)).unwrap_or_default()
    }

    /// Loads an index file; `None` if it is damaged.
    pub(crate) fn load(path: &Path) -> std::io::Result<Option<BlockIndex>> {
        let file = std::fs::read(path)?;
        Ok(Self::parse(&file))
    }

    fn parse(mut rest: &[u8]) -> Option<BlockIndex> {
        let mut index = BlockIndex { bounds: vec![(0, 0)], ..BlockIndex::default() };
        let mut offset = CHUNKS_MAGIC.len() as u64;
        let mut first = true;
        while !rest.is_empty() {
            let Decoded::Record(payload, len) = record::decode(rest) else { return None };
            rest = rest.get(len..)?;
            let input = &mut &*payload;
            if std::mem::take(&mut first) {
                (take_u64(input)? == VERSION).then_some(())?;
                for i in 0..take_u64(input)? {
                    let (text, name, value) = packed_labels(take_str(input)?).next()?;
                    (u64::from(index.labels.intern(text, name, value)) == i).then_some(())?;
                }
            }
            while !input.is_empty() {
                index.take_series(input, &mut offset)?;
            }
        }
        (!first).then_some(index)
    }

    fn take_series(&mut self, input: &mut &[u8], offset: &mut u64) -> Option<()> {
        let from = self.pairs.len();
        for _ in 0..take_u64(input)? {
            self.pairs.push(u32::try_from(take_u64(input)?).ok()?);
        }
        for _ in 0..take_u64(input)? {
            let mint = take_i64(input)?;
            let maxt = mint.checked_add_unsigned(take_u64(input)?)?;
            let len = u32::try_from(take_u64(input)?).ok()?;
            self.chunks.push(ChunkRef { mint, maxt, offset: *offset, len });
            *offset = offset.checked_add(u64::from(len) + 4)?;
        }
        let id = self.len();
        self.labels.add(id, self.pairs.get(from..)?);
        self.bounds.push((u32::try_from(self.pairs.len()).ok()?, u32::try_from(self.chunks.len()).ok()?));
        Some(())
    }
}

/// Builds the content of an index file.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    file: Vec<u8>,
    payload: Vec<u8>,
}

impl IndexWriter {
    /// Begins with the labels that occur, in order.
    pub(crate) fn new<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut w = IndexWriter::default();
        put_u64(&mut w.payload, VERSION);
        put_u64(&mut w.payload, texts.len() as u64);
        for t in texts {
            put_bytes(&mut w.payload, t.as_bytes());
        }
        w.flush();
        w
    }

    fn flush(&mut self) {
        record::encode(&mut self.file, &self.payload, Compression::Zstd);
        self.payload.clear();
    }

    /// Adds the next series: its label numbers and its chunks as `(mint, maxt, length)` in the order of the chunk file.
    pub(crate) fn add(&mut self, pairs: &[u32], chunks: &[(i64, i64, u32)]) {
        put_u64(&mut self.payload, pairs.len() as u64);
        for p in pairs {
            put_u64(&mut self.payload, (*p).into());
        }
        put_u64(&mut self.payload, chunks.len() as u64);
        for (mint, maxt, len) in chunks {
            put_i64(&mut self.payload, *mint);
            put_u64(&mut self.payload, maxt.wrapping_sub(*mint) as u64);
            put_u64(&mut self.payload, (*len).into());
        }
        if self.payload.len() >= RECORD_BYTES {
            self.flush();
        }
    }

    /// The content of the file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.payload.is_empty() {
            self.flush();
        }
        self.file
    }
}
