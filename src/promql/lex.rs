//! The lexer of PromQL: text to tokens with spans.
//!
//! What a character means depends on the brackets around it: inside braces words are label names, inside square
//! brackets a colon separates range and step, elsewhere it belongs to a metric name.

use crate::promql::ast::{AggregateOp, BinaryOp};
use crate::text::quote::quote;
use crate::text::span::Span;

/// The words that mean something besides aggregations and word operators. All are read in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// Whether the word may stand as a metric name at the start of a selector.
    fn is_metric_name(self) -> bool {
        !matches!(self, Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Bool)
    }

    /// Whether the word is written like a function (`start()`), not like a modifier.
    fn is_call_like(self) -> bool {
        matches!(self, Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The end of the text.
    Eof,
    /// The lexer could not go on; the message is in [`Tokens::error`].
    Error,
    /// `,`
    Comma,
    /// `:` inside square brackets.
    Colon,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `=`
    Assign,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    /// `@`
    At,
    /// An operator; `!=` is also the matcher's.
    Operator(BinaryOp),
    /// An aggregation.
    Aggregate(AggregateOp),
    /// A keyword.
    Keyword(Keyword),
    /// A word without a colon.
    Identifier,
    /// A word with a colon.
    MetricIdentifier,
    /// A number, `Inf` and `NaN` included.
    Number,
    /// A duration such as `1h30m`.
    Duration,
    /// A string in any of the three quotings, quotes included.
    String,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
}

/// The tokens of a text; the last one is [`TokenKind::Eof`] or [`TokenKind::Error`].
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The tokens, comments left out.
    pub tokens: Vec<Token>,
    /// Why the lexer stopped, if the last token is [`TokenKind::Error`].
    pub error: Option<String>,
}

/// How an operator or aggregation is written, also in messages.
pub fn operator_text(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "^",
        BinaryOp::Atan2 => "atan2",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Greater => ">",
        BinaryOp::Less => "<",
        BinaryOp::GreaterEqual => ">=",
        BinaryOp::LessEqual => "<=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Unless => "unless",
        BinaryOp::TrimUpper => "</",
        BinaryOp::TrimLower => ">/",
    }
}

/// How an aggregation is written.
pub fn aggregate_text(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Sum => "sum",
        AggregateOp::Avg => "avg",
        AggregateOp::Count => "count",
        AggregateOp::Min => "min",
        AggregateOp::Max => "max",
        AggregateOp::Group => "group",
        AggregateOp::Stddev => "stddev",
        AggregateOp::Stdvar => "stdvar",
        AggregateOp::Topk => "topk",
        AggregateOp::Bottomk => "bottomk",
        AggregateOp::CountValues => "count_values",
        AggregateOp::Quantile => "quantile",
        AggregateOp::Limitk => "limitk",
        AggregateOp::LimitRatio => "limit_ratio",
    }
}

/// The meaning of a word, if it is not just a name.
fn word_kind(word: &str) -> Option<TokenKind> {
    use TokenKind::{Aggregate, Keyword as Kw, Operator};
    // No keyword is longer; names mostly are, and skip the lowering.
    if word.len() > 12 {
        return None;
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => Operator(BinaryOp::And),
        "or" => Operator(BinaryOp::Or),
        "unless" => Operator(BinaryOp::Unless),
        "atan2" => Operator(BinaryOp::Atan2),
        "sum" => Aggregate(AggregateOp::Sum),
        "avg" => Aggregate(AggregateOp::Avg),
        "count" => Aggregate(AggregateOp::Count),
        "min" => Aggregate(AggregateOp::Min),
        "max" => Aggregate(AggregateOp::Max),
        "group" => Aggregate(AggregateOp::Group),
        "stddev" => Aggregate(AggregateOp::Stddev),
        "stdvar" => Aggregate(AggregateOp::Stdvar),
        "topk" => Aggregate(AggregateOp::Topk),
        "bottomk" => Aggregate(AggregateOp::Bottomk),
        "count_values" => Aggregate(AggregateOp::CountValues),
        "quantile" => Aggregate(AggregateOp::Quantile),
        "limitk" => Aggregate(AggregateOp::Limitk),
        "limit_ratio" => Aggregate(AggregateOp::LimitRatio),
        "offset" => Kw(Keyword::Offset),
        "smoothed" => Kw(Keyword::Smoothed),
        "anchored" => Kw(Keyword::Anchored),
        "by" => Kw(Keyword::By),
        "without" => Kw(Keyword::Without),
        "on" => Kw(Keyword::On),
        "ignoring" => Kw(Keyword::Ignoring),
        "group_left" => Kw(Keyword::GroupLeft),
        "group_right" => Kw(Keyword::GroupRight),
        "fill" => Kw(Keyword::Fill),
        "fill_left" => Kw(Keyword::FillLeft),
        "fill_right" => Kw(Keyword::FillRight),
        "bool" => Kw(Keyword::Bool),
        "start" => Kw(Keyword::Start),
        "end" => Kw(Keyword::End),
        "step" => Kw(Keyword::Step),
        "range" => Kw(Keyword::Range),
        "min_of" => Kw(Keyword::MinOf),
        "max_of" => Kw(Keyword::MaxOf),
        "inf" | "nan" => TokenKind::Number,
        _ => return None,
    })
}

