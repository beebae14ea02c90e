//! RFC 5424: `VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]` behind the priority.

use std::borrow::Cow;

use super::{Form, Message, MessageTime};
use crate::model::time::parse_rfc3339_ns;

/// Reads what follows the priority; `None` if it is not of this form.
pub(super) fn parse(text: &str) -> Option<Message<'_>> {
    let rest = text.strip_prefix("1 ")?;
    let (time, rest) = word(rest)?;
    let time = match time {
        "" => None,
        t => Some(MessageTime { ns: parse_rfc3339_ns(t)?, whole_seconds: !t.contains('.') }),
    };
    let (hostname, rest) = word(rest)?;
    let (app_name, rest) = word(rest)?;
    let (proc_id, rest) = word(rest)?;
    let (msg_id, rest) = word(rest)?;
    let (structured_data, rest) = structured_data(rest)?;
    let text = rest.strip_prefix(' ').unwrap_or(rest).trim_start_matches('\u{feff}');
    Some(Message {
        form: Form::Rfc5424,
        priority: None,
        time,
        hostname,
        app_name,
        proc_id,
        msg_id,
        structured_data,
        text,
    })
}

/// The word up to the next space; `-` stands for none.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ')?;
    match word {
        "" => None,
        "-" => Some(("", rest)),
        w => Some((w, rest)),
    }
}

/// Element, parameter, value.
type Parameter<'a> = (&'a str, &'a str, Cow<'a, str>);

/// `-`, or elements `[id name="value" ...]` one after the other.
fn structured_data(text: &str) -> Option<(Vec<Parameter<'_>>, &str)> {
    let mut out = Vec::new();
    if let Some(rest) = text.strip_prefix('-') {
        return (rest.is_empty() || rest.starts_with(' ')).then_some((out, rest));
    }
    let mut rest = text.strip_prefix('[')?;
    loop {
        let end = rest.find([' ', ']'])?;
        let (id, tail) = rest.split_at_checked(end)?;
        rest = tail;
        loop {
            if let Some(tail) = rest.strip_prefix(']') {
                rest = tail;
                break;
            }
            let (name, tail) = rest.trim_start_matches(' ').split_once("=\"")?;
            let (value, tail) = quoted(tail)?;
            out.push((id, name, value));
            rest = tail;
        }
        match rest.strip_prefix('[') {
            Some(tail) => rest = tail,
            None => return Some((out, rest)),
        }
    }
}

/// A value up to its quote; `\"`, `\\` and `\]` are escapes, other backslashes stand for themselves.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut owned: Option<String> = None;
    let mut from = 0;
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => {
                let (piece, rest) = (text.get(from..i)?, text.get(i + 1..)?);
                let value = match owned {
                    None => Cow::Borrowed(piece),
                    Some(mut o) => {
                        o.push_str(piece);
                        Cow::Owned(o)
                    }
                };
                return Some((value, rest));
            }
            '\\' => {
                let (next, escaped) = chars.next()?;
                if matches!(escaped, '"' | '\\' | ']') {
                    owned.get_or_insert_default().push_str(text.get(from..i)?);
                    from = next;
                }
            }
            _ => {}
        }
    }
    None
}
