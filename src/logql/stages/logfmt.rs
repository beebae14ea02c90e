//! `| logfmt`: `key=value key2="value two"` pairs.

use crate::logql::labels::LineLabels;
use crate::logql::stages::json::push_sanitized;

/// One pair as found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// The key.
    pub key: &'a str,
    /// The value; quotes removed, escapes still in place where `quoted`.
    pub value: &'a str,
    /// Whether the value stood in quotes.
    pub quoted: bool,
}

/// A pair that cannot be read; the walk goes on behind it.
pub type LogfmtError = &'static str;

/// Calls `each` with every pair or error, in order, until it returns false.
pub fn pairs<'a>(line: &'a str, mut each: impl FnMut(Result<Pair<'a>, LogfmtError>) -> bool) {
    let bytes = line.as_bytes();
    let mut at = 0;
    let byte = |i: usize| bytes.get(i).copied();
    let text = |from: usize, to: usize| line.get(from..to).unwrap_or("");
    // Everything up to the blank belongs to the broken pair.
    let skip = |mut i: usize| {
        while byte(i).is_some_and(|b| b > b' ') {
            i += 1;
        }
        i
    };
    while at < bytes.len() {
        while byte(at).is_some_and(|b| b <= b' ') {
            at += 1;
        }
        let start = at;
        while byte(at).is_some_and(|b| b > b' ' && b != b'=' && b != b'"') {
            at += 1;
        }
        let key = text(start, at);
        let found = match byte(at) {
            None if key.is_empty() => return,
            Some(b'=') if key.is_empty() => {
                at = skip(at);
                Err("a key is missing before =")
            }
            Some(b'"') => {
                at = skip(at);
                Err("a quote inside a key")
            }
            Some(b'=') if byte(at + 1) == Some(b'"') => {
                let from = at + 2;
                match quoted_end(bytes, from) {
                    Some(end) => {
                        at = end + 1;
                        Ok(Pair { key, value: text(from, end), quoted: true })
                    }
                    None => {
                        at = bytes.len();
                        Err("a quoted value is not closed")
                    }
                }
            }
            Some(b'=') => {
                let from = at + 1;
                at = skip(from);
                let value = text(from, at);
                if value.contains(['=', '"']) {
                    Err("a = or quote inside a value")
                } else {
                    Ok(Pair { key, value, quoted: false })
                }
            }
            _ => Ok(Pair { key, value: "", quoted: false }),
        };
        if !each(found) {
            return;
        }
    }
}

fn quoted_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Appends a pair's value with escapes resolved.
pub fn push_value(pair: &Pair<'_>, out: &mut String) {
    if pair.quoted {
        super::json::unescape(pair.value, out);
    } else {
        out.push_str(pair.value);
    }
}

/// Extracts the wanted pairs. Pairs without a value are left out unless `keep_empty`; broken ones are passed over unless `strict`.
pub fn extract_all(
    line: &str,
    strict: bool,
    keep_empty: bool,
    labels: &mut LineLabels,
    name: &mut String,
    value: &mut String,
) {
    pairs(line, |found| {
        match found {
            Ok(pair) => {
                name.clear();
                value.clear();
                push_sanitized(pair.key, true, name);
                if !labels.wants(name) {
                    return true;
                }
                push_value(&pair, value);
                if keep_empty || !value.is_empty() {
                    labels.extract(name, value);
                    return !labels.is_complete();
                }
            }
            Err(e) if strict => {
                labels.fail("LogfmtParserErr", e);
                return false;
            }
            Err(_) => {}
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn fields(line: &str, strict: bool) -> String {
        let mut labels = LineLabels::default();
        labels.reset(&Labels::empty(), &Labels::empty());
        extract_all(line, strict, false, &mut labels, &mut String::new(), &mut String::new());
        labels.collect(|n, _| n != crate::logql::labels::ERROR_DETAILS).to_string()
    }

    #[test]
    fn reads_pairs() {
        for (line, strict, want) in [
            (r#"level=info msg="a \"b\" c" n=1"#, false, "{level=\"info\", msg=\"a \\\"b\\\" c\", n=\"1\"}"),
            ("foo=bar=buzz level=info", false, r#"{level="info"}"#),
            ("fo\"o=bar level=error", false, r#"{level="error"}"#),
            ("a=1 a=2", false, r#"{a="1"}"#),
            ("empty= alone level=x", false, r#"{level="x"}"#),
            ("level=info msg=\"open", true, r#"{__error__="LogfmtParserErr", level="info"}"#),
            ("=v a=1", true, r#"{__error__="LogfmtParserErr"}"#),
            ("  a =  b  c=d", false, r#"{c="d"}"#),
            ("x.y=1 0n=2", false, r#"{_0n="2", x_y="1"}"#),
        ] {
            assert_eq!(fields(line, strict), want, "{line}");
        }
    }
}
