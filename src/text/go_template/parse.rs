//! The tree of a template and the parser that builds it, by the grammar of Go's `text/template`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::lex::{Keyword, LexError, Tok, Token, lex};
use crate::text::quote::unquote;

/// Deepest nesting of blocks and parentheses; a template of people needs a handful.
const MAX_DEPTH: usize = 128;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    Range(Branch),
    With(Branch),
    Template { pos: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `range` or `with` and what belongs to it.
#[derive(Debug)]
pub(super) struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$x := a | b c`.
#[derive(Debug)]
pub(super) struct Pipe {
    pub declare: Vec<String>,
    /// `=` instead of `:=`.
    pub assign: bool,
    pub commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub args: Vec<Arg>,
}

/// One operand.
#[derive(Debug)]
pub(super) struct Arg {
    pub pos: usize,
    pub kind: ArgKind,
}

/// The kinds of operands.
#[derive(Debug)]
pub(super) enum ArgKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str { value: String, source: String },
    Function(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Chain(Box<Arg>, Vec<String>),
    Pipe(Box<Pipe>),
}

/// One named template.
#[derive(Debug)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Whether it holds nothing but white space; such a definition does not replace another.
    pub fn is_blank(&self) -> bool {
        self.nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()))
    }

    /// Adds the names of all fields that are read.
    pub fn fields(&self, names: &mut BTreeSet<String>) {
        fields_of_nodes(&self.nodes, names);
    }
}

fn fields_of_nodes(nodes: &[Node], names: &mut BTreeSet<String>) {
    for node in nodes {
        match node {
            Node::Action(pipe) => fields_of_pipe(pipe, names),
            Node::If(b) | Node::Range(b) | Node::With(b) => {
                fields_of_pipe(&b.pipe, names);
                fields_of_nodes(&b.body, names);
                fields_of_nodes(&b.otherwise, names);
            }
            Node::Template { pipe, .. } => pipe.iter().for_each(|p| fields_of_pipe(p, names)),
            Node::Text(_) | Node::Break | Node::Continue => {}
        }
    }
}

fn fields_of_pipe(pipe: &Pipe, names: &mut BTreeSet<String>) {
    pipe.commands.iter().flat_map(|c| &c.args).for_each(|a| fields_of_arg(a, names));
}

fn fields_of_arg(arg: &Arg, names: &mut BTreeSet<String>) {
    match &arg.kind {
        ArgKind::Field(fields) | ArgKind::Variable(_, fields) => names.extend(fields.iter().cloned()),
        ArgKind::Chain(arg, fields) => {
            names.extend(fields.iter().cloned());
            fields_of_arg(arg, names);
        }
        ArgKind::Pipe(pipe) => fields_of_pipe(pipe, names),
        ArgKind::Dot
        | ArgKind::Nil
        | ArgKind::Bool(_)
        | ArgKind::Int(_)
        | ArgKind::Float(_)
        | ArgKind::Str { .. }
        | ArgKind::Function(_) => {}
    }
}

/// All that one text defines: the main template and the named ones.
pub(super) struct Parsed {
    pub main: Tree,
    pub defined: Vec<(String, Tree)>,
    /// Names of functions that are called anywhere.
    pub functions: Vec<String>,
}

/// What is wrong, and at which byte.
pub(super) struct ParseError {
    pub pos: usize,
    pub message: String,
}

/// Parses a text. `is_function` says which names are functions.
pub(super) fn parse(source: &str, is_function: &dyn Fn(&str) -> bool) -> Result<Parsed, ParseError> {
    let (tokens, lex_error) = lex(source);
    let mut p = Parser {
        tokens,
        at: 0,
        lex_error,
        is_function,
        vars: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        defined: Vec::new(),
        functions: Vec::new(),
    };
    let mut nodes = Vec::new();
    while *p.peek() != Tok::Eof {
        if *p.peek() == Tok::LeftDelim && p.peek_second() == &Tok::Keyword(Keyword::Define) {
            p.definition()?;
            continue;
        }
        match p.text_or_action()? {
            Item::Node(n) => nodes.push(n),
            Item::End => return p.error("unexpected {{end}}"),
            Item::Else => return p.error("unexpected {{else}}"),
        }
    }
    p.fail_if_lex_error()?;
    Ok(Parsed { main: Tree { nodes }, defined: p.defined, functions: p.functions })
}

enum Item {
    Node(Node),
    End,
    Else,
}

enum ListEnd {
    End,
    Else,
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    lex_error: Option<LexError>,
    is_function: &'a dyn Fn(&str) -> bool,
    vars: Vec<String>,
    range_depth: usize,
    depth: usize,
    defined: Vec<(String, Tree)>,
    functions: Vec<String>,
}

const EOF: Tok = Tok::Eof;

impl Parser<'_> {
    fn peek(&self) -> &Tok {
        self.tokens.get(self.at).map_or(&EOF, |t| &t.kind)
    }

    fn peek_second(&self) -> &Tok {
        self.tokens.get(self.at + 1).map_or(&EOF, |t| &t.kind)
    }

    fn space_before(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|t| t.space_before)
    }

    fn pos(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |t| t.pos)
    }

    fn next(&mut self) -> Tok {
        let kind = self.peek().clone();
        if kind != Tok::Eof {
            self.at += 1;
        }
        kind
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { pos: self.pos(), message: message.into() })
    }

    /// The lexer stopped before the end: what it found is the error of everything that wants more tokens.
    fn fail_if_lex_error(&mut self) -> Result<(), ParseError> {
        match self.lex_error.take() {
            Some(e) => Err(ParseError { pos: e.pos, message: e.message }),
            None => Ok(()),
        }
    }

    fn unexpected<T>(&mut self, context: &str) -> Result<T, ParseError> {
        if *self.peek() == Tok::Eof {
            self.fail_if_lex_error()?;
            return self.error("unexpected EOF");
        }
        let what = self.peek().describe();
        self.error(format!("unexpected {what} in {context}"))
    }

    fn expect_right_delim(&mut self, context: &str) -> Result<(), ParseError> {
        if *self.peek() == Tok::RightDelim {
            self.at += 1;
            return Ok(());
        }
        self.unexpected(context)
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("nested deeper than {MAX_DEPTH}"));
        }
        Ok(())
    }

    fn text_or_action(&mut self) -> Result<Item, ParseError> {
        match self.next() {
            Tok::Text(t) => Ok(Item::Node(Node::Text(t))),
            Tok::LeftDelim => self.action(),
            _ => {
                self.at = self.at.saturating_sub(1);
                self.unexpected("input")
            }
        }
    }

    fn action(&mut self) -> Result<Item, ParseError> {
        let pos = self.pos();
        let Tok::Keyword(keyword) = *self.peek() else {
            let pipe = self.pipeline("command", &Tok::RightDelim)?;
            return Ok(Item::Node(Node::Action(pipe)));
        };
        self.at += 1;
        match keyword {
            Keyword::If => Ok(Item::Node(Node::If(self.control("if")?))),
            Keyword::Range => Ok(Item::Node(Node::Range(self.control("range")?))),
            Keyword::With => Ok(Item::Node(Node::With(self.control("with")?))),
            Keyword::Template => {
                let name = self.template_name("template clause")?;
                let pipe = if *self.peek() == Tok::RightDelim {
                    self.at += 1;
                    None
                } else {
                    Some(self.pipeline("template clause", &Tok::RightDelim)?)
                };
                Ok(Item::Node(Node::Template { pos, name, pipe }))
            }
            Keyword::Block => {
                let name = self.template_name("block clause")?;
                let pipe = self.pipeline("block clause", &Tok::RightDelim)?;
                self.body_of_definition(name.clone())?;
                Ok(Item::Node(Node::Template { pos, name, pipe: Some(pipe) }))
            }
            Keyword::Define => {
                self.at -= 1;
                self.unexpected("command")
            }
            Keyword::End => {
                self.expect_right_delim("end")?;
                Ok(Item::End)
            }
            Keyword::Else => {
                if !matches!(self.peek(), Tok::Keyword(Keyword::If | Keyword::With)) {
                    self.expect_right_delim("else")?;
                }
                Ok(Item::Else)
            }
            Keyword::Break | Keyword::Continue => {
                let word = keyword.as_str();
                self.expect_right_delim(word)?;
                if self.range_depth == 0 {
                    return self.error(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                Ok(Item::Node(if keyword == Keyword::Break { Node::Break } else { Node::Continue }))
            }
        }
    }

    fn template_name(&mut self, context: &str) -> Result<String, ParseError> {
        match self.peek() {
            Tok::Quoted(q) if !q.starts_with('\'') => {
                let name = unquote(q).map_err(|e| ParseError { pos: self.pos(), message: e.to_string() })?;
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(context),
        }
    }

    fn definition(&mut self) -> Result<(), ParseError> {
        self.at += 2;
        let name = self.template_name("define clause")?;
        self.expect_right_delim("define clause")?;
        self.body_of_definition(name)
    }

    fn body_of_definition(&mut self, name: String) -> Result<(), ParseError> {
        // A named template sees only its argument, and breaks no range outside of it.
        let vars = std::mem::replace(&mut self.vars, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (nodes, end) = self.list()?;
        if let ListEnd::Else = end {
            return self.error("unexpected {{else}} in define clause");
        }
        self.vars = vars;
        self.range_depth = range_depth;
        let tree = Tree { nodes };
        if !tree.is_blank() && self.defined.iter().any(|(n, t)| *n == name && !t.is_blank()) {
            return self.error(format!("template: multiple definition of template {name:?}"));
        }
        self.defined.push((name, tree));
        Ok(())
    }

    /// Nodes up to `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Result<(Vec<Node>, ListEnd), ParseError> {
        self.enter()?;
        let mut nodes = Vec::new();
        loop {
            if *self.peek() == Tok::Eof {
                self.fail_if_lex_error()?;
                return self.error("unexpected EOF");
            }
            let end = match self.text_or_action()? {
                Item::Node(n) => {
                    nodes.push(n);
                    continue;
                }
                Item::End => ListEnd::End,
                Item::Else => ListEnd::Else,
            };
            self.depth -= 1;
            return Ok((nodes, end));
        }
    }

    fn control(&mut self, context: &'static str) -> Result<Branch, ParseError> {
        let vars = self.vars.len();
        let pipe = self.pipeline(context, &Tok::RightDelim)?;
        let is_range = context == "range";
        self.range_depth += usize::from(is_range);
        let (body, end) = self.list()?;
        self.range_depth -= usize::from(is_range);
        let mut otherwise = Vec::new();
        if let ListEnd::Else = end {
            let chained = match self.peek() {
                Tok::Keyword(Keyword::If) if context == "if" => Some(Keyword::If),
                Tok::Keyword(Keyword::With) if context == "with" => Some(Keyword::With),
                Tok::Keyword(_) => return self.unexpected("else"),
                _ => None,
            };
            match chained {
                // The chained branch takes the one {{end}} for itself.
                Some(k) => {
                    self.at += 1;
                    self.enter()?;
                    let branch = self.control(context)?;
                    self.depth -= 1;
                    otherwise.push(if k == Keyword::If { Node::If(branch) } else { Node::With(branch) });
                }
                None => {
                    let (nodes, end) = self.list()?;
                    if let ListEnd::Else = end {
                        return self.error("expected end; found {{else}}");
                    }
                    otherwise = nodes;
                }
            }
        }
        self.vars.truncate(vars);
        Ok(Branch { pipe, body, otherwise })
    }

    fn pipeline(&mut self, context: &str, end: &Tok) -> Result<Pipe, ParseError> {
        self.enter()?;
        let mut pipe = Pipe { declare: Vec::new(), assign: false, commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            if self.peek() == end {
                self.at += 1;
                break;
            }
            match self.peek() {
                Tok::Bool(_)
                | Tok::Dot
                | Tok::Field(_)
                | Tok::Identifier(_)
                | Tok::Number(_)
                | Tok::Nil
                | Tok::Quoted(_)
                | Tok::Variable(_)
                | Tok::LeftParen => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(context),
            }
        }
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (i, c) in pipe.commands.iter().enumerate().skip(1) {
            let constant = c.args.first().is_some_and(|a| {
                matches!(
                    a.kind,
                    ArgKind::Bool(_)
                        | ArgKind::Dot
                        | ArgKind::Nil
                        | ArgKind::Int(_)
                        | ArgKind::Float(_)
                        | ArgKind::Str { .. }
                )
            });
            if constant {
                return self.error(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        self.depth -= 1;
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), ParseError> {
        loop {
            let Tok::Variable(name) = self.peek().clone() else { return Ok(()) };
            match self.peek_second() {
                Tok::Assign | Tok::Declare => {
                    pipe.assign = *self.peek_second() == Tok::Assign;
                    self.at += 2;
                    self.vars.push(name.clone());
                    pipe.declare.push(name);
                    return Ok(());
                }
                Tok::Other(',') => {
                    self.at += 2;
                    self.vars.push(name.clone());
                    pipe.declare.push(name);
                    if context != "range" || pipe.declare.len() > 1 {
                        return self.error(format!("too many declarations in {context}"));
                    }
                    if !matches!(self.peek(), Tok::Variable(_)) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Operands separated by spaces, up to a bar (which is eaten) or the end of the pipeline.
    fn command(&mut self) -> Result<Command, ParseError> {
        let mut args = Vec::new();
        loop {
            match self.operand()? {
                Some(arg) => args.push(arg),
                None => return self.unexpected("operand"),
            }
            match self.peek() {
                Tok::RightDelim | Tok::RightParen => break,
                Tok::Pipe => {
                    self.at += 1;
                    break;
                }
                // What cannot start an operand is judged by the pipeline.
                Tok::Keyword(_) | Tok::Other(_) | Tok::Assign | Tok::Declare if self.space_before() => break,
                _ if self.space_before() => {}
                _ => return self.unexpected("operand"),
            }
        }
        Ok(Command { args })
    }

    fn operand(&mut self) -> Result<Option<Arg>, ParseError> {
        let pos = self.pos();
        let Some(kind) = self.term()? else { return Ok(None) };
        let mut fields = Vec::new();
        while !self.space_before()
            && let Tok::Field(name) = self.peek()
        {
            fields.push(name.clone());
            self.at += 1;
        }
        if fields.is_empty() {
            return Ok(Some(Arg { pos, kind }));
        }
        let kind = match kind {
            ArgKind::Field(mut names) => {
                names.append(&mut fields);
                ArgKind::Field(names)
            }
            ArgKind::Variable(name, _) => ArgKind::Variable(name, fields),
            ArgKind::Function(_) | ArgKind::Pipe(_) | ArgKind::Chain(..) => {
                ArgKind::Chain(Box::new(Arg { pos, kind }), fields)
            }
            ArgKind::Dot
            | ArgKind::Nil
            | ArgKind::Bool(_)
            | ArgKind::Int(_)
            | ArgKind::Float(_)
            | ArgKind::Str { .. } => {
                let shown = Arg { pos, kind };
                return self.error(format!("unexpected . after term {:?}", shown.to_string()));
            }
        };
        Ok(Some(Arg { pos, kind }))
    }

    fn term(&mut self) -> Result<Option<ArgKind>, ParseError> {
        let kind = match self.peek().clone() {
            Tok::Identifier(name) => {
                if !(self.is_function)(&name) {
                    return self.error(format!("function {name:?} not defined"));
                }
                if !self.functions.contains(&name) {
                    self.functions.push(name.clone());
                }
                ArgKind::Function(name)
            }
            Tok::Dot => ArgKind::Dot,
            Tok::Nil => ArgKind::Nil,
            Tok::Bool(b) => ArgKind::Bool(b),
            Tok::Field(name) => ArgKind::Field(vec![name]),
            Tok::Variable(name) => {
                if !self.vars.contains(&name) {
                    return self.error(format!("undefined variable {name:?}"));
                }
                ArgKind::Variable(name, Vec::new())
            }
            Tok::Number(text) => match number(&text) {
                Ok(kind) => kind,
                Err(message) => return self.error(message),
            },
            Tok::Quoted(source) => {
                let value = match unquote(&source) {
                    Ok(v) => v,
                    Err(e) => return self.error(e.to_string()),
                };
                if source.starts_with('\'') {
                    let mut chars = value.chars();
                    match (chars.next(), chars.next()) {
                        (Some(c), None) => ArgKind::Int(i64::from(u32::from(c))),
                        _ => return self.error(format!("malformed character constant: {source}")),
                    }
                } else {
                    ArgKind::Str { value, source }
                }
            }
            Tok::LeftParen => {
                self.at += 1;
                let pipe = self.pipeline("parenthesized pipeline", &Tok::RightParen)?;
                return Ok(Some(ArgKind::Pipe(Box::new(pipe))));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(kind))
    }
}

/// A constant of Go: an integer unless it is written with a point or an exponent.
fn number(text: &str) -> Result<ArgKind, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let plain = unsigned.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (lower.get(2..).unwrap_or(""), 16),
        Some("0o") => (lower.get(2..).unwrap_or(""), 8),
        Some("0b") => (lower.get(2..).unwrap_or(""), 2),
        _ => (lower.as_str(), 10),
    };
    if radix == 16 && digits.contains(['.', 'p']) {
        return hex_float(digits).map(|f| ArgKind::Float(sign * f)).ok_or_else(bad);
    }
    if radix == 10 && digits.contains(['.', 'e']) {
        return digits.parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| ArgKind::Float(sign * f)).ok_or_else(bad);
    }
    // A leading zero means octal, as in Go.
    let radix = if radix == 10 && digits.len() > 1 && digits.starts_with('0') { 8 } else { radix };
    let magnitude = i128::from_str_radix(digits, radix).map_err(|_| {
        if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
            format!("integer overflow: {text:?}")
        } else {
            bad()
        }
    })?;
    let value = if sign < 0.0 { -magnitude } else { magnitude };
    i64::try_from(value).map(ArgKind::Int).map_err(|_| format!("integer overflow: {text:?}"))
}

/// `1.8p3` of a hexadecimal float; the exponent is required.
fn hex_float(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let shift = exponent.parse::<i32>().ok()?.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(value * 2f64.powi(shift))
}

/// The operand as Go's messages print it.
impl std::fmt::Display for Arg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = |f: &mut std::fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|n| {
                f.write_char('.')?;
                f.write_str(n)
            })
        };
        match &self.kind {
            ArgKind::Dot => f.write_char('.'),
            ArgKind::Nil => f.write_str("nil"),
            ArgKind::Bool(b) => write!(f, "{b}"),
            ArgKind::Int(i) => write!(f, "{i}"),
            ArgKind::Float(v) => f.write_str(&super::printf::format_float(*v, 'g', None)),
            ArgKind::Str { source, .. } => f.write_str(source),
            ArgKind::Function(name) => f.write_str(name),
            ArgKind::Field(names) => fields(f, names),
            ArgKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            ArgKind::Chain(arg, names) => {
                write!(f, "{arg}")?;
                fields(f, names)
            }
            ArgKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{arg}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.declare.is_empty() {
            write!(f, "{} {} ", self.declare.join(", "), if self.assign { "=" } else { ":=" })?;
        }
        for (i, c) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}
