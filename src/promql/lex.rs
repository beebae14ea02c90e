//! The lexer of PromQL: text to tokens with spans.
//!
//! What a character means depends on the brackets around it: inside braces words are label names, inside square
//! brackets a colon separates range and step, elsewhere it belongs to a metric name.

use crate::promql::ast::BinaryOp;
use crate::promql::token::word_kind;
pub use crate::promql::token::{Keyword, Token, TokenKind, aggregate_text, operator_text};
use crate::text::quote::quote;
use crate::text::span::Span;

/// The tokens of a text; the last one is [`TokenKind::Eof`] or [`TokenKind::Error`].
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The tokens, comments left out.
    pub tokens: Vec<Token>,
    /// Why the lexer stopped, if the last token is [`TokenKind::Error`].
    pub error: Option<String>,
}

/// Splits a text into tokens. Stops at the first error.
pub fn lex(input: &str) -> Tokens {
    let mut lexer = Lexer {
        input,
        pos: 0,
        tokens: Vec::with_capacity(input.len() / 4 + 2),
        paren_depth: 0,
        in_braces: false,
        in_brackets: false,
        number_in_brackets: false,
    };
    let error = lexer.run().err();
    if let Some(e) = &error {
        let span = Span::new(e.start, input.len().max(e.start));
        lexer.tokens.push(Token { kind: TokenKind::Error, span });
    }
    Tokens { tokens: lexer.tokens, error: error.map(|e| e.message) }
}

