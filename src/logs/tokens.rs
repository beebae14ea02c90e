//! Lines cut into tokens, and needles cut into what the index can look up.
//!
//! A token is a longest run of ASCII letters and digits and of bytes above 127. Tokens with a digit are *ids*, the others
//! *words*; the two kinds lie in fields of their own, because ids are many and words are few.

use std::sync::LazyLock;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::limits::MAX_TOKEN_BYTES;

/// Indexed in the words field of lines with a token that was cut: such a token may hold any fragment.
pub const CUT_MARK: &str = "\u{1}";

const SEPARATOR: u8 = 0;
const LETTER: u8 = 1;
const DIGIT: u8 = 2;

static CLASSES: LazyLock<[u8; 256]> = LazyLock::new(|| {
    std::array::from_fn(|b| match b as u8 {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'z' | b'A'..=b'Z' | 0x80..=0xff => LETTER,
        _ => SEPARATOR,
    })
});

/// Which of the two kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// No digit in it.
    Word,
    /// At least one digit.
    Id,
}

/// The next token at or after `from`: start, end, kind.
fn next_token(classes: &[u8; 256], text: &[u8], from: usize) -> Option<(usize, usize, TokenKind)> {
    let class = |b: &u8| classes.get(usize::from(*b)).copied().unwrap_or(SEPARATOR);
    let start = from + text.get(from..)?.iter().position(|b| class(b) != SEPARATOR)?;
    let mut seen = 0;
    let mut end = start;
    for b in text.get(start..)? {
        let c = class(b);
        if c == SEPARATOR {
            break;
        }
        seen |= c;
        end += 1;
    }
    Some((start, end, if seen & DIGIT == 0 { TokenKind::Word } else { TokenKind::Id }))
}

/// The tokens of a text: place and kind.
pub fn tokens(text: &str) -> impl Iterator<Item = (usize, usize, TokenKind)> + '_ {
    let classes = &*CLASSES;
    let mut from = 0;
    std::iter::from_fn(move || {
        let found = next_token(classes, text.as_bytes(), from)?;
        from = found.1;
        Some(found)
    })
}

/// The part of a token that is indexed. Cuts between characters.
pub fn indexed_part(token: &str) -> &str {
    if token.len() <= MAX_TOKEN_BYTES {
        return token;
    }
    let mut end = MAX_TOKEN_BYTES;
    while !token.is_char_boundary(end) {
        end -= 1;
    }
    token.get(..end).unwrap_or(token)
}

/// Gives Tantivy the tokens of one kind.
#[derive(Clone)]
pub struct KindTokenizer {
    kind: TokenKind,
    token: Token,
}

impl KindTokenizer {
    /// A tokenizer for tokens of `kind`.
    pub fn new(kind: TokenKind) -> Self {
        KindTokenizer { kind, token: Token::default() }
    }
}

/// See [`KindTokenizer`].
pub struct KindTokenStream<'a> {
    kind: TokenKind,
    classes: &'static [u8; 256],
    text: &'a str,
    at: usize,
    cut: bool,
    token: &'a mut Token,
}

impl Tokenizer for KindTokenizer {
    type TokenStream<'a> = KindTokenStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> KindTokenStream<'a> {
        self.token.reset();
        // No positions are indexed; the reset one is the largest number, which Tantivy would count on from.
        self.token.position = 0;
        KindTokenStream { kind: self.kind, classes: &CLASSES, text, at: 0, cut: false, token: &mut self.token }
    }
}

impl TokenStream for KindTokenStream<'_> {
    fn advance(&mut self) -> bool {
        while let Some((start, end, kind)) = next_token(self.classes, self.text.as_bytes(), self.at) {
            self.at = end;
            self.cut |= end - start > MAX_TOKEN_BYTES;
            if kind == self.kind {
                self.token.text.clear();
                self.token.text.push_str(indexed_part(self.text.get(start..end).unwrap_or("")));
                return true;
            }
        }
        if self.cut && self.kind == TokenKind::Word {
            self.cut = false;
            self.token.text.clear();
            self.token.text.push_str(CUT_MARK);
            return true;
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
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
    tokens(needle)
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
        let of = |k| tokens(line).filter(move |t| t.2 == k).map(|t| line.get(t.0..t.1).unwrap()).collect::<Vec<_>>();
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

    #[test]
    fn the_tokenizer_gives_one_kind_and_marks_cuts() {
        let long = "x".repeat(100);
        let line = format!("a b1 {long}");
        let all = |kind| {
            let mut t = KindTokenizer::new(kind);
            let mut s = t.token_stream(&line);
            let mut v = Vec::new();
            while s.advance() {
                v.push(s.token().text.clone());
            }
            v
        };
        assert_eq!(all(TokenKind::Id), ["b1"]);
        assert_eq!(all(TokenKind::Word), ["a".to_owned(), "x".repeat(MAX_TOKEN_BYTES), CUT_MARK.to_owned()]);
    }
}
