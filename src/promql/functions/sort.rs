//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`.

use std::cmp::Ordering;

use crate::promql::annotations::{Annotations, Remark};
use crate::promql::ast::{Call, Expr};
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::{arg, string_arg};
use crate::promql::quantile::nan_first;
use crate::promql::series_set::{SeriesSet, Steps};

/// Orders texts as people do: runs of digits by their number, the rest by characters.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let run = |s: &str| {
            let digit = s.bytes().next().is_some_and(|c| c.is_ascii_digit());
            s.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(s.len())
        };
        let (x, rest_a) = a.split_at(run(a));
        let (y, rest_b) = b.split_at(run(b));
        let numbers = x.bytes().all(|c| c.is_ascii_digit()) && y.bytes().all(|c| c.is_ascii_digit());
        let by = if numbers {
            let (m, n) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n)).then_with(|| x.len().cmp(&y.len()))
        } else {
            x.cmp(y)
        };
        if by != Ordering::Equal {
            return by;
        }
        (a, b) = (rest_a, rest_b);
    }
}

pub(super) fn sort(cx: &Context<'_>, expr: &Expr, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    if !cx.is_instant {
        let mut notes = Annotations::default();
        notes.add(Remark::SortIneffective, "", expr.span);
        cx.note(notes);
    }
    let mut set = cx.vector(arg(call, 0)?, steps)?;
    let descending = call.func.ends_with("_desc");
    if call.func.starts_with("sort_by_label") {
        let names: Vec<&str> = (1..call.args.len()).map(|i| string_arg(call, i)).collect::<Result<_, _>>()?;
        set.series.sort_by(|a, b| {
            let by_names = names
                .iter()
                .map(|n| natural(a.labels.value(n), b.labels.value(n)))
                .find(|o| *o != Ordering::Equal)
                .unwrap_or_else(|| a.labels.cmp(&b.labels));
            if descending { by_names.reverse() } else { by_names }
        });
        return Ok(set);
    }
    // Only floats have an order. In a range query the order is lost anyway, but the histograms go there, too.
    for s in &mut set.series {
        s.values.histograms = None;
    }
    set.series.retain(|s| s.values.any_present());
    let value = |s: &crate::promql::series_set::StepSeries| s.values.float(0).unwrap_or(f64::NAN);
    set.series.sort_by(|a, b| {
        let (a, b) = (value(a), value(b));
        // NaN comes last either way.
        let by_value = if descending { nan_first(b, a) } else { nan_first(a, b) };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    });
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_texts_count_as_numbers() {
        let mut all = ["4m1000", "4m5", "10", "2", "4m600", "1.11.3", "1.2.3"];
        all.sort_by(|a, b| natural(a, b));
        assert_eq!(all, ["1.2.3", "1.11.3", "2", "4m5", "4m600", "4m1000", "10"]);
    }
}
