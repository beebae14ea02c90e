//! Cuts a template into text and the tokens of its actions, by the rules of Go's `text/template`.

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Tok,
    /// First byte in the template.
    pub pos: usize,
    /// Whether white space stands before it inside the action; Go separates operands by it.
    pub space_before: bool,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    /// Text between actions, trim markers already applied; never empty.
    Text(String),
    LeftDelim,
    RightDelim,
    Identifier(String),
    /// `.name`, without the dot.
    Field(String),
    Dot,
    /// `$name` or `$`, with the dollar.
    Variable(String),
    /// A quoted string or character as written.
    Quoted(String),
    Number(String),
    Bool(bool),
    Nil,
    Keyword(Keyword),
    Pipe,
    LeftParen,
    RightParen,
    Assign,
    Declare,
    /// Any other printable ASCII character; only a comma has a meaning.
    Other(char),
    Eof,
}

/// The reserved words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl Keyword {
    fn of(word: &str) -> Option<Keyword> {
        Some(match word {
            "block" => Keyword::Block,
            "break" => Keyword::Break,
            "continue" => Keyword::Continue,
            "define" => Keyword::Define,
            "else" => Keyword::Else,
            "end" => Keyword::End,
            "if" => Keyword::If,
            "range" => Keyword::Range,
            "template" => Keyword::Template,
            "with" => Keyword::With,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Keyword::Block => "block",
            Keyword::Break => "break",
            Keyword::Continue => "continue",
            Keyword::Define => "define",
            Keyword::Else => "else",
            Keyword::End => "end",
            Keyword::If => "if",
            Keyword::Range => "range",
            Keyword::Template => "template",
            Keyword::With => "with",
        }
    }
}

impl Tok {
    /// The token as Go's messages show it.
    pub fn describe(&self) -> String {
        match self {
            Tok::Text(t) => crate::text::quote::quote(t),
            Tok::LeftDelim => "\"{{\"".to_owned(),
            Tok::RightDelim => "\"}}\"".to_owned(),
            Tok::Identifier(s) | Tok::Number(s) | Tok::Variable(s) => format!("\"{s}\""),
            Tok::Field(s) => format!("<.{s}>"),
            Tok::Dot => "<.>".to_owned(),
            Tok::Quoted(s) => crate::text::quote::quote(s),
            Tok::Bool(b) => format!("\"{b}\""),
            Tok::Nil => "<nil>".to_owned(),
            Tok::Keyword(k) => format!("<{}>", k.as_str()),
            Tok::Pipe => "\"|\"".to_owned(),
            Tok::LeftParen => "\"(\"".to_owned(),
            Tok::RightParen => "\")\"".to_owned(),
            Tok::Assign => "\"=\"".to_owned(),
            Tok::Declare => "\":=\"".to_owned(),
            Tok::Other(c) => format!("{:?}", c.to_string()),
            Tok::Eof => "EOF".to_owned(),
        }
    }
}

