//! Finds the patterns of lines: lines of the same shape become one, with `<_>` where they differ (after He et al., "Drain: An
//! Online Log Parsing Approach with Fixed Depth Tree", 2017).
//!
//! A line is cut at blanks and punctuation, so that `key=value` differs in its value only. Lines with as many parts and the
//! same first part are compared with each other; those that are alike enough join one pattern. Parts with digits are taken
//! to differ from the start. The patterns are those of LogQL's `|>` filter.

use std::collections::HashMap;

/// What stands for parts that differ.
const PLACEHOLDER: &str = "<_>";
/// What stands in a line for something inside a part that is known to differ.
pub const VARIES: u8 = 0;
/// What stands in a line for a whole part that is known to differ; see [`Pattern::line`].
pub const VARYING_PART: u8 = 1;
/// Lines with more parts are cut there: the rest is one placeholder.
const MAX_PARTS: usize = 160;
/// The same for bytes.
const MAX_BYTES: usize = 4096;
/// The share of equal parts, delimiters included, from which a line joins a pattern.
const ALIKE: f64 = 0.6;
/// The most patterns of a miner. Above it those of the fewest lines go.
const MAX_PATTERNS: usize = 300;
/// How many go then: as many as make room for a while.
const EVICTED: usize = MAX_PATTERNS / 4;
/// Lines that were seen word for word, digits aside, are remembered up to this number.
const MAX_KNOWN: usize = 4096;

/// The code of a part that differs.
const DIFFERS: u64 = 0;
/// Bit of the code of a part of delimiters.
const DELIMITER: u64 = 1;
/// Bit of the code of a part of delimiters with a double quote.
const QUOTE: u64 = 2;

/// One pattern and when its lines came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text with [`VARYING_PART`] where lines differ: a line that another miner can be given.
    pub line: String,
    /// Times, ascending, and how many lines came then.
    pub samples: Vec<(i64, u64)>,
}

impl Pattern {
    /// The text with `<_>` where lines differ. Neighbouring placeholders are one, as a pattern filter cannot tell them apart.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(self.line.len() + 16);
        for (i, literal) in self.line.split(char::from(VARYING_PART)).enumerate() {
            if i > 0 && !out.ends_with(PLACEHOLDER) {
                out.push_str(PLACEHOLDER);
            }
            out.push_str(literal);
        }
        out
    }

    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.samples.iter().map(|(_, n)| n).sum()
    }
}

/// Counts by time, in any order until they are put in order.
#[derive(Clone, Debug, Default)]
struct Samples {
    list: Vec<(i64, u64)>,
    /// Up to here they are in order and of different times.
    tidy: usize,
}

impl Samples {
    fn add(&mut self, time: i64, lines: u64) {
        match self.list.last_mut() {
            Some(last) if last.0 == time => last.1 += lines,
            _ => {
                // Each time as many have come as there were, so that the list stays within twice what it has to hold.
                if self.list.len() >= 64 && self.list.len() >= self.tidy * 2 {
                    self.put_in_order();
                }
                self.list.push((time, lines));
            }
        }
    }

    fn put_in_order(&mut self) {
        self.list.sort_unstable_by_key(|(t, _)| *t);
        self.list.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        self.tidy = self.list.len();
    }

    fn lines(&self) -> u64 {
        self.list.iter().map(|(_, n)| n).sum()
    }
}

/// A line cut into parts; reused for many.
#[derive(Debug, Default)]
struct Parts {
    /// A code for each part, equal for equal parts.
    codes: Vec<u64>,
    /// Where each part ends.
    ends: Vec<u32>,
    /// The same for the same parts.
    hash: u64,
}

/// Lines that are alike.
#[derive(Debug)]
struct Cluster {
    codes: Vec<u64>,
    /// The first line, and where its parts end.
    text: Box<[u8]>,
    ends: Box<[u32]>,
    samples: Samples,
}

/// Takes lines and keeps their patterns.
#[derive(Debug, Default)]
pub struct Miner {
    clusters: Vec<Cluster>,
    /// By number of parts and the first of them.
    groups: HashMap<(usize, u64), Vec<u32>>,
    /// Clusters by the hash of lines that joined them.
    known: HashMap<u64, u32>,
    parts: Parts,
    left_out: u64,
}

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let delimiters = b" \t\n\r\x0b\x0c=,;:'[](){}|";
    let mut i = 0;
    while i < delimiters.len() {
        table[delimiters[i] as usize] = CLASS_DELIMITER;
        i += 1;
    }
    table[b'"' as usize] = CLASS_DELIMITER | CLASS_QUOTE;
    let mut digit = b'0';
    while digit <= b'9' {
        table[digit as usize] = CLASS_DIFFERS;
        digit += 1;
    }
    table[VARIES as usize] = CLASS_DIFFERS;
    table
}

