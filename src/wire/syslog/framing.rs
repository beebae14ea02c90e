//! Cuts a stream of bytes into messages. RFC 6587 knows two ways, and senders do not say which they use: a frame that begins with
//! a digit is counted in octets (`LEN SP MESSAGE`, the way of RFC 5425), any other ends with a line feed or a zero byte.

/// The longest count of octets that is believed to be one.
const MAX_COUNT_DIGITS: usize = 8;

/// Cuts frames out of the bytes of one connection. Holds at most one message and what was read beyond it.
#[derive(Debug)]
pub struct Framer {
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Bytes of an over-long counted message that are still to be passed over.
    skip: usize,
    /// Inside an over-long message that ends with a line feed.
    skip_line: bool,
}

/// What the next bytes are.
enum Next {
    /// The frame is not complete.
    More,
    /// `start..end` is a message, `next` where the one after it begins; `cut` if it was longer.
    Message { start: usize, end: usize, next: usize, cut: bool, skip: usize, skip_line: bool },
}

impl Framer {
    /// A framer that cuts messages to `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Framer { max_bytes: max_bytes.max(1), buffer: Vec::new(), skip: 0, skip_line: false }
    }

    /// Takes bytes as they came and calls `message` for each complete message with whether it was cut.
    pub fn push(&mut self, bytes: &[u8], mut message: impl FnMut(&[u8], bool)) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            at += self.pass_over(at);
            let Some(rest) = self.buffer.get(at..).filter(|r| !r.is_empty()) else { break };
            match next(rest, self.max_bytes) {
                Next::More => break,
                Next::Message { start, end, next, cut, skip, skip_line } => {
                    if let Some(m) = rest.get(start..end).filter(|m| !m.trim_ascii().is_empty()) {
                        message(m, cut);
                    }
                    at += next;
                    (self.skip, self.skip_line) = (skip, skip_line);
                }
            }
        }
        self.buffer.drain(..at.min(self.buffer.len()));
    }

    /// At the end of the connection: what is left is a message if it needs no more than its line feed.
    pub fn finish(&mut self, mut message: impl FnMut(&[u8], bool)) {
        let rest = std::mem::take(&mut self.buffer);
        if !self.skip_line && count(&rest).is_none() && !rest.trim_ascii().is_empty() {
            message(&rest, false);
        }
    }

    /// How many bytes from `at` belong to a message that was cut.
    fn pass_over(&mut self, at: usize) -> usize {
        let Some(rest) = self.buffer.get(at..) else { return 0 };
        if self.skip_line {
            let end = rest.iter().position(|b| is_end(*b));
            self.skip_line = end.is_none();
            return end.map_or(rest.len(), |e| e + 1);
        }
        let passed = self.skip.min(rest.len());
        self.skip -= passed;
        passed
    }
}

fn is_end(b: u8) -> bool {
    matches!(b, b'\n' | 0)
}

/// The count of octets in front of a frame, and the length of the count with its space; `Err` while it may become one.
fn count(rest: &[u8]) -> Option<Result<(usize, usize), ()>> {
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > MAX_COUNT_DIGITS || rest.first() == Some(&b'0') {
        return None;
    }
    match rest.get(digits) {
        None => Some(Err(())),
        Some(b' ') => {
            let text = std::str::from_utf8(rest.get(..digits)?).ok()?;
            Some(Ok((text.parse().ok()?, digits + 1)))
        }
        Some(_) => None,
    }
}

fn next(rest: &[u8], max: usize) -> Next {
    match count(rest) {
        Some(Err(())) => Next::More,
        Some(Ok((len, head))) => {
            let kept = len.min(max);
            if rest.len() < head + kept {
                return Next::More;
            }
            let skip = len - kept;
            Next::Message { start: head, end: head + kept, next: head + kept, cut: skip > 0, skip, skip_line: false }
        }
        None => match rest.iter().position(|b| is_end(*b)) {
            Some(end) if end <= max => {
                Next::Message { start: 0, end, next: end + 1, cut: false, skip: 0, skip_line: false }
            }
            None if rest.len() <= max => Next::More,
            Some(_) | None => Next::Message { start: 0, end: max, next: max, cut: true, skip: 0, skip_line: true },
        },
    }
}
