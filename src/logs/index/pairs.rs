//! The index of structured metadata: which blocks of a segment hold which pair of name and value. See `docs/storage-format.md`.
//!
//! Pairs are asked for whole, never by a part, so their texts are not kept: a pair is known by 32 bits of its hash. Two pairs with
//! the same bits only make a query look at some blocks in vain, and a unique id costs about four bytes instead of its length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tantivy::directory::OwnedBytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::disk::varint::{put_u64, take_u64};

/// The version of the form.
pub const VERSION: u8 = 1;
/// Terms between two that are found without reading those before them: few enough to be read in a microsecond, so many that
/// where they lie costs nothing.
const STRIDE: usize = 128;
/// Bytes of the number of terms at the beginning.
const COUNT_BYTES: usize = 8;
/// Bytes of a sample: a term, and where what follows it begins.
const SAMPLE_BYTES: usize = 8;
/// Occurrences collected before the list is sorted and doubles are taken out.
const TIDY: usize = 1 << 20;

/// What the values of one name are hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameSeed(u64);

impl NameSeed {
    /// Of a name.
    pub fn of(name: &str) -> NameSeed {
        NameSeed(xxh3_64(name.as_bytes()))
    }

    /// The term of a pair: the upper half of the hash of its value.
    pub fn term(self, value: &[u8]) -> u32 {
        (xxh3_64_with_seed(value, self.0) >> 32) as u32
    }
}

/// A term in a block; they sort by term, then block.
fn occurrence(term: u32, block: u32) -> u64 {
    u64::from(term) << 32 | u64::from(block)
}

/// Collects the pairs of blocks while row groups are written.
#[derive(Debug, Default)]
pub struct BlockPairs {
    list: Vec<u64>,
    /// What is before this place is sorted and distinct.
    tidy: usize,
}

impl BlockPairs {
    /// Notes that a block holds a term.
    pub fn add(&mut self, term: u32, block: u32) {
        let new = occurrence(term, block);
        // Rows one after another often have the same value.
        if self.list.last() != Some(&new) {
            self.list.push(new);
        }
    }

    /// Keeps the list short while it grows; for the end of a row group.
    pub fn end_group(&mut self) {
        if self.list.len() - self.tidy > TIDY {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.list.sort_unstable();
        self.list.dedup();
        self.tidy = self.list.len();
    }

    /// The index as bytes; `None` if it is larger than its form allows.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        self.sort();
        let mut encoder = Encoder::default();
        self.list.iter().for_each(|o| encoder.add(*o));
        encoder.finish()
    }
}

/// Writes ascending occurrences.
#[derive(Default)]
struct Encoder {
    terms: u64,
    samples: Vec<u8>,
    entries: Vec<u8>,
    /// The term at hand, its blocks, and the term before it.
    term: u32,
    blocks: Vec<u32>,
    before: u32,
    too_large: bool,
}

impl Encoder {
    fn add(&mut self, occurrence: u64) {
        let (term, block) = ((occurrence >> 32) as u32, occurrence as u32);
        if term != self.term {
            self.end_term();
            self.term = term;
        }
        if self.blocks.last() != Some(&block) {
            self.blocks.push(block);
        }
    }

    fn end_term(&mut self) {
        let Some((first, more)) = self.blocks.split_first() else { return };
        if self.terms.is_multiple_of(STRIDE as u64) {
            let Ok(at) = u32::try_from(self.entries.len()) else {
                self.too_large = true;
                self.blocks.clear();
                return;
            };
            self.samples.extend_from_slice(&self.term.to_le_bytes());
            self.samples.extend_from_slice(&at.to_le_bytes());
            self.before = self.term;
        }
        put_u64(&mut self.entries, u64::from(self.term.saturating_sub(self.before)));
        put_u64(&mut self.entries, u64::from(*first) << 1 | u64::from(!more.is_empty()));
        if !more.is_empty() {
            put_u64(&mut self.entries, more.len() as u64);
            let mut last = *first;
            for block in more {
                put_u64(&mut self.entries, u64::from(block.saturating_sub(last)));
                last = *block;
            }
        }
        self.before = self.term;
        self.terms += 1;
        self.blocks.clear();
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        self.end_term();
        if self.too_large {
            return None;
        }
        let mut out = Vec::with_capacity(COUNT_BYTES + self.samples.len() + self.entries.len());
        out.extend_from_slice(&self.terms.to_le_bytes());
        out.extend_from_slice(&self.samples);
        out.extend_from_slice(&self.entries);
        Some(out)
    }
}

