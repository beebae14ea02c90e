//! What can be said about the texts a regex matches without running it.

use std::collections::HashSet;

use memchr::memmem;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// How many exact texts are worth listing. Prometheus stops at 256; a dashboard variable with "all" chosen easily gives
/// a few thousand names, and a list is still much cheaper than the automaton.
const MAX_EXACT: usize = 4096;
/// Texts that are looked for one by one in place of an unanchored regex; with more the automaton is faster.
const MAX_CONTAINED: usize = 16;
/// Up to this many texts a scan of a sorted list beats hashing.
const SMALL_SET: usize = 8;

/// The findings on one regex.
#[derive(Debug)]
pub(super) struct Analysis {
    pub exact: Option<Vec<String>>,
    pub contained: Option<Vec<String>>,
    pub prefix: String,
    pub required: Option<String>,
    pub fast: Fast,
}

/// A way to decide a match without the automaton.
#[derive(Debug)]
pub(super) enum Fast {
    /// There is none.
    No,
    /// Everything matches.
    All,
    /// Everything but the empty text.
    NonEmpty,
    /// One of these, sorted.
    Few(Vec<String>),
    /// One of these.
    Many(HashSet<String>),
    /// Begins and ends so and is at least so long.
    Ends { prefix: String, suffix: String, min_len: usize },
    /// Contains this.
    Contains(Box<memmem::Finder<'static>>),
}

impl Fast {
    /// Whether the text matches, if that can be told.
    pub fn decide(&self, text: &str) -> Option<bool> {
        Some(match self {
            Fast::No => return None,
            Fast::All => true,
            Fast::NonEmpty => !text.is_empty(),
            Fast::Few(set) => set.iter().any(|s| s == text),
            Fast::Many(set) => set.contains(text),
            Fast::Ends { prefix, suffix, min_len } => {
                text.len() >= *min_len && text.starts_with(prefix.as_str()) && text.ends_with(suffix.as_str())
            }
            Fast::Contains(finder) => finder.find(text.as_bytes()).is_some(),
        })
    }
}

impl Analysis {
    /// Looks at a regex. `None` means that nothing is known.
    pub fn of(hir: Option<&Hir>, anchored: bool, folds_case: bool) -> Analysis {
        let mut found =
            Analysis { exact: None, contained: None, prefix: String::new(), required: None, fast: Fast::No };
        let Some(hir) = hir else { return found };
        let mut parts = Vec::new();
        flatten(hir, &mut parts);
        let starts = parts.first().is_some_and(|h| is_look(h, Look::Start));
        let ends = parts.len() > usize::from(starts) && parts.last().is_some_and(|h| is_look(h, Look::End));
        let inner = parts.get(usize::from(starts)..parts.len() - usize::from(ends)).unwrap_or(&[]);
        found.required = required(inner);
        if anchored || starts {
            found.prefix = leading(inner);
        }
        if (anchored || (starts && ends)) && !folds_case {
            found.exact = exact_concat(inner).map(|mut set| {
                set.sort_unstable();
                set.dedup();
                set
            });
        }
        found.fast = match &found.exact {
            Some(set) if set.len() <= SMALL_SET => Fast::Few(set.clone()),
            Some(set) => Fast::Many(set.iter().cloned().collect()),
            None if anchored => shape_anchored(inner),
            None if !starts && !ends => shape_unanchored(inner),
            None => Fast::No,
        };
        if !anchored {
            found.exact = None;
            if !folds_case {
                found.contained = exact_concat(inner)
                    .filter(|set| !starts && !ends && set.len() <= MAX_CONTAINED && set.iter().all(|s| !s.is_empty()));
            }
        }
        found
    }
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(l) if *l == look)
}

/// The parts of a concatenation, through groups.
fn flatten<'a>(hir: &'a Hir, parts: &mut Vec<&'a Hir>) {
    match hir.kind() {
        HirKind::Concat(subs) => subs.iter().for_each(|h| flatten(h, parts)),
        HirKind::Capture(c) => flatten(&c.sub, parts),
        HirKind::Empty => {}
        _ => parts.push(hir),
    }
}

fn literal(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Literal(l) => std::str::from_utf8(&l.0).ok(),
        _ => None,
    }
}

/// For `.*` and `.+` the least number of characters; `newline` says whether the dot must take newlines.
fn any_run(hir: &Hir, newline: bool) -> Option<u32> {
    let HirKind::Repetition(r) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = r.sub.kind() else { return None };
    let ranges = class.ranges();
    let full = ranges.len() == 1 && ranges.iter().all(|r| r.start() == '\0' && r.end() == char::MAX);
    let all_but_newline = ranges.len() == 2
        && ranges.first().is_some_and(|r| r.start() == '\0' && r.end() == '\x09')
        && ranges.last().is_some_and(|r| r.start() == '\x0b' && r.end() == char::MAX);
    (r.max.is_none() && r.min <= 1 && (full || (!newline && all_but_newline))).then_some(r.min)
}

