//! The patterns of a segment as bytes. See `docs/storage-format.md`.

use std::collections::{BTreeMap, HashMap};

use crate::disk::varint::{put_bytes, put_i64, put_u64, take_i64, take_str, take_u64};
use crate::logs::limits;
use crate::logs::metrics;
use crate::text::drain::{Miner, Pattern};

/// The version of the form.
pub const VERSION: u8 = 1;
/// zstd level: level 1 as for texts elsewhere in a segment.
const ZSTD_LEVEL: i32 = 1;
/// More bytes than this are no patterns but damage: so many samples no segment has.
const MAX_BYTES: usize = 256 << 20;

/// Collects the patterns of the streams of a segment.
#[derive(Default)]
pub struct SectionBuilder {
    levels: Vec<String>,
    numbers: HashMap<String, u32>,
    texts: Vec<u8>,
    entries: Vec<u8>,
    count: u64,
    last_stream: u32,
}

impl SectionBuilder {
    /// Adds what was found for a level of a stream; streams come in ascending order. `left_out` lines are in no pattern;
    /// further ones were `known` to be in none before.
    pub fn add(&mut self, stream: u32, level: &str, patterns: Vec<Pattern>, mut left_out: u64, known: u64) {
        let mut kept = Vec::with_capacity(patterns.len());
        for p in patterns {
            match self.number_of(&p.line) {
                Some(number) => kept.push((number, p.samples)),
                None => left_out += p.lines(),
            }
        }
        metrics::PATTERN_LINES_LEFT_OUT.inc_by(left_out);
        left_out += known;
        if kept.is_empty() && left_out == 0 {
            return;
        }
        let level = self.levels.iter().position(|l| l == level).unwrap_or_else(|| {
            self.levels.push(level.to_owned());
            self.levels.len() - 1
        });
        put_u64(&mut self.entries, u64::from(stream.saturating_sub(self.last_stream)));
        put_u64(&mut self.entries, level as u64);
        put_u64(&mut self.entries, left_out);
        put_u64(&mut self.entries, kept.len() as u64);
        for (number, samples) in kept {
            put_u64(&mut self.entries, u64::from(number));
            put_u64(&mut self.entries, samples.len() as u64);
            let mut before = None;
            for (bucket, lines) in samples {
                match before {
                    None => put_i64(&mut self.entries, bucket),
                    Some(before) => put_u64(&mut self.entries, bucket.wrapping_sub(before) as u64),
                }
                before = Some(bucket);
                put_u64(&mut self.entries, lines);
            }
        }
        self.count += 1;
        self.last_stream = stream;
    }

    /// The number of a pattern in the section; `None` if there is no room for a further one.
    fn number_of(&mut self, line: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(line) {
            return Some(*number);
        }
        if self.texts.len() + line.len() > limits::MAX_PATTERN_BYTES {
            return None;
        }
        let number = self.numbers.len() as u32;
        put_bytes(&mut self.texts, line.as_bytes());
        self.numbers.insert(line.to_owned(), number);
        Some(number)
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.texts.len() + self.entries.len() + 64);
        put_u64(&mut plain, self.levels.len() as u64);
        self.levels.iter().for_each(|l| put_bytes(&mut plain, l.as_bytes()));
        put_u64(&mut plain, self.numbers.len() as u64);
        plain.extend_from_slice(&self.texts);
        put_u64(&mut plain, self.count);
        plain.extend_from_slice(&self.entries);
        let mut out = Vec::new();
        match zstd::bulk::compress(&plain, ZSTD_LEVEL).ok().filter(|c| c.len() < plain.len()) {
            Some(c) => {
                put_u64(&mut out, plain.len() as u64);
                out.extend_from_slice(&c);
            }
            None => {
                put_u64(&mut out, 0);
                out.extend_from_slice(&plain);
            }
        }
        out
    }
}

/// A section that was unpacked.
#[derive(Debug)]
pub struct Section {
    plain: Vec<u8>,
    /// Where the entries begin.
    entries_at: usize,
    /// The names of levels.
    pub levels: Vec<String>,
    /// The patterns, see [`Pattern::line`].
    pub lines: Vec<String>,
}

