//! Takes a line apart that is logfmt through and through: items between single or several blanks, each `key=value`,
//! `key="quoted value"` or a bare key without a digit.

use super::skeleton::{Kind, VariableKind};
use super::split::{MAX_VARIABLES, Split};

/// Takes the line apart; `false` if it is not logfmt, then `out` holds nothing of use.
pub(super) fn split(line: &[u8], out: &mut Split) -> bool {
    if !may_be(line) {
        return false;
    }
    out.begin(Kind::Logfmt);
    if items(line, out).is_none() {
        return false;
    }
    out.end(line);
    !out.spans.is_empty()
}

/// The cheap question first: most other lines have no `=`, or something else before it.
pub(super) fn may_be(line: &[u8]) -> bool {
    let Some(first) = memchr::memchr(b'=', line) else { return false };
    line.get(..first).is_some_and(|head| head.iter().all(|b| in_key(*b) || *b == b' '))
}

/// Where a variable of this kind ends that begins at `at`; `None` if there is none.
pub(super) fn end_of(line: &[u8], at: usize, kind: VariableKind) -> Option<usize> {
    let rest = line.get(at..)?;
    match kind {
        VariableKind::LogfmtBare => Some(at + rest.iter().position(|b| !in_bare_value(*b)).unwrap_or(rest.len())),
        VariableKind::LogfmtQuoted => end_of_quoted(line, at),
        _ => None,
    }
}

/// Where the quote is that ends a quoted value.
fn end_of_quoted(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += line.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\' | 0x7f) || *b < b' ')?;
        match line.get(at)? {
            b'"' => return Some(at),
            b'\\' if line.get(at + 1).is_some_and(|b| *b >= b' ') => at += 2,
            _ => return None,
        }
    }
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
            at = end_of_quoted(line, at + 1)?;
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