fn shape_anchored(parts: &[&Hir]) -> Fast {
    match parts {
        [run] => match any_run(run, true) {
            Some(0) => Fast::All,
            Some(_) => Fast::NonEmpty,
            None => Fast::No,
        },
        [a, b] => match (literal(a), any_run(a, true), literal(b), any_run(b, true)) {
            (Some(prefix), _, _, Some(min)) => ends(prefix, "", min),
            (_, Some(min), Some(suffix), _) => ends("", suffix, min),
            _ => Fast::No,
        },
        [a, b, c] => match (any_run(a, true), literal(b), any_run(c, true)) {
            (Some(0), Some(infix), Some(0)) => Fast::Contains(Box::new(memmem::Finder::new(infix).into_owned())),
            _ => match (literal(a), any_run(b, true), literal(c)) {
                (Some(prefix), Some(min), Some(suffix)) => ends(prefix, suffix, min),
                _ => Fast::No,
            },
        },
        _ => Fast::No,
    }
}

fn ends(prefix: &str, suffix: &str, min: u32) -> Fast {
    let min_len = prefix.len() + suffix.len() + usize::from(min > 0);
    Fast::Ends { prefix: prefix.to_owned(), suffix: suffix.to_owned(), min_len }
}

/// Unanchored: a lone literal, with any `.*` around it, is found or not.
fn shape_unanchored(parts: &[&Hir]) -> Fast {
    let skip = |h: &&&Hir| any_run(h, false) == Some(0);
    let front = parts.iter().take_while(skip).count();
    let back = parts.iter().skip(front).rev().take_while(skip).count();
    match parts.get(front..parts.len() - back) {
        Some([]) => Fast::All,
        Some([one]) => match literal(one) {
            Some(l) => Fast::Contains(Box::new(memmem::Finder::new(l).into_owned())),
            None => Fast::No,
        },
        _ => Fast::No,
    }
}

/// What a concatenation of parts always begins with.
fn leading(parts: &[&Hir]) -> String {
    let mut out = String::new();
    for part in parts {
        match (literal(part), part.kind()) {
            (Some(l), _) => out.push_str(l),
            (None, HirKind::Repetition(r)) if r.min > 0 => {
                let mut inner = Vec::new();
                flatten(&r.sub, &mut inner);
                out.push_str(&leading(&inner));
                break;
            }
            (None, HirKind::Alternation(subs)) => {
                let mut branches = subs.iter().map(|h| {
                    let mut inner = Vec::new();
                    flatten(h, &mut inner);
                    leading(&inner)
                });
                let first = branches.next().unwrap_or_default();
                let common = branches.fold(first, |common, b| {
                    let n = common.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
                    common.get(..n).unwrap_or("").to_owned()
                });
                out.push_str(&common);
                break;
            }
            _ => break,
        }
    }
    out
}

/// The longest literal that stands in every match of a concatenation.
fn required(parts: &[&Hir]) -> Option<String> {
    let mut best: Option<String> = None;
    for part in parts {
        let candidate = match (literal(part), part.kind()) {
            (Some(l), _) => Some(l.to_owned()),
            (None, HirKind::Repetition(r)) if r.min > 0 => {
                let mut inner = Vec::new();
                flatten(&r.sub, &mut inner);
                required(&inner)
            }
            _ => None,
        };
        if let Some(c) = candidate
            && best.as_ref().is_none_or(|b| b.len() < c.len())
        {
            best = Some(c);
        }
    }
    best
}

fn exact_concat(parts: &[&Hir]) -> Option<Vec<String>> {
    let mut set = vec![String::new()];
    for part in parts {
        let next = exact(part)?;
        let count = set.len().checked_mul(next.len()).filter(|n| *n <= MAX_EXACT)?;
        let mut product = Vec::with_capacity(count);
        for head in &set {
            product.extend(next.iter().map(|tail| format!("{head}{tail}")));
        }
        set = product;
    }
    Some(set)
}

fn exact(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(_) => Some(vec![literal(hir)?.to_owned()]),
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Capture(c) => exact(&c.sub),
        HirKind::Concat(subs) => exact_concat(&subs.iter().collect::<Vec<_>>()),
        HirKind::Alternation(subs) => {
            let mut set = Vec::new();
            for sub in subs {
                set.extend(exact(sub)?);
                if set.len() > MAX_EXACT {
                    return None;
                }
            }
            Some(set)
        }
        HirKind::Class(Class::Unicode(class)) => {
            let count: u64 = class.ranges().iter().map(|r| u64::from(r.end() as u32 - r.start() as u32) + 1).sum();
            // Classes of more than a few characters are patterns, not lists.
            (count <= 16).then(|| class.ranges().iter().flat_map(|r| r.start()..=r.end()).map(String::from).collect())
        }
        HirKind::Repetition(r) if r.max == Some(1) && r.min == 0 => {
            let mut set = exact(&r.sub)?;
            set.push(String::new());
            Some(set)
        }
        HirKind::Repetition(_) | HirKind::Look(_) | HirKind::Class(_) => None,
    }
}