/// The index of a segment, opened. Its bytes were checked.
pub struct PairIndex {
    bytes: OwnedBytes,
    terms: usize,
    samples: usize,
}

impl PairIndex {
    /// Opens an index; `None` if the bytes are none.
    pub fn open(bytes: OwnedBytes) -> Option<PairIndex> {
        let terms = usize::try_from(u64::from_le_bytes(*bytes.first_chunk::<COUNT_BYTES>()?)).ok()?;
        let samples = terms.div_ceil(STRIDE);
        let whole = samples.checked_mul(SAMPLE_BYTES)?.checked_add(COUNT_BYTES)? <= bytes.len();
        whole.then_some(PairIndex { bytes, terms, samples })
    }

    fn sample(&self, i: usize) -> Option<(u32, usize)> {
        let at = COUNT_BYTES + i * SAMPLE_BYTES;
        let (term, rest) = self.bytes.get(at..at + SAMPLE_BYTES)?.split_first_chunk::<4>()?;
        let (at, _) = rest.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*term), u32::from_le_bytes(*at) as usize))
    }

    /// The terms from that sample on, with their blocks.
    fn entries_at(&self, sample: usize) -> Entries<'_> {
        let start = COUNT_BYTES + self.samples * SAMPLE_BYTES;
        let at = self.sample(sample).map_or(self.bytes.len(), |(_, at)| start.saturating_add(at));
        Entries { index: self, input: self.bytes.get(at..).unwrap_or_default(), next: sample * STRIDE, term: 0 }
    }

    /// The blocks that can hold a pair with this term, ascending.
    pub fn blocks_of(&self, term: u32) -> Vec<u32> {
        let (mut low, mut high) = (0, self.samples);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.sample(middle) {
                Some((first, _)) if first <= term => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(sample) = low.checked_sub(1) else { return Vec::new() };
        let mut entries = self.entries_at(sample);
        let mut blocks = Vec::new();
        for _ in 0..STRIDE {
            blocks.clear();
            match entries.next(&mut blocks) {
                Some(found) if found == term => return blocks,
                Some(found) if found < term => {}
                _ => break,
            }
        }
        Vec::new()
    }
}

/// Reads terms one after another.
struct Entries<'i> {
    index: &'i PairIndex,
    input: &'i [u8],
    /// The number of the next term.
    next: usize,
    term: u32,
}

impl Entries<'_> {
    /// The next term; its blocks are appended.
    fn next(&mut self, blocks: &mut Vec<u32>) -> Option<u32> {
        if self.next >= self.index.terms {
            return None;
        }
        if self.next.is_multiple_of(STRIDE) {
            self.term = self.index.sample(self.next / STRIDE)?.0;
        }
        self.next += 1;
        let difference = u32::try_from(take_u64(&mut self.input)?).ok()?;
        self.term = self.term.checked_add(difference)?;
        let first = take_u64(&mut self.input)?;
        let mut block = u32::try_from(first >> 1).ok()?;
        blocks.push(block);
        if first & 1 == 1 {
            for _ in 0..take_u64(&mut self.input)? {
                block = block.checked_add(u32::try_from(take_u64(&mut self.input)?).ok()?)?;
                blocks.push(block);
            }
        }
        Some(self.term)
    }
}

