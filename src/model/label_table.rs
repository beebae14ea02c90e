//! The labels of many series: each label once, and a series as the places of its labels.
//!
//! A metric of ten thousand series has some hundred different labels. Kept this way, series can be sorted, grouped and told apart by
//! small numbers, and a label set is only built for a series that is shown.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::model::labels::{Labels, packed_labels, push_part};

/// Rows by a part of their labels.
type ByLabels<'a> = HashMap<&'a [u32], u32, BuildHasherDefault<Xxh3Default>>;

/// See the module. Rows are sorted by labels, and no two are the same.
#[derive(Debug, Default)]
pub struct LabelTable {
    /// Labels in packed form (see [`Labels`]), in order of name and value, each once.
    texts: Vec<Arc<str>>,
    /// The labels of all rows as places in `texts`, row after row, ascending inside a row.
    keys: Vec<u32>,
    /// Where each row ends in `keys`.
    ends: Vec<usize>,
}

impl LabelTable {
    /// Builds from labels in any order (`texts`, no two the same) and rows of places in it (`keys`, `ends` as in the table). Returns the
    /// table and for each given row its place in the table; rows of the same labels become one.
    pub(crate) fn build(texts: Vec<Arc<str>>, mut keys: Vec<u32>, ends: &[usize]) -> (LabelTable, Vec<u32>) {
        let (texts, rank) = sort_texts(texts);
        for k in &mut keys {
            *k = rank.get(*k as usize).copied().unwrap_or_default();
        }
        let row = |i: u32| row(&keys, ends, i as usize);
        let order = sorted(ends.len(), row, texts.len());
        let mut place = vec![0u32; ends.len()];
        let mut out = LabelTable { texts, keys: Vec::with_capacity(keys.len()), ends: Vec::with_capacity(ends.len()) };
        let mut last: Option<&[u32]> = None;
        for i in order {
            let row = row(i);
            if last != Some(row) {
                out.keys.extend_from_slice(row);
                out.ends.push(out.keys.len());
                last = Some(row);
            }
            if let Some(p) = place.get_mut(i as usize) {
                *p = (out.ends.len() - 1) as u32;
            }
        }
        (out, place)
    }

