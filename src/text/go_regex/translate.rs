//! Reads a pattern by Go's rules (`regexp/syntax` with its Perl flags) and writes it in the syntax of the `regex` crate.
//!
//! Nothing is passed through unread: each token is recognised as Go would and written so that the crate can mean only
//! the same. So what is special in one syntax and not in the other (`&&` in classes, `\<`, `{` alone, `#`) cannot slip by.

use std::collections::HashSet;
use std::fmt::Write;

/// Go's cap on a repetition count, and on the product of nested ones.
const MAX_REPEAT: u32 = 1000;

/// A pattern of the crate and what was learnt on the way.
pub(super) struct Translated {
    /// The pattern, without anchors around it.
    pub pattern: String,
    /// Names of the capture groups from 1 on.
    pub names: Vec<Option<String>>,
    /// Whether `i` was switched on anywhere.
    pub folds_case: bool,
}

/// Translates; the error is Go's text after `error parsing regexp: `.
pub(super) fn translate(source: &str) -> Result<Translated, String> {
    let mut t = Translator {
        source,
        pos: 0,
        out: String::with_capacity(source.len() + 16),
        names: Vec::new(),
        seen_names: HashSet::new(),
        folds_case: false,
        groups: Vec::new(),
        atom: None,
        product: 1,
        last_repeat: None,
    };
    t.run()?;
    Ok(Translated { pattern: t.out, names: t.names, folds_case: t.folds_case })
}

struct Translator<'a> {
    source: &'a str,
    pos: usize,
    out: String,
    names: Vec<Option<String>>,
    seen_names: HashSet<String>,
    folds_case: bool,
    /// For each open group: the largest product of repetitions seen before it in the group around it.
    groups: Vec<u32>,
    /// The product of repetitions inside the last atom, if there is an atom to repeat.
    atom: Option<u32>,
    /// The largest product seen in the current group.
    product: u32,
    /// Where the repetition that stands directly before began.
    last_repeat: Option<usize>,
}

fn fail<T>(what: &str, expr: &str) -> Result<T, String> {
    Err(format!("{what}: `{expr}`"))
}

/// Whether a code point cannot occur in text; Go's patterns may name surrogates, which then match nothing.
fn is_surrogate(c: u32) -> bool {
    (0xd800..0xe000).contains(&c)
}

