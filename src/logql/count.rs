//! Range functions that only count, inside a `sum` that only looks at stream labels and the level: answered by the store's
//! counts, without a look at each line.

use std::collections::BTreeMap;

use crate::logql::ast::{Grouping, NamedMatcher, RangeAggregation, RangeOp, Stage, StageKind};
use crate::logql::engine::{QueryError, Run};
use crate::logql::range::Steps;
use crate::logql::storage::{Count, Direction, Select, StreamCount, hints_of};
use crate::model::{Labels, LabelsBuilder};
use crate::promql::series_set::{ABSENT, StepSeries, StepValues};

/// The structured metadata that a store counts by itself.
const DETECTED_LEVEL: &str = "detected_level";

/// The series of `sum by (...) (op({...}[range]))` with the labels of `by` only, or `None` where lines must be read.
pub fn evaluate(
    run: &mut Run<'_>,
    r: &RangeAggregation,
    sum: Option<&Grouping>,
    steps: Steps,
) -> Result<Option<Vec<StepSeries>>, QueryError> {
    let by: &[String] = match sum {
        None => &[],
        Some(g) if !g.without => &g.labels,
        Some(_) => return Ok(None),
    };
    let bytes = match r.op {
        RangeOp::CountOverTime | RangeOp::Rate => false,
        RangeOp::BytesOverTime | RangeOp::BytesRate => true,
        _ => return Ok(None),
    };
    if r.unwrap.is_some() || r.grouping.is_some() {
        return Ok(None);
    }
    if !all_pass(&r.log.stages, by) {
        return Ok(None);
    }
    let windows: Vec<(i64, i64)> = (0..steps.count)
        .map(|i| {
            let until = steps.at(i).saturating_sub(r.offset_ns).saturating_add(1);
            (until.saturating_sub(r.range_ns), until)
        })
        .collect();
    let mut boundaries: Vec<i64> = windows.iter().flat_map(|w| [w.0, w.1]).collect();
    boundaries.sort_unstable();
    boundaries.dedup();
    let mut count = Count {
        matchers: r.log.matchers.clone(),
        boundaries,
        bytes: false,
        by_level: by.iter().any(|l| l == DETECTED_LEVEL),
    };
    let Some(lines) = counted(run, &count, by)? else { return Ok(None) };
    if let (Some(start_ns), Some(end_ns)) = (count.boundaries.first(), count.boundaries.last()) {
        let select = Select {
            matchers: count.matchers.clone(),
            start_ns: *start_ns,
            end_ns: *end_ns,
            direction: Direction::Forward,
            hints: Vec::new(),
            labels: Vec::new(),
        };
        run.explain(&r.log, &select)?;
    }
    // An empty line has no bytes, but it is there.
    let sizes = if bytes {
        count.bytes = true;
        match counted(run, &count, by)? {
            Some(sizes) => Some(sizes),
            None => return Ok(None),
        }
    } else {
        None
    };
    if lines.len() > run.options.max_series {
        return Err(QueryError::Limit(format!(
            "maximum of series ({}) reached for a single query; aggregate by fewer labels or narrow the selector",
            run.options.max_series
        )));
    }
    let seconds = r.range_ns as f64 / 1e9;
    let per_second = matches!(r.op, RangeOp::Rate | RangeOp::BytesRate);
    let series = lines.iter().map(|(labels, lines)| {
        let values = sizes.as_ref().map(|s| s.get(labels).map_or(&[][..], Vec::as_slice));
        let floats = windows
            .iter()
            .map(|w| {
                let within = |sums: &[u64]| between(sums, &count.boundaries, *w);
                match within(lines) {
                    0 => ABSENT,
                    n => {
                        let value = values.map_or(n, within) as f64;
                        if per_second { value / seconds } else { value }
                    }
                }
            })
            .collect();
        StepSeries { labels: labels.clone(), drop_name: false, values: StepValues { floats, histograms: None } }
    });
    Ok(Some(series.filter(|s| s.values.any_present()).collect()))
}

/// Counts of the store, grouped; see [`grouped`].
fn counted(run: &mut Run<'_>, count: &Count, by: &[String]) -> Result<Option<BTreeMap<Labels, Vec<u64>>>, QueryError> {
    let Some(rows) = run.storage.count(count)? else { return Ok(None) };
    run.check()?;
    if !count.bytes {
        run.stats.rows += rows.iter().flat_map(|r| &r.counts).sum::<u64>();
    }
    Ok(grouped(&rows, by))
}

/// Whether the stages let every line pass and do nothing that shows in the counts by `by`.
fn all_pass(stages: &[Stage], by: &[String]) -> bool {
    stages.iter().all(|stage| match &stage.kind {
        StageKind::LineFilter(f) => hints_of(f).is_some_and(|h| h.is_empty()),
        StageKind::Drop(list) => list.iter().all(|m| {
            let name = match m {
                NamedMatcher::Name(n) => n,
                NamedMatcher::Matcher(m) => m.name(),
            };
            !by.iter().any(|l| l == name)
        }),
        _ => false,
    })
}

/// Counts up to each boundary, by the labels `by`. `None` where metadata of a line may have a say in one of them: where the
/// stream has no such label.
fn grouped(rows: &[StreamCount], by: &[String]) -> Option<BTreeMap<Labels, Vec<u64>>> {
    let mut sums: BTreeMap<Labels, Vec<u64>> = BTreeMap::new();
    for row in rows {
        let mut labels = LabelsBuilder::new();
        for name in by {
            let value = match row.labels.get(name) {
                Some(v) => v,
                None if name == DETECTED_LEVEL => row.level.as_deref()?,
                None => return None,
            };
            labels.set(name, value);
        }
        let counts = sums.entry(labels.build()).or_insert_with(|| vec![0; row.counts.len()]);
        counts.iter_mut().zip(&row.counts).for_each(|(sum, n)| *sum += n);
    }
    for counts in sums.values_mut() {
        let mut total = 0;
        for n in counts {
            total += *n;
            *n = total;
        }
    }
    Some(sums)
}

/// The count in [from, until), both of which are boundaries.
fn between(sums: &[u64], boundaries: &[i64], (from, until): (i64, i64)) -> u64 {
    let before = |t: i64| {
        let at = boundaries.partition_point(|b| *b < t);
        at.checked_sub(1).and_then(|i| sums.get(i)).copied().unwrap_or(0)
    };
    before(until).saturating_sub(before(from))
}
