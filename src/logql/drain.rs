//! Finds the patterns of lines: lines of the same shape become one, with `<_>` where they differ (after He et al., "Drain: An
//! Online Log Parsing Approach with Fixed Depth Tree", 2017).
//!
//! A line is cut at blanks and punctuation, so that `key=value` differs in its value only. Lines with as many parts and the
//! same first part are compared with each other; those that are alike enough join one pattern. Parts with digits are taken
//! to differ from the start. The patterns are those of the `|>` filter.

use std::collections::{BTreeMap, HashMap};

/// What stands for parts that differ.
const PLACEHOLDER: &str = "<_>";
/// What stands in a line for a part that is known to differ.
pub const VARIES: &str = "\u{0}";
/// Lines with more parts are cut there: the rest is one placeholder.
const MAX_PARTS: usize = 160;
/// So many first parts, by which lines are sorted before they are compared.
const PREFIX_PARTS: usize = 1;
/// The share of equal parts from which a line joins a pattern.
const ALIKE: f64 = 0.6;
/// The most patterns; lines that would make more are counted as [`Miner::left_out`].
const MAX_PATTERNS: usize = 500;

/// One pattern and when its lines came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text, with `<_>`.
    pub text: String,
    /// Lines by time, in the steps the caller gave.
    pub samples: BTreeMap<i64, u64>,
}

impl Pattern {
    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.samples.values().sum()
    }
}

struct Cluster {
    /// `None` where lines differ.
    parts: Vec<Option<String>>,
    samples: BTreeMap<i64, u64>,
}

/// Takes lines and keeps their patterns.
#[derive(Default)]
pub struct Miner {
    clusters: Vec<Cluster>,
    /// By number of parts and the first of them.
    groups: HashMap<(usize, Vec<Option<String>>), Vec<usize>>,
    /// Lines that fit no pattern when there were too many already.
    pub left_out: u64,
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || matches!(c, '=' | ',' | ';' | ':' | '"' | '\'' | '[' | ']' | '(' | ')' | '{' | '}' | '|')
}

/// The parts of a line: words, and each run of delimiters as one; joined they are the line again.
fn parts(line: &str) -> Vec<Option<String>> {
    let mut out: Vec<Option<String>> = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if out.len() >= MAX_PARTS {
            out.push(None);
            break;
        }
        let delimiter = is_delimiter(first);
        let end = rest.find(|c| is_delimiter(c) != delimiter).unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        let differs = !delimiter && part.bytes().any(|b| b.is_ascii_digit() || b == 0);
        out.push((!differs).then(|| part.to_owned()));
        rest = tail;
    }
    out
}

/// The share of parts that are equal; a placeholder is equal to a placeholder only.
fn likeness(a: &[Option<String>], b: &[Option<String>]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    equal as f64 / a.len().max(1) as f64
}

impl Miner {
    /// Takes lines that are all like this one, with how many came in which step. [`VARIES`] stands in it for what differs
    /// among them.
    pub fn add(&mut self, line: &str, samples: impl IntoIterator<Item = (i64, u64)>) {
        let found = parts(line);
        if !found.is_empty() {
            self.join(found, samples);
        }
    }

    /// Takes over what another has found.
    pub fn absorb(&mut self, other: Miner) {
        self.left_out += other.left_out;
        for cluster in other.clusters {
            self.join(cluster.parts, cluster.samples);
        }
    }

    fn join(&mut self, found: Vec<Option<String>>, samples: impl IntoIterator<Item = (i64, u64)>) {
        let key = (found.len(), found.iter().take(PREFIX_PARTS).cloned().collect::<Vec<_>>());
        let group = self.groups.entry(key).or_default();
        let best = group
            .iter()
            .filter_map(|i| self.clusters.get(*i).map(|c| (*i, likeness(&c.parts, &found))))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|(_, share)| *share >= ALIKE);
        let at = match best {
            Some((i, _)) => i,
            None if self.clusters.len() >= MAX_PATTERNS => {
                self.left_out += samples.into_iter().map(|(_, n)| n).sum::<u64>();
                return;
            }
            None => {
                group.push(self.clusters.len());
                self.clusters.push(Cluster { parts: found.clone(), samples: BTreeMap::new() });
                self.clusters.len() - 1
            }
        };
        if let Some(cluster) = self.clusters.get_mut(at) {
            for (kept, new) in cluster.parts.iter_mut().zip(&found) {
                if kept != new {
                    *kept = None;
                }
            }
            for (time, n) in samples {
                *cluster.samples.entry(time).or_default() += n;
            }
        }
    }

    /// The patterns found, those of most lines first.
    pub fn finish(self) -> Vec<Pattern> {
        // Clusters may have become equal while they grew.
        let mut by_text: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for c in self.clusters {
            let samples = by_text.entry(text(&c.parts)).or_default();
            for (t, n) in c.samples {
                *samples.entry(t).or_default() += n;
            }
        }
        let mut all: Vec<Pattern> = by_text.into_iter().map(|(text, samples)| Pattern { text, samples }).collect();
        all.sort_by_key(|p| std::cmp::Reverse(p.lines()));
        all
    }
}

/// Neighbouring placeholders become one, as a pattern filter cannot tell them apart.
fn text(parts: &[Option<String>]) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Some(p) => out.push_str(p),
            None if out.ends_with(PLACEHOLDER) => {}
            None => out.push_str(PLACEHOLDER),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_shape_become_one() {
        let mut miner = Miner::default();
        for (t, line) in [
            (0, "user alice logged in from 10.0.0.1:4711"),
            (0, "user bob logged in from 10.0.0.2:80"),
            (10, "user carol logged in from 10.0.0.3:81"),
            (10, "level=info msg=\"disk is full\" free=0"),
            (20, "level=info msg=\"disk is fine\" free=17"),
            (20, ""),
        ] {
            miner.add(line, [(t, 1)]);
        }
        let found = miner.finish();
        let rows: Vec<_> = found.iter().map(|p| (p.text.as_str(), p.samples.clone())).collect();
        assert_eq!(
            rows,
            [
                ("user <_> logged in from <_>:<_>", BTreeMap::from([(0, 2), (10, 1)])),
                ("level=info msg=\"disk is <_>\" free=<_>", BTreeMap::from([(10, 1), (20, 1)])),
            ]
        );
    }

    #[test]
    fn patterns_match_their_lines() {
        let lines = ["GET /a/1 200 in 5ms", "GET /b/22 404 in 17ms", "GET /c 500 in 1ms"];
        let mut miner = Miner::default();
        lines.iter().for_each(|l| miner.add(l, [(0, 1)]));
        for p in miner.finish() {
            let filter = crate::logql::stages::pattern::Pattern::filter(&p.text).unwrap();
            assert!(lines.iter().any(|l| filter.is_match(l)), "{}", p.text);
        }
    }

    #[test]
    fn there_is_a_bound() {
        let mut miner = Miner::default();
        let words = |n: usize| (0..n).map(|_| "x").collect::<Vec<_>>().join(" ");
        for i in 0..MAX_PATTERNS + 10 {
            let tail: String = i.to_string().bytes().map(|b| char::from(b + 49)).collect();
            miner.add(&format!("{tail} {tail} {}", words(i % 5)), [(0, 1)]);
        }
        assert_eq!((miner.clusters.len(), miner.left_out), (MAX_PATTERNS, 10));
        miner.add(&words(5000), [(0, 1)]);
        assert_eq!(parts(&words(5000)).len(), MAX_PARTS + 1);
    }
}
