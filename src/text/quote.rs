//! Go's quoted strings: what `%q` writes and what string literals of PromQL and LogQL mean.

use std::fmt::Write;

/// Quotes as Go's `strconv.Quote`: `\n`, `\"`, `\\` and friends, other control characters as `\x..`/`\u....`.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ok = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control()
                || c == '\u{feff}'
                || c == '\u{2028}'
                || c == '\u{2029}'
                || c == '\u{a0}'
                || c == '\u{ad}' =>
            {
                let _ok = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What is wrong with a string literal, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnquoteError {
    /// Byte offset inside the literal.
    pub offset: usize,
    /// What is wrong.
    pub message: &'static str,
}

/// Reads a literal in `"..."`, `'...'` or backticks, quotes included. Escapes are Go's; backticks take none.
/// Bytes given by `\x` or octal escapes that form no UTF-8 become U+FFFD.
pub fn unquote(literal: &str) -> Result<String, UnquoteError> {
    let err = |offset, message| UnquoteError { offset, message };
    let mut chars = literal.char_indices();
    let (_, q) = chars.next().ok_or(err(0, "empty string literal"))?;
    if literal.len() < 2 || !literal.ends_with(q) || !matches!(q, '"' | '\'' | '`') {
        return Err(err(0, "unterminated quoted string"));
    }
    let body = literal.get(1..literal.len() - 1).unwrap_or("");
    if q == '`' {
        return if body.contains('`') { Err(err(0, "backtick inside a raw string")) } else { Ok(body.to_owned()) };
    }
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut it = body.char_indices();
    while let Some((i, c)) = it.next() {
        if c == q {
            return Err(err(i + 1, "quote inside a quoted string"));
        }
        if c == '\n' {
            return Err(err(i + 1, "newline in a quoted string"));
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (_, e) = it.next().ok_or(err(i + 1, "escape sequence not terminated"))?;
        let (radix, digits, first) = match e {
            'a' => (0, 0, 7),
            'b' => (0, 0, 8),
            'f' => (0, 0, 12),
            'n' => (0, 0, 10),
            'r' => (0, 0, 13),
            't' => (0, 0, 9),
            'v' => (0, 0, 11),
            '\\' => (0, 0, u32::from(b'\\')),
            c if c == q => (0, 0, q as u32),
            '0'..='7' => (8, 2, e as u32 - '0' as u32),
            'x' => (16, 2, 0),
            'u' => (16, 4, 0),
            'U' => (16, 8, 0),
            _ => return Err(err(i + 1, "unknown escape sequence")),
        };
        let mut value = first;
        for _ in 0..digits {
            let d =
                it.next().and_then(|(_, c)| c.to_digit(radix)).ok_or(err(i + 1, "invalid digit in escape sequence"))?;
            value = value.wrapping_mul(radix).wrapping_add(d);
        }
        match e {
            'x' | '0'..='7' => out.push(u8::try_from(value).map_err(|_| err(i + 1, "octal escape above 255"))?),
            'u' | 'U' => {
                let c = char::from_u32(value).ok_or(err(i + 1, "escape is no valid Unicode code point"))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => out.push(u8::try_from(value).unwrap_or(b'?')),
        }
    }
    Ok(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_unquotes() {
        for s in ["", "a\"b\\c\n\t", "é\u{1}", "\u{2028}x"] {
            assert_eq!(unquote(&quote(s)).as_deref(), Ok(s));
        }
        assert_eq!(unquote(r"'it\'s \x41\101é'").as_deref(), Ok("it's AAé"));
        assert_eq!(unquote("`a\\n`").as_deref(), Ok("a\\n"));
        assert!(unquote(r#""\q""#).is_err() && unquote("\"a").is_err());
    }
}
