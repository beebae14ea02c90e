//! Takes a line apart that is one JSON object (RFC 8259).

use super::skeleton::{Kind, VariableKind};
use super::split::{MAX_VARIABLES, Split};

/// Objects and arrays inside one another; deeper ones are not taken apart.
const MAX_DEPTH: usize = 32;

/// Takes the line apart; `false` if it is no JSON object, then `out` holds nothing of use.
pub(super) fn split(line: &[u8], out: &mut Split) -> bool {
    out.begin(Kind::Json);
    let mut parser = Parser { line, at: 0, out };
    parser.skip_blanks();
    if parser.object(0, true).is_none() {
        return false;
    }
    parser.skip_blanks();
    if parser.at != line.len() {
        return false;
    }
    out.end(line);
    true
}

/// Where a variable of this kind ends that begins at `at`; `None` if there is none.
pub(super) fn end_of(line: &[u8], at: usize, kind: VariableKind) -> Option<usize> {
    let mut parser = Parser { line, at, out: &mut Split::default() };
    match kind {
        VariableKind::JsonString => parser.content()?,
        VariableKind::JsonNumber => parser.number()?,
        VariableKind::JsonArray => parser.array(1)?,
        _ => return None,
    }
    Some(parser.at)
}

struct Parser<'a> {
    line: &'a [u8],
    at: usize,
    out: &'a mut Split,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.line.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    /// Goes past a string; gives the place of its content.
    fn string(&mut self) -> Option<(usize, usize)> {
        self.take(b'"')?;
        let start = self.at;
        self.content()?;
        let end = self.at;
        self.at += 1;
        Some((start, end))
    }

    /// Goes up to the quote that ends a string.
    fn content(&mut self) -> Option<()> {
        loop {
            let rest = self.line.get(self.at..)?;
            self.at += rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < b' ')?;
            match self.peek()? {
                b'"' => return Some(()),
                b'\\' => match self.line.get(self.at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                    b'u' if self.line.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => self.at += 6,
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn object(&mut self, depth: usize, apart: bool) -> Option<()> {
        self.take(b'{')?;
        self.skip_blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_blanks();
            self.string()?;
            self.skip_blanks();
            self.take(b':')?;
            self.skip_blanks();
            self.value(depth + 1, apart)?;
            self.skip_blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn variable(&mut self, start: usize, end: usize, kind: VariableKind) -> Option<()> {
        if self.out.spans.len() == MAX_VARIABLES {
            return None;
        }
        self.out.variable(self.line, start, end, kind);
        Some(())
    }

    /// Goes past a value; with `apart` its scalars become variables.
    fn value(&mut self, depth: usize, apart: bool) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let start = self.at;
        match self.peek()? {
            b'"' => {
                let (from, to) = self.string()?;
                if apart { self.variable(from, to, VariableKind::JsonString) } else { Some(()) }
            }
            b'{' => self.object(depth, apart),
            b'[' => {
                self.array(depth)?;
                if apart { self.variable(start, self.at, VariableKind::JsonArray) } else { Some(()) }
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                if apart { self.variable(start, self.at, VariableKind::JsonNumber) } else { Some(()) }
            }
            _ => None,
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.skip_blanks();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_blanks();
            self.value(depth + 1, false)?;
            self.skip_blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}
