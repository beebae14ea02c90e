//! Conditions on what entries bring beside their lines: the labels of their streams and structured metadata.
//!
//! The labels of a stream are known before anything is read, so for each stream some of the conditions are settled; the others are
//! left to the metadata: to the index of pairs first, then to the columns of names.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::columns::{RowGroup, RowSet, rows_with};
use super::error::Error;
use super::index::pairs::{NameSeed, PairIndex};
use super::stream_index::{StreamId, StreamIndex};
use crate::model::{Labels, Matcher};

/// Conditions looked at; what is beyond rules out nothing. One bit each.
const MAX_LEAVES: usize = 64;
/// A condition is looked up in the index if so many values at most satisfy it.
const MAX_VALUES: usize = 256;

/// A condition on an entry's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelCondition {
    /// The stream has a label of the matcher's name that satisfies it, or the entry has metadata of that name that does. A label that is
    /// not there satisfies nothing.
    Matches(Matcher),
    /// All of these hold.
    AllOf(Vec<LabelCondition>),
    /// One of these does.
    AnyOf(Vec<LabelCondition>),
}

/// Conditions made ready for many streams and segments. All of them must hold.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    leaves: Vec<Leaf>,
    all: Vec<Tree>,
    /// Of streams that were asked for, which leaves their labels satisfy.
    of_streams: Mutex<HashMap<StreamId, u64>>,
}

#[derive(Debug)]
struct Leaf {
    matcher: Matcher,
    /// The values that satisfy it, with their terms in the index, if they are few.
    values: Option<Vec<(String, u32)>>,
}

#[derive(Debug)]
enum Tree {
    Leaf(usize),
    AllOf(Vec<Tree>),
    AnyOf(Vec<Tree>),
}

/// What a segment's index says of each leaf: the blocks that can hold it, ascending; `None` if the index cannot tell.
pub(super) type LeafBlocks = Vec<Option<Vec<u32>>>;

impl Conditions {
    /// Prepares conditions that must all hold.
    pub fn new(conditions: &[LabelCondition]) -> Self {
        let mut leaves = Vec::new();
        let all = conditions.iter().filter_map(|c| tree(c, &mut leaves)).collect();
        Conditions { leaves, all, of_streams: Mutex::default() }
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Which leaves the labels of a stream satisfy, a bit each.
    pub fn held_by(&self, stream: StreamId, streams: &StreamIndex) -> u64 {
        let lock = || self.of_streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = lock().get(&stream) {
            return *held;
        }
        let labels = streams.labels(stream);
        let satisfied = |leaf: &Leaf| labels.get(leaf.matcher.name()).is_some_and(|v| leaf.matcher.matches(v));
        let held = bits(self.leaves.iter().map(satisfied));
        lock().insert(stream, held);
        held
    }

    /// Whether an entry satisfies all conditions, if its stream satisfies the leaves `held`.
    pub fn accept(&self, held: u64, metadata: &Labels) -> bool {
        let satisfied = |leaf: &Leaf| metadata.get(leaf.matcher.name()).is_some_and(|v| leaf.matcher.matches(v));
        let held = held | bits(self.leaves.iter().map(satisfied));
        self.all.iter().all(|t| t.fold(&|leaf| (held >> leaf & 1 == 0).then_some(()), |a, _| a, |a, _| a).is_none())
    }

    /// Asks the index of a segment; `asked` is told of each pair and of how many blocks can hold it.
    pub fn ask(&self, index: Option<&PairIndex>, mut asked: impl FnMut(String, Option<u64>)) -> LeafBlocks {
        let blocks_of = |leaf: &Leaf| {
            let name = leaf.matcher.name();
            let mut blocks = Vec::new();
            for (value, term) in leaf.values.as_ref()? {
                let Some(index) = index else {
                    asked(format!("{name}={value}"), None);
                    continue;
                };
                let found = index.blocks_of(*term);
                asked(format!("{name}={value}"), Some(found.len() as u64));
                blocks.extend(found);
            }
            index?;
            blocks.sort_unstable();
            blocks.dedup();
            Some(blocks)
        };
        self.leaves.iter().map(blocks_of).collect()
    }

    /// Of some blocks (a bit each) those that can hold entries of a stream that satisfies the leaves `held`; `of_leaf` says of a
    /// leaf which blocks can hold it.
    pub fn blocks(&self, held: u64, of_leaf: impl Fn(usize) -> u32) -> u32 {
        let leaf = |i: usize| (held >> i & 1 == 0).then(|| of_leaf(i));
        self.all.iter().filter_map(|t| t.fold(&leaf, |a, b| a & b, |a, b| a | b)).fold(u32::MAX, |a, b| a & b)
    }

    /// The rows of a group that satisfy all conditions; `held` says which leaves the labels of a stream satisfy.
    pub fn rows(&self, group: &RowGroup, held: impl Fn(StreamId) -> u64) -> Result<RowSet, Error> {
        let mut of_leaves = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            of_leaves.push(rows_with(group, &leaf.matcher)?);
        }
        for stream in group.streams() {
            let held = held(stream.stream);
            for (i, rows) in of_leaves.iter_mut().enumerate() {
                if held >> i & 1 == 1 {
                    rows.insert_range(stream.rows.clone());
                }
            }
        }
        let leaf = |i: usize| of_leaves.get(i).cloned();
        let and = |mut a: RowSet, b: RowSet| {
            a.intersect(&b);
            a
        };
        let or = |mut a: RowSet, b: RowSet| {
            a.unite(&b);
            a
        };
        let found = self.all.iter().filter_map(|t| t.fold(&leaf, and, or)).reduce(and);
        Ok(found.unwrap_or_else(|| RowSet::all(group.rows())))
    }
}