/// What is kept of a level of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The stream's number in its day.
    pub stream: u32,
    /// The place of the level among [`Section::levels`].
    pub level: usize,
    /// Lines that are in no pattern.
    pub left_out: u64,
}

impl Section {
    /// Unpacks a section; `None` if it is not one.
    pub fn read(mut bytes: &[u8]) -> Option<Section> {
        let size = usize::try_from(take_u64(&mut bytes)?).ok().filter(|n| *n <= MAX_BYTES)?;
        let plain = match size {
            0 => bytes.to_vec(),
            n => zstd::bulk::decompress(bytes, n).ok().filter(|p| p.len() == n)?,
        };
        let mut input = plain.as_slice();
        let mut texts = || -> Option<Vec<String>> {
            let count = usize::try_from(take_u64(&mut input)?).ok().filter(|n| *n <= input.len())?;
            (0..count).map(|_| take_str(&mut input).map(str::to_owned)).collect()
        };
        let (levels, lines) = (texts()?, texts()?);
        let entries_at = plain.len() - input.len();
        let section = Section { plain, entries_at, levels, lines };
        // All of it is read once, so that nobody comes across damage half way.
        section.walk(&mut |_| true, &mut |_, _, _, _| {})?;
        Some(section)
    }

    /// Gives the samples of the entries that `wanted` accepts: entry, place of the pattern, bucket, lines. The buckets of a
    /// pattern ascend.
    pub fn each(&self, mut wanted: impl FnMut(Entry) -> bool, mut each: impl FnMut(Entry, usize, i64, u64)) {
        // It was walked before, so it does not fail.
        let _walked = self.walk(&mut wanted, &mut each);
    }

    fn walk(&self, wanted: &mut dyn FnMut(Entry) -> bool, each: &mut dyn FnMut(Entry, usize, i64, u64)) -> Option<()> {
        let mut input = self.plain.get(self.entries_at..)?;
        let input = &mut input;
        let mut stream = 0u32;
        for _ in 0..take_u64(input)? {
            stream = stream.checked_add(u32::try_from(take_u64(input)?).ok()?)?;
            let level = usize::try_from(take_u64(input)?).ok().filter(|l| *l < self.levels.len())?;
            let entry = Entry { stream, level, left_out: take_u64(input)? };
            let wanted = wanted(entry);
            for _ in 0..take_u64(input)? {
                let line = usize::try_from(take_u64(input)?).ok().filter(|l| *l < self.lines.len())?;
                let mut bucket = 0i64;
                for i in 0..take_u64(input)? {
                    bucket = match i {
                        0 => take_i64(input)?,
                        _ => bucket.checked_add_unsigned(take_u64(input)?)?,
                    };
                    let lines = take_u64(input)?;
                    if wanted {
                        each(entry, line, bucket, lines);
                    }
                }
            }
        }
        input.is_empty().then_some(())
    }
}

