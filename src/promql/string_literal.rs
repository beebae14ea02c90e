//! What a string literal means where its bytes are no UTF-8.
//!
//! Texts here are always UTF-8, so that `"a\xc5z"` becomes a text with a replacement character. Prometheus keeps the
//! bytes, and refuses them where a name is wanted; who must refuse as well, asks here with the literal as written.

use crate::text::quote::quote;

/// Returns the literal as Prometheus shows it in messages (`"a\xc5z"`) if its value is no UTF-8, else `None`. The literal
/// is one that the lexer has accepted, quotes included.
pub fn shown_if_not_utf8(literal: &str) -> Option<String> {
    if literal.starts_with('`') || !literal.contains('\\') {
        return None;
    }
    let body = literal.get(1..literal.len().checked_sub(1)?)?;
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (digits, radix, first) = match chars.next()? {
            c @ '0'..='7' => (2, 8, c.to_digit(8)?),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            // Its value is ASCII, which one does not matter for validity; `n` and its like are shown as written below.
            c => {
                bytes.push(escaped_ascii(c));
                continue;
            }
        };
        let mut value = first;
        for _ in 0..digits {
            value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
        }
        match digits {
            2 => bytes.push(u8::try_from(value).ok()?),
            _ => bytes.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if std::str::from_utf8(&bytes).is_ok() {
        return None;
    }
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quote(chunk.valid());
        out.push_str(valid.get(1..valid.len() - 1).unwrap_or(""));
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out.push('"');
    Some(out)
}

fn escaped_ascii(c: char) -> u8 {
    match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        other => u8::try_from(other).unwrap_or(b'?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_found() {
        for (literal, want) in [
            (r#""a\xc5z""#, Some(r#""a\xc5z""#)),
            (r#"'\n"\377'"#, Some(r#""\n\"\xff""#)),
            (r#""\xc3\xa9""#, None),
            (r#""\u00e9\x41""#, None),
            (r"`\xc5`", None),
            (r#""plain""#, None),
            ("\"", None),
        ] {
            assert_eq!(shown_if_not_utf8(literal).as_deref(), want, "{literal}");
        }
    }
}
