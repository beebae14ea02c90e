//! Writes the token index of a segment, from collected tokens or from the indexes of segments that are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use tantivy::postings::TermInfo;
use tantivy::termdict::{TermDictionary, TermDictionaryBuilder, TermStreamer};

use super::TRIGRAM_BITS;
use super::block_tokens::{BlockTokens, IdIn};
use super::reader::{TokenIndex, blocks_of};
use crate::disk::varint::put_u64;

/// What of an index is not written yet: the dictionaries went to the caller's file already.
#[derive(Debug, Default)]
pub(in crate::logs) struct Built {
    /// Bytes of the dictionary of words.
    pub word_terms_bytes: u64,
    /// Bytes of the dictionary of ids.
    pub id_terms_bytes: u64,
    /// Blocks of the words.
    pub word_postings: Vec<u8>,
    /// Blocks of the ids.
    pub id_postings: Vec<u8>,
    /// Which three letters follow one another in ids.
    pub trigrams: Vec<u8>,
}

/// One dictionary with its postings.
struct FieldWriter<'w, W: Write> {
    dictionary: TermDictionaryBuilder<Counted<'w, W>>,
    postings: Vec<u8>,
}

/// Counts what is written.
struct Counted<'w, W> {
    out: &'w mut W,
    bytes: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<'w, W: Write> FieldWriter<'w, W> {
    fn new(out: &'w mut W) -> io::Result<Self> {
        Ok(FieldWriter { dictionary: TermDictionaryBuilder::create(Counted { out, bytes: 0 })?, postings: Vec::new() })
    }

    /// Ends a term whose blocks were appended to `self.postings` from `start` on.
    fn end_term(&mut self, term: &[u8], start: usize, blocks: u32) -> io::Result<()> {
        let info = TermInfo { doc_freq: blocks, postings_range: start..self.postings.len(), positions_range: 0..0 };
        self.dictionary.insert(term, &info)
    }

    fn finish(self) -> io::Result<(u64, Vec<u8>)> {
        Ok((self.dictionary.finish()?.bytes, self.postings))
    }
}

/// Writes the dictionaries of collected tokens to `out`: words, then ids.
pub(in crate::logs) fn build<W: Write>(mut tokens: BlockTokens, out: &mut W) -> io::Result<Built> {
    let mut field = FieldWriter::new(out)?;
    let mut words: Vec<_> = std::mem::take(&mut tokens.words).into_iter().collect();
    words.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (term, word) in words {
        let start = field.postings.len();
        field.postings.extend_from_slice(&word.postings);
        field.end_term(&term, start, word.blocks)?;
    }
    let (word_terms_bytes, word_postings) = field.finish()?;
    tokens.tidy_ids();
    let mut field = FieldWriter::new(out)?;
    for same in tokens.ids.chunk_by(|a: &IdIn, b| a.is_same(*b)) {
        let Some(first) = same.first() else { continue };
        let (bytes, len) = first.term();
        let start = field.postings.len();
        let mut last = 0;
        for id in same {
            put_u64(&mut field.postings, u64::from(id.block() - last));
            last = id.block();
        }
        field.end_term(bytes.get(..len).unwrap_or_default(), start, same.len() as u32)?;
    }
    let (id_terms_bytes, id_postings) = field.finish()?;
    let trigrams = tokens.trigrams.iter().flat_map(|w| w.to_le_bytes()).collect();
    Ok(Built { word_terms_bytes, id_terms_bytes, word_postings, id_postings, trigrams })
}

/// Writes the dictionaries of several indexes as one. Each comes with the number its first block gets; these ascend.
pub(in crate::logs) fn merge<W: Write>(sources: &[(&TokenIndex, u32)], out: &mut W) -> io::Result<Built> {
    let merge_field = |out: &mut W, field: fn(&TokenIndex) -> (&TermDictionary, &[u8])| {
        let fields: Vec<_> = sources.iter().map(|(index, base)| (field(index), *base)).collect();
        merge_fields(&fields, out)
    };
    let (word_terms_bytes, word_postings) = merge_field(out, TokenIndex::words)?;
    let (id_terms_bytes, id_postings) = merge_field(out, TokenIndex::ids)?;
    let mut trigrams = vec![0u8; TRIGRAM_BITS / 8];
    for (index, _) in sources {
        trigrams.iter_mut().zip(index.trigrams()).for_each(|(t, s)| *t |= s);
    }
    Ok(Built { word_terms_bytes, id_terms_bytes, word_postings, id_postings, trigrams })
}

fn merge_fields<W: Write>(fields: &[((&TermDictionary, &[u8]), u32)], out: &mut W) -> io::Result<(u64, Vec<u8>)> {
    let mut field = FieldWriter::new(out)?;
    let mut streams: Vec<TermStreamer<'_>> =
        fields.iter().map(|((dictionary, _), _)| dictionary.stream()).collect::<io::Result<_>>()?;
    let mut heap: BinaryHeap<Reverse<(Vec<u8>, usize)>> = BinaryHeap::new();
    for (i, stream) in streams.iter_mut().enumerate() {
        if stream.advance() {
            heap.push(Reverse((stream.key().to_vec(), i)));
        }
    }
    let mut term = Vec::new();
    while let Some(Reverse((first, _))) = heap.peek() {
        term.clone_from(first);
        let (start, mut last, mut count) = (field.postings.len(), 0, 0);
        while heap.peek().is_some_and(|Reverse((t, _))| *t == term) {
            let Some(Reverse((mut key, i))) = heap.pop() else { break };
            let (Some(stream), Some(((_, postings), base))) = (streams.get_mut(i), fields.get(i)) else { continue };
            for block in blocks_of(postings, stream.value()) {
                let block = block + base;
                put_u64(&mut field.postings, u64::from(block.saturating_sub(last)));
                last = block;
                count += 1;
            }
            if stream.advance() {
                key.clear();
                key.extend_from_slice(stream.key());
                heap.push(Reverse((key, i)));
            }
        }
        field.end_term(&term, start, count)?;
    }
    field.finish()
}