/// One of the indexes that are merged.
struct Source<'i> {
    entries: Entries<'i>,
    base: u32,
    term: u32,
    blocks: Vec<u32>,
}

impl Source<'_> {
    fn advance(&mut self) -> bool {
        self.blocks.clear();
        let next = self.entries.next(&mut self.blocks);
        self.term = next.unwrap_or(self.term);
        next.is_some()
    }
}

/// Several indexes as one. Each comes with the number its first block gets; these ascend.
pub fn merge(indexes: &[(&PairIndex, u32)]) -> Option<Vec<u8>> {
    let mut sources: Vec<Source<'_>> = indexes
        .iter()
        .map(|(index, base)| Source { entries: index.entries_at(0), base: *base, term: 0, blocks: Vec::new() })
        .collect();
    let mut heap = BinaryHeap::new();
    for (i, source) in sources.iter_mut().enumerate() {
        if source.advance() {
            heap.push(Reverse((source.term, i)));
        }
    }
    let mut encoder = Encoder::default();
    while let Some(Reverse((term, i))) = heap.pop() {
        let Some(source) = sources.get_mut(i) else { break };
        source.blocks.iter().for_each(|b| encoder.add(occurrence(term, b.saturating_add(source.base))));
        if source.advance() {
            heap.push(Reverse((source.term, i)));
        }
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<u32, BTreeSet<u32>>;

    fn written(list: &[(u32, u32)], model: &mut Model, base: u32) -> PairIndex {
        let mut pairs = BlockPairs::default();
        for (term, block) in list {
            pairs.add(*term, *block);
            model.entry(*term).or_default().insert(block + base);
        }
        PairIndex::open(OwnedBytes::new(pairs.finish().unwrap())).unwrap()
    }

    fn agrees(index: &PairIndex, model: &Model) {
        for (term, blocks) in model {
            assert_eq!(index.blocks_of(*term), blocks.iter().copied().collect::<Vec<_>>(), "{term}");
            for other in [term.wrapping_add(1), term.wrapping_sub(1)] {
                assert_eq!(index.blocks_of(other).is_empty(), !model.contains_key(&other), "{other}");
            }
        }
        assert_eq!(index.terms, model.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_put_in_is_found_and_nothing_else(
            a in prop::collection::vec((prop_oneof![any::<u32>(), 0..200u32], 0..40u32), 0..700),
            b in prop::collection::vec((prop_oneof![any::<u32>(), 0..200u32], 0..9000u32), 0..300),
        ) {
            let mut model = Model::new();
            let first = written(&a, &mut model, 0);
            agrees(&first, &model);
            let second = written(&b, &mut model, 40);
            let merged = merge(&[(&first, 0), (&second, 40)]).unwrap();
            agrees(&PairIndex::open(OwnedBytes::new(merged)).unwrap(), &model);
        }

        #[test]
        fn other_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), terms in 0..400u64, term in any::<u32>()) {
            let mut all = terms.to_le_bytes().to_vec();
            all.extend(bytes);
            if let Some(index) = PairIndex::open(OwnedBytes::new(all)) {
                index.blocks_of(term);
                merge(&[(&index, 7)]);
            }
        }
    }

    #[test]
    fn names_and_values_tell_pairs_apart() {
        let term = |name: &str, value: &str| NameSeed::of(name).term(value.as_bytes());
        let terms = [term("a", "b"), term("b", "a"), term("ab", ""), term("", "ab"), term("a", "bc"), term("ab", "c")];
        assert_eq!(terms.iter().collect::<BTreeSet<_>>().len(), terms.len());
        // They are on disk, so they must not change; found with another implementation of the hash.
        assert_eq!(term("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), 0xa056_59c4);
        assert_eq!(term("detected_level", "error"), 0xead6_12f9);
        assert_eq!((term("user", ""), term("x", &"a".repeat(300))), (0x79f8_8c3f, 0x8160_beb2));
    }
}
