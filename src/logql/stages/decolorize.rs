//! `| decolorize`: takes terminal colour codes out of a line.

use std::sync::LazyLock;

use regex::Regex;

/// Escape sequences of ECMA-48: `ESC [ ... letter` and `ESC ] ... BEL`.
#[allow(clippy::expect_used, reason = "a constant regex, compiled in a test")]
static CODES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[\u{1b}\u{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z0-9]*(?:;[a-zA-Z0-9]*)*)?\u{7})|(?:(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-ntqry=><~]))")
        .expect("the regex is well formed")
});

/// The line without codes, if it has any.
pub fn strip(line: &str) -> Option<String> {
    if !line.contains(['\u{1b}', '\u{9b}']) {
        return None;
    }
    Some(CODES.replace_all(line, "").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips() {
        assert_eq!(strip("\u{1b}[31mred\u{1b}[0m plain").as_deref(), Some("red plain"));
        assert_eq!(strip("plain"), None);
    }
}
