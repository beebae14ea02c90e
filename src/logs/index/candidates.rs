//! What the token index says about line filters: which blocks of a segment can hold lines that satisfy them.
//!
//! A filter's required texts are cut at the borders of tokens. Inner tokens are looked up as they stand; a token at the right
//! edge may go on in the line, so all terms that begin with it count; one at the left edge (or alone) may be the end (or the
//! middle) of a longer token: of a word, which needs a walk through the words and is only answered if no id can hold it; or of an
//! id, which only blocks with longer ids can hold. Rows of candidates are always verified: the index may only rule out.

use std::io;

use tantivy::postings::TermInfo;

use super::reader::{TokenIndex, blocks_of};
use super::{LENGTH_MARK, LONGEST, MAX_ID_BYTES, length_mark};
use crate::logs::limits;
use crate::logs::tokens::{CUT_MARK, Fragment, TokenKind, fragments};

/// Blocks that can hold lines that satisfy the filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::logs) enum Candidates {
    /// The index says nothing.
    All,
    /// Only these, ascending.
    Blocks(Vec<u32>),
}

/// A text that was asked for, and in how many blocks it can be; `None` if the index cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::logs) struct Asked {
    pub text: String,
    pub blocks: Option<u64>,
}

/// The terms that can hold one fragment, with the number of their blocks.
#[derive(Default)]
struct Terms {
    found: Vec<(TokenKind, TermInfo)>,
    blocks: u64,
}

/// Finds the blocks, in a segment of so many, whose lines can hold what is required: of each list one text. What was looked up is
/// added to `asked`.
pub(in crate::logs) fn candidates(
    index: &TokenIndex,
    blocks: u32,
    required: &[Vec<String>],
    asked: &mut Vec<Asked>,
) -> io::Result<Candidates> {
    // Of each required text the lists of terms; the rarest are read first.
    let mut single: Vec<Terms> = Vec::new();
    let mut united: Vec<Vec<u32>> = Vec::new();
    for any_of in required {
        match any_of.as_slice() {
            [one] => single.extend(index.terms_of(one, blocks, asked)?),
            many => {
                let mut all = Some(Vec::new());
                for needle in many {
                    let found = index.intersect(index.terms_of(needle, blocks, asked)?, None, blocks);
                    match (found, &mut all) {
                        (Candidates::Blocks(b), Some(all)) => all.extend(b),
                        (Candidates::All, _) | (_, None) => all = None,
                    }
                }
                if let Some(mut blocks) = all {
                    blocks.sort_unstable();
                    blocks.dedup();
                    united.push(blocks);
                }
            }
        }
    }
    let start = united.into_iter().reduce(|a, b| intersection(&a, &b));
    Ok(index.intersect(single, start, blocks))
}

impl TokenIndex {
    fn field(&self, kind: TokenKind) -> (&tantivy::termdict::TermDictionary, &[u8]) {
        match kind {
            TokenKind::Word => self.words(),
            TokenKind::Id => self.ids(),
        }
    }

    /// For each fragment of a needle that can be looked up, the terms that can hold it.
    fn terms_of(&self, needle: &str, segment_blocks: u32, asked: &mut Vec<Asked>) -> io::Result<Vec<Terms>> {
        let mut all = Vec::new();
        for fragment in fragments(needle) {
            let found = match (fragment.open_left, fragment.kind) {
                (false, _) => self.lookup(&fragment)?,
                (true, TokenKind::Word) => self.walk(&fragment)?,
                (true, TokenKind::Id) => self.inside_ids(fragment.text.as_bytes(), segment_blocks)?,
            };
            asked.push(Asked { text: fragment.text.to_owned(), blocks: found.as_ref().map(|t| t.blocks) });
            all.extend(found);
        }
        Ok(all)
    }

    fn lookup(&self, fragment: &Fragment<'_>) -> io::Result<Option<Terms>> {
        let text = fragment.text.as_bytes();
        let mut terms = Terms::default();
        // A fragment without digits that may go on can be the beginning of a word or of an id.
        let word = fragment.kind == TokenKind::Word;
        let id = fragment.kind == TokenKind::Id || fragment.open_right;
        for (kind, wanted, kept) in
            [(TokenKind::Word, word, limits::MAX_TOKEN_BYTES), (TokenKind::Id, id, MAX_ID_BYTES)]
        {
            if !wanted {
                continue;
            }
            let dictionary = self.field(kind).0;
            // What is as long as a term or longer is only known by its beginning.
            if !fragment.open_right || text.len() >= kept {
                if let Some(info) = dictionary.get(text.get(..kept).unwrap_or(text))? {
                    terms.add(kind, info);
                }
                continue;
            }
            let mut stream = dictionary.range().ge(text).into_stream()?;
            while let Some((_, info)) = stream.next().filter(|(term, _)| term.starts_with(text)) {
                terms.add(kind, info.clone());
                if terms.found.len() > limits::MAX_TERMS_PER_FRAGMENT {
                    return Ok(None);
                }
            }
        }
        Ok(Some(terms))
    }

