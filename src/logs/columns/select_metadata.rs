//! Which rows of a group have structured metadata that satisfies a condition, told from the columns of its name.

use super::column::{Column, push_integer};
use super::row_group::{Levels, RowGroup};
use super::row_set::RowSet;
use crate::logs::detect::{DETECTED_LEVEL, level_name};
use crate::logs::error::Error;
use crate::model::Matcher;

/// The rows whose metadata has the name of the matcher and a value that satisfies it. No line is built, and no column of another name
/// is read.
pub(in crate::logs) fn rows_with(group: &RowGroup, matcher: &Matcher) -> Result<RowSet, Error> {
    let mut found = RowSet::none(group.rows());
    if matcher.name() == DETECTED_LEVEL {
        // A level that has a code stands apart from the other metadata.
        let wanted = |code: u8| level_name(code).is_some_and(|name| matcher.matches(name));
        match group.levels()? {
            Levels::Same(code) if wanted(*code) => return Ok(RowSet::all(group.rows())),
            Levels::Same(_) => {}
            Levels::Each(codes) => {
                let by_code: Vec<bool> = (0..=u8::MAX).map(wanted).collect();
                let members = codes.iter().map(|c| by_code.get(usize::from(*c)).copied().unwrap_or(false));
                found = RowSet::of(group.rows(), members);
            }
        }
    }
    for set in group.metadata_sets()? {
        let Ok(name) = set.names().binary_search_by(|n| (**n).cmp(matcher.name())) else { continue };
        let rows = set.rows();
        places_with(set.column(name)?, matcher, |place| found.insert(rows.get(place)));
    }
    Ok(found)
}

/// Calls `each` with the places of a column whose value satisfies the matcher.
fn places_with(column: &Column, matcher: &Matcher, mut each: impl FnMut(usize)) {
    match column {
        Column::Constant { value, len } => {
            if matcher.matches(value) {
                (0..*len).for_each(each);
            }
        }
        Column::Dictionary { values, codes } => {
            let wanted: Vec<bool> = values.iter().map(|v| matcher.matches(v)).collect();
            if wanted.contains(&true) {
                let wanted = |code: &u16| wanted.get(usize::from(*code)).copied().unwrap_or(false);
                codes.iter().enumerate().filter(|(_, code)| wanted(code)).for_each(|(place, _)| each(place));
            }
        }
        Column::Integers { values, width } => {
            let mut text = String::new();
            for (place, value) in values.iter().enumerate() {
                text.clear();
                push_integer(&mut text, *value, *width);
                if matcher.matches(&text) {
                    each(place);
                }
            }
        }
        Column::Strings(strings) => {
            strings.iter().enumerate().filter(|(_, v)| matcher.matches(v)).for_each(|(place, _)| each(place));
        }
    }
}
