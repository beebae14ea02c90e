//! Collects the distinct tokens of blocks, and the pairs of structured metadata in them, while row groups are written.

use std::collections::HashMap;

use super::pairs::{BlockPairs, NameSeed};
use super::{LENGTH_MARK, LONGEST, MAX_ID_BYTES, TRIGRAM_BITS, each_trigram, length_mark};
use crate::disk::varint::put_u64;
use crate::logs::byte_hash::ByHash;
use crate::logs::columns::{integer_text, literals};
use crate::logs::limits;
use crate::logs::tokens::{CUT_MARK, TokenKind, tokens_of};

/// Ids collected before the list is sorted and doubles are taken out.
const TIDY_IDS: usize = 1 << 20;

/// An id, its first [`MAX_ID_BYTES`] bytes (tokens hold no zero byte), and behind them a block that holds it, as one big-endian number:
/// comparing and sorting them is most of what is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdIn(u128);

impl IdIn {
    fn new(id: &[u8], block: u32) -> IdIn {
        let mut bytes = [0u8; 16];
        for (to, from) in bytes.iter_mut().zip(id.iter().take(MAX_ID_BYTES)) {
            *to = *from;
        }
        IdIn(u128::from_be_bytes(bytes) | u128::from(block))
    }

    /// The same id in another block.
    fn plus_blocks(self, blocks: u32) -> IdIn {
        IdIn(self.0 + u128::from(blocks))
    }

    /// Whether it is the same id, in whatever block.
    pub fn is_same(self, other: IdIn) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    /// The block.
    pub fn block(self) -> u32 {
        self.0 as u32
    }

    /// The bytes of the id that are kept, and how many of them there are.
    pub fn term(self) -> ([u8; 16], usize) {
        let bytes = (self.0 >> 32 << 32).to_be_bytes();
        (bytes, bytes.iter().position(|b| *b == 0).unwrap_or(MAX_ID_BYTES))
    }
}

/// A word: in which blocks it is.
#[derive(Debug, Default)]
pub(super) struct WordIn {
    /// Blocks of the current group, a bit each.
    group: u32,
    last: u32,
    pub blocks: u32,
    /// Differences between blocks, as varints.
    pub postings: Vec<u8>,
}

/// What the texts are that are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::logs) enum Texts {
    /// Parts of lines: their tokens are collected.
    OfLines,
    /// Values of this name of structured metadata: each is collected as a whole.
    ValuesOf(NameSeed),
    /// Parts of values that were given as a whole: nothing is collected.
    Parts,
}

/// See the module.
pub(in crate::logs) struct BlockTokens {
    pub(super) words: HashMap<Box<[u8]>, WordIn, ByHash>,
    pub(super) ids: Vec<IdIn>,
    /// Ids before this place are sorted and distinct.
    tidy: usize,
    pub(super) trigrams: Box<[u64]>,
    /// Lengths of the ids in each block of the current group, a bit each.
    lengths: [u64; limits::BLOCKS_PER_GROUP as usize],
    pairs: BlockPairs,
    group: u32,
    texts: Texts,
    scratch: String,
    bits: Vec<u64>,
    sorted: Vec<i64>,
}

impl Default for BlockTokens {
    fn default() -> Self {
        BlockTokens {
            words: HashMap::default(),
            ids: Vec::new(),
            tidy: 0,
            trigrams: vec![0; TRIGRAM_BITS / 64].into_boxed_slice(),
            lengths: [0; limits::BLOCKS_PER_GROUP as usize],
            pairs: BlockPairs::default(),
            group: 0,
            texts: Texts::OfLines,
            scratch: String::new(),
            bits: Vec::new(),
            sorted: Vec::new(),
        }
    }
}

impl BlockTokens {
    /// Says what the texts to come are; returns what they were.
    pub fn expect_texts(&mut self, texts: Texts) -> Texts {
        std::mem::replace(&mut self.texts, texts)
    }

    /// What the texts are.
    pub fn texts(&self) -> Texts {
        self.texts
    }

    /// The pairs of structured metadata so far.
    pub fn take_pairs(&mut self) -> BlockPairs {
        std::mem::take(&mut self.pairs)
    }

    fn first_block(&self) -> u32 {
        self.group * limits::BLOCKS_PER_GROUP
    }

    /// Collects the tokens of a text that is in these blocks of the current group (a bit each), or the text as a value.
    pub fn text(&mut self, text: &[u8], blocks: u32) {
        match self.texts {
            Texts::OfLines => {}
            Texts::ValuesOf(name) => return self.value(name, text, blocks),
            Texts::Parts => return,
        }
        // Most texts are one short token.
        for (start, end, kind) in tokens_of(text) {
            let token = text.get(start..end).unwrap_or_default();
            match kind {
                TokenKind::Id => self.id(token, blocks),
                TokenKind::Word => self.word(token, blocks),
            }
        }
    }

