//! Finds the patterns of the lines of a segment while its row groups are written.
//!
//! Rows of one stream, level and shape that look alike are one line with a weight for [`crate::text::drain`]. Two rows look
//! alike when the texts of several words in them (messages) differ in parts with digits only; any other value is told if it
//! is the same in all of these rows, and left open if not. So most rows cost a comparison of their values, not the search for
//! a pattern.

use std::collections::{BTreeMap, HashMap};

use super::bucket_of;
use super::section::SectionBuilder;
use crate::logs::byte_hash::ByHash;
use crate::logs::columns::group_writer::GroupLines;
use crate::logs::columns::{Kind, Skeleton, VariableKind};
use crate::logs::detect::{LEVELS, NO_LEVEL, level_name};
use crate::text::drain::{Miner, VARIES, look_of};

/// Levels that have no code and are told by their name; further ones are unknown.
const MAX_NAMED_LEVELS: usize = 64;
/// The name of the level of lines without one.
const UNKNOWN: &str = "unknown";

/// Rows that look alike.
struct Look {
    /// The shape, and the first row among those of the shape.
    shape: u32,
    first: usize,
    level: u32,
    /// A bit for each of the first 64 variables that differ; further ones are taken to differ.
    varies: u64,
    samples: Vec<(i64, u64)>,
}

/// What is known of a shape of the group at hand.
struct ShapeFacts {
    skeleton: Option<Skeleton>,
    /// Variables that are left open whatever their values are.
    open: u64,
    /// Variables that may hold several words.
    texts: u64,
    /// Rows of the shape that were looked at.
    seen: usize,
}

/// See the module.
#[derive(Default)]
pub(in crate::logs) struct PatternMiner {
    section: SectionBuilder,
    /// The stream at hand, with a miner for each level it has.
    stream: Option<u32>,
    miners: BTreeMap<u32, Miner>,
    /// Levels without a code, by number from [`LEVELS`] on.
    named: Vec<String>,
    looks: HashMap<u64, Look, ByHash>,
    line: Vec<u8>,
}

impl PatternMiner {
    /// Takes the rows of a group; groups come in the order of their streams.
    pub fn take(&mut self, group: &GroupLines<'_>) {
        let mut facts: Vec<ShapeFacts> = group.skeletons().map(facts_of).collect();
        let mut row = 0;
        for run in group.runs() {
            if self.stream != Some(run.ordinal) {
                self.end_stream();
                self.stream = Some(run.ordinal);
            }
            for _ in 0..run.rows {
                self.take_row(group, &mut facts, row);
                row += 1;
            }
            self.end_looks(group, &facts);
        }
    }

    fn level_of(&mut self, group: &GroupLines<'_>, row: usize) -> u32 {
        match group.level(row) {
            NO_LEVEL => match group.level_name(row) {
                None => LEVELS.len() as u32,
                Some(name) => match self.named.iter().position(|n| n == name) {
                    Some(i) => (LEVELS.len() + 1 + i) as u32,
                    None if self.named.len() < MAX_NAMED_LEVELS => {
                        self.named.push(name.to_owned());
                        (LEVELS.len() + self.named.len()) as u32
                    }
                    None => LEVELS.len() as u32,
                },
            },
            code => u32::from(code),
        }
    }

    fn take_row(&mut self, group: &GroupLines<'_>, facts: &mut [ShapeFacts], row: usize) {
        let id = group.shape_of(row);
        let level = self.level_of(group, row);
        let bucket = bucket_of(group.timestamp(row));
        let Some(fact) = facts.get_mut(id as usize) else { return };
        let place = fact.seen;
        fact.seen += 1;
        if fact.skeleton.is_none() {
            let line = group.value(id, place, 0);
            self.miners.entry(level).or_default().add(line, [(bucket, 1)]);
            return;
        }
        let mut look = u64::from(id) << 32 | u64::from(level);
        let mut texts = fact.texts;
        while texts != 0 {
            let v = texts.trailing_zeros();
            texts &= texts - 1;
            let value = group.value(id, place, v as usize);
            if memchr::memchr(b' ', value).is_some() {
                look = look.rotate_left(v + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ look_of(value);
            }
        }
        let found = self.looks.entry(look).or_insert_with(|| Look {
            shape: id,
            first: place,
            level,
            varies: fact.open,
            samples: Vec::new(),
        });
        let variables = group.variables(id).min(64);
        let mut left = !found.varies & low_bits(variables);
        while left != 0 {
            let v = left.trailing_zeros();
            left &= left - 1;
            if group.value(id, place, v as usize) != group.value(id, found.first, v as usize) {
                found.varies |= 1 << v;
            }
        }
        match found.samples.last_mut() {
            Some(last) if last.0 == bucket => last.1 += 1,
            _ => found.samples.push((bucket, 1)),
        }
    }

    /// Gives what the rows of a stream in a group look like to its miners.
    fn end_looks(&mut self, group: &GroupLines<'_>, facts: &[ShapeFacts]) {
        let mut looks: Vec<Look> = self.looks.drain().map(|(_, l)| l).collect();
        // The same rows give the same patterns, whatever the hashes are in this process.
        looks.sort_unstable_by_key(|l| (l.shape, l.first));
        for look in looks {
            let Some(fact) = facts.get(look.shape as usize) else { continue };
            let Some(skeleton) = &fact.skeleton else { continue };
            self.line.clear();
            for v in 0..skeleton.variables().len() {
                self.line.extend_from_slice(skeleton.literal(v).as_bytes());
                let value = group.value(look.shape, look.first, v);
                // What differs within a text of several words is found by its parts.
                let words = || fact.texts >> v & 1 == 1 && memchr::memchr(b' ', value).is_some();
                let whole = v < 64 && (look.varies >> v & 1 == 0 || words());
                match whole {
                    true => self.line.extend_from_slice(value),
                    false => self.line.push(VARIES),
                }
            }
            self.line.extend_from_slice(skeleton.literal(skeleton.variables().len()).as_bytes());
            self.miners.entry(look.level).or_default().add(&self.line, look.samples);
        }
    }

    fn end_stream(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        for (level, miner) in std::mem::take(&mut self.miners) {
            let name = match (level as usize).checked_sub(LEVELS.len() + 1) {
                Some(i) => self.named.get(i).map_or(UNKNOWN, String::as_str),
                None => level_name(level as u8).unwrap_or(UNKNOWN),
            };
            let (patterns, left_out) = miner.finish();
            self.section.add(stream, name, patterns, left_out, 0);
        }
    }

    /// Ends the segment: what is to be kept in it.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_stream();
        self.section.finish()
    }
}

fn low_bits(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

fn facts_of(skeleton: Option<Skeleton>) -> ShapeFacts {
    let skeleton = skeleton.filter(|s| s.kind() != Kind::Raw);
    let mut facts = ShapeFacts { skeleton: None, open: 0, texts: 0, seen: 0 };
    for (v, kind) in skeleton.iter().flat_map(|s| s.variables()).take(64).enumerate() {
        match kind {
            VariableKind::JsonString | VariableKind::LogfmtQuoted => facts.texts |= 1 << v,
            VariableKind::LogfmtBare => {}
            VariableKind::Line | VariableKind::Token | VariableKind::JsonNumber | VariableKind::JsonArray => {
                facts.open |= 1 << v;
            }
        }
    }
    facts.skeleton = skeleton;
    facts
}
