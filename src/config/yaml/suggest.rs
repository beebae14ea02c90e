//! The nearest known name to one that is not known.

/// The name out of `known` that `found` most likely meant, if any is near: at most one edit for every three letters.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (found.chars().count() / 3).max(1);
    known
        .iter()
        .map(|k| (edits(found, k, allowed), *k))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Edits between two names (insert, delete, replace; a swap of neighbours counts as one), compared without case and
/// with `-` and `_` alike. Anything above `limit` may be reported as `limit + 1`.
fn edits(a: &str, b: &str, limit: usize) -> usize {
    let fold = |s: &str| -> Vec<char> {
        s.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).take(64).collect()
    };
    let (a, b) = (fold(a), fold(b));
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |r: &[usize], k: usize| r.get(k).copied().unwrap_or(limit + 1);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_near_one() {
        let known = ["scrape_interval", "scrape_timeout", "honor_labels", "tls_config"];
        for (found, want) in [
            ("scrap_interval", Some("scrape_interval")),
            ("scrape-timeout", Some("scrape_timeout")),
            ("honour_labels", Some("honor_labels")),
            ("tsl_config", Some("tls_config")),
            ("bananas", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, &known), want, "{found}");
        }
    }
}
