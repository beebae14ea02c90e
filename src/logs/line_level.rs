//! The level that a line itself tells, as Loki finds it: a field of JSON or logfmt, else a word that stands by itself.
//!
//! This runs for nearly every line that comes in, so what most lines do not have is ruled out first, and cheaply.

use super::detect::{LEVEL_NAMES, known};

/// Nested objects of a JSON line are looked into this deep.
const JSON_DEPTH: usize = 2;

/// The level a line itself tells: a field of JSON or logfmt, else a word in it.
pub fn level_of_line(line: &str) -> &'static str {
    let trimmed = line.trim_matches(char::is_whitespace);
    let field = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        json_level(trimmed.as_bytes())
    } else if may_have_level_key(line.as_bytes()) {
        logfmt_level(line.as_bytes())
    } else {
        None
    };
    field.and_then(|v| std::str::from_utf8(v).ok()).and_then(known).unwrap_or_else(|| level_of_words(line.as_bytes()))
}

/// Whether some `=` follows the name of a level. Cheaper than taking the line apart, which is of use only then.
fn may_have_level_key(line: &[u8]) -> bool {
    memchr::memchr_iter(b'=', line).any(|at| {
        let before = line.get(..at).unwrap_or(&[]);
        // The last letters of all names.
        matches!(before.last(), Some(b'l' | b'L' | b'y' | b'Y' | b't' | b'T'))
            && LEVEL_NAMES.iter().any(|name| {
                let start = at.checked_sub(name.len());
                start.and_then(|s| before.get(s..)).is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
            })
    })
}

/// Words that give a level away, in the order they are tried: the word, its level, and the place of its first three letters in
/// [`BEGINNINGS`].
const WORDS: [(&str, &str, u8); 9] = [
    ("trace", "trace", 0),
    ("debug", "debug", 1),
    ("fatal", "fatal", 2),
    ("critical", "critical", 3),
    ("error", "error", 4),
    ("err", "error", 4),
    ("warning", "warn", 5),
    ("warn", "warn", 5),
    ("info", "info", 6),
];
/// How the words begin.
const BEGINNINGS: [&[u8; 3]; 7] = [b"tra", b"deb", b"fat", b"cri", b"err", b"war", b"inf"];
/// Places looked at together; a whole number of the registers of any machine.
const LANES: usize = 32;

/// Which of [`BEGINNINGS`] are in a line, regardless of case, one bit for each. Most lines hold none, and this runs for nearly every
/// line, so it is written for the compiler to look at many places at once: no branches, no early end.
fn beginnings(line: &[u8]) -> u8 {
    let mut found = 0;
    let mut rest = line;
    while let Some(window) = rest.first_chunk::<{ LANES + 2 }>() {
        found |= beginnings_in(window);
        rest = rest.get(LANES..).unwrap_or(&[]);
    }
    let mut last = [0; LANES + 2];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    found | beginnings_in(&last)
}

fn beginnings_in(window: &[u8; LANES + 2]) -> u8 {
    let mut found = 0;
    for i in 0..LANES {
        // Sets the bit that makes letters small; other bytes do not become letters by it.
        let three = [window[i] | 0x20, window[i + 1] | 0x20, window[i + 2] | 0x20];
        for (bit, b) in BEGINNINGS.iter().enumerate() {
            found |= u8::from((three[0] == b[0]) & (three[1] == b[1]) & (three[2] == b[2])) << bit;
        }
    }
    found
}

/// The level of the first word in [`WORDS`] whose first occurrence in the line, regardless of case, stands by itself.
fn level_of_words(line: &[u8]) -> &'static str {
    let found = beginnings(line);
    if found == 0 {
        return "unknown";
    }
    let by_itself = |word: &str| {
        position_ignoring_case(line, word.as_bytes()).is_some_and(|at| {
            let before = at.checked_sub(1).and_then(|i| line.get(i));
            let after = line.get(at + word.len());
            !before.is_some_and(in_word) && !after.is_some_and(in_word)
        })
    };
    let mut candidates = WORDS.iter().filter(|(_, _, beginning)| found >> beginning & 1 == 1);
    candidates.find(|(word, _, _)| by_itself(word)).map_or("unknown", |(_, level, _)| level)
}