/// A reason to stop, and where the token began that could not be read.
struct LexError {
    start: usize,
    message: String,
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    tokens: Vec<Token>,
    paren_depth: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Whether a number or duration has been read since the bracket was opened; the messages differ.
    number_in_brackets: bool,
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let q = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", q.trim_start_matches('"').strip_suffix('"').unwrap_or(""))
        }
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.input.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let yes = self.peek().is_some_and(wanted);
        if yes {
            self.next();
        }
        yes
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }

    fn text_from(&self, start: usize) -> &'a str {
        self.input.get(start..self.pos).unwrap_or("")
    }

    fn emit(&mut self, kind: TokenKind, start: usize) {
        self.tokens.push(Token { kind, span: Span::new(start, self.pos) });
    }

    fn run(&mut self) -> Result<(), LexError> {
        loop {
            self.skip(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let start = self.pos;
            if self.peek() == Some('#') {
                self.skip(|c| c != '\n' && c != '\r');
                continue;
            }
            let Some(c) = self.peek() else {
                return self.finish(start);
            };
            let outcome = if self.in_braces {
                self.inside_braces(c, start)
            } else if self.in_brackets {
                self.inside_brackets(c, start)
            } else {
                self.outside(c, start)
            };
            outcome.map_err(|message| LexError { start, message })?;
        }
    }

    fn finish(&mut self, start: usize) -> Result<(), LexError> {
        let message = if self.in_braces {
            "unexpected end of input inside braces"
        } else if self.in_brackets && !self.number_in_brackets {
            "unexpected end of input in duration expression"
        } else if self.paren_depth > 0 {
            "unclosed left parenthesis"
        } else if self.in_brackets {
            "unclosed left bracket"
        } else {
            self.emit(TokenKind::Eof, start);
            return Ok(());
        };
        Err(LexError { start, message: message.to_owned() })
    }

    fn outside(&mut self, c: char, start: usize) -> Result<(), String> {
        use TokenKind::Operator;
        if c.is_ascii_digit() || self.starts_fraction(c) {
            return self.number_or_duration(start);
        }
        if is_alpha(c) || c == ':' {
            self.word(start);
            return Ok(());
        }
        if matches!(c, '"' | '\'' | '`') {
            return self.string(start);
        }
        self.next();
        let after = self.peek();
        let kind = match (c, after) {
            (',', _) => TokenKind::Comma,
            ('*', _) => Operator(BinaryOp::Mul),
            ('/', _) => Operator(BinaryOp::Div),
            ('%', _) => Operator(BinaryOp::Mod),
            ('+', _) => Operator(BinaryOp::Add),
            ('-', _) => Operator(BinaryOp::Sub),
            ('^', _) => Operator(BinaryOp::Pow),
            ('@', _) => TokenKind::At,
            ('=', Some('=')) => self.two(Operator(BinaryOp::Equal)),
            ('=', Some('~')) => return Err("unexpected character after '=': '~'".to_owned()),
            ('=', _) => TokenKind::Assign,
            ('!', Some('=')) => self.two(Operator(BinaryOp::NotEqual)),
            ('!', Some(other)) => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            ('!', None) => return Err("unexpected end of input after '!'".to_owned()),
            ('<', Some('=')) => self.two(Operator(BinaryOp::LessEqual)),
            ('<', Some('/')) => self.two(Operator(BinaryOp::TrimUpper)),
            ('<', _) => Operator(BinaryOp::Less),
            ('>', Some('=')) => self.two(Operator(BinaryOp::GreaterEqual)),
            ('>', Some('/')) => self.two(Operator(BinaryOp::TrimLower)),
            ('>', _) => Operator(BinaryOp::Greater),
            ('(', _) => self.open_paren(),
            (')', _) => self.close_paren()?,
            ('{', _) => {
                self.in_braces = true;
                TokenKind::LeftBrace
            }
            ('[', _) => {
                self.in_brackets = true;
                self.number_in_brackets = false;
                TokenKind::LeftBracket
            }
            (']', _) => return Err("unexpected right bracket ']'".to_owned()),
            (c, _) => return Err(format!("unexpected character: {}", quote_char(c))),
        };
        self.emit(kind, start);
        Ok(())
    }

    fn two(&mut self, kind: TokenKind) -> TokenKind {
        self.next();
        kind
    }

    fn open_paren(&mut self) -> TokenKind {
        self.paren_depth += 1;
        TokenKind::LeftParen
    }

    fn close_paren(&mut self) -> Result<TokenKind, String> {
        self.paren_depth = self.paren_depth.checked_sub(1).ok_or("unexpected right parenthesis ')'")?;
        Ok(TokenKind::RightParen)
    }

    fn starts_fraction(&self, c: char) -> bool {
        c == '.' && self.rest().chars().nth(1).is_some_and(|d| d.is_ascii_digit())
    }

    fn inside_braces(&mut self, c: char, start: usize) -> Result<(), String> {
        if is_alpha(c) {
            self.skip(is_alphanumeric);
            self.emit(TokenKind::Identifier, start);
            return Ok(());
        }
        if matches!(c, '"' | '\'' | '`') {
            return self.string(start);
        }
        self.next();
        let after = self.peek();
        let kind = match (c, after) {
            (',', _) => TokenKind::Comma,
            ('=', Some('~')) => self.two(TokenKind::EqualRegex),
            ('=', _) => TokenKind::Assign,
            ('!', Some('~')) => self.two(TokenKind::NotEqualRegex),
            ('!', Some('=')) => self.two(TokenKind::Operator(BinaryOp::NotEqual)),
            ('!', Some(other)) => {
                return Err(format!("unexpected character after '!' inside braces: {}", quote_char(other)));
            }
            ('!', None) => return Err("unexpected end of input after '!' inside braces".to_owned()),
            ('}', _) => {
                self.in_braces = false;
                TokenKind::RightBrace
            }
            ('{', _) => return Err("unexpected left brace '{'".to_owned()),
            (c, _) => return Err(format!("unexpected character inside braces: {}", quote_char(c))),
        };
        self.emit(kind, start);
        Ok(())
    }

    fn inside_brackets(&mut self, c: char, start: usize) -> Result<(), String> {
        use TokenKind::Operator;
        if c.is_ascii_digit() || self.starts_fraction(c) {
            self.number_in_brackets = true;
            return self.number_or_duration(start);
        }
        let had_number = self.number_in_brackets;
        let refused = |c: char| match had_number {
            true => format!("unexpected character: {}, expected ':'", quote_char(c)),
            false => format!("unexpected character in duration expression: {}", quote_char(c)),
        };
        if is_alpha(c) {
            self.skip(is_alphanumeric);
            return match word_kind(self.text_from(start)) {
                Some(kind @ TokenKind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)) => {
                    self.emit(kind, start);
                    Ok(())
                }
                _ => Err(refused(c)),
            };
        }
        self.next();
        let kind = match c {
            ',' => TokenKind::Comma,
            ':' => TokenKind::Colon,
            '+' => Operator(BinaryOp::Add),
            '-' => Operator(BinaryOp::Sub),
            '*' => Operator(BinaryOp::Mul),
            '/' => Operator(BinaryOp::Div),
            '%' => Operator(BinaryOp::Mod),
            '^' => Operator(BinaryOp::Pow),
            '(' => self.open_paren(),
            ')' => self.close_paren()?,
            ']' => {
                self.in_brackets = false;
                TokenKind::RightBracket
            }
            c => return Err(refused(c)),
        };
        self.emit(kind, start);
        Ok(())
    }

    fn word(&mut self, start: usize) {
        self.skip(|c| is_alphanumeric(c) || c == ':');
        let word = self.text_from(start);
        let kind = match word_kind(word) {
            // These words came late to the language; as names they go on working where no parenthesis follows.
            Some(TokenKind::Keyword(
                Keyword::Fill | Keyword::FillLeft | Keyword::FillRight | Keyword::MinOf | Keyword::MaxOf,
            )) if !self.rest().trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(') => TokenKind::Identifier,
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind, start);
    }

    fn string(&mut self, start: usize) -> Result<(), String> {
        let Some(q) = self.next() else { return Ok(()) };
        loop {
            match self.next() {
                None if q == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if q != '`' => return Err("unterminated quoted string".to_owned()),
                Some('\\') if q != '`' => self.escape(q)?,
                Some(c) if c == q => break,
                Some(_) => {}
            }
        }
        self.emit(TokenKind::String, start);
        Ok(())
    }

    /// Checks what follows a backslash, so that the message is about it and not about the whole string.
    fn escape(&mut self, q: char) -> Result<(), String> {
        let unfinished = || "escape sequence not terminated".to_owned();
        let shown = |c: char| format!("U+{:04X} {}", u32::from(c), quote_char(c));
        let first = self.next().ok_or_else(unfinished)?;
        let (digits, radix, mut value) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == q => return Ok(()),
            '0'..='7' => (2, 8, first.to_digit(8).unwrap_or(0)),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            c => return Err(format!("unknown escape sequence {}", shown(c))),
        };
        for _ in 0..digits {
            let c = self.next().ok_or_else(unfinished)?;
            let digit =
                c.to_digit(radix).ok_or_else(|| format!("illegal character {} in escape sequence", shown(c)))?;
            value = value.wrapping_mul(radix).wrapping_add(digit);
        }
        let fits = if matches!(first, 'u' | 'U') { char::from_u32(value).is_some() } else { value <= 255 };
        if fits { Ok(()) } else { Err("escape sequence is an invalid Unicode code point".to_owned()) }
    }

    fn number_or_duration(&mut self, start: usize) -> Result<(), String> {
        if self.scan_number() {
            self.emit(TokenKind::Number, start);
            return Ok(());
        }
        if self.accept_rest_of_duration() {
            self.emit(TokenKind::Duration, start);
            return Ok(());
        }
        Err(format!("bad number or duration syntax: {}", quote(self.text_from(start))))
    }

    /// Consumes a number (decimal, `0x`, with underscores, exponent). On `false` it has consumed what looked like one: the
    /// first digits of a duration, or the part that the message shows.
    fn scan_number(&mut self) -> bool {
        let begin = self.pos;
        let mut hex = false;
        if self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X')) {
            self.accept(|c| c == '_');
            hex = true;
        }
        let is_digit = move |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        let mut seen_dot = self.accept(|c| c == '.');
        let mut seen_exponent = false;
        loop {
            match self.peek() {
                Some(c) if is_digit(c) => self.skip(is_digit),
                Some('.') => {
                    self.next();
                    if seen_dot || hex || self.accept(|c| matches!(c, '_' | '.')) {
                        return false;
                    }
                    seen_dot = true;
                }
                Some('e' | 'E') => {
                    self.next();
                    if seen_exponent {
                        return false;
                    }
                    seen_exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                        return false;
                    }
                }
                Some('_') => {
                    self.next();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                _ => break,
            }
        }
        self.pos > begin && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Consumes what follows the first digits of a duration: its unit and further `number unit` pairs.
    fn accept_rest_of_duration(&mut self) -> bool {
        let mut units: &[char] = &['s', 'm', 'h', 'd', 'w', 'y'];
        loop {
            if !self.accept(|c| units.contains(&c)) {
                return false;
            }
            // For `ms`; `hs` and its like are refused when the duration is read.
            self.accept(|c| c == 's');
            if !self.accept(|c| c.is_ascii_digit()) {
                // The character that does not fit belongs to the message.
                return !self.accept(is_alphanumeric);
            }
            self.skip(|c| c.is_ascii_digit());
            // Years can only come first.
            units = &['s', 'm', 'h', 'd', 'w'];
        }
    }
}