/// The patterns of several segments of a day as those of one.
pub fn merge(sections: &[Section]) -> Vec<u8> {
    let mut streams: BTreeMap<(u32, &str), (Miner, u64)> = BTreeMap::new();
    for section in sections {
        let level = |e: Entry| section.levels.get(e.level).map_or("", String::as_str);
        // The samples of one pattern of one entry come one after another.
        let mut at: Option<(u32, usize, usize)> = None;
        let mut samples: Vec<(i64, u64)> = Vec::new();
        let mut give = |at: Option<(u32, usize, usize)>, samples: &mut Vec<(i64, u64)>| {
            let Some((stream, level, line)) = at else { return };
            let level = section.levels.get(level).map_or("", String::as_str);
            let line = section.lines.get(line).map_or("", String::as_str);
            streams.entry((stream, level)).or_default().0.add(line.as_bytes(), samples.drain(..));
        };
        let mut left_out = Vec::new();
        section.each(
            |e| {
                left_out.push((e.stream, level(e), e.left_out));
                true
            },
            |e, line, bucket, lines| {
                let here = Some((e.stream, e.level, line));
                if here != at {
                    give(std::mem::replace(&mut at, here), &mut samples);
                }
                samples.push((bucket, lines));
            },
        );
        give(at, &mut samples);
        for (stream, level, n) in left_out.into_iter().filter(|l| l.2 > 0) {
            streams.entry((stream, level)).or_default().1 += n;
        }
    }
    let mut merged = SectionBuilder::default();
    for ((stream, level), (miner, before)) in streams {
        let (patterns, left_out) = miner.finish();
        merged.add(stream, level, patterns, left_out, before);
    }
    merged.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stream, level, patterns with their samples, lines left out.
    type Added<'t> = (u32, &'t str, &'t [Sampled<'t>], u64);
    type Sampled<'t> = (&'t str, &'t [(i64, u64)]);

    fn built(add: &[Added<'_>]) -> Vec<u8> {
        let mut b = SectionBuilder::default();
        for (stream, level, patterns, left_out) in add {
            let pattern =
                |(line, samples): &Sampled<'_>| Pattern { line: (*line).to_owned(), samples: samples.to_vec() };
            b.add(*stream, level, patterns.iter().map(pattern).collect(), *left_out, 0);
        }
        b.finish()
    }

    type Row = (u32, String, String, i64, u64);

    fn rows(bytes: &[u8]) -> (Vec<Row>, u64) {
        let s = Section::read(bytes).unwrap();
        let mut rows = Vec::new();
        let mut left_out = 0;
        s.each(
            |e| {
                left_out += e.left_out;
                true
            },
            |e, line, bucket, n| {
                rows.push((e.stream, s.levels[e.level].clone(), s.lines[line].clone(), bucket, n));
            },
        );
        (rows, left_out)
    }

    fn row(stream: u32, level: &str, line: &str, bucket: i64, n: u64) -> Row {
        (stream, level.to_owned(), line.to_owned(), bucket, n)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = built(&[
            (3, "info", &[("a \u{1}", &[(-2, 1), (5, 7)]), ("b", &[(0, 1)])], 0),
            (3, "warn", &[("b", &[(9, 2)])], 4),
            (70_000, "info", &[], 2),
            (70_001, "info", &[], 0),
        ]);
        let (found, left_out) = rows(&bytes);
        let wanted = [
            row(3, "info", "a \u{1}", -2, 1),
            row(3, "info", "a \u{1}", 5, 7),
            row(3, "info", "b", 0, 1),
            row(3, "warn", "b", 9, 2),
        ];
        assert_eq!((found.as_slice(), left_out), (wanted.as_slice(), 6));
        assert_eq!(rows(&SectionBuilder::default().finish()), (vec![], 0));
        for cut in 0..bytes.len() {
            assert!(Section::read(&bytes[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn sections_become_one() {
        let a = built(&[(1, "info", &[("user \u{1} came in", &[(1, 2)])], 1), (2, "info", &[("x y", &[(1, 1)])], 0)]);
        let b = built(&[
            (1, "info", &[("user bob came in", &[(1, 5), (3, 1)])], 0),
            (1, "warn", &[("user bob came in", &[(2, 1)])], 2),
        ]);
        let merged = merge(&[Section::read(&a).unwrap(), Section::read(&b).unwrap()]);
        let (found, left_out) = rows(&merged);
        let wanted = [
            row(1, "info", "user \u{1} came in", 1, 7),
            row(1, "info", "user \u{1} came in", 3, 1),
            row(1, "warn", "user bob came in", 2, 1),
            row(2, "info", "x y", 1, 1),
        ];
        assert_eq!((found.as_slice(), left_out), (wanted.as_slice(), 3));
    }

    #[test]
    fn there_is_a_bound_on_texts() {
        let mut b = SectionBuilder::default();
        let long = "x".repeat(limits::MAX_PATTERN_BYTES / 2 + 1);
        let pattern = |line: &str| Pattern { line: line.to_owned(), samples: vec![(0, 3)] };
        b.add(0, "info", vec![pattern(&long), pattern(&format!("{long}y")), pattern("short")], 0, 0);
        b.add(1, "info", vec![pattern(&long)], 0, 0);
        let (found, left_out) = rows(&b.finish());
        assert_eq!((found.len(), left_out), (3, 3));
    }
}