impl TokenKind {
    /// Whether a selector may begin with this token as the metric's name.
    pub fn is_metric_name(self) -> bool {
        match self {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
            TokenKind::Operator(op) => matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless),
            TokenKind::Keyword(k) => k.is_metric_name(),
            _ => false,
        }
    }

    /// Whether the token can name a label in `by (...)` and its like.
    pub fn is_label_name(self) -> bool {
        match self {
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregate(_)
            | TokenKind::Keyword(_)
            | TokenKind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => true,
            _ => false,
        }
    }

    /// How messages call the token, whose text is given.
    pub fn describe(self, text: &str) -> String {
        match self {
            TokenKind::Eof => "end of input".to_owned(),
            TokenKind::Error => "error".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text)),
            TokenKind::Number => format!("number {}", shortened(text)),
            TokenKind::Duration => format!("duration {}", shortened(text)),
            TokenKind::String => format!("string {}", shortened(text)),
            TokenKind::Keyword(k) if k.is_call_like() => quote(text),
            TokenKind::Keyword(_) => format!("<{text}>"),
            TokenKind::Operator(_) | TokenKind::At | TokenKind::EqualRegex | TokenKind::NotEqualRegex => {
                format!("<op:{text}>")
            }
            TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
            TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::LeftParen
            | TokenKind::RightParen
            | TokenKind::LeftBrace
            | TokenKind::RightBrace
            | TokenKind::LeftBracket
            | TokenKind::RightBracket
            | TokenKind::Assign => quote(text),
        }
    }
}

/// Quotes a text, of which only the first ten characters are shown.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => format!("{}...", quote(text.get(..end).unwrap_or(text))),
        None => quote(text),
    }
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
        } else if self.in_brackets {
            "unexpected end of input in duration expression"
        } else if self.paren_depth > 0 {
            "unclosed left parenthesis"
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
            return self.number_or_duration(start);
        }
        let refused = |c: char| format!("unexpected character in duration expression: {}", quote_char(c));
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

    /// Reads a string; whether its escapes are right is seen when its value is asked for.
    fn string(&mut self, start: usize) -> Result<(), String> {
        let Some(q) = self.next() else { return Ok(()) };
        loop {
            match self.next() {
                None if q == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if q != '`' => return Err("unterminated quoted string".to_owned()),
                Some('\\') if q != '`' => {
                    if self.next().is_none() {
                        return Err("escape sequence not terminated".to_owned());
                    }
                }
                Some(c) if c == q => break,
                Some(_) => {}
            }
        }
        self.emit(TokenKind::String, start);
        Ok(())
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
        // The character that did not fit belongs to the message.
        self.next();
        Err(format!("bad number or duration syntax: {}", quote(self.text_from(start))))
    }

    /// Consumes a number (decimal, `0x`, with underscores, exponent). On `false`, digits of a duration may be consumed.
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
                    if seen_dot || hex {
                        return false;
                    }
                    self.next();
                    seen_dot = true;
                    if matches!(self.peek(), Some('_' | '.')) {
                        return false;
                    }
                }
                Some('e' | 'E') => {
                    if seen_exponent {
                        return false;
                    }
                    self.next();
                    seen_exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                        return false;
                    }
                }
                Some('_') => {
                    self.next();
                    if matches!(self.peek(), None | Some('.' | '_' | 'e' | 'E')) {
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
                return !self.peek().is_some_and(is_alphanumeric);
            }
            self.skip(|c| c.is_ascii_digit());
            // Years can only come first.
            units = &['s', 'm', 'h', 'd', 'w'];
        }
    }
}