    /// Builds from label sets that are sorted and differ.
    pub fn from_sorted<'a>(sets: impl IntoIterator<Item = &'a Labels>) -> LabelTable {
        let mut known: HashMap<&'a str, u32> = HashMap::new();
        let (mut texts, mut keys, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for labels in sets {
            for (text, _, _) in packed_labels(labels.packed()) {
                keys.push(*known.entry(text).or_insert_with(|| {
                    texts.push(Arc::from(text));
                    (texts.len() - 1) as u32
                }));
            }
            ends.push(keys.len());
        }
        Self::build(texts, keys, &ends).0
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The labels that occur, in packed form, in order.
    pub fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// The labels of row `i` as places in [`Self::texts`].
    pub fn row(&self, i: usize) -> &[u32] {
        row(&self.keys, &self.ends, i)
    }

    /// The labels of row `i`.
    pub fn labels(&self, i: usize) -> Labels {
        self.labels_of(self.row(i).iter())
    }

    /// A label set of some places in [`Self::texts`], in order.
    pub fn labels_of<'a>(&self, places: impl Iterator<Item = &'a u32>) -> Labels {
        let mut packed = String::with_capacity(256);
        for place in places {
            packed.push_str(self.texts.get(*place as usize).map_or("", |t| t));
        }
        Labels::from_packed(&packed)
    }

    /// The places in [`Self::texts`] of the labels of one name.
    pub fn places_of(&self, name: &str) -> Range<u32> {
        let mut packed_name = String::with_capacity(name.len() + 2);
        push_part(&mut packed_name, name);
        let compare = |t: &Arc<str>| {
            if t.starts_with(&packed_name) { Ordering::Equal } else { first_name(t).cmp(name) }
        };
        let from = self.texts.partition_point(|t| compare(t) == Ordering::Less);
        let to = self.texts.partition_point(|t| compare(t) != Ordering::Greater);
        from as u32..to as u32
    }

    /// The value of the label of row `i` whose places are `places` (see [`Self::places_of`]), empty if it has none.
    pub fn value(&self, i: usize, places: &Range<u32>) -> &str {
        let place = self.row(i).iter().find(|k| places.contains(k));
        place.and_then(|k| self.texts.get(*k as usize)).and_then(|t| packed_labels(t).next()).map_or("", |(_, _, v)| v)
    }

    /// For each place in [`Self::texts`], whether `keep` accepts the name.
    fn kept(&self, keep: impl Fn(&str) -> bool) -> Vec<bool> {
        let mut last: Option<(&str, bool)> = None;
        let verdict = |t: &Arc<str>, last: Option<(&str, bool)>| match last {
            Some((name, verdict)) if name == first_name(t) => verdict,
            _ => keep(first_name(t)),
        };
        let mut out = Vec::with_capacity(self.texts.len());
        for t in &self.texts {
            let kept = verdict(t, last);
            last = Some((first_name(t), kept));
            out.push(kept);
        }
        out
    }

    /// Groups the rows by those of their labels whose name `keep` accepts: the label sets of the groups in order of appearance, and
    /// for each row the number of its group.
    pub fn grouped(&self, keep: impl Fn(&str) -> bool) -> (Vec<Labels>, Vec<u32>) {
        let kept = self.kept(keep);
        let (mut parts, mut ends) = (Vec::with_capacity(self.keys.len()), Vec::with_capacity(self.len()));
        for i in 0..self.len() {
            parts.extend(self.row(i).iter().copied().filter(|k| kept.get(*k as usize).copied().unwrap_or(false)));
            ends.push(parts.len());
        }
        let mut known = ByLabels::default();
        let (mut labels, mut of_row) = (Vec::new(), Vec::with_capacity(self.len()));
        let mut last: Option<(&[u32], u32)> = None;
        for part in rows(&parts, &ends) {
            // Neighbours often belong together.
            if let Some((same, group)) = last
                && same == part
            {
                of_row.push(group);
                continue;
            }
            let group = *known.entry(part).or_insert_with(|| {
                labels.push(self.labels_of(part.iter()));
                (labels.len() - 1) as u32
            });
            last = Some((part, group));
            of_row.push(group);
        }
        (labels, of_row)
    }

    /// Whether the rows still differ without the labels whose name `lose` accepts.
    pub fn differ_without(&self, lose: impl Fn(&str) -> bool) -> bool {
        let lost = self.kept(lose);
        if !lost.contains(&true) {
            return true;
        }
        let is_lost = |k: &&u32| lost.get(**k as usize).copied().unwrap_or(false);
        let same_lost = |i: usize| self.row(i).iter().filter(is_lost).eq(self.row(0).iter().filter(is_lost));
        // Whole rows differ, so they differ elsewhere if they agree in what goes.
        if (1..self.len()).all(same_lost) {
            return true;
        }
        let (mut parts, mut ends) = (Vec::with_capacity(self.keys.len()), Vec::with_capacity(self.len()));
        for i in 0..self.len() {
            parts.extend(self.row(i).iter().filter(|k| !is_lost(k)));
            ends.push(parts.len());
        }
        let mut seen = ByLabels::default();
        rows(&parts, &ends).all(|part| seen.insert(part, 0).is_none())
    }

    /// Roughly the memory it takes, in bytes, without the labels themselves, which a store has anyway.
    pub fn size_bytes(&self) -> usize {
        self.texts.len() * 16 + self.keys.len() * 4 + self.ends.len() * 8
    }
}

fn first_name(packed: &str) -> &str {
    packed_labels(packed).next().map_or("", |(_, n, _)| n)
}

fn row<'a>(keys: &'a [u32], ends: &[usize], i: usize) -> &'a [u32] {
    let start = i.checked_sub(1).and_then(|p| ends.get(p)).copied().unwrap_or(0);
    ends.get(i).and_then(|end| keys.get(start..*end)).unwrap_or_default()
}

fn rows<'a>(keys: &'a [u32], ends: &'a [usize]) -> impl Iterator<Item = &'a [u32]> {
    let mut start = 0;
    ends.iter().map(move |end| keys.get(std::mem::replace(&mut start, *end)..*end).unwrap_or_default())
}

/// The labels in order, and the new place of each.
fn sort_texts(texts: Vec<Arc<str>>) -> (Vec<Arc<str>>, Vec<u32>) {
    let mut order: Vec<(&str, &str, u32)> = texts
        .iter()
        .zip(0..)
        .map(|(t, i)| packed_labels(t).next().map_or(("", "", i), |(_, n, v)| (n, v, i)))
        .collect();
    order.sort_unstable();
    let mut rank = vec![0u32; texts.len()];
    for ((_, _, i), r) in order.iter().zip(0..) {
        if let Some(slot) = rank.get_mut(*i as usize) {
            *slot = r;
        }
    }
    let sorted = order.iter().filter_map(|(_, _, i)| texts.get(*i as usize).cloned()).collect();
    (sorted, rank)
}