    fn value(&mut self, name: NameSeed, value: &[u8], blocks: u32) {
        let (term, first) = (name.term(value), self.first_block());
        let mut rest = blocks;
        while rest != 0 {
            self.pairs.add(term, first + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }

    /// Collects the tokens of a skeleton's literals.
    pub fn skeleton(&mut self, key: &[u8], blocks: u32) {
        literals(key, |literal| self.text(literal, blocks));
    }

    fn word(&mut self, token: &[u8], blocks: u32) {
        let cut = token.len() > limits::MAX_TOKEN_BYTES;
        let kept = token.get(..limits::MAX_TOKEN_BYTES).unwrap_or(token);
        match self.words.get_mut(kept) {
            Some(word) => word.group |= blocks,
            None => {
                self.words.insert(kept.into(), WordIn { group: blocks, ..WordIn::default() });
            }
        }
        if cut {
            self.words.entry(CUT_MARK.as_bytes().into()).or_default().group |= blocks;
        }
    }

    fn id(&mut self, token: &[u8], blocks: u32) {
        each_trigram(token, |place| {
            if let Some(word) = self.trigrams.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        });
        let id = IdIn::new(token, self.first_block());
        let mut rest = blocks;
        while rest != 0 {
            let block = rest.trailing_zeros();
            self.ids.push(id.plus_blocks(block));
            self.note_length(token.len(), block);
            rest &= rest - 1;
        }
    }

    fn note_length(&mut self, len: usize, block: u32) {
        if let Some(lengths) = self.lengths.get_mut(block as usize) {
            *lengths |= 1 << len.min(LONGEST);
        }
    }

    /// Marks the blocks of the group with the lengths of their ids.
    fn mark_lengths(&mut self) {
        for (block, lengths) in (self.first_block()..).zip(std::mem::take(&mut self.lengths)) {
            self.ids.push(IdIn::new(&[LENGTH_MARK], block));
            let mut rest = lengths;
            while rest != 0 {
                self.ids.push(IdIn::new(&length_mark(rest.trailing_zeros() as usize), block));
                rest &= rest - 1;
            }
        }
    }

    /// Collects whole numbers; `block_of` says in which block of the group a place is, and ascends.
    pub fn integers(&mut self, values: &[i64], width: u8, block_of: impl Fn(usize) -> u32) {
        /// Ranges up to this are noted in a bit map.
        const SMALL: u64 = 1 << 14;
        match self.texts {
            Texts::OfLines => {}
            Texts::ValuesOf(name) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                for (place, v) in values.iter().enumerate() {
                    integer_text(&mut scratch, *v, width);
                    self.value(name, scratch.as_bytes(), 1 << block_of(place));
                }
                self.scratch = scratch;
                return;
            }
            Texts::Parts => return,
        }
        let mut from = 0;
        while let Some(first) = values.get(from..).and_then(|rest| rest.first()) {
            let block = block_of(from);
            let mut to = from + 1;
            while to < values.len() && block_of(to) == block {
                to += 1;
            }
            let part = values.get(from..to).unwrap_or_default();
            from = to;
            let (min, max) = part.iter().fold((*first, *first), |(l, h), v| (l.min(*v), h.max(*v)));
            let range = max.wrapping_sub(min) as u64;
            if range < SMALL {
                let mut bits = std::mem::take(&mut self.bits);
                bits.clear();
                bits.resize(range as usize / 64 + 1, 0);
                for v in part {
                    let at = v.wrapping_sub(min) as usize;
                    if let Some(word) = bits.get_mut(at / 64) {
                        *word |= 1 << (at % 64);
                    }
                }
                for (i, word) in bits.iter().enumerate() {
                    let mut rest = *word;
                    while rest != 0 {
                        let at = i as i64 * 64 + i64::from(rest.trailing_zeros());
                        self.integer(min.wrapping_add(at), width, block);
                        rest &= rest - 1;
                    }
                }
                self.bits = bits;
            } else {
                let mut sorted = std::mem::take(&mut self.sorted);
                sorted.clear();
                sorted.extend_from_slice(part);
                sorted.sort_unstable();
                sorted.dedup();
                sorted.iter().for_each(|v| self.integer(*v, width, block));
                self.sorted = sorted;
            }
        }
    }

    fn integer(&mut self, value: i64, width: u8, block: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        integer_text(&mut scratch, value, width);
        // A sign is no part of the token; digits have no letters to note.
        let digits = scratch.strip_prefix('-').unwrap_or(&scratch);
        self.ids.push(IdIn::new(digits.as_bytes(), self.first_block() + block));
        let len = digits.len();
        self.note_length(len, block);
        self.scratch = scratch;
    }

    /// Goes on to the next group.
    pub fn end_group(&mut self) {
        let first = self.first_block();
        for word in self.words.values_mut().filter(|w| w.group != 0) {
            let mut rest = std::mem::take(&mut word.group);
            while rest != 0 {
                let block = first + rest.trailing_zeros();
                put_u64(&mut word.postings, u64::from(block - word.last));
                word.last = block;
                word.blocks += 1;
                rest &= rest - 1;
            }
        }
        self.mark_lengths();
        self.group += 1;
        self.pairs.end_group();
        if self.ids.len() - self.tidy > TIDY_IDS {
            self.tidy_ids();
        }
    }

    /// Sorts the ids and takes doubles out.
    pub(super) fn tidy_ids(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.tidy = self.ids.len();
    }
}
