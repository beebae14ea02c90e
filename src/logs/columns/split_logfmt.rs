//! Takes a line apart that is logfmt through and through: items between single or several blanks, each `key=value`,
//! `key="quoted value"` or a bare key without a digit.

use super::skeleton::{Kind, VariableKind};
use super::split::{MAX_VARIABLES, Split};

/// Takes the line apart; `false` if it is not logfmt, then `out` holds nothing of use.
pub(super) fn split(line: &[u8], out: &mut Split) -> bool {
    // The cheap question first: most other lines have no `=`, or something else before it.
    let Some(first) = memchr::memchr(b'=', line) else { return false };
    if !line.get(..first).is_some_and(|head| head.iter().all(|b| in_key(*b) || *b == b' ')) {
        return false;
    }
    out.begin(Kind::Logfmt);
    if items(line, out).is_none() {
        return false;
    }
    out.end(line);
    !out.spans.is_empty()
}

fn in_key(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@')
}

fn in_bare_value(b: u8) -> bool {
    b > b' ' && !matches!(b, b'"' | b'=' | b'\\' | 0x7f)
}

fn items(line: &[u8], out: &mut Split) -> Option<()> {
    let len_of = |from: usize, inside: fn(u8) -> bool| {
        line.get(from..).map_or(0, |rest| rest.iter().position(|b| !inside(*b)).unwrap_or(rest.len()))
    };
    let mut at = 0;
    loop {
        at += len_of(at, |b| b == b' ');
        if at == line.len() {
            return Some(());
        }
        let key = at;
        at += len_of(at, in_key);
        match line.get(at) {
            // A bare key; one with a digit is more likely a value.
            None | Some(b' ') if at > key => {
                if line.get(key..at)?.iter().any(u8::is_ascii_digit) {
                    return None;
                }
                continue;
            }
            Some(b'=') if at > key => at += 1,
            _ => return None,
        }
        if out.spans.len() == MAX_VARIABLES {
            return None;
        }
        let start = at;
        if line.get(at) == Some(&b'"') {
            at += 1;
            loop {
                at += line.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\' | 0x7f) || *b < b' ')?;
                match line.get(at)? {
                    b'"' => break,
                    b'\\' if line.get(at + 1).is_some_and(|b| *b >= b' ') => at += 2,
                    _ => return None,
                }
            }
            out.variable(line, start + 1, at, VariableKind::LogfmtQuoted);
            at += 1;
        } else {
            at += len_of(at, in_bare_value);
            out.variable(line, start, at, VariableKind::LogfmtBare);
        }
        if !matches!(line.get(at), None | Some(b' ')) {
            return None;
        }
    }
}
