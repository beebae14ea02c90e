//! Escaping by context, as Go's `html/template` does it: in text, attributes, URLs, scripts and styles.
//!
//! Go finds the context of each action by reading the template once; here the writer follows the HTML as it comes out,
//! which needs no second pass and comes to the same place. Text of the template drives the state, values never do.

use super::alertmanager::{json_string, write_json};
use super::printf::format_value;
use super::value::{Safe, Value};

/// What Go writes instead of a value that would be dangerous where it stands.
const REFUSED: &str = "ZgotmplZ";

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Text,
    /// After `<` or `</`, in the tag's name.
    TagName,
    /// Between attributes.
    Tag,
    AttrName,
    AfterName,
    BeforeValue,
    Value {
        quote: Option<char>,
        kind: Kind,
    },
    Comment,
    /// Inside `<script>`.
    Script(Js),
    /// Inside `<style>`.
    Style,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Url,
    Script(Js),
    Style,
}

/// Where in JavaScript.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Js {
    Code,
    Quoted(char),
    Line,
    Block,
}

pub(super) struct HtmlWriter {
    out: String,
    state: State,
    /// The name of the tag or attribute being read, in lower case; of an end tag with its slash.
    name: String,
    tag: String,
    /// Text of the attribute's value so far, for the parts of a URL; of a script or comment its last bytes.
    seen: String,
}

impl HtmlWriter {
    pub fn new() -> Self {
        HtmlWriter {
            out: String::new(),
            state: State::Text,
            name: String::new(),
            tag: String::new(),
            seen: String::new(),
        }
    }

    pub fn into_string(self) -> String {
        self.out
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Writes text of the template as it stands (comments are left out) and follows it.
    pub fn literal(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if self.state == State::Text && rest.starts_with("<!--") {
                self.state = State::Comment;
                rest = rest.get(4..).unwrap_or("");
                continue;
            }
            if self.state == State::Comment {
                match rest.find("-->") {
                    Some(end) => {
                        self.state = State::Text;
                        rest = rest.get(end + 3..).unwrap_or("");
                    }
                    None => return,
                }
                continue;
            }
            self.out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or("");
            self.follow(c, rest);
        }
    }

    fn follow(&mut self, c: char, rest: &str) {
        self.state = match self.state {
            State::Text => {
                if c == '<' && rest.starts_with(|n: char| n.is_ascii_alphabetic() || n == '/') {
                    self.name.clear();
                    State::TagName
                } else {
                    State::Text
                }
            }
            State::TagName => match c {
                '>' => {
                    self.tag = self.name.clone();
                    self.after_tag()
                }
                c if c.is_whitespace() => {
                    self.tag = self.name.clone();
                    State::Tag
                }
                c => {
                    self.name.push(c.to_ascii_lowercase());
                    State::TagName
                }
            },
            State::Tag | State::AfterName => match c {
                '>' => self.after_tag(),
                '=' if self.state == State::AfterName => State::BeforeValue,
                c if c.is_whitespace() || c == '/' => self.state,
                c => {
                    self.name.clear();
                    self.name.push(c.to_ascii_lowercase());
                    State::AttrName
                }
            },
            State::AttrName => match c {
                '=' => State::BeforeValue,
                '>' => self.after_tag(),
                c if c.is_whitespace() => State::AfterName,
                c => {
                    self.name.push(c.to_ascii_lowercase());
                    State::AttrName
                }
            },
            State::BeforeValue => match c {
                c if c.is_whitespace() => State::BeforeValue,
                '>' => self.after_tag(),
                '"' | '\'' => self.begin_value(Some(c)),
                c => {
                    let state = self.begin_value(None);
                    self.seen.push(c);
                    state
                }
            },
            State::Value { quote: Some(q), .. } if c == q => State::Tag,
            State::Value { quote: None, .. } if c.is_whitespace() => State::Tag,
            State::Value { quote: None, .. } if c == '>' => self.after_tag(),
            State::Value { quote, kind } => {
                let kind = match kind {
                    Kind::Script(js) => Kind::Script(self.follow_js(js, c)),
                    kind => kind,
                };
                self.seen.push(c);
                State::Value { quote, kind }
            }
            State::Comment => State::Comment,
            State::Script(js) => {
                if c == '<' && starts_with_ignoring_case(rest, "/script") {
                    self.name.clear();
                    State::TagName
                } else {
                    let js = self.follow_js(js, c);
                    self.remember(c);
                    State::Script(js)
                }
            }
            State::Style => {
                if c == '<' && starts_with_ignoring_case(rest, "/style") {
                    self.name.clear();
                    State::TagName
                } else {
                    State::Style
                }
            }
        };
    }

    /// Keeps the last characters of a script, enough to know comments and escapes.
    fn remember(&mut self, c: char) {
        if self.seen.len() > 64 {
            self.seen.clear();
        }
        self.seen.push(c);
    }

    fn after_tag(&mut self) -> State {
        self.seen.clear();
        match self.tag.as_str() {
            "script" => State::Script(Js::Code),
            "style" => State::Style,
            _ => State::Text,
        }
    }

    fn begin_value(&mut self, quote: Option<char>) -> State {
        self.seen.clear();
        State::Value { quote, kind: kind_of(&self.name) }
    }

    fn follow_js(&self, js: Js, c: char) -> Js {
        let last = self.seen.chars().next_back();
        match js {
            Js::Code => match c {
                '"' | '\'' | '`' => Js::Quoted(c),
                '/' if last == Some('/') => Js::Line,
                '*' if last == Some('/') => Js::Block,
                _ => Js::Code,
            },
            Js::Quoted(q) if c == q && last != Some('\\') => Js::Code,
            Js::Line if c == '\n' => Js::Code,
            Js::Block if c == '/' && last == Some('*') => Js::Code,
            js => js,
        }
    }

