//! What is looked for in lines, and what of it is left when a part was found: a text, or characters of which some are of a class
//! (`50[0-9]`, `(?i)error`, `1.1`).

use regex::Regex;
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::skeleton::VariableKind;
use crate::logs::tokens::{SEPARATOR, class};

/// Longest pattern of characters that is looked for piece by piece.
const MAX_UNITS: usize = 256;

/// One character of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::logs) enum Unit {
    /// This one.
    Char(char),
    /// One of these.
    Class(ClassUnicode),
}

impl Unit {
    fn is(&self, c: char) -> bool {
        match self {
            Unit::Char(own) => *own == c,
            Unit::Class(class) => {
                let ranges = class.ranges();
                let at = ranges.partition_point(|r| r.end() < c);
                ranges.get(at).is_some_and(|r| r.start() <= c)
            }
        }
    }
}

/// The characters of a regex that matches just the lines in which so many stand one after another; `None` if it does more than that.
pub(in crate::logs) fn units_of(hir: &Hir) -> Option<Vec<Unit>> {
    fn add(hir: &Hir, units: &mut Vec<Unit>) -> Option<()> {
        match hir.kind() {
            HirKind::Literal(l) => units.extend(std::str::from_utf8(&l.0).ok()?.chars().map(Unit::Char)),
            HirKind::Class(Class::Unicode(class)) => units.push(Unit::Class(class.clone())),
            HirKind::Class(Class::Bytes(bytes)) => {
                let class = bytes.to_unicode_class()?;
                units.push(Unit::Class(class));
            }
            HirKind::Capture(c) => add(&c.sub, units)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|p| add(p, units))?,
            HirKind::Repetition(r) if r.max == Some(r.min) && (r.min as usize) < MAX_UNITS => {
                for _ in 0..r.min {
                    add(&r.sub, units)?;
                    if units.len() > MAX_UNITS {
                        return None;
                    }
                }
            }
            HirKind::Empty => {}
            HirKind::Repetition(_) | HirKind::Look(_) | HirKind::Alternation(_) => return None,
        }
        (units.len() <= MAX_UNITS).then_some(())
    }
    let mut units = Vec::new();
    add(hir, &mut units)?;
    Some(units).filter(|u| !u.is_empty())
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needle<'n> {
    Text(&'n str),
    /// With the regex of the whole pattern, of which these may be a part.
    Units(&'n [Unit], &'n Regex),
}

impl PartialEq for Needle<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Needle::Text(a), Needle::Text(b)) => a == b,
            (Needle::Units(a, _), Needle::Units(b, _)) => a == b,
            _ => false,
        }
    }
}

impl<'n> Needle<'n> {
    pub fn is_empty(self) -> bool {
        match self {
            Needle::Text(t) => t.is_empty(),
            Needle::Units(u, _) => u.is_empty(),
        }
    }

    /// Whether a text holds the whole of it. Not for parts of patterns.
    pub fn is_in(self, text: &str) -> bool {
        match self {
            Needle::Text(t) => text.contains(t),
            Needle::Units(_, regex) => regex.is_match(text),
        }
    }

    /// What follows it in a text that begins with it.
    fn after(self, text: &str) -> Option<&str> {
        match self {
            Needle::Text(t) => text.strip_prefix(t),
            Needle::Units(units, _) => {
                let mut chars = text.chars();
                units.iter().all(|u| chars.next().is_some_and(|c| u.is(c))).then_some(chars.as_str())
            }
        }
    }

    /// Whether a text begins with it.
    pub fn begins(self, text: &str) -> bool {
        self.after(text).is_some()
    }

    /// Whether a text ends with it.
    pub fn ends(self, text: &str) -> bool {
        match self {
            Needle::Text(t) => text.ends_with(t),
            Needle::Units(units, _) => {
                let mut chars = text.chars();
                units.iter().rev().all(|u| chars.next_back().is_some_and(|c| u.is(c)))
            }
        }
    }

    /// Whether it is the text.
    pub fn is(self, text: &str) -> bool {
        self.after(text) == Some("")
    }

    /// What of it is left behind a text that it begins with.
    pub fn without(self, text: &str) -> Option<Needle<'n>> {
        match self {
            Needle::Text(t) => t.strip_prefix(text).map(Needle::Text),
            Needle::Units(units, regex) => {
                let mut rest = units;
                for c in text.chars() {
                    let (first, left) = rest.split_first()?;
                    if !first.is(c) {
                        return None;
                    }
                    rest = left;
                }
                Some(Needle::Units(rest, regex))
            }
        }
    }

    /// All ways to cut it in two, of which the first may be empty, shortest first.
    pub fn cuts(self) -> impl Iterator<Item = (Needle<'n>, Needle<'n>)> {
        let len = match self {
            Needle::Text(t) => t.len(),
            Needle::Units(u, _) => u.len(),
        };
        (0..len).filter_map(move |at| match self {
            Needle::Text(t) => t.split_at_checked(at).map(|(a, b)| (Needle::Text(a), Needle::Text(b))),
            Needle::Units(u, r) => u.split_at_checked(at).map(|(a, b)| (Needle::Units(a, r), Needle::Units(b, r))),
        })
    }

    /// Whether a value of this kind may hold it at all.
    pub fn fits(self, kind: VariableKind) -> bool {
        match self {
            Needle::Text(t) => t.bytes().all(|b| may_be_in(kind, b)),
            // A class may hold a character that fits.
            Needle::Units(units, _) => units.iter().all(|u| match u {
                Unit::Char(c) => c.encode_utf8(&mut [0; 4]).bytes().all(|b| may_be_in(kind, b)),
                Unit::Class(_) => true,
            }),
        }
    }
}

/// Whether a byte can be in a value of this kind.
fn may_be_in(kind: VariableKind, b: u8) -> bool {
    match kind {
        VariableKind::Token => class(b) != SEPARATOR,
        VariableKind::JsonNumber => b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'),
        VariableKind::LogfmtBare => !(b <= b' ' || matches!(b, b'"' | b'=' | b'\\')),
        VariableKind::JsonString | VariableKind::JsonArray | VariableKind::LogfmtQuoted | VariableKind::Line => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_characters() {
        let units = |s: &str| units_of(&regex_syntax::parse(s).unwrap());
        for none in ["a|bc", "a*", "a?", "^a", "a{2,3}", "", r"\ba", "a{300}"] {
            assert_eq!(units(none), None, "{none}");
        }
        let regex = Regex::new("(?i)e.[0-9]{2}é").unwrap();
        let u = units(regex.as_str()).unwrap();
        assert_eq!(u.len(), 5);
        let n = Needle::Units(&u, &regex);
        for (text, begins, ends, is) in [
            ("Eü12É", true, true, true),
            ("xeü12é", false, true, false),
            ("e-99éx", true, false, false),
            ("e\n12é", false, false, false),
        ] {
            assert_eq!((n.begins(text), n.ends(text), n.is(text)), (begins, ends, is), "{text}");
        }
        assert!(n.without("e-").is_some_and(|rest| rest.is("12é")));
        assert!(n.without("x").is_none() && n.without("e-12é ").is_none());
        assert_eq!(n.cuts().filter(|(a, b)| a.begins("E") && b.begins("ü12É")).count(), 1);
        assert!(!n.fits(VariableKind::JsonNumber) || u.iter().all(|u| matches!(u, Unit::Class(_))));
    }
}