/// Where `word`, which is in small letters, first is.
fn position_ignoring_case(line: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), line)
        .find(|at| line.get(*at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}

/// Whether a byte belongs to a word. Loki looks at single bytes as at Latin-1 characters, so this does.
fn in_word(b: &u8) -> bool {
    matches!(b, b'_' | b'0'..=b'9') || char::from(*b).is_alphabetic()
}

/// The value of the best level field of a logfmt line; names count regardless of case.
fn logfmt_level(line: &[u8]) -> Option<&[u8]> {
    let mut best: Option<(usize, &[u8])> = None;
    let mut rest = line;
    while let Some(start) = rest.iter().position(|b| *b > b' ') {
        rest = rest.get(start..)?;
        let key_len = rest.iter().position(|b| *b == b'=' || *b <= b' ').unwrap_or(rest.len());
        let (key, tail) = rest.split_at(key_len);
        let Some((b'=', tail)) = tail.split_first() else {
            rest = tail;
            continue;
        };
        let (value, tail) = match tail.split_first() {
            Some((b'"', quoted)) => {
                let end = end_of_string(quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            _ => tail.split_at(tail.iter().position(|b| *b <= b' ').unwrap_or(tail.len())),
        };
        if (3..=13).contains(&key.len()) {
            let place = LEVEL_NAMES.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(key));
            match place {
                Some(0) => return Some(value),
                Some(p) if best.is_none_or(|(b, _)| p < b) => best = Some((p, value)),
                Some(_) | None => {}
            }
        }
        rest = tail;
    }
    best.map(|(_, v)| v)
}

/// The offset of the quote that ends a string.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let i = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(i) == Some(&b'"') {
            return Some(i);
        }
        from = i + 2;
    }
}

/// The first level field of a JSON object that is a string, at most [`JSON_DEPTH`] deep, in the order of the text. Damage ends
/// the search.
fn json_level(line: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    // Whether each open bracket (up to 64 of them) is an object; deeper text is not looked into anyway.
    let mut is_object = 0u64;
    let mut at_key = false;
    let mut i = 0;
    loop {
        match line.get(i)? {
            b'{' => {
                depth += 1;
                is_object = is_object << 1 | 1;
                at_key = true;
                i += 1;
            }
            b'[' => {
                depth += 1;
                is_object <<= 1;
                at_key = false;
                i += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1).filter(|d| *d > 0)?;
                is_object >>= 1;
                at_key = false;
                i += 1;
            }
            b',' => {
                at_key = is_object & 1 == 1;
                i += 1;
            }
            b'"' => {
                let text = line.get(i + 1..)?;
                let end = end_of_string(text)?;
                let string = text.get(..end)?;
                i += end + 2;
                // Inside an array nothing is looked at, whatever lies in it.
                let all_objects = depth < 64 && is_object.trailing_ones() as usize >= depth;
                if !at_key || depth > JSON_DEPTH || !all_objects {
                    continue;
                }
                at_key = false;
                let known_name = LEVEL_NAMES.iter().any(|n| n.as_bytes() == string);
                let value = line.get(i..)?.trim_ascii_start();
                let value = value.strip_prefix(b":")?.trim_ascii_start();
                if let (true, Some(quoted)) = (known_name, value.strip_prefix(b"\"")) {
                    return quoted.get(..end_of_string(quoted)?);
                }
            }
            _ => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_lines() {
        for (line, level) in [
            ("level=ERR x=1", "error"),
            (r#"{"severity":"Critical"}"#, "critical"),
            ("[WARN] disk almost full", "warn"),
            ("INFO: started", "info"),
            ("error: it broke", "error"),
            ("a terror attack on words", "unknown"),
            ("lvl=dbg msg=x", "debug"),
            ("some information", "unknown"),
            (r#"{"level":"foo","msg":"error inside"}"#, "error"),
            (r#"{"nested":{"level":"debug"}}"#, "debug"),
            (r#"{"a":{"b":{"level":"info_"}}}"#, "unknown"),
            (r#"{"a":[{"level":"warn"}],"lvl":"inf"}"#, "info"),
            ("errors: 5", "unknown"),
            ("terror and error", "unknown"),
            ("xerr err", "unknown"),
            ("err_no errno", "unknown"),
            ("Warning! careful", "warn"),
            ("level=notice error=nil", "error"),
            ("severity=err level=info", "info"),
            ("Level=Warn", "warn"),
            ("debug mode off, error rate 0", "debug"),
            ("x|warn|y", "warn"),
            (r#"{"level":30}"#, "unknown"),
            ("2026-01-15 10:00:00,123 DEBUG main - hi", "debug"),
            ("", "unknown"),
        ] {
            assert_eq!(level_of_line(line), level, "{line}");
        }
    }

    #[test]
    fn words_are_found_wherever_they_are() {
        // Around the places where one window ends and the next begins.
        for at in 0..3 * LANES {
            for (word, level, _) in WORDS {
                let line = format!("{} {} {}", "x".repeat(at), word.to_uppercase(), "y".repeat(7));
                assert_eq!(level_of_line(&line), level, "{line}");
                let inside = format!("{}{word}{}", "x".repeat(at + 1), "y".repeat(3));
                assert_eq!(level_of_line(&inside), "unknown", "{inside}");
            }
        }
        assert!(LEVEL_NAMES.iter().all(|n| may_have_level_key(format!("a {n}=b").as_bytes())));
        assert!(!may_have_level_key(b"a=b all=c =level"));
    }
}
