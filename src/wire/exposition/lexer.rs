//! What both text formats share: character classes, quoted text, the scan over `{label="value",...}`.

use crate::wire::exposition::ParseError;

/// Quoted text up to here is searched byte by byte.
const SHORT: usize = 16;

const METRIC_START: u8 = 1;
const METRIC: u8 = 2;
const LABEL_START: u8 = 4;
const LABEL: u8 = 8;

/// For each byte the classes it belongs to; one load instead of many comparisons.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut t = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphabetic() || b == b'_' {
            t[i] = METRIC_START | METRIC | LABEL_START | LABEL;
        } else if b == b':' {
            t[i] = METRIC_START | METRIC;
        } else if b.is_ascii_digit() {
            t[i] = METRIC | LABEL;
        }
        i += 1;
    }
    t
}

fn is(b: u8, class: u8) -> bool {
    CLASSES[usize::from(b)] & class != 0
}

/// Whether a metric name may start with this byte without quotes.
pub(super) fn is_metric_start(b: u8) -> bool {
    is(b, METRIC_START)
}

/// A position in a body.
pub(super) struct Cursor<'a> {
    pub body: &'a [u8],
    pub at: usize,
    /// What stands at the very end: a line feed for the text format, whose last line may lack one, else 0.
    end: u8,
}

impl<'a> Cursor<'a> {
    pub fn new(body: &'a [u8], end: u8) -> Self {
        Cursor { body, at: 0, end }
    }

    /// The byte at the cursor; past the end the end byte once, then 0.
    #[inline]
    pub fn peek(&self) -> u8 {
        match self.body.get(self.at) {
            Some(b) => *b,
            None if self.at == self.body.len() => self.end,
            None => 0,
        }
    }

    /// The body from `start` to the cursor.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.body.get(start..self.at.min(self.body.len())).unwrap_or_default()
    }

    /// The body from the cursor on.
    pub fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub fn skip_blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t') {
            self.at += 1;
        }
    }

    /// Moves to the end of the line (the line feed itself, or the end of the body).
    pub fn take_line(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at = memchr::memchr(b'\n', self.rest()).map_or(self.body.len(), |n| start + n);
        self.since(start)
    }

    /// Takes an unquoted metric name; empty if there is none.
    pub fn metric_name(&mut self) -> &'a [u8] {
        let start = self.at;
        if is(self.peek(), METRIC_START) {
            self.at += 1 + self.run(start + 1, METRIC);
        }
        self.since(start)
    }

    fn label_name(&mut self) -> &'a [u8] {
        let start = self.at;
        if is(self.peek(), LABEL_START) {
            self.at += 1 + self.run(start + 1, LABEL);
        }
        self.since(start)
    }

    fn run(&self, from: usize, class: u8) -> usize {
        self.body.get(from..).unwrap_or_default().iter().take_while(|b| is(**b, class)).count()
    }

    /// Takes a quoted text whose opening quote is at the cursor and returns what is between the quotes, escapes untouched. A
    /// backslash guards any byte but a line feed. `None` (cursor unmoved) if it does not end.
    pub fn quoted(&mut self, line_feed_ends: bool) -> Option<&'a [u8]> {
        let start = self.at + 1;
        let mut i = start;
        loop {
            let rest = self.body.get(i..)?;
            // Most values are shorter than what a call of memchr costs.
            let special = |b: &u8| *b == b'"' || *b == b'\\';
            let n = match rest.iter().take(SHORT).position(special) {
                Some(n) => n,
                None => SHORT + memchr::memchr2(b'"', b'\\', rest.get(SHORT..)?)?,
            };
            if line_feed_ends && memchr::memchr(b'\n', rest.get(..n)?).is_some() {
                return None;
            }
            i += n;
            if self.body.get(i) == Some(&b'"') {
                self.at = i + 1;
                return self.body.get(start..i);
            }
            if matches!(self.body.get(i + 1), None | Some(b'\n')) {
                return None;
            }
            i += 2;
        }
    }

    /// The error that `what` is not at the cursor; `start` is where the line began.
    #[cold]
    pub fn expected(&self, what: &'static str, start: usize) -> ParseError {
        // Enough of it to find the place; a body may be one endless line.
        let got = self.rest().get(..20).unwrap_or(self.rest());
        ParseError::Expected { what, got: lossy(got), context: self.context(start) }
    }

    /// The line from `start` to the cursor, shortened for a message.
    #[cold]
    pub fn context(&self, start: usize) -> String {
        let line = self.since(start);
        lossy(line.get(..200).unwrap_or(line))
    }
}

/// Text for a message.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How the braces of a line are written.
#[derive(Clone, Copy)]
pub(super) struct BraceRules {
    /// Blanks between tokens and a missing comma are fine (Prometheus text).
    pub loose: bool,
    /// The labels of an exemplar: no metric name inside.
    pub exemplar: bool,
}

/// Checks the labels after an opening brace, up to and with the closing one. `named` says whether a metric name came before;
/// the result whether there is one now.
pub(super) fn scan_braces(
    c: &mut Cursor<'_>,
    start: usize,
    mut named: bool,
    rules: BraceRules,
) -> Result<bool, ParseError> {
    loop {
        if rules.loose {
            c.skip_blanks();
        }
        let quoted = match c.peek() {
            b'}' => {
                c.at += 1;
                return Ok(named);
            }
            b'"' => {
                c.quoted(false).ok_or_else(|| c.expected("label name", start))?;
                true
            }
            _ => {
                if c.label_name().is_empty() {
                    return Err(c.expected("label name", start));
                }
                false
            }
        };
        if rules.loose {
            c.skip_blanks();
        }
        match c.peek() {
            b'=' => c.at += 1,
            b @ (b',' | b'}') if quoted && !rules.exemplar => {
                if named {
                    c.at += 1;
                    return Err(ParseError::SecondName(c.context(start)));
                }
                named = true;
                c.at += 1;
                if b == b'}' {
                    return Ok(named);
                }
                continue;
            }
            _ => return Err(c.expected("equal", start)),
        }
        if rules.loose {
            c.skip_blanks();
        }
        if c.peek() != b'"' || c.quoted(!rules.loose).is_none() {
            return Err(c.expected("label value", start));
        }
        if rules.loose {
            c.skip_blanks();
        }
        match c.peek() {
            b',' => c.at += 1,
            b'}' => {}
            _ if rules.loose => {}
            _ => return Err(c.expected("comma or brace close", start)),
        }
    }
}