fn bits(each: impl Iterator<Item = bool>) -> u64 {
    each.zip(0..).fold(0, |bits, (set, i)| bits | u64::from(set) << i)
}

/// `None` if the condition rules out nothing.
fn tree(condition: &LabelCondition, leaves: &mut Vec<Leaf>) -> Option<Tree> {
    match condition {
        LabelCondition::Matches(m) => {
            let known = leaves.iter().position(|l| l.matcher == *m);
            let place = known.or_else(|| (leaves.len() < MAX_LEAVES).then_some(leaves.len()))?;
            if place == leaves.len() {
                leaves.push(Leaf { values: values_of(m), matcher: m.clone() });
            }
            Some(Tree::Leaf(place))
        }
        LabelCondition::AllOf(parts) => {
            let parts: Vec<Tree> = parts.iter().filter_map(|p| tree(p, leaves)).collect();
            (!parts.is_empty()).then_some(Tree::AllOf(parts))
        }
        LabelCondition::AnyOf(parts) => {
            let parts: Vec<Tree> = parts.iter().map(|p| tree(p, leaves)).collect::<Option<_>>()?;
            (!parts.is_empty()).then_some(Tree::AnyOf(parts))
        }
    }
}

/// The values that satisfy a matcher, if they are few.
fn values_of(matcher: &Matcher) -> Option<Vec<(String, u32)>> {
    use crate::model::MatchOp;
    let values: Vec<&str> = match matcher.op() {
        MatchOp::Equal => vec![matcher.value()],
        MatchOp::Regex => matcher.regex()?.exact_alternatives()?.iter().map(String::as_str).collect(),
        MatchOp::NotEqual | MatchOp::NotRegex => return None,
    };
    let name = NameSeed::of(matcher.name());
    let term = |v: &str| (v.to_owned(), name.term(v.as_bytes()));
    (values.len() <= MAX_VALUES).then(|| values.into_iter().map(term).collect())
}

impl Tree {
    /// Puts together what is known of the leaves; `None` says that there is no restriction.
    fn fold<S>(
        &self,
        leaf: &impl Fn(usize) -> Option<S>,
        and: impl Fn(S, S) -> S + Copy,
        or: impl Fn(S, S) -> S + Copy,
    ) -> Option<S> {
        match self {
            Tree::Leaf(i) => leaf(*i),
            Tree::AllOf(parts) => parts.iter().filter_map(|p| p.fold(leaf, and, or)).reduce(and),
            Tree::AnyOf(parts) => {
                let parts: Vec<S> = parts.iter().map(|p| p.fold(leaf, and, or)).collect::<Option<_>>()?;
                parts.into_iter().reduce(or)
            }
        }
    }
}

#[cfg(test)]
mod tests;
