//! Lines cut into tokens, and needles cut into what the index can look up.
//!
//! A token is a longest run of ASCII letters and digits and of bytes above 127. Tokens with a digit are *ids*, the others
//! *words*; the two kinds lie in fields of their own, because ids are many and words are few.

/// Indexed in the words field of lines with a token that was cut: such a token may hold any fragment.
pub const CUT_MARK: &str = "\u{1}";

/// Class of a byte between tokens.
pub(super) const SEPARATOR: u8 = 0;
/// Class of a letter; bytes above 127 count as letters.
pub(super) const LETTER: u8 = 1;
/// Class of a digit.
pub(super) const DIGIT: u8 = 2;

static CLASSES: [u8; 256] = {
    let mut classes = [SEPARATOR; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        if byte.is_ascii_digit() {
            classes[b] = DIGIT;
        } else if byte.is_ascii_alphabetic() || byte > 127 {
            classes[b] = LETTER;
        }
        b += 1;
    }
    classes
};

/// The class of a byte.
#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(SEPARATOR)
}

/// Which of the two kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// No digit in it.
    Word,
    /// At least one digit.
    Id,
}

/// The tokens of a text: start, end, kind.
pub(super) fn tokens_of(text: &[u8]) -> impl Iterator<Item = (usize, usize, TokenKind)> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.iter().position(|b| class(*b) != SEPARATOR)?;
        let mut seen = 0;
        let mut end = start;
        for b in text.get(start..)? {
            let c = class(*b);
            if c == SEPARATOR {
                break;
            }
            seen |= c;
            end += 1;
        }
        from = end;
        Some((start, end, if seen & DIGIT == 0 { TokenKind::Word } else { TokenKind::Id }))
    })
}

/// A piece of a needle that the index can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The letters and digits.
    pub text: &'a str,
    /// Whether a digit is among them.
    pub kind: TokenKind,
    /// Whether the token of the line may go on to the left of it.
    pub open_left: bool,
    /// Whether it may go on to the right.
    pub open_right: bool,
}

/// Cuts a needle at the borders of tokens.
pub fn fragments(needle: &str) -> Vec<Fragment<'_>> {
    tokens_of(needle.as_bytes())
        .filter_map(|(start, end, kind)| {
            let text = needle.get(start..end)?;
            Some(Fragment { text, kind, open_left: start == 0, open_right: end == needle.len() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_fragments() {
        let line = "GET /api/v1?id=a1-ünï 500";
        let of = |k| {
            tokens_of(line.as_bytes())
                .filter(move |t| t.2 == k)
                .map(|t| line.get(t.0..t.1).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(TokenKind::Word), ["GET", "api", "id", "ünï"]);
        assert_eq!(of(TokenKind::Id), ["v1", "a1", "500"]);
        let f = |text, kind, open_left, open_right| Fragment { text, kind, open_left, open_right };
        assert_eq!(
            fragments("lid user a2"),
            [
                f("lid", TokenKind::Word, true, false),
                f("user", TokenKind::Word, false, false),
                f("a2", TokenKind::Id, false, true)
            ]
        );
        assert_eq!(fragments("=x="), [f("x", TokenKind::Word, false, false)]);
        assert_eq!(fragments("x"), [f("x", TokenKind::Word, true, true)]);
        assert_eq!(fragments("=="), []);
    }
}