const MATCHES_NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.pos..).unwrap_or("")
    }

    fn from(&self, start: usize) -> &'a str {
        self.source.get(start..self.pos).unwrap_or("")
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.pos += prefix.len();
        }
        found
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.atom = Some(1);
    }

    fn literal(&mut self, c: u32) {
        self.atom = Some(1);
        match char::from_u32(c) {
            Some(c) if regex_syntax::is_meta_character(c) || c.is_control() => push_code(&mut self.out, c as u32),
            Some(c) => self.out.push(c),
            None => self.out.push_str(MATCHES_NOTHING),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let start = self.pos;
            let Some(c) = self.next() else { break };
            let repeat_before = self.last_repeat.take();
            match c {
                '(' => self.open(start)?,
                ')' => self.close()?,
                '|' => {
                    self.out.push('|');
                    self.atom = None;
                }
                '^' | '$' | '.' => self.atom(self.from(start)),
                '[' => {
                    let class = self.class(start)?;
                    self.atom(&class);
                }
                '*' | '+' | '?' => self.repeat(start, repeat_before, None)?,
                '{' => match self.counts() {
                    Some(counts) => self.repeat(start, repeat_before, Some(counts))?,
                    None => self.literal(u32::from(c)),
                },
                '\\' => self.escape(start)?,
                c => self.literal(u32::from(c)),
            }
        }
        if self.groups.is_empty() { Ok(()) } else { fail("missing closing )", self.source) }
    }

    fn push_group(&mut self, text: &str) {
        self.out.push_str(text);
        self.groups.push(self.product);
        self.product = 1;
        self.atom = None;
    }

    fn open(&mut self, start: usize) -> Result<(), String> {
        if !self.eat("?") {
            self.names.push(None);
            self.push_group("(");
            return Ok(());
        }
        if self.eat("P<") || self.eat("<") {
            let name_start = self.pos;
            let Some(len) = self.rest().find('>') else {
                return fail("invalid named capture", self.source.get(start..).unwrap_or(""));
            };
            self.pos += len + 1;
            let name = self.source.get(name_start..name_start + len).unwrap_or("");
            let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !valid || !self.seen_names.insert(name.to_owned()) {
                return fail("invalid named capture", self.from(start));
            }
            self.names.push(Some(name.to_owned()));
            // The crate wants no digit first; the user's spelling is kept in `names`.
            let digit = name.starts_with(|c: char| c.is_ascii_digit());
            self.push_group(&format!("(?P<{}{name}>", if digit { "_" } else { "" }));
            return Ok(());
        }
        self.flags(start)
    }

    /// `(?i)`, `(?i-s:`, with the flags i m s U, which mean the same in both syntaxes.
    fn flags(&mut self, start: usize) -> Result<(), String> {
        let mut negative = false;
        let mut flag_since_sign = false;
        loop {
            match self.next() {
                None => return fail("missing closing )", self.source),
                Some(c @ ('i' | 'm' | 's' | 'U')) => {
                    self.folds_case |= c == 'i' && !negative;
                    flag_since_sign = true;
                }
                Some('-') if !negative => {
                    negative = true;
                    flag_since_sign = false;
                }
                Some(c @ (':' | ')')) if !negative || flag_since_sign => {
                    let text = dedup_flags(self.from(start));
                    if c == ':' {
                        self.push_group(&text);
                    } else if text != "(?)" {
                        // Flags are no atom; what stood before cannot be repeated across them by the crate.
                        self.out.push_str(&text);
                        self.atom = None;
                    }
                    return Ok(());
                }
                Some(_) => return fail("invalid or unsupported Perl syntax", self.from(start)),
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(outer) = self.groups.pop() else { return fail("unexpected )", self.source) };
        self.out.push(')');
        self.atom = Some(self.product);
        self.product = self.product.max(outer);
        Ok(())
    }

    /// Reads `n}`, `n,}` or `n,m}` after a brace; anything else leaves the brace a literal.
    fn counts(&mut self) -> Option<(u64, Option<u64>)> {
        let rest = self.rest();
        let end = rest.find('}')?;
        let body = rest.get(..end)?;
        let number = |s: &str| -> Option<u64> {
            let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'));
            plain.then(|| s.parse().unwrap_or(u64::MAX))
        };
        let counts = match body.split_once(',') {
            None => number(body).map(|n| (n, Some(n)))?,
            Some((low, "")) => (number(low)?, None),
            Some((low, high)) => (number(low)?, Some(number(high)?)),
        };
        self.pos += end + 1;
        Some(counts)
    }

    fn repeat(
        &mut self,
        start: usize,
        repeat_before: Option<usize>,
        counts: Option<(u64, Option<u64>)>,
    ) -> Result<(), String> {
        let cap = u64::from(MAX_REPEAT);
        if let Some((low, high)) = counts
            && (low > cap || high.is_some_and(|h| h > cap || h < low))
        {
            return fail("invalid repeat count", self.from(start));
        }
        self.eat("?");
        if let Some(before) = repeat_before {
            return fail("invalid nested repetition operator", self.from(before));
        }
        let Some(inner) = self.atom else {
            return fail("missing argument to repetition operator", self.from(start));
        };
        if let Some((low, high)) = counts {
            let n = u32::try_from(high.unwrap_or(low)).unwrap_or(MAX_REPEAT).max(1);
            let product = inner.saturating_mul(n);
            if n >= 2 && product > MAX_REPEAT {
                return fail("invalid repeat count", self.from(start));
            }
            self.product = self.product.max(product);
            self.atom = Some(product);
        }
        let text = self.from(start).to_owned();
        self.out.push_str(&text);
        self.last_repeat = Some(start);
        Ok(())
    }

    fn escape(&mut self, start: usize) -> Result<(), String> {
        if self.eat("Q") {
            let rest = self.rest();
            let body = rest.split_once("\\E").map_or(rest, |(b, _)| b);
            self.pos += (body.len() + 2).min(rest.len());
            for c in body.chars() {
                self.literal(u32::from(c));
            }
            return Ok(());
        }
        // Word edges are ASCII in Go; the group keeps the crate's Unicode sense, and its `\b{start}`, out.
        for (name, text) in [("A", r"\A"), ("z", r"\z"), ("b", r"(?-u:\b)"), ("B", r"(?-u:\B)")] {
            if self.eat(name) {
                self.atom(text);
                return Ok(());
            }
        }
        if let Some(class) = self.unicode_class(start)? {
            self.atom(&class);
            return Ok(());
        }
        if let Some(members) = self.perl_class() {
            self.atom(&format!("[{members}]"));
            return Ok(());
        }
        let c = self.escaped_char(start)?;
        self.literal(c);
        Ok(())
    }

    /// `d`, `w`, `s` and their negations after a backslash, as members of a class. All are ASCII in Go.
    fn perl_class(&mut self) -> Option<&'static str> {
        let members = match self.rest().chars().next()? {
            'd' => "0-9",
            'D' => "[^0-9]",
            'w' => "0-9A-Za-z_",
            'W' => "[^0-9A-Za-z_]",
            's' => r"\t\n\x{C}\r\x{20}",
            'S' => r"[^\t\n\x{C}\r\x{20}]",
            _ => return None,
        };
        self.pos += 1;
        Some(members)
    }

    /// `pN`, `p{Greek}`, `P{^Greek}` after a backslash.
    fn unicode_class(&mut self, start: usize) -> Result<Option<String>, String> {
        let mut negative = if self.eat("p") {
            false
        } else if self.eat("P") {
            true
        } else {
            return Ok(None);
        };
        let name_start = self.pos;
        let name = match self.next() {
            Some('{') => {
                let Some(len) = self.rest().find('}') else {
                    return fail("invalid character class range", self.source.get(start..).unwrap_or(""));
                };
                let name = self.rest().get(..len).unwrap_or("");
                self.pos += len + 1;
                name
            }
            Some(_) => self.from(name_start),
            None => return fail("invalid escape sequence", self.from(start)),
        };
        let bare = name.strip_prefix('^').unwrap_or(name);
        negative ^= bare.len() != name.len();
        // A name of Go is a category or a script: letters and underscores. The crate's `=` and `:` forms are not Go's.
        let well_formed = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        let class = format!(r"\{}{{{bare}}}", if negative { 'P' } else { 'p' });
        if !well_formed || regex_syntax::parse(&class).is_err() {
            return fail("invalid character class range", self.from(start));
        }
        Ok(Some(class))
    }

    /// The character that an escape stands for; the backslash is already read.
    fn escaped_char(&mut self, start: usize) -> Result<u32, String> {
        let Some(c) = self.next() else { return fail("trailing backslash at end of expression", "") };
        let octal = |c: Option<char>| c.and_then(|c| c.to_digit(8));
        let value = match c {
            '1'..='7' if octal(self.rest().chars().next()).is_none() => None,
            '0'..='7' => {
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(d) = octal(self.rest().chars().next()) else { break };
                    value = value * 8 + d;
                    self.pos += 1;
                }
                Some(value)
            }
            'x' => self.hex(),
            'a' => Some(7),
            'f' => Some(12),
            'n' => Some(10),
            'r' => Some(13),
            't' => Some(9),
            'v' => Some(11),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        match value {
            Some(v) => Ok(v),
            None => fail("invalid escape sequence", self.from(start)),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        if self.eat("{") {
            let mut value: u32 = 0;
            let mut digits = 0;
            loop {
                match self.next()? {
                    '}' if digits > 0 => return Some(value),
                    c => value = value * 16 + c.to_digit(16)?,
                }
                digits += 1;
                if value > 0x10_ffff {
                    return None;
                }
            }
        }
        let high = self.next()?.to_digit(16)?;
        let low = self.next()?.to_digit(16)?;
        Some(high * 16 + low)
    }

    /// A bracketed class after its `[`, written with every member escaped.
    fn class(&mut self, start: usize) -> Result<String, String> {
        let mut out = String::from("[");
        if self.eat("^") {
            out.push('^');
        }
        let bare = out.len();
        let mut first = true;
        loop {
            if !first && self.eat("]") {
                break;
            }
            first = false;
            if let Some(named) = self.posix_class()? {
                out.push_str(named);
                continue;
            }
            let item = self.pos;
            if self.eat("\\") {
                if let Some(class) = self.unicode_class(item)? {
                    out.push_str(&class);
                    continue;
                }
                if let Some(members) = self.perl_class() {
                    out.push_str(members);
                    continue;
                }
                self.pos = item;
            }
            let low = self.class_char(start)?;
            let mut high = low;
            let mut ahead = self.rest().chars();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
                self.pos += 1;
                high = self.class_char(start)?;
                if high < low {
                    return fail("invalid character class range", self.from(item));
                }
            }
            push_range(&mut out, low, high);
        }
        if out.len() == bare {
            // Only surrogates were named: nothing, or for the negated class anything.
            return Ok(if bare == 1 { MATCHES_NOTHING.to_owned() } else { r"[\x{0}-\x{10FFFF}]".to_owned() });
        }
        out.push(']');
        Ok(out)
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, String> {
        let start = self.pos;
        match self.next() {
            None => fail("missing closing ]", self.source.get(class_start..).unwrap_or("")),
            Some('\\') => self.escaped_char(start),
            Some(c) => Ok(u32::from(c)),
        }
    }

    /// `[:alpha:]` inside a class. Both syntaxes know the same names, ASCII only.
    fn posix_class(&mut self) -> Result<Option<&'a str>, String> {
        let rest = self.rest();
        let Some(len) = rest.strip_prefix("[:").and_then(|r| r.find(":]")) else { return Ok(None) };
        let text = rest.get(..len + 4).unwrap_or("");
        let name = rest.get(2..2 + len).unwrap_or("");
        let known = matches!(
            name.strip_prefix('^').unwrap_or(name),
            "alnum"
                | "alpha"
                | "ascii"
                | "blank"
                | "cntrl"
                | "digit"
                | "graph"
                | "lower"
                | "print"
                | "punct"
                | "space"
                | "upper"
                | "word"
                | "xdigit"
        );
        if !known {
            return fail("invalid character class range", text);
        }
        self.pos += text.len();
        Ok(Some(text))
    }
}

fn push_code(out: &mut String, c: u32) {
    // Writing to a String cannot fail.
    let _ok = write!(out, "\\x{{{c:X}}}");
}

/// Writes `low-high`, leaving surrogates out.
fn push_range(out: &mut String, low: u32, high: u32) {
    let low = if is_surrogate(low) { 0xe000 } else { low };
    let high = if is_surrogate(high) { 0xd7ff } else { high };
    if low > high {
        return;
    }
    push_code(out, low);
    if high > low {
        out.push('-');
        push_code(out, high);
    }
}

/// Go allows a flag twice (`(?ii)`), the crate does not.
fn dedup_flags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let repeated = c.is_ascii_alphabetic() && out.contains(c);
        if !repeated {
            out.push(c);
        }
    }
    out
}
