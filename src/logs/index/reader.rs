//! The token index of a segment, opened.

use std::io;
use std::sync::Arc;

use tantivy::directory::{FileSlice, OwnedBytes};
use tantivy::postings::TermInfo;
use tantivy::termdict::TermDictionary;

use super::{TRIGRAM_BITS, each_trigram};
use crate::disk::varint::take_u64;

/// See the module.
pub(in crate::logs) struct TokenIndex {
    words: TermDictionary,
    ids: TermDictionary,
    word_postings: OwnedBytes,
    id_postings: OwnedBytes,
    trigrams: OwnedBytes,
}

/// The five parts of an index in a segment's file.
pub(in crate::logs) struct Parts {
    pub word_terms: OwnedBytes,
    pub id_terms: OwnedBytes,
    pub word_postings: OwnedBytes,
    pub id_postings: OwnedBytes,
    pub trigrams: OwnedBytes,
}

impl TokenIndex {
    /// Opens an index whose bytes were checked.
    pub fn open(parts: Parts) -> io::Result<TokenIndex> {
        if parts.trigrams.len() != TRIGRAM_BITS / 8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the map of trigrams has a wrong size"));
        }
        let open = |bytes: OwnedBytes| TermDictionary::open(FileSlice::new(Arc::new(bytes)));
        Ok(TokenIndex {
            words: open(parts.word_terms)?,
            ids: open(parts.id_terms)?,
            word_postings: parts.word_postings,
            id_postings: parts.id_postings,
            trigrams: parts.trigrams,
        })
    }

    /// Tokens without a digit, and the postings they point into.
    pub fn words(&self) -> (&TermDictionary, &[u8]) {
        (&self.words, &self.word_postings)
    }

    /// Tokens with a digit.
    pub fn ids(&self) -> (&TermDictionary, &[u8]) {
        (&self.ids, &self.id_postings)
    }

    /// The map of letter trigrams of ids.
    pub fn trigrams(&self) -> &[u8] {
        &self.trigrams
    }

    /// Whether some id may hold this text of letters.
    pub fn ids_may_hold(&self, letters: &[u8]) -> bool {
        let mut may = true;
        each_trigram(letters, |place| {
            may &= self.trigrams.get(place / 8).is_none_or(|b| b >> (place % 8) & 1 == 1);
        });
        may
    }
}

/// The blocks of a term, ascending.
pub(super) fn blocks_of<'p>(postings: &'p [u8], info: &TermInfo) -> impl Iterator<Item = u32> + 'p {
    let mut rest = postings.get(info.postings_range.clone()).unwrap_or_default();
    let mut left = info.doc_freq;
    let mut block = 0u32;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        block = block.checked_add(u32::try_from(take_u64(&mut rest)?).ok()?)?;
        Some(block)
    })
}
