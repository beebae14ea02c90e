//! Texts cut to what a service takes. The mark at the end counts.

const MARK: &str = "\u{2026}";

/// At most `most` characters (Unicode code points).
pub fn to_chars(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push_str(MARK);
    out
}

/// At most `most` bytes of UTF-8.
pub fn to_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(MARK.len()));
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_longer_and_never_through_a_character() {
        assert_eq!(to_chars("ab\u{e9}d", 4), "ab\u{e9}d");
        assert_eq!(to_chars("ab\u{e9}de", 4), "ab\u{e9}\u{2026}");
        assert_eq!(to_bytes("abcdef", 6), "abcdef");
        assert_eq!(to_bytes("abc\u{e9}ef", 6), "abc\u{2026}");
        assert_eq!(to_bytes("ab\u{e9}efgh", 6), "ab\u{2026}");
    }
}