const CLASS_DELIMITER: u8 = 1;
const CLASS_QUOTE: u8 = 2;
const CLASS_DIFFERS: u8 = 4;
static CLASS: [u8; 256] = classes();

fn class(b: u8) -> u8 {
    CLASS.get(usize::from(b)).copied().unwrap_or(0)
}

/// Mixes a byte or a code into a hash, as rustc's own hasher does.
fn mix(hash: u64, with: u64) -> u64 {
    (hash.rotate_left(5) ^ with).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// Gives `each` the code of every part of a text and where it ends: words, and each run of delimiters as one.
fn cut(text: &[u8], mut each: impl FnMut(u64, usize) -> bool) {
    let mut at = 0;
    while let Some(first) = text.get(at) {
        if *first == VARYING_PART {
            at += 1;
            if !each(DIFFERS, at) {
                return;
            }
            continue;
        }
        let delimiter = class(*first) & CLASS_DELIMITER;
        let mut seen = 0;
        let mut hash = 0;
        for b in text.get(at..).unwrap_or_default() {
            let c = class(*b);
            if c & CLASS_DELIMITER != delimiter || *b == VARYING_PART {
                break;
            }
            seen |= c;
            hash = mix(hash, u64::from(*b));
            at += 1;
        }
        let code = match (delimiter != 0, seen & CLASS_DIFFERS != 0, seen & CLASS_QUOTE != 0) {
            (false, true, _) => DIFFERS,
            // Never 0: bit 2 is set in codes of both kinds.
            (false, false, _) => hash & !3 | 4,
            (true, _, false) => hash & !3 | 4 | DELIMITER,
            (true, _, true) => hash & !3 | 4 | DELIMITER | QUOTE,
        };
        if !each(code, at) {
            return;
        }
    }
}

/// A number that is the same for texts that differ in parts with digits only.
pub fn look_of(text: &[u8]) -> u64 {
    let mut hash = 1;
    cut(text, |code, _| {
        hash = mix(hash, code);
        true
    });
    hash
}

impl Parts {
    fn take(&mut self, line: &[u8]) {
        self.codes.clear();
        self.ends.clear();
        let head = line.get(..MAX_BYTES).unwrap_or(line);
        let mut hash = 1;
        let (codes, ends) = (&mut self.codes, &mut self.ends);
        cut(head, |code, end| {
            hash = mix(hash, code);
            codes.push(code);
            ends.push(end as u32);
            codes.len() < MAX_PARTS
        });
        let done = ends.last().map_or(0, |e| *e as usize);
        if done < line.len() {
            codes.push(DIFFERS);
            ends.push(line.len() as u32);
            hash = mix(hash, DIFFERS);
        }
        self.hash = hash;
    }
}

/// Parts of one kind that two lines have in common.
#[derive(Default)]
struct Common {
    words: u32,
    /// Words that are not varying in both.
    told: u32,
    equal: u32,
}

impl Common {
    fn half(&self) -> bool {
        self.equal * 2 >= self.told
    }
}

/// The share of equal parts, if two lines with as many parts are alike: most parts are equal, so are half of the words that
/// could differ, and the same holds between each pair of quotes with more than one word, so that a message is not lost among
/// equal keys.
fn likeness(kept: &[u64], new: &[u64]) -> Option<f64> {
    let equal = kept.iter().zip(new).filter(|(a, b)| a == b).count();
    let share = equal as f64 / kept.len().max(1) as f64;
    if share < ALIKE {
        return None;
    }
    let mut all = Common::default();
    let mut quoted = Common::default();
    for (a, b) in kept.iter().zip(new) {
        if a & DELIMITER != 0 || b & DELIMITER != 0 {
            if (a | b) & QUOTE != 0 {
                if quoted.words > 1 && !quoted.half() {
                    return None;
                }
                quoted = Common::default();
            }
            continue;
        }
        let told = u32::from(*a != DIFFERS || *b != DIFFERS);
        let equal = u32::from(a == b) & told;
        for c in [&mut all, &mut quoted] {
            c.words += 1;
            c.told += told;
            c.equal += equal;
        }
    }
    all.half().then_some(share)
}

impl Miner {
    /// Takes lines that are all like this one, with how many came when. [`VARIES`] and [`VARYING_PART`] stand in it for what
    /// differs among them. Empty lines have no pattern.
    pub fn add(&mut self, line: &[u8], samples: impl IntoIterator<Item = (i64, u64)>) {
        self.parts.take(line);
        if self.parts.codes.is_empty() {
            return;
        }
        let at = match self.known.get(&self.parts.hash) {
            Some(at) => *at as usize,
            None => self.join(line),
        };
        if let Some(cluster) = self.clusters.get_mut(at) {
            for (time, lines) in samples {
                cluster.samples.add(time, lines);
            }
        }
    }

    /// The cluster that the line in `self.parts` belongs to.
    fn join(&mut self, line: &[u8]) -> usize {
        if self.clusters.len() >= MAX_PATTERNS {
            self.evict();
        }
        let parts = &self.parts;
        let key = (parts.codes.len(), parts.codes.first().copied().unwrap_or(DIFFERS));
        let group = self.groups.entry(key).or_default();
        let best = group
            .iter()
            .filter_map(|i| Some((*i as usize, likeness(&self.clusters.get(*i as usize)?.codes, &parts.codes)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let at = match best {
            Some((at, _)) => at,
            None => {
                group.push(self.clusters.len() as u32);
                self.clusters.push(Cluster {
                    codes: parts.codes.clone(),
                    text: line.into(),
                    ends: parts.ends.as_slice().into(),
                    samples: Samples::default(),
                });
                self.clusters.len() - 1
            }
        };
        if let Some(cluster) = self.clusters.get_mut(at) {
            for (kept, new) in cluster.codes.iter_mut().zip(&parts.codes) {
                if kept != new {
                    *kept = DIFFERS;
                }
            }
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(parts.hash, at as u32);
        at
    }

    /// Makes room: the patterns of the fewest lines go.
    fn evict(&mut self) {
        self.clusters.sort_by_cached_key(|c| std::cmp::Reverse(c.samples.lines()));
        let kept = self.clusters.len().saturating_sub(EVICTED);
        self.left_out += self.clusters.drain(kept..).map(|c| c.samples.lines()).sum::<u64>();
        self.known.clear();
        self.groups.clear();
        for (i, c) in self.clusters.iter().enumerate() {
            // Lines of a group have the first part in common, so it never became a placeholder.
            let key = (c.codes.len(), c.codes.first().copied().unwrap_or(DIFFERS));
            self.groups.entry(key).or_default().push(i as u32);
        }
    }

    /// Takes over what another has found.
    pub fn absorb(&mut self, other: Miner) {
        let (patterns, left_out) = other.finish();
        self.left_out += left_out;
        for p in patterns {
            self.add(p.line.as_bytes(), p.samples);
        }
    }

    /// The patterns found, those of most lines first, and how many lines are in none because there were too many patterns.
    pub fn finish(self) -> (Vec<Pattern>, u64) {
        // Clusters may have become equal while they grew.
        let mut by_line: HashMap<String, Samples> = HashMap::with_capacity(self.clusters.len());
        for c in self.clusters {
            let samples = by_line.entry(marked(&c)).or_default();
            if samples.list.is_empty() {
                *samples = c.samples;
            } else {
                c.samples.list.iter().for_each(|(t, n)| samples.add(*t, *n));
            }
        }
        let pattern = |(line, mut samples): (String, Samples)| {
            samples.put_in_order();
            Pattern { line, samples: samples.list }
        };
        let mut all: Vec<(u64, Pattern)> = by_line.into_iter().map(pattern).map(|p| (p.lines(), p)).collect();
        all.sort_unstable_by(|(n, a), (m, b)| m.cmp(n).then_with(|| a.line.cmp(&b.line)));
        (all.into_iter().map(|(_, p)| p).collect(), self.left_out)
    }
}

/// See [`Pattern::line`].
fn marked(cluster: &Cluster) -> String {
    let mut out = Vec::with_capacity(cluster.text.len());
    let mut start = 0;
    for (code, end) in cluster.codes.iter().zip(&cluster.ends) {
        let end = *end as usize;
        match *code {
            DIFFERS => out.push(VARYING_PART),
            _ => out.extend_from_slice(cluster.text.get(start..end).unwrap_or_default()),
        }
        start = end;
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mined(lines: &[(i64, &str)]) -> Vec<(String, Vec<(i64, u64)>)> {
        let mut miner = Miner::default();
        lines.iter().for_each(|(t, line)| miner.add(line.as_bytes(), [(*t, 1)]));
        miner.finish().0.into_iter().map(|p| (p.text(), p.samples)).collect()
    }

    #[test]
    fn lines_of_one_shape_become_one() {
        let found = mined(&[
            (0, "user alice logged in from 10.0.0.1:4711"),
            (0, "user bob logged in from 10.0.0.2:80"),
            (10, "user carol logged in from 10.0.0.3:81"),
            (10, "level=info msg=\"disk is full\" free=0"),
            (20, "level=info msg=\"disk is fine\" free=17"),
            (20, ""),
        ]);
        let wanted = [
            ("user <_> logged in from <_>:<_>", vec![(0, 2), (10, 1)]),
            ("level=info msg=\"disk is <_>\" free=<_>", vec![(10, 1), (20, 1)]),
        ];
        assert_eq!(found, wanted.map(|(text, samples)| (text.to_owned(), samples)));
    }

    #[test]
    fn messages_stay_apart_among_equal_keys() {
        let found = mined(&[
            (0, r#"{"ts":1,"app":"a","zone":"b","msg":"cache was flushed","n":5}"#),
            (0, r#"{"ts":2,"app":"a","zone":"c","msg":"user logged in","n":6}"#),
            (0, r#"{"ts":3,"app":"a","zone":"d","msg":"cache was filled","n":7}"#),
            (0, "2026-01-01 INFO worker started the job"),
            (0, "2026-01-02 INFO cache flushed by hand"),
        ]);
        let texts: Vec<&str> = found.iter().map(|(t, _)| t.as_str()).collect();
        assert_eq!(
            texts,
            [
                r#"{"ts":<_>,"app":"a","zone":"<_>","msg":"cache was <_>","n":<_>}"#,
                "<_> INFO cache flushed by hand",
                "<_> INFO worker started the job",
                r#"{"ts":<_>,"app":"a","zone":"c","msg":"user logged in","n":<_>}"#,
            ]
        );
    }

    #[test]
    fn what_differs_can_be_told() {
        let mut miner = Miner::default();
        miner.add(b"GET /x\0y in \0ms", [(0, 3)]);
        miner.add(b"GET /other in 5ms", [(10, 1)]);
        let (patterns, _) = miner.finish();
        assert_eq!(patterns.iter().map(Pattern::text).collect::<Vec<_>>(), ["GET <_> in <_>"]);
        // A pattern given to another miner is the same there.
        let mut again = Miner::default();
        patterns.iter().for_each(|p| again.add(p.line.as_bytes(), p.samples.iter().copied()));
        assert_eq!(again.finish().0, patterns);
    }

    #[test]
    fn patterns_go_over_whole_into_another_miner() {
        let lines = ["a [x] b=1 \"q w\" ü", "a [y] b=2 \"q w\" ü", "\u{1}", "a,\u{1} b", "x\u{1}\u{1}y", "1 2 3"];
        let mut miner = Miner::default();
        lines.iter().for_each(|l| miner.add(l.as_bytes(), [(7, 2)]));
        let mut other = Miner::default();
        other.absorb(miner);
        let (patterns, left_out) = other.finish();
        assert_eq!((patterns.iter().map(Pattern::lines).sum::<u64>(), left_out), (12, 0));
        assert!(patterns.iter().any(|p| p.line == "a [\u{1}] b=\u{1} \"q w\" ü"), "{patterns:?}");
    }

    #[test]
    fn looks() {
        assert_eq!(look_of(b"took 5ms of 10"), look_of(b"took 77s of 3"));
        assert_ne!(look_of(b"took 5ms"), look_of(b"gave 5ms"));
        assert_ne!(look_of(b"a b"), look_of(b"a\tb"));
    }

    #[test]
    fn there_is_a_bound() {
        let mut miner = Miner::default();
        let words = |n: usize| (0..n).map(|_| "x").collect::<Vec<_>>().join(" ");
        let letters = |i: usize| i.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>();
        for i in 0..1000 {
            miner.add(format!("{} {} {}", letters(i), letters(i), words(i % 5)).as_bytes(), [(0, 1)]);
            miner.add(b"often seen", [(0, 1)]);
        }
        assert!(miner.clusters.len() <= MAX_PATTERNS);
        let (patterns, left_out) = miner.finish();
        assert_eq!(patterns.first().map(|p| (p.line.as_str(), p.lines())), Some(("often seen", 1000)));
        assert_eq!(patterns.iter().map(Pattern::lines).sum::<u64>() + left_out, 2000);
        let mut parts = Parts::default();
        parts.take(words(5000).as_bytes());
        assert_eq!((parts.codes.len(), parts.codes.last()), (MAX_PARTS + 1, Some(&DIFFERS)));
        parts.take("y".repeat(MAX_BYTES * 2).as_bytes());
        assert_eq!(parts.codes.len(), 2);
    }

    #[test]
    fn samples_stay_short() {
        let mut s = Samples::default();
        for i in 0..10_000 {
            s.add(i % 100, 1);
        }
        assert!(s.list.len() <= 200);
        s.put_in_order();
        assert_eq!((s.list.len(), s.lines()), (100, 10_000));
    }
}
