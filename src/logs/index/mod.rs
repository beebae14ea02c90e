//! The token index of a segment: which blocks of rows hold which token.
//!
//! It answers for blocks of [`super::limits::BLOCK_ROWS`] rows, not for single rows: a token that is in many rows of a block
//! costs one posting, and the columns of a row group know most of their distinct tokens already. Words and ids lie in term
//! dictionaries of their own (Tantivy's), because ids are many and words are few.
//!
//! Pairs of structured metadata have an index of their own over the same blocks ([`pairs`]), so that they meet no word of a line.

mod block_tokens;
mod candidates;
pub(in crate::logs) mod pairs;
mod reader;
mod writer;

pub(in crate::logs) use block_tokens::{BlockTokens, Texts};
pub(in crate::logs) use candidates::{Asked, Candidates, candidates};
pub(in crate::logs) use reader::{Parts, TokenIndex};
pub(in crate::logs) use writer::{Built, build, merge};

/// Ids are indexed up to this many bytes: the longest part of a UUID, the short form of hashes, a date with hour and minute. The
/// index only rules out, and the rest of a random id rules out nothing more; in the dictionary each byte of it would cost a byte.
const MAX_ID_BYTES: usize = 12;

/// Begins the marks among the ids of a block; no token has this byte. Alone it says that the lengths of the block's ids are noted.
const LENGTH_MARK: u8 = 1;

/// Lengths of ids from this one on are noted as one.
const LONGEST: usize = 63;

/// The mark of a block that holds ids of this length.
fn length_mark(len: usize) -> [u8; 2] {
    [LENGTH_MARK, len.clamp(1, LONGEST) as u8]
}

/// Bits of the map of letter trigrams: five bits a letter, case ignored.
const TRIGRAM_BITS: usize = 1 << 15;

/// Gives `each` the place in the map of each three letters that follow one another.
fn each_trigram(token: &[u8], mut each: impl FnMut(usize)) {
    use super::tokens::{LETTER, class};
    let (mut letters, mut place) = (0, 0);
    for b in token {
        if class(*b) != LETTER {
            letters = 0;
            continue;
        }
        place = (place << 5 | usize::from(b & 31)) & (TRIGRAM_BITS - 1);
        letters += 1;
        if letters >= 3 {
            each(place);
        }
    }
}

#[cfg(test)]
mod tests;