    /// Finds a fragment with a digit that may begin inside a token: it is an id as it stands, or the id that holds it is longer.
    fn inside_ids(&self, text: &[u8], segment_blocks: u32) -> io::Result<Option<Terms>> {
        let ids = self.ids().0;
        // Older segments note no lengths, and merged ones may do so for a part.
        if ids.get([LENGTH_MARK])?.is_none_or(|noted| noted.doc_freq < segment_blocks) {
            return Ok(None);
        }
        let mut terms = Terms::default();
        for len in text.len().min(LONGEST - 1) + 1..=LONGEST {
            if let Some(info) = ids.get(length_mark(len))? {
                terms.add(TokenKind::Id, info);
            }
            if terms.blocks > u64::from(segment_blocks / 2) {
                return Ok(None);
            }
        }
        if let Some(info) = ids.get(text.get(..MAX_ID_BYTES).unwrap_or(text))? {
            terms.add(TokenKind::Id, info);
        }
        Ok(Some(terms))
    }

    /// Finds a fragment without a digit that may begin inside a token.
    fn walk(&self, fragment: &Fragment<'_>) -> io::Result<Option<Terms>> {
        let text = fragment.text.as_bytes();
        let words = self.words().0;
        // Ids are too many to be walked through.
        if text.len() < 3 || self.ids_may_hold(text) || words.num_terms() > limits::MAX_WALKED_TERMS {
            return Ok(None);
        }
        let mut terms = Terms::default();
        let finder = memchr::memmem::Finder::new(text);
        let mut stream = words.stream()?;
        while let Some((term, info)) = stream.next() {
            let holds = if fragment.open_right { finder.find(term).is_some() } else { term.ends_with(text) };
            if holds {
                terms.add(TokenKind::Word, info.clone());
                if terms.found.len() > limits::MAX_TERMS_PER_FRAGMENT {
                    return Ok(None);
                }
            }
        }
        // A token that was cut may hold the fragment in the part that is not indexed.
        if let Some(info) = words.get(CUT_MARK)? {
            terms.add(TokenKind::Word, info);
        }
        Ok(Some(terms))
    }

    /// The blocks in all lists (and in `start`). Lists so long that they would rule out little are left out.
    fn intersect(&self, mut lists: Vec<Terms>, start: Option<Vec<u32>>, segment_blocks: u32) -> Candidates {
        lists.sort_by_key(|t| t.blocks);
        let mut blocks = start;
        for terms in lists {
            let limit = match &blocks {
                Some(b) => b.len() as u64 * 64,
                None => u64::from(segment_blocks),
            };
            if terms.blocks > limit && terms.blocks > 0 {
                break;
            }
            let list = self.united(&terms);
            blocks = Some(match blocks {
                Some(b) => intersection(&b, &list),
                None => list,
            });
        }
        blocks.map_or(Candidates::All, Candidates::Blocks)
    }

    fn united(&self, terms: &Terms) -> Vec<u32> {
        let mut blocks = Vec::with_capacity(usize::try_from(terms.blocks).unwrap_or(0));
        for (kind, info) in &terms.found {
            blocks.extend(blocks_of(self.field(*kind).1, info));
        }
        if terms.found.len() > 1 {
            blocks.sort_unstable();
            blocks.dedup();
        }
        blocks
    }
}

impl Terms {
    fn add(&mut self, kind: TokenKind, info: TermInfo) {
        self.blocks += u64::from(info.doc_freq);
        self.found.push((kind, info));
    }
}

/// What is in both of two ascending lists.
fn intersection(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut both = Vec::new();
    for block in short {
        // The lists are of similar length or the short one is tiny: a search from where the last one ended does for both.
        let skip = long.partition_point(|b| b < block);
        long = long.get(skip..).unwrap_or_default();
        if long.first() == Some(block) {
            both.push(*block);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections() {
        assert_eq!(intersection(&[1, 3, 5, 9], &[0, 3, 4, 9, 10]), [3, 9]);
        assert_eq!(intersection(&[], &[1]), Vec::<u32>::new());
    }
}