    /// Writes a value, escaped for where it stands.
    pub fn value(&mut self, value: &Value) {
        let text = match value {
            Value::Nil => String::new(),
            v => v.as_str().map_or_else(|| format_value(v), str::to_owned),
        };
        if self.state == State::BeforeValue {
            self.state = self.begin_value(None);
        }
        let escaped = match self.state {
            State::Text => match value {
                Value::Safe(Safe::Html, html) => html.to_string(),
                _ => escape(&text, false),
            },
            State::TagName | State::Tag | State::AttrName | State::AfterName => {
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    text
                } else {
                    REFUSED.to_owned()
                }
            }
            // Taken above.
            State::BeforeValue | State::Comment => String::new(),
            State::Value { quote, kind } => {
                let inner = match kind {
                    Kind::Plain => match value {
                        Value::Safe(Safe::Html, html) => strip_tags(html),
                        _ => text,
                    },
                    Kind::Url => self.url(value, &text),
                    Kind::Script(js) => script(js, value, &text),
                    Kind::Style => style(&text),
                };
                if quote.is_none() && inner.is_empty() { REFUSED.to_owned() } else { escape(&inner, quote.is_none()) }
            }
            State::Script(js) => script(js, value, &text),
            State::Style => style(&text),
        };
        self.out.push_str(&escaped);
        if let State::Value { .. } = self.state {
            // Something stands in the value now, so that what follows is not the start of a URL.
            self.seen.push('x');
        }
    }

    fn url(&self, value: &Value, text: &str) -> String {
        let safe = matches!(value, Value::Safe(Safe::Url, _));
        if self.seen.contains(['?', '#']) {
            return if safe { percent(text, true) } else { percent(text, false) };
        }
        if self.seen.is_empty() && !safe && !harmless_url(text) {
            return format!("#{REFUSED}");
        }
        percent(text, true)
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn kind_of(attribute: &str) -> Kind {
    let name = attribute.strip_prefix("data-").unwrap_or(attribute);
    let name = name.split_once(':').map_or(name, |(space, local)| if space == "xmlns" { "xmlns" } else { local });
    match name {
        "style" => Kind::Style,
        n if n.starts_with("on") => Kind::Script(Js::Code),
        "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data" | "formaction" | "href"
        | "icon" | "longdesc" | "manifest" | "poster" | "profile" | "usemap" | "xmlns" => Kind::Url,
        n if n.contains("src") || n.contains("uri") || n.contains("url") => Kind::Url,
        _ => Kind::Plain,
    }
}

/// No scheme, or one that runs nothing.
fn harmless_url(url: &str) -> bool {
    match url.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
        }
        _ => true,
    }
}

/// Percent-encodes; `keep` leaves what has a meaning in URLs, encoded bytes included.
fn percent(url: &str, keep: bool) -> String {
    let bytes = url.as_bytes();
    let mut out = String::with_capacity(url.len() + 8);
    for (i, b) in bytes.iter().enumerate() {
        let encoded = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        let plain = match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'[' | b']' => {
                keep
            }
            b'%' => keep && encoded(i + 1) && encoded(i + 2),
            _ => false,
        };
        if plain {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02x}"));
        }
    }
    out
}

/// Escapes for text and attributes; `unquoted` also what would end an attribute without quotes.
fn escape(s: &str, unquoted: bool) -> String {
    let mut out = String::with_capacity(s.len() + 8);
    for c in s.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '+' => out.push_str("&#43;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ' | '=' | '`' if unquoted => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// HTML without its tags, for attributes.
fn strip_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            c if !in_tag => out.push(c),
            _ => {}
        }
    }
    out
}

fn script(js: Js, value: &Value, text: &str) -> String {
    match js {
        Js::Line | Js::Block => String::new(),
        Js::Quoted(_) => {
            let mut out = String::with_capacity(text.len() + 8);
            for c in text.chars() {
                match c {
                    '\\' => out.push_str(r"\\"),
                    '/' => out.push_str(r"\/"),
                    '\t' => out.push_str(r"\t"),
                    '\n' => out.push_str(r"\n"),
                    '\r' => out.push_str(r"\r"),
                    '\x0c' => out.push_str(r"\f"),
                    '\0' | '\x0b' | '"' | '&' | '\'' | '+' | '<' | '>' | '`' | '\u{2028}' | '\u{2029}' | '$' | '{'
                    | '}'
                        if !matches!((js, c), (Js::Quoted('"' | '\''), '$' | '{' | '}')) =>
                    {
                        out.push_str(&format!("\\u{:04x}", u32::from(c)));
                    }
                    c => out.push(c),
                }
            }
            out
        }
        Js::Code => {
            let mut out = String::new();
            let shown = match value {
                Value::Object(o) => o.text(),
                _ => None,
            };
            match shown {
                Some(s) => json_string(&mut out, &s),
                None => {
                    if let Err(e) = write_json(&mut out, value, 0) {
                        out = format!("/* {} */null", e.replace("*/", "* /"));
                    }
                }
            }
            // A word or a number must not grow together with its neighbours.
            let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
            if word(out.chars().next()) || word(out.chars().next_back()) { format!(" {out} ") } else { out }
        }
    }
}

/// A CSS value that can do no harm, or nothing of it.
fn style(text: &str) -> String {
    let dangerous = text.contains(['\0', '"', '\'', '(', ')', '/', ';', '@', '[', '\\', ']', '`', '{', '}', '<', '>'])
        || text.contains("--");
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if dangerous || letters.contains("expression") || letters.contains("mozbinding") {
        REFUSED.to_owned()
    } else {
        text.to_owned()
    }
}
