//! Collects the distinct tokens of blocks while row groups are written.

use std::collections::HashMap;

use super::{MAX_ID_BYTES, TRIGRAM_BITS, each_trigram};
use crate::disk::varint::put_u64;
use crate::logs::byte_hash::ByHash;
use crate::logs::columns::{integer_text, literals};
use crate::logs::limits;
use crate::logs::tokens::{CUT_MARK, TokenKind, tokens_of};

/// Ids collected before the list is sorted and doubles are taken out.
const TIDY_IDS: usize = 1 << 20;

/// An id, its first [`MAX_ID_BYTES`] bytes as two big-endian numbers (tokens hold no zero byte), and a block that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdIn {
    pub high: u64,
    pub low: u32,
    pub block: u32,
}

impl IdIn {
    fn new(id: &[u8], block: u32) -> IdIn {
        let mut bytes = [0u8; MAX_ID_BYTES];
        for (to, from) in bytes.iter_mut().zip(id) {
            *to = *from;
        }
        let [a, b, c, d, e, f, g, h, low @ ..] = bytes;
        IdIn { high: u64::from_be_bytes([a, b, c, d, e, f, g, h]), low: u32::from_be_bytes(low), block }
    }

    /// The bytes of the id that are kept.
    pub fn term(self) -> ([u8; MAX_ID_BYTES], usize) {
        let mut bytes = [0u8; MAX_ID_BYTES];
        let both = self.high.to_be_bytes().into_iter().chain(self.low.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(both) {
            *to = from;
        }
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

/// See the module.
pub(in crate::logs) struct BlockTokens {
    pub(super) words: HashMap<Box<[u8]>, WordIn, ByHash>,
    pub(super) ids: Vec<IdIn>,
    /// Ids before this place are sorted and distinct.
    tidy: usize,
    pub(super) trigrams: Box<[u64]>,
    group: u32,
    paused: bool,
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
            group: 0,
            paused: false,
            scratch: String::new(),
            bits: Vec::new(),
            sorted: Vec::new(),
        }
    }
}

impl BlockTokens {
    /// While paused, tokens are not collected.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    fn first_block(&self) -> u32 {
        self.group * limits::BLOCKS_PER_GROUP
    }

    /// Collects the tokens of a text that is in these blocks of the current group (a bit each).
    pub fn text(&mut self, text: &[u8], blocks: u32) {
        if self.paused {
            return;
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
            self.ids.push(IdIn { block: id.block + rest.trailing_zeros(), ..id });
            rest &= rest - 1;
        }
    }

    /// Collects whole numbers; `block_of` says in which block of the group a place is, and ascends.
    pub fn integers(&mut self, values: &[i64], width: u8, block_of: impl Fn(usize) -> u32) {
        /// Ranges up to this are noted in a bit map.
        const SMALL: u64 = 1 << 14;
        if self.paused {
            return;
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
        self.group += 1;
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
