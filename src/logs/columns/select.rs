//! Which rows of a group satisfy line filters, told from literals, dictionaries and columns where that is possible. What it is
//! not possible for (regular expressions, shapes with too many ways to hold a text) is told from rebuilt lines.

use memchr::memmem::Finder;

use super::column::{Column, parse_canonical, push_integer};
use super::row_group::{Part, RowGroup, SkeletonRows};
use super::row_set::RowSet;
use super::skeleton::{Skeleton, VariableKind};
use super::strings::Strings;
use crate::logs::error::Error;
use crate::logs::filter::{CompiledFilters, LineFilter};
use crate::logs::tokens::{SEPARATOR, class};

/// A text can lie over the borders of literals and variables in so many ways; with more, lines are rebuilt.
const MAX_ALIGNMENTS: usize = 64;

/// A condition on the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition<'n> {
    Contains(&'n str),
    StartsWith(&'n str),
    EndsWith(&'n str),
    Equals(&'n str),
}

impl Condition<'_> {
    fn holds(self, value: &str) -> bool {
        match self {
            Condition::Contains(n) => value.contains(n),
            Condition::StartsWith(n) => value.starts_with(n),
            Condition::EndsWith(n) => value.ends_with(n),
            Condition::Equals(n) => value == n,
        }
    }

    fn text(&self) -> &str {
        let (Condition::Contains(n) | Condition::StartsWith(n) | Condition::EndsWith(n) | Condition::Equals(n)) = self;
        n
    }
}

/// Which of some places satisfy something.
#[derive(Clone, Debug)]
enum Found {
    None,
    All,
    Some(RowSet),
}

impl Found {
    fn from_set(set: RowSet) -> Found {
        match set.count() {
            0 => Found::None,
            n if n == set.rows() => Found::All,
            _ => Found::Some(set),
        }
    }

    fn or(self, other: Found) -> Found {
        match (self, other) {
            (Found::All, _) | (_, Found::All) => Found::All,
            (Found::None, other) | (other, Found::None) => other,
            (Found::Some(mut a), Found::Some(b)) => {
                a.unite(&b);
                Found::from_set(a)
            }
        }
    }

    fn and(self, other: Found) -> Found {
        match (self, other) {
            (Found::None, _) | (_, Found::None) => Found::None,
            (Found::All, other) | (other, Found::All) => other,
            (Found::Some(mut a), Found::Some(b)) => {
                a.intersect(&b);
                Found::from_set(a)
            }
        }
    }

    fn not(self, places: usize) -> Found {
        match self {
            Found::None => Found::All,
            Found::All => Found::None,
            Found::Some(set) => {
                let mut rest = RowSet::all(places);
                rest.subtract(&set);
                Found::from_set(rest)
            }
        }
    }
}

/// What is known of the places of a shape.
struct Known {
    /// No other place satisfies the filter.
    found: Found,
    /// Whether those found still have to be checked line by line.
    unsure: bool,
}

/// Whether a value of this kind may hold a text at all.
fn may_hold(kind: VariableKind, text: &str) -> bool {
    match kind {
        VariableKind::Token => text.bytes().all(|b| class(b) != SEPARATOR),
        VariableKind::JsonNumber => {
            text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
        }
        VariableKind::LogfmtBare => !text.bytes().any(|b| b <= b' ' || matches!(b, b'"' | b'=' | b'\\')),
        VariableKind::JsonString | VariableKind::JsonArray | VariableKind::LogfmtQuoted | VariableKind::Line => true,
    }
}

/// The rows of `among` that satisfy all filters.
pub(in crate::logs) fn select(
    group: &RowGroup,
    filters: &[LineFilter],
    compiled: &CompiledFilters,
    among: RowSet,
) -> Result<RowSet, Error> {
    if filters.is_empty() || among.is_empty() {
        return Ok(among);
    }
    let mut selected = RowSet::none(group.rows());
    let mut line = String::new();
    for shape in group.skeletons()? {
        // A look at the shape is worth it for some of its rows only if there are some.
        if !shape.rows().iter().any(|row| among.contains(row)) {
            continue;
        }
        let mut found = Found::All;
        let mut unsure = false;
        for filter in filters {
            let known = evaluate(&shape, filter)?;
            found = found.and(known.found);
            unsure |= known.unsure;
            if matches!(found, Found::None) {
                break;
            }
        }
        let places: Box<dyn Iterator<Item = usize>> = match &found {
            Found::None => continue,
            Found::All => Box::new(0..shape.len()),
            Found::Some(set) => Box::new(set.iter().map(|p| p as usize)),
        };
        for place in places {
            let row = shape.rows().get(place);
            if !among.contains(row) {
                continue;
            }
            if unsure {
                line.clear();
                group.line_into(row, &mut line)?;
                if !compiled.accept(&line) {
                    continue;
                }
            }
            selected.insert(row);
        }
    }
    Ok(selected)
}

fn evaluate(shape: &SkeletonRows<'_>, filter: &LineFilter) -> Result<Known, Error> {
    let sure = |found| Known { found, unsure: false };
    let contains = |needle: &str| {
        let parts: Vec<Part<'_>> = (0..shape.skeleton().variables().len()).filter_map(|v| shape.part(v)).collect();
        contains(shape.skeleton(), &parts, shape.len(), needle)
    };
    Ok(match filter {
        LineFilter::Contains(needle) => match contains(needle)? {
            Some(found) => sure(found),
            None => Known { found: Found::All, unsure: true },
        },
        LineFilter::NotContains(needle) => match contains(needle)? {
            Some(found) => sure(found.not(shape.len())),
            None => Known { found: Found::All, unsure: true },
        },
        LineFilter::Regex(_) => {
            let mut found = Found::All;
            for any_of in filter.required() {
                let mut any = Found::None;
                for needle in &any_of {
                    any = any.or(contains(needle)?.unwrap_or(Found::All));
                }
                found = found.and(any);
                if matches!(found, Found::None) {
                    return Ok(sure(Found::None));
                }
            }
            Known { found, unsure: true }
        }
        LineFilter::NotRegex(_) => Known { found: Found::All, unsure: true },
        LineFilter::AnyOf(filters) => {
            let mut any = Known { found: Found::None, unsure: false };
            for filter in filters {
                let known = evaluate(shape, filter)?;
                any = Known { found: any.found.or(known.found), unsure: any.unsure || known.unsure };
            }
            any
        }
    })
}

/// The places of a shape whose text holds `needle`; `None` if that cannot be told.
fn contains(skeleton: &Skeleton, parts: &[Part<'_>], places: usize, needle: &str) -> Result<Option<Found>, Error> {
    let finder = Finder::new(needle);
    let literals = parts.len() + 1;
    if needle.is_empty() || (0..literals).any(|i| finder.find(skeleton.literal(i).as_bytes()).is_some()) {
        return Ok(Some(Found::All));
    }
    let mut found = Found::None;
    for (part, kind) in parts.iter().zip(skeleton.variables()) {
        if may_hold(*kind, needle) {
            match part_contains(part, needle)? {
                Some(in_part) => found = found.or(in_part),
                None => return Ok(None),
            }
        }
        if matches!(found, Found::All) {
            return Ok(Some(found));
        }
    }
    let Some(alignments) = alignments(skeleton, needle) else { return Ok(None) };
    for conditions in alignments {
        let mut here = Found::All;
        for (variable, condition) in conditions {
            let Some(part) = parts.get(variable) else { continue };
            here = here.and(satisfying(part.decoded()?, places, condition));
            if matches!(here, Found::None) {
                break;
            }
        }
        found = found.or(here);
    }
    Ok(Some(found))
}

fn part_contains(part: &Part<'_>, needle: &str) -> Result<Option<Found>, Error> {
    let Some(inner) = part.inner()? else {
        return Ok(Some(satisfying(part.decoded()?, part.len(), Condition::Contains(needle))));
    };
    let mut set = RowSet::none(part.len());
    for shape in inner {
        let parts: Vec<Part<'_>> = (0..shape.skeleton.variables().len()).filter_map(|v| shape.part(v)).collect();
        let at = |place: u32| shape.places.get(place as usize).copied().unwrap_or(u32::MAX);
        match contains(shape.skeleton, &parts, shape.places.len(), needle)? {
            None => return Ok(None),
            Some(Found::None) => {}
            Some(Found::All) => shape.places.iter().for_each(|p| set.insert(*p)),
            Some(Found::Some(found)) => found.iter().for_each(|p| set.insert(at(p))),
        }
    }
    Ok(Some(Found::from_set(set)))
}

/// The ways in which a text can lie over the border of a literal and a variable, each as conditions that must all hold; `None`
/// if there are too many.
fn alignments<'n>(skeleton: &Skeleton, needle: &'n str) -> Option<Vec<Vec<(usize, Condition<'n>)>>> {
    let mut found = Vec::new();
    let borders = || (1..needle.len()).filter(|i| needle.is_char_boundary(*i));
    for (i, kind) in skeleton.variables().iter().enumerate() {
        // It begins in the literal before the variable.
        let before = skeleton.literal(i);
        for at in borders().filter(|at| *at <= before.len()) {
            let (head, tail) = needle.split_at_checked(at)?;
            if before.ends_with(head) {
                go_on(skeleton, i, tail, &mut Vec::new(), &mut found)?;
            }
        }
        // It begins in the variable and goes on behind it.
        for at in borders() {
            let (head, tail) = needle.split_at_checked(at)?;
            if may_hold(*kind, head) {
                let mut conditions = vec![(i, Condition::EndsWith(head))];
                behind(skeleton, i + 1, tail, &mut conditions, &mut found)?;
            }
        }
    }
    Some(found)
}

/// `rest` is to begin where variable `i` begins.
fn go_on<'n>(
    skeleton: &Skeleton,
    i: usize,
    rest: &'n str,
    conditions: &mut Vec<(usize, Condition<'n>)>,
    found: &mut Vec<Vec<(usize, Condition<'n>)>>,
) -> Option<()> {
    let Some(kind) = skeleton.variables().get(i) else { return Some(()) };
    if may_hold(*kind, rest) {
        let mut whole = conditions.clone();
        whole.push((i, Condition::StartsWith(rest)));
        found.push(whole);
        if found.len() > MAX_ALIGNMENTS {
            return None;
        }
    }
    for at in (0..rest.len()).filter(|at| rest.is_char_boundary(*at)) {
        let (head, tail) = rest.split_at_checked(at)?;
        if !may_hold(*kind, head) {
            break;
        }
        conditions.push((i, Condition::Equals(head)));
        behind(skeleton, i + 1, tail, conditions, found)?;
        conditions.pop();
    }
    Some(())
}

/// `rest` is to begin where literal `i` begins.
fn behind<'n>(
    skeleton: &Skeleton,
    i: usize,
    rest: &'n str,
    conditions: &mut Vec<(usize, Condition<'n>)>,
    found: &mut Vec<Vec<(usize, Condition<'n>)>>,
) -> Option<()> {
    let literal = skeleton.literal(i);
    if literal.starts_with(rest) {
        found.push(conditions.clone());
        return (found.len() <= MAX_ALIGNMENTS).then_some(());
    }
    match rest.strip_prefix(literal) {
        Some(rest) => go_on(skeleton, i, rest, conditions, found),
        None => Some(()),
    }
}

/// The places whose value satisfies a condition.
fn satisfying(column: &Column, places: usize, condition: Condition<'_>) -> Found {
    let mut set = RowSet::none(places);
    match column {
        Column::Constant { value, .. } => return if condition.holds(value) { Found::All } else { Found::None },
        Column::Dictionary { values, codes } => {
            let holds: Vec<bool> = values.iter().map(|v| condition.holds(v)).collect();
            if !holds.contains(&true) {
                return Found::None;
            }
            for (place, code) in (0..).zip(codes) {
                if holds.get(usize::from(*code)).copied().unwrap_or(false) {
                    set.insert(place);
                }
            }
        }
        Column::Integers { values, width } => {
            let text = condition.text();
            let digits = text.strip_prefix('-').unwrap_or(text);
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Found::None;
            }
            if let (Condition::Equals(text), 0) = (condition, width) {
                let Some(wanted) = parse_canonical(text.as_bytes()) else { return Found::None };
                (0..).zip(values).filter(|(_, v)| **v == wanted).for_each(|(place, _)| set.insert(place));
            } else {
                let mut scratch = String::new();
                for (place, value) in (0..).zip(values) {
                    scratch.clear();
                    push_integer(&mut scratch, *value, *width);
                    if condition.holds(&scratch) {
                        set.insert(place);
                    }
                }
            }
        }
        Column::Strings(strings) => match condition {
            Condition::Contains(needle) => strings_with(strings, needle, &mut set),
            _ => {
                for (place, value) in (0..).zip(strings.iter()) {
                    if condition.holds(value) {
                        set.insert(place);
                    }
                }
            }
        },
    }
    Found::from_set(set)
}

/// Finds a text in all values at once.
fn strings_with(strings: &Strings, needle: &str, set: &mut RowSet) {
    let text = strings.joined().as_bytes();
    let ends = strings.ends();
    let finder = Finder::new(needle);
    let mut at = 0;
    while let Some(hit) = text.get(at..).and_then(|rest| finder.find(rest)) {
        let start = at + hit;
        let place = ends.partition_point(|end| *end as usize <= start);
        let end = ends.get(place).copied().unwrap_or(0) as usize;
        if start + needle.len() <= end {
            set.insert(place as u32);
            at = end;
        } else {
            at = start + 1;
        }
    }
}