/// What is wrong, and at which byte.
pub(super) struct LexError {
    pub pos: usize,
    pub message: String,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Cuts the whole template. Tokens that came before an error are returned with it, because Go's parser meets their
/// errors first.
pub(super) fn lex(source: &str) -> (Vec<Token>, Option<LexError>) {
    let mut lexer = Lexer { source, pos: 0, tokens: Vec::new(), space: false };
    let error = lexer.template().err();
    let end = source.len();
    lexer.tokens.push(Token { kind: Tok::Eof, pos: end, space_before: false });
    (lexer.tokens, error)
}

struct Lexer<'a> {
    source: &'a str,
    pos: usize,
    tokens: Vec<Token>,
    space: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Tok, pos: usize) {
        self.tokens.push(Token { kind, pos, space_before: self.space });
        self.space = false;
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { pos: self.pos, message: message.into() })
    }

    fn template(&mut self) -> Result<(), LexError> {
        let mut trim_next = false;
        loop {
            let start = self.pos;
            let rest = self.rest();
            let len = rest.find("{{").unwrap_or(rest.len());
            let text = rest.get(..len).unwrap_or("");
            self.pos += len;
            let after = self.rest().get(2..).unwrap_or("");
            let mut marks = after.chars();
            let trim_before = marks.next() == Some('-') && marks.next().is_some_and(is_space);
            let shown = if trim_next { text.trim_start_matches(is_space) } else { text };
            let skipped = text.len() - shown.len();
            let shown = if trim_before { shown.trim_end_matches(is_space) } else { shown };
            if !shown.is_empty() {
                self.push(Tok::Text(shown.to_owned()), start + skipped);
            }
            if self.rest().is_empty() {
                return Ok(());
            }
            let delim = self.pos;
            // `{{- ` eats the marker and the space that makes it one.
            self.pos += if trim_before { 4 } else { 2 };
            if self.rest().starts_with("/*") {
                trim_next = self.comment()?;
                continue;
            }
            self.space = trim_before;
            self.push(Tok::LeftDelim, delim);
            trim_next = self.action()?;
        }
    }

    /// Skips a comment with its closing delimiter; says whether that trims the text after it.
    fn comment(&mut self) -> Result<bool, LexError> {
        let Some(len) = self.rest().find("*/") else { return self.error("unclosed comment") };
        self.pos += len + 2;
        match self.right_delim() {
            Some(trim) => Ok(trim),
            None => self.error("comment ends before closing delimiter"),
        }
    }

    /// Eats `}}` or ` -}}` if it stands here.
    fn right_delim(&mut self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            self.pos += 2;
            return Some(false);
        }
        if rest.starts_with(is_space) && rest.get(1..).is_some_and(|r| r.starts_with("-}}")) {
            self.pos += 4;
            return Some(true);
        }
        None
    }

    /// Reads an action after its `{{`; says whether its end trims the text after it.
    fn action(&mut self) -> Result<bool, LexError> {
        let mut parens = 0u32;
        loop {
            let start = self.pos;
            if let Some(trim) = self.right_delim() {
                if parens > 0 {
                    return self.error("unclosed left paren");
                }
                self.push(Tok::RightDelim, start);
                return Ok(trim);
            }
            let Some(c) = self.peek() else { return self.error("unclosed action") };
            self.pos += c.len_utf8();
            match c {
                c if is_space(c) => self.space = true,
                '=' => self.push(Tok::Assign, start),
                ':' => {
                    if self.peek() != Some('=') {
                        return self.error("expected :=");
                    }
                    self.pos += 1;
                    self.push(Tok::Declare, start);
                }
                '|' => self.push(Tok::Pipe, start),
                '"' | '\'' => self.quoted(c, start)?,
                '`' => {
                    let Some(len) = self.rest().find('`') else {
                        return self.error("unterminated raw quoted string");
                    };
                    self.pos += len + 1;
                    let text = self.source.get(start..self.pos).unwrap_or("").to_owned();
                    self.push(Tok::Quoted(text), start);
                }
                '$' => {
                    let name = self.word()?;
                    self.push(Tok::Variable(format!("${name}")), start);
                }
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                    let name = self.word()?;
                    self.push(if name.is_empty() { Tok::Dot } else { Tok::Field(name) }, start);
                }
                '.' | '+' | '-' | '0'..='9' => self.number(start)?,
                '(' => {
                    parens += 1;
                    self.push(Tok::LeftParen, start);
                }
                ')' => {
                    if parens == 0 {
                        return self.error("unexpected right paren");
                    }
                    parens -= 1;
                    self.push(Tok::RightParen, start);
                }
                c if is_word(c) => {
                    self.pos = start;
                    let word = self.word()?;
                    let kind = match (word.as_str(), Keyword::of(&word)) {
                        (_, Some(k)) => Tok::Keyword(k),
                        ("true", _) => Tok::Bool(true),
                        ("false", _) => Tok::Bool(false),
                        ("nil", _) => Tok::Nil,
                        _ => Tok::Identifier(word),
                    };
                    self.push(kind, start);
                }
                c if c.is_ascii_graphic() => self.push(Tok::Other(c), start),
                c => return self.error(format!("unrecognized character in action: U+{:04X}", u32::from(c))),
            }
        }
    }

    /// Letters, digits and underscores, up to something that may stand after a name.
    fn word(&mut self) -> Result<String, LexError> {
        let rest = self.rest();
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.pos += len;
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(' | '=') => {}
            Some(c) if is_space(c) => {}
            Some(_) if self.rest().starts_with("}}") => {}
            Some(c) => return self.error(format!("bad character U+{:04X} {c:?}", u32::from(c))),
        }
        Ok(rest.get(..len).unwrap_or("").to_owned())
    }

    fn quoted(&mut self, quote: char, start: usize) -> Result<(), LexError> {
        let what = if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
        loop {
            let Some(c) = self.peek() else { return self.error(what) };
            self.pos += c.len_utf8();
            match c {
                '\n' => return self.error(what),
                '\\' => match self.peek() {
                    None | Some('\n') => return self.error(what),
                    Some(c) => self.pos += c.len_utf8(),
                },
                c if c == quote => break,
                _ => {}
            }
        }
        let text = self.source.get(start..self.pos).unwrap_or("").to_owned();
        self.push(Tok::Quoted(text), start);
        Ok(())
    }

    /// Takes what looks like a number; the parser decides what it means.
    fn number(&mut self, start: usize) -> Result<(), LexError> {
        self.pos = start;
        self.accept_one("+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if self.accept_one("0") {
            if self.accept_one("xX") {
                (digits, exponent) = ("0123456789abcdefABCDEF_", "pP");
            } else if self.accept_one("oO") {
                digits = "01234567_";
            } else if self.accept_one("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept_one(".") {
            self.accept_run(digits);
        }
        if self.accept_one(exponent) {
            self.accept_one("+-");
            self.accept_run("0123456789_");
        }
        if self.peek().is_some_and(is_word) {
            let c = self.peek().map_or(0, char::len_utf8);
            let text = self.source.get(start..self.pos + c).unwrap_or("");
            return self.error(format!("bad number syntax: {text:?}"));
        }
        let text = self.source.get(start..self.pos).unwrap_or("").to_owned();
        self.push(Tok::Number(text), start);
        Ok(())
    }

    fn accept_one(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.pos += 1;
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept_one(set) {}
    }
}
