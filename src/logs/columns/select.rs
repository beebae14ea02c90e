//! Which rows of a group satisfy line filters, told from literals, dictionaries and columns where that is possible. What it is
//! not possible for (regular expressions, shapes with too many ways to hold a text) is told from rebuilt lines.

use std::ops::RangeInclusive;

use memchr::memmem::Finder;

use super::column::{Column, beginning_with, parse_canonical, push_integer};
use super::needle::Needle;
use super::row_group::{Part, RowGroup, SkeletonRows};
use super::row_set::RowSet;
use super::skeleton::Skeleton;
use super::strings::Strings;
use crate::logs::error::Error;
use crate::logs::filter::{Compiled, CompiledFilters, Pattern};

/// A text can lie over the borders of literals and variables in so many ways; with more, lines are rebuilt.
const MAX_ALIGNMENTS: usize = 64;

/// A condition on the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition<'n> {
    Contains(Needle<'n>),
    StartsWith(Needle<'n>),
    EndsWith(Needle<'n>),
    Equals(Needle<'n>),
}

/// Which values of which variables make a needle lie over the borders of literals and variables: of each variable's conditions one must
/// hold.
type Alignment<'n> = Vec<(usize, Vec<Condition<'n>>)>;

impl<'n> Condition<'n> {
    fn holds(self, value: &str) -> bool {
        match self {
            Condition::Contains(n) => n.is_in(value),
            Condition::StartsWith(n) => n.begins(value),
            Condition::EndsWith(n) => n.ends(value),
            Condition::Equals(n) => n.is(value),
        }
    }

    /// The needle, if it is a text.
    fn text(self) -> Option<&'n str> {
        let (Condition::Contains(n) | Condition::StartsWith(n) | Condition::EndsWith(n) | Condition::Equals(n)) = self;
        if let Needle::Text(t) = n { Some(t) } else { None }
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

/// The rows of `among` that satisfy all filters.
pub(in crate::logs) fn select(group: &RowGroup, filters: &CompiledFilters, among: RowSet) -> Result<RowSet, Error> {
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
        for filter in filters.each() {
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
                if !filters.accept(&line) {
                    continue;
                }
            }
            selected.insert(row);
        }
    }
    Ok(selected)
}

fn evaluate(shape: &SkeletonRows<'_>, filter: &Compiled) -> Result<Known, Error> {
    let sure = |found| Known { found, unsure: false };
    let unsure = |found| Known { found, unsure: true };
    let contains = |needles: &[Needle<'_>]| {
        let parts: Vec<Part<'_>> = (0..shape.skeleton().variables().len()).filter_map(|v| shape.part(v)).collect();
        contains_any(shape.skeleton(), &parts, shape.len(), needles)
    };
    let texts = |texts: &[String]| contains(&texts.iter().map(|t| Needle::Text(t)).collect::<Vec<_>>());
    // What can be told of a pattern without a look at its lines.
    let pattern = |p: &Pattern| match (&p.texts, &p.units) {
        (Some(t), _) => texts(t),
        (None, Some(units)) => contains(&[Needle::Units(units, p.regex())]),
        (None, None) => Ok(None),
    };
    let told = |found: Option<Found>| found.map_or(unsure(Found::All), sure);
    let not = |found: Option<Found>| told(found.map(|f| f.not(shape.len())));
    Ok(match filter {
        Compiled::Contains(t) => told(contains(&[Needle::Text(&t.text)])?),
        Compiled::NotContains(t) => not(contains(&[Needle::Text(&t.text)])?),
        Compiled::Regex(p) => {
            if let Some(found) = pattern(p)? {
                return Ok(sure(found));
            }
            let mut found = Found::All;
            for any_of in &p.required {
                found = found.and(texts(any_of)?.unwrap_or(Found::All));
                if matches!(found, Found::None) {
                    return Ok(sure(Found::None));
                }
            }
            unsure(found)
        }
        Compiled::NotRegex(p) => not(pattern(p)?),
        Compiled::AnyOf(filters) => {
            let mut any = sure(Found::None);
            for filter in filters {
                let known = evaluate(shape, filter)?;
                any = Known { found: any.found.or(known.found), unsure: any.unsure || known.unsure };
            }
            any
        }
    })
}

/// The places of a shape whose text holds one of `needles`; `None` if that cannot be told.
fn contains_any(
    skeleton: &Skeleton,
    parts: &[Part<'_>],
    places: usize,
    needles: &[Needle<'_>],
) -> Result<Option<Found>, Error> {
    let literals = parts.len() + 1;
    for needle in needles {
        if needle.is_empty() || (0..literals).any(|i| needle.is_in(skeleton.literal(i))) {
            return Ok(Some(Found::All));
        }
    }
    let mut found = Found::None;
    for (part, kind) in parts.iter().zip(skeleton.variables()) {
        let held: Vec<Needle<'_>> = needles.iter().copied().filter(|n| n.fits(*kind)).collect();
        if !held.is_empty() {
            match part_contains(part, &held)? {
                Some(in_part) => found = found.or(in_part),
                None => return Ok(None),
            }
        }
        if matches!(found, Found::All) {
            return Ok(Some(found));
        }
    }
    let mut over_borders: Vec<Alignment<'_>> = Vec::new();
    for needle in needles {
        let Some(alignments) = alignments(skeleton, *needle) else { return Ok(None) };
        alignments.into_iter().for_each(|a| add_alignment(&mut over_borders, a));
        if over_borders.len() > MAX_ALIGNMENTS {
            return Ok(None);
        }
    }
    for alignment in over_borders {
        let mut here = Found::All;
        for (variable, conditions) in alignment {
            let Some(part) = parts.get(variable) else { continue };
            here = here.and(satisfying(part.decoded()?, places, &conditions));
            if matches!(here, Found::None) {
                break;
            }
        }
        found = found.or(here);
    }
    Ok(Some(found))
}

/// Adds an alignment; one that differs from another in one variable only becomes a further condition on that.
fn add_alignment<'n>(all: &mut Vec<Alignment<'n>>, new: Vec<(usize, Condition<'n>)>) {
    for old in all.iter_mut() {
        if old.len() != new.len() || old.iter().zip(&new).any(|(o, n)| o.0 != n.0) {
            continue;
        }
        let mut differing = old.iter_mut().zip(&new).filter(|(o, n)| o.1.as_slice() != [n.1]);
        match (differing.next(), differing.next()) {
            (None, _) => return,
            (Some((old, new)), None) => {
                old.1.push(new.1);
                return;
            }
            _ => {}
        }
    }
    all.push(new.into_iter().map(|(v, c)| (v, vec![c])).collect());
}

fn part_contains(part: &Part<'_>, needles: &[Needle<'_>]) -> Result<Option<Found>, Error> {
    let Some(inner) = part.inner()? else {
        let conditions: Vec<Condition<'_>> = needles.iter().map(|n| Condition::Contains(*n)).collect();
        return Ok(Some(satisfying(part.decoded()?, part.len(), &conditions)));
    };
    let mut set = RowSet::none(part.len());
    for shape in inner {
        let parts: Vec<Part<'_>> = (0..shape.skeleton.variables().len()).filter_map(|v| shape.part(v)).collect();
        let at = |place: u32| shape.places.get(place as usize).copied().unwrap_or(u32::MAX);
        match contains_any(shape.skeleton, &parts, shape.places.len(), needles)? {
            None => return Ok(None),
            Some(Found::None) => {}
            Some(Found::All) => shape.places.iter().for_each(|p| set.insert(*p)),
            Some(Found::Some(found)) => found.iter().for_each(|p| set.insert(at(p))),
        }
    }
    Ok(Some(Found::from_set(set)))
}

/// The ways in which a needle can lie over the border of a literal and a variable, each as conditions that must all hold; `None`
/// if there are too many.
fn alignments<'n>(skeleton: &Skeleton, needle: Needle<'n>) -> Option<Vec<Vec<(usize, Condition<'n>)>>> {
    let mut found = Vec::new();
    let cuts = || needle.cuts().filter(|(head, _)| !head.is_empty());
    for (i, kind) in skeleton.variables().iter().enumerate() {
        // It begins in the literal before the variable.
        let before = skeleton.literal(i);
        for (head, tail) in cuts() {
            if head.ends(before) {
                go_on(skeleton, i, tail, &mut Vec::new(), &mut found)?;
            }
        }
        // It begins in the variable and goes on behind it.
        for (head, tail) in cuts() {
            if head.fits(*kind) {
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
    rest: Needle<'n>,
    conditions: &mut Vec<(usize, Condition<'n>)>,
    found: &mut Vec<Vec<(usize, Condition<'n>)>>,
) -> Option<()> {
    let Some(kind) = skeleton.variables().get(i) else { return Some(()) };
    if rest.fits(*kind) {
        let mut whole = conditions.clone();
        whole.push((i, Condition::StartsWith(rest)));
        found.push(whole);
        if found.len() > MAX_ALIGNMENTS {
            return None;
        }
    }
    for (head, tail) in rest.cuts() {
        if !head.fits(*kind) {
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
    rest: Needle<'n>,
    conditions: &mut Vec<(usize, Condition<'n>)>,
    found: &mut Vec<Vec<(usize, Condition<'n>)>>,
) -> Option<()> {
    let literal = skeleton.literal(i);
    if rest.begins(literal) {
        found.push(conditions.clone());
        return (found.len() <= MAX_ALIGNMENTS).then_some(());
    }
    match rest.without(literal) {
        Some(rest) => go_on(skeleton, i, rest, conditions, found),
        None => Some(()),
    }
}

/// For conditions that only say what numbers begin with, the numbers that satisfy one of them.
fn numbers_beginning(conditions: &[Condition<'_>], values: &[i64]) -> Option<Vec<RangeInclusive<i64>>> {
    let max = values.iter().max().copied()?;
    let mut all = Vec::new();
    for c in conditions {
        let Condition::StartsWith(Needle::Text(digits)) = c else { return None };
        all.extend(beginning_with(digits, max)?);
    }
    Some(all)
}

/// The places whose value satisfies one of some conditions.
fn satisfying(column: &Column, places: usize, conditions: &[Condition<'_>]) -> Found {
    let holds = |value: &str| conditions.iter().any(|c| c.holds(value));
    Found::from_set(match column {
        Column::Constant { value, .. } => return if holds(value) { Found::All } else { Found::None },
        Column::Dictionary { values, codes } => {
            let wanted: Vec<bool> = values.iter().map(holds).collect();
            if !wanted.contains(&true) {
                return Found::None;
            }
            RowSet::of(places, codes.iter().map(|code| wanted.get(usize::from(*code)).copied().unwrap_or(false)))
        }
        Column::Integers { values, width } => {
            let digits = |c: &&Condition<'_>| {
                c.text().is_none_or(|text| text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit()))
            };
            let conditions: Vec<Condition<'_>> = conditions.iter().filter(digits).copied().collect();
            match (conditions.as_slice(), width) {
                ([], _) => return Found::None,
                ([Condition::Equals(Needle::Text(text))], 0) => {
                    let Some(wanted) = parse_canonical(text.as_bytes()) else { return Found::None };
                    RowSet::of(places, values.iter().map(|v| *v == wanted))
                }
                (conditions, width) => match numbers_beginning(conditions, values).filter(|_| *width == 0) {
                    Some(ranges) => RowSet::of(places, values.iter().map(|v| ranges.iter().any(|r| r.contains(v)))),
                    None => {
                        let mut scratch = String::new();
                        let holds = |value: &i64| {
                            scratch.clear();
                            push_integer(&mut scratch, *value, *width);
                            conditions.iter().any(|c| c.holds(&scratch))
                        };
                        RowSet::of(places, values.iter().map(holds))
                    }
                },
            }
        }
        Column::Strings(strings) => {
            let (inside, other): (Vec<Condition<'_>>, Vec<Condition<'_>>) =
                conditions.iter().partition(|c| matches!(c, Condition::Contains(Needle::Text(_))));
            let mut set = if other.is_empty() {
                RowSet::none(places)
            } else {
                RowSet::of(places, strings.iter().map(|value| other.iter().any(|c| c.holds(value))))
            };
            inside.iter().filter_map(|c| c.text()).for_each(|text| strings_with(strings, text, &mut set));
            set
        }
    })
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
