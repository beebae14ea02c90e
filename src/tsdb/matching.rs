//! From matchers to series: set algebra over posting lists.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use roaring::RoaringBitmap;

use super::label_index::LabelIndex;
use crate::model::{MatchOp, Matcher};

/// A regex that stands for at most so many words is looked up word by word.
const MAX_WORDS: usize = 10_000;
/// Longest word taken from a regex.
const MAX_WORD_BYTES: usize = 1024;

/// What can be told about the values a regex matches without running it.
enum Shape {
    /// Exactly these values.
    Words(Vec<String>),
    /// Only values that begin with one of these.
    Prefixes(Vec<String>),
    /// Everything, the empty value too.
    Anything,
    /// Everything but the empty value.
    NotEmpty,
    /// Nothing is known.
    Opaque,
}

fn shape(source: &str) -> Shape {
    match source {
        ".*" => return Shape::Anything,
        ".+" => return Shape::NotEmpty,
        _ => {}
    }
    let Ok(hir) = ParserBuilder::new().dot_matches_new_line(true).build().parse(source) else { return Shape::Opaque };
    // Assertions inside count as nothing in the extraction, so that its answer would be too large.
    if !hir.properties().look_set().is_empty() {
        return Shape::Opaque;
    }
    let seq = literals(&hir);
    let Some(found) = seq.literals() else { return Shape::Opaque };
    let words: Option<Vec<String>> = found.iter().map(|l| String::from_utf8(l.as_bytes().to_vec()).ok()).collect();
    match words {
        Some(words) if seq.is_exact() => Shape::Words(words),
        Some(words) if words.iter().all(|w| !w.is_empty()) && words.len() <= 16 => Shape::Prefixes(words),
        _ => Shape::Opaque,
    }
}

fn literals(hir: &Hir) -> Seq {
    Extractor::new()
        .kind(ExtractKind::Prefix)
        .limit_literal_len(MAX_WORD_BYTES)
        .limit_total(MAX_WORDS)
        .limit_repeat(4)
        .extract(hir)
}

/// The series for which all matchers hold. `pairs_of` gives the labels of a series.
pub(crate) fn matching<'a>(
    index: &'a LabelIndex,
    matchers: &[Matcher],
    pairs_of: impl Fn(u32) -> &'a [u32],
) -> RoaringBitmap {
    let mut found = None;
    // Equalities first: they are cheap and leave little for the others to look at.
    let mut order: Vec<&Matcher> = matchers.iter().collect();
    order.sort_by_key(|m| match (m.op(), m.matches_empty()) {
        (MatchOp::Equal, false) => 0,
        (MatchOp::Regex, false) => 1,
        (MatchOp::NotEqual | MatchOp::NotRegex, false) => 2,
        (_, true) => 3,
    });
    for m in order {
        let set = found.get_or_insert_with(|| index.all().clone());
        narrow(index, m, set, &pairs_of);
        if set.is_empty() {
            break;
        }
    }
    found.unwrap_or_else(|| index.all().clone())
}

fn narrow<'a>(index: &'a LabelIndex, m: &Matcher, set: &mut RoaringBitmap, pairs_of: &impl Fn(u32) -> &'a [u32]) {
    let matches_empty = m.matches_empty();
    let Some(name) = index.name(m.name()) else {
        // Nobody has the label: all are as if it were empty.
        if !matches_empty {
            set.clear();
        }
        return;
    };
    match (m.op(), m.value()) {
        (MatchOp::Equal, "") => *set -= &name.having,
        (MatchOp::NotEqual, "") => *set &= &name.having,
        (MatchOp::Equal, value) => match index.find(m.name(), value) {
            Some(p) => p.postings.intersect(set),
            None => set.clear(),
        },
        (MatchOp::NotEqual, value) => {
            if let Some(p) = index.find(m.name(), value) {
                p.postings.remove_from(set);
            }
        }
        (MatchOp::Regex, source) => regex(index, m, shape(source), false, set, pairs_of),
        (MatchOp::NotRegex, source) => regex(index, m, shape(source), true, set, pairs_of),
    }
}