/// The order of `count` rows, each a list of numbers below `labels`. Columns in which all rows agree say nothing; the others mostly fit into
/// one number, which is much faster to compare than a list.
fn sorted<'a>(count: usize, row: impl Fn(u32) -> &'a [u32], labels: usize) -> Vec<u32> {
    let all = 0..count as u32;
    let width = all.clone().map(|i| row(i).len()).max().unwrap_or(0);
    let first = row(0);
    let mut varies = vec![false; width];
    for i in all.clone() {
        let row = row(i);
        for (p, v) in varies.iter_mut().enumerate() {
            *v |= row.get(p) != first.get(p);
        }
    }
    let columns: Vec<usize> = (0..width).filter(|p| varies.get(*p).copied().unwrap_or(false)).collect();
    // A row that ends earlier comes first, so 0 stands for nothing.
    let bits = usize::BITS - labels.leading_zeros();
    if columns.len() as u32 * bits > u128::BITS {
        let mut order: Vec<u32> = all.collect();
        order.sort_by(|a, b| row(*a).cmp(row(*b)));
        return order;
    }
    let packed = |i: u32| {
        let row = row(i);
        columns.iter().fold(0u128, |all, p| (all << bits) | row.get(*p).map_or(0, |k| u128::from(*k) + 1))
    };
    if columns.len() as u32 * bits <= u64::BITS {
        let mut keyed: Vec<(u64, u32)> = all.map(|i| (packed(i) as u64, i)).collect();
        keyed.sort_unstable();
        return keyed.iter().map(|k| k.1).collect();
    }
    let mut keyed: Vec<(u128, u32)> = all.map(|i| (packed(i), i)).collect();
    keyed.sort_unstable();
    keyed.iter().map(|k| k.1).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(sets: &[Labels]) -> (LabelTable, Vec<u32>) {
        let (mut texts, mut keys, mut ends) = (Vec::<Arc<str>>::new(), Vec::new(), Vec::new());
        for l in sets {
            for (text, _, _) in packed_labels(l.packed()) {
                let at = texts.iter().position(|t| &**t == text).unwrap_or_else(|| {
                    texts.push(Arc::from(text));
                    texts.len() - 1
                });
                keys.push(at as u32);
            }
            ends.push(keys.len());
        }
        LabelTable::build(texts, keys, &ends)
    }

    proptest! {
        #[test]
        fn rows_are_sorted_and_grouped_as_label_sets_are(
            sets in prop::collection::vec(prop::collection::vec((0usize..9, 0usize..4), 0..9), 0..40),
        ) {
            let names = ["__name__", "a", "b", "c", "job", "le", "x", "y", "z"];
            let values = ["1", "2", "10", "é"];
            let sets: Vec<Labels> = sets
                .iter()
                .map(|s| Labels::from_pairs(s.iter().map(|(n, v)| (names[*n], values[*v]))))
                .collect();
            let (table, place) = build(&sets);
            let mut want = sets.clone();
            want.sort();
            want.dedup();
            let got: Vec<Labels> = (0..table.len()).map(|i| table.labels(i)).collect();
            prop_assert_eq!(&got, &want);
            for (s, p) in sets.iter().zip(&place) {
                prop_assert_eq!(s, &want[*p as usize]);
            }
            let keep = |n: &str| n == "a" || n == "le";
            let (groups, of_row) = table.grouped(keep);
            for (l, g) in want.iter().zip(&of_row) {
                prop_assert_eq!(&l.filtered(keep), &groups[*g as usize]);
                prop_assert_eq!(l.value("job"), table.value(of_row.iter().zip(&want).position(|(_, x)| x == l).unwrap(), &table.places_of("job")));
            }
            let mut without: Vec<Labels> = want.iter().map(Labels::without_name).collect();
            without.sort();
            without.dedup();
            prop_assert_eq!(table.differ_without(|n| n == "__name__"), without.len() == want.len());
        }
    }

    #[test]
    fn wide_rows_are_sorted_too() {
        let set = |k: usize| Labels::from_pairs((0..40).map(|i| (format!("l{i:02}"), format!("{}", (k * 7 + i) % 13))));
        let mut sets: Vec<Labels> = (0..13).map(set).collect();
        let (table, _) = build(&sets);
        sets.sort();
        assert_eq!((0..table.len()).map(|i| table.labels(i)).collect::<Vec<_>>(), sets);
    }
}
