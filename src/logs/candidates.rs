//! What the token index says about line filters: which documents of a segment can satisfy them.
//!
//! A filter's required texts are cut at the borders of tokens. Inner tokens are looked up as they stand; a token at the right
//! edge may go on in the line, so all terms that begin with it count; one at the left edge (or alone) may be the end (or the
//! middle) of a longer token, which needs a walk through the dictionary and is only done where that is small. Candidates are
//! always verified against the line: the index may only rule out.

use std::io;

use tantivy::index::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, TERMINATED};

use super::filter::LineFilter;
use super::limits;
use super::segment::SegmentView;
use super::tokens::{CUT_MARK, Fragment, TokenKind, fragments, indexed_part};

/// Documents that can satisfy the filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// The index says nothing.
    All,
    /// Only these, ascending.
    Docs(Vec<u32>),
}

/// The terms that can hold one fragment, with the number of their documents.
struct Terms {
    found: Vec<(TokenKind, TermInfo)>,
    docs: u64,
}

/// Finds the candidates of a segment.
pub fn candidates(segment: &SegmentView, filters: &[LineFilter]) -> tantivy::Result<Candidates> {
    let mut alternatives = Vec::new();
    for any_of in filters.iter().flat_map(LineFilter::required) {
        alternatives.push(any_of);
    }
    if alternatives.is_empty() {
        return Ok(Candidates::All);
    }
    let fields = segment.fields();
    let index = Index {
        words: segment.reader().inverted_index(fields.words)?,
        ids: segment.reader().inverted_index(fields.ids)?,
    };
    // Of each required text the lists of terms; the rarest are read first.
    let mut single: Vec<Terms> = Vec::new();
    let mut united: Vec<Vec<u32>> = Vec::new();
    for any_of in &alternatives {
        match any_of.as_slice() {
            [one] => single.extend(index.terms_of(one)?),
            many => {
                let mut all = Some(Vec::new());
                for needle in many {
                    let docs = index.intersect(index.terms_of(needle)?, None, segment.len())?;
                    match (docs, &mut all) {
                        (Candidates::Docs(d), Some(all)) => all.extend(d),
                        (Candidates::All, _) | (_, None) => all = None,
                    }
                }
                if let Some(mut docs) = all {
                    docs.sort_unstable();
                    docs.dedup();
                    united.push(docs);
                }
            }
        }
    }
    let start = united.into_iter().reduce(|a, b| intersection(&a, &b));
    Ok(index.intersect(single, start, segment.len())?)
}

struct Index {
    words: std::sync::Arc<InvertedIndexReader>,
    ids: std::sync::Arc<InvertedIndexReader>,
}

impl Index {
    fn field(&self, kind: TokenKind) -> &InvertedIndexReader {
        match kind {
            TokenKind::Word => &self.words,
            TokenKind::Id => &self.ids,
        }
    }

    /// For each fragment of a needle that can be looked up, the terms that can hold it.
    fn terms_of(&self, needle: &str) -> io::Result<Vec<Terms>> {
        let mut all = Vec::new();
        for fragment in fragments(needle) {
            if let Some(terms) = self.lookup(&fragment)? {
                all.push(terms);
            }
        }
        Ok(all)
    }

    fn lookup(&self, fragment: &Fragment<'_>) -> io::Result<Option<Terms>> {
        let mut terms = Terms { found: Vec::new(), docs: 0 };
        let text = indexed_part(fragment.text);
        // What is longer than a term is only known by its beginning.
        let cut = text.len() < fragment.text.len();
        if !fragment.open_left && (cut || !fragment.open_right) {
            // With a cut the digit that makes the token an id may lie behind the cut or outside the needle.
            for kind in [TokenKind::Word, TokenKind::Id] {
                if (kind == fragment.kind || cut && fragment.open_right)
                    && let Some(info) = self.field(kind).terms().get(text)?
                {
                    terms.add(kind, info);
                }
            }
            return Ok(Some(terms));
        }
        // A fragment without digits can be part of a word or of an id; one with a digit only of an id.
        let kinds: &[TokenKind] = match fragment.kind {
            TokenKind::Word => &[TokenKind::Word, TokenKind::Id],
            TokenKind::Id => &[TokenKind::Id],
        };
        for kind in kinds {
            let dictionary = self.field(*kind).terms();
            let mut stream = if fragment.open_left {
                if dictionary.num_terms() > limits::MAX_WALKED_TERMS {
                    return Ok(None);
                }
                dictionary.stream()?
            } else {
                dictionary.range().ge(text).into_stream()?
            };
            while let Some((term, info)) = stream.next() {
                let holds = match (fragment.open_left, fragment.open_right) {
                    (false, _) if !term.starts_with(text.as_bytes()) => break,
                    (false, _) => true,
                    (true, false) => term.ends_with(text.as_bytes()),
                    (true, true) => memchr::memmem::find(term, text.as_bytes()).is_some(),
                };
                if holds {
                    terms.add(*kind, info.clone());
                    if terms.found.len() > limits::MAX_TERMS_PER_FRAGMENT {
                        return Ok(None);
                    }
                }
            }
        }
        if fragment.open_left {
            // A token that was cut may hold the fragment in the part that is not indexed.
            if let Some(info) = self.words.terms().get(CUT_MARK)? {
                terms.add(TokenKind::Word, info);
            }
        }
        Ok(Some(terms))
    }

    /// The documents in all lists (and in `start`). Lists so long that they would rule out little are left out.
    fn intersect(&self, mut lists: Vec<Terms>, start: Option<Vec<u32>>, segment_docs: u32) -> io::Result<Candidates> {
        lists.sort_by_key(|t| t.docs);
        let mut docs = start;
        for terms in lists {
            let limit = match &docs {
                Some(d) => d.len() as u64 * 64,
                None => u64::from(segment_docs) / 2,
            };
            if terms.docs > limit && terms.docs > 0 {
                break;
            }
            let list = self.united(&terms)?;
            docs = Some(match docs {
                Some(d) => intersection(&d, &list),
                None => list,
            });
        }
        Ok(docs.map_or(Candidates::All, Candidates::Docs))
    }

    fn united(&self, terms: &Terms) -> io::Result<Vec<u32>> {
        let mut docs = Vec::with_capacity(usize::try_from(terms.docs).unwrap_or(0));
        for (kind, info) in &terms.found {
            let mut postings = self.field(*kind).read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
            let mut doc = postings.doc();
            while doc != TERMINATED {
                docs.push(doc);
                doc = postings.advance();
            }
        }
        if terms.found.len() > 1 {
            docs.sort_unstable();
            docs.dedup();
        }
        Ok(docs)
    }
}

impl Terms {
    fn add(&mut self, kind: TokenKind, info: TermInfo) {
        self.docs += u64::from(info.doc_freq);
        self.found.push((kind, info));
    }
}

/// What is in both of two ascending lists.
fn intersection(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut both = Vec::new();
    for doc in short {
        // The lists are of similar length or the short one is tiny: a search from where the last one ended does for both.
        let skip = long.partition_point(|d| d < doc);
        long = long.get(skip..).unwrap_or_default();
        if long.first() == Some(doc) {
            both.push(*doc);
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
