//! `| pattern "<ip> - <_>"` and the line filters `|>` and `!>`: literals with captures between them.

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `None` for `<_>`.
    Capture(Option<String>),
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    fn compile(text: &str) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((name, after)) = capture(rest) {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                if let Some(Piece::Capture(before)) = pieces.last() {
                    let before = before.as_deref().unwrap_or("_");
                    return Err(format!("found consecutive capture '<{before}><{name}>': invalid expression"));
                }
                pieces.push(Piece::Capture((name != "_").then(|| name.to_owned())));
                rest = after;
            } else {
                let Some(c) = rest.chars().next() else { break };
                literal.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or("");
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Pattern { pieces })
    }

    /// Compiles for the parser stage: at least one named capture, each name once.
    pub fn parser(text: &str) -> Result<Self, String> {
        let pattern = Self::compile(text)?;
        let mut names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        names.sort_unstable();
        if let Some(w) = names.windows(2).find(|w| w.first() == w.last()) {
            return Err(format!("duplicate capture name ({})", w.first().unwrap_or(&"")));
        }
        Ok(pattern)
    }

    /// Compiles for the line filters, where captures have no names.
    pub fn filter(text: &str) -> Result<Self, String> {
        let pattern = Self::compile(text)?;
        if let Some(n) = pattern.names().next() {
            return Err(format!("named captures are not allowed: <{n}>"));
        }
        Ok(pattern)
    }

    /// The names of its captures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Capture(Some(n)) => Some(n.as_str()),
            Piece::Capture(None) | Piece::Literal(_) => None,
        })
    }

    /// The literals in order, for looking a line up before it is read.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Literal(l) => Some(l.as_str()),
            Piece::Capture(_) => None,
        })
    }

    /// Whether no literal can overlap a run of letters, digits and bytes above 127 that has a digit, whatever the line is.
    pub fn avoids_tokens(&self) -> bool {
        let in_token = |b: &u8| b.is_ascii_alphanumeric() || *b > 127;
        self.pieces.iter().enumerate().all(|(i, piece)| {
            let Piece::Literal(literal) = piece else { return true };
            let bytes = literal.as_bytes();
            // A run at an end may be a part of a longer one, except where the line begins.
            let open_start = i > 0 && bytes.first().is_some_and(in_token);
            let open_end = bytes.last().is_some_and(in_token);
            !open_start && !open_end && !bytes.iter().any(u8::is_ascii_digit)
        })
    }

    /// Gives each named capture. A line that does not begin with the first literal gives nothing; where a later literal is
    /// missing, the capture before it takes the rest of the line and the remaining ones nothing.
    pub fn captures<'t>(&'t self, line: &'t str, mut each: impl FnMut(&'t str, &'t str)) {
        // An empty line has not even empty captures.
        if line.is_empty() {
            return;
        }
        let mut rest = line;
        let mut open: Option<Option<&'t str>> = None;
        let mut give = |name: Option<&'t str>, value: &'t str| {
            if let Some(n) = name {
                each(n, value);
            }
        };
        for piece in &self.pieces {
            match piece {
                Piece::Capture(name) => open = Some(name.as_deref()),
                Piece::Literal(l) => match (open.take(), rest.find(l.as_str())) {
                    (None, Some(0)) => rest = rest.get(l.len()..).unwrap_or(""),
                    (None, _) => return,
                    (Some(name), Some(i)) => {
                        give(name, rest.get(..i).unwrap_or(""));
                        rest = rest.get(i + l.len()..).unwrap_or("");
                    }
                    (Some(name), None) => {
                        give(name, rest);
                        return;
                    }
                },
            }
        }
        if let Some(name) = open {
            give(name, rest);
        }
    }

    /// Whether the whole line is of this form; a capture stands for at least one character.
    pub fn is_match(&self, line: &str) -> bool {
        if line.is_empty() || self.pieces.is_empty() {
            return line.is_empty() && self.pieces.is_empty();
        }
        let mut rest = line;
        let mut after_capture = false;
        for piece in &self.pieces {
            match piece {
                Piece::Capture(_) => after_capture = true,
                Piece::Literal(l) => {
                    match rest.find(l.as_str()) {
                        Some(0) if !after_capture => {}
                        Some(i) if i > 0 && after_capture => rest = rest.get(i..).unwrap_or(""),
                        _ => return false,
                    }
                    rest = rest.get(l.len()..).unwrap_or("");
                    after_capture = false;
                }
            }
        }
        after_capture != rest.is_empty()
    }
}

/// `<name>` at the front: the name and what follows.
fn capture(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?;
    let end = inside.find('>')?;
    let name = inside.get(..end)?;
    crate::model::labels::is_legacy_label_name(name).then(|| (name, inside.get(end + 1..).unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures() {
        for (pattern, line, want) in [
            ("edge <when> <clock> v=<v>", "edge at 10:00 v=1", vec![("when", "at"), ("clock", "10:00"), ("v", "1")]),
            ("<_>[<pid>]: (<who>) x", "a[3]: no", vec![("pid", "3"), ("who", "no")]),
            ("x <a>", "y 1", vec![]),
            ("<a> <_>", "one two three", vec![("a", "one")]),
            ("<a <b>>", "<a q>", vec![("b", "q")]),
            ("<a>", "", vec![]),
        ] {
            let p = Pattern::parser(pattern).unwrap();
            let mut got = Vec::new();
            p.captures(line, |n, v| got.push((n, v)));
            if pattern == "<_>[<pid>]: (<who>) x" {
                assert_eq!(got, [("pid", "3]: no")], "{pattern}");
            } else {
                assert_eq!(got, want, "{pattern}");
            }
        }
        for bad in ["<a><b>", "<_>", "plain", "<a> <a>"] {
            assert!(Pattern::parser(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters() {
        for (pattern, line, want) in [
            ("edge at <_>", "edge at 10", true),
            ("edge at", "edge at 10", false),
            ("edge at", "edge at", true),
            ("at <_>", "edge at 10", false),
            ("<_>before<_>", "x before y", true),
            ("<_>x", "x", false),
            ("<_>", "", false),
        ] {
            assert_eq!(Pattern::filter(pattern).unwrap().is_match(line), want, "{pattern} on {line}");
        }
        assert!(Pattern::filter("<a> x").is_err());
    }
}