fn regex<'a>(
    index: &'a LabelIndex,
    m: &Matcher,
    shape: Shape,
    negative: bool,
    set: &mut RoaringBitmap,
    pairs_of: &impl Fn(u32) -> &'a [u32],
) {
    let Some(name) = index.name(m.name()) else { return };
    match shape {
        Shape::Anything if negative => return set.clear(),
        Shape::Anything => return,
        Shape::NotEmpty if negative => return *set -= &name.having,
        Shape::NotEmpty => return *set &= &name.having,
        Shape::Words(words) => {
            let mut hit = RoaringBitmap::new();
            let with_empty = words.iter().any(String::is_empty);
            for w in words.iter().filter(|w| !w.is_empty()) {
                if let Some(p) = index.find(m.name(), w) {
                    p.postings.add_to(&mut hit);
                }
            }
            if with_empty {
                hit |= &*set - &name.having;
            }
            return if negative { *set -= hit } else { *set &= hit };
        }
        Shape::Prefixes(_) | Shape::Opaque => {}
    }
    // Few candidates: look at their labels rather than at all values of the name.
    if set.len() < name.pairs.len() as u64 {
        let value = |id: u32| {
            let pair = pairs_of(id).iter().filter_map(|p| index.pair(*p)).find(|p| index.name_of(p) == m.name());
            pair.map_or("", |p| p.value())
        };
        *set = set.iter().filter(|id| m.matches(value(*id))).collect();
        return;
    }
    // Values for which the matcher's verdict differs from its verdict on a series without the label.
    let matches_empty = m.matches_empty();
    let may_match = |v: &str| match &shape {
        Shape::Prefixes(all) => all.iter().any(|p| v.starts_with(p.as_str())),
        _ => true,
    };
    let mut differ = RoaringBitmap::new();
    for p in name.pairs.iter().filter_map(|id| index.pair(*id)) {
        let matches = if may_match(p.value()) { m.matches(p.value()) } else { negative };
        if matches != matches_empty {
            p.postings.add_to(&mut differ);
        }
    }
    if matches_empty { *set -= differ } else { *set &= differ }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Labels;
    use crate::model::labels::packed_labels;

    fn build(sets: &[Labels]) -> (LabelIndex, Vec<Vec<u32>>) {
        let mut index = LabelIndex::default();
        let mut all = Vec::new();
        for (i, l) in sets.iter().enumerate() {
            let pairs: Vec<u32> = packed_labels(l.packed()).map(|(t, n, v)| index.intern(t, n, v)).collect();
            index.add(i as u32, &pairs);
            all.push(pairs);
        }
        (index, all)
    }

    const VALUES: [&str; 8] = ["", "a", "ab", "abc", "b", "A", "api-1", "é\n"];
    const PATTERNS: [&str; 22] = [
        "",
        "a",
        "b|ab",
        "a.*",
        ".*",
        ".+",
        "|a",
        "a|",
        "(a|b)c?",
        "ab+",
        "(?i)a",
        "a$",
        "^a",
        "api-.+",
        "[ab]",
        "[^a]*",
        "x?",
        "a{2}",
        "(?:a|ab|abc)",
        "é.",
        "nope",
        "ap(i|x)-[0-9]",
    ];

    proptest! {
        #[test]
        fn same_series_as_looking_at_each(
            sets in prop::collection::vec((0usize..8, 0usize..8), 0..40),
            asked in prop::collection::vec((0usize..3, 0usize..4, 0usize..22), 0..4),
        ) {
            let sets: Vec<Labels> = sets.iter().enumerate().map(|(i, (x, y))| {
                Labels::from_pairs([("__name__", "m"), ("x", VALUES[*x]), ("y", VALUES[*y]), ("i", &i.to_string())])
            }).collect();
            let (index, pairs) = build(&sets);
            let matchers: Vec<Matcher> = asked.iter().map(|(n, op, p)| {
                let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][*op];
                Matcher::new(["x", "y", "none"][*n], op, PATTERNS[*p]).unwrap()
            }).collect();
            let got: Vec<u32> = matching(&index, &matchers, |id| &pairs[id as usize]).into_iter().collect();
            let want: Vec<u32> = (0..sets.len() as u32)
                .filter(|i| matchers.iter().all(|m| m.matches_labels(&sets[*i as usize]))).collect();
            prop_assert_eq!(got, want, "{:?}", matchers);
        }
    }

    #[test]
    fn what_nobody_carries_is_swept_and_its_number_used_again() {
        let (mut index, pairs) = build(&[Labels::from_pairs([("x", "1")]), Labels::from_pairs([("x", "2")])]);
        index.remove(0, &pairs[0]);
        index.sweep();
        assert!(index.find("x", "1").is_none());
        assert_eq!(index.name("x").unwrap().pairs, pairs[1]);
        let l = Labels::from_pairs([("y", "3")]);
        let (t, n, v) = packed_labels(l.packed()).next().unwrap();
        assert_eq!(index.intern(t, n, v), pairs[0][0]);
        assert_eq!(index.find("y", "3").unwrap().value(), "3");
    }
}
