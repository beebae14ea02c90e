//! Range functions that only count, inside a `sum` that only looks at stream labels and the level: answered by the store's
//! counts: without reading a line, or, with line filters, reading several streams at once.

use std::collections::BTreeMap;

use crate::logql::ast::{Grouping, NamedMatcher, RangeAggregation, RangeOp, Stage, StageKind};
use crate::logql::engine::{QueryError, Run};
use crate::logql::range::Steps;
use crate::logql::storage::{Count, Direction, LineHint, Select, StreamCount, hints_of};
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
    let Some(filters) = filters(&r.log.stages, by) else { return Ok(None) };
    if bytes && !filters.is_empty() {
        // Lines would be read twice, once for their number and once for their bytes.
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
        filters,
        bytes: false,
        by_level: by.iter().any(|l| l == DETECTED_LEVEL),
    };
    if !count.filters.is_empty() && !streams_have(run, &count, by)? {
        return Ok(None);
    }
    let Some(lines) = counted(run, &count, by)? else { return Ok(None) };
    if let (Some(start_ns), Some(end_ns)) = (count.boundaries.first(), count.boundaries.last()) {
        let select = Select {
            matchers: count.matchers.clone(),
            start_ns: *start_ns,
            end_ns: *end_ns,
            direction: Direction::Forward,
            hints: count.filters.clone(),
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

/// Whether the streams have all labels of `by` (the level aside), so that no lines are read in vain.
fn streams_have(run: &Run<'_>, count: &Count, by: &[String]) -> Result<bool, QueryError> {
    let boundaries = count.boundaries.first().into_iter().chain(count.boundaries.last()).copied().collect();
    let all =
        Count { matchers: count.matchers.clone(), boundaries, filters: Vec::new(), bytes: false, by_level: false };
    let Some(found) = run.storage.count(&all, &|| true)? else { return Ok(false) };
    let has = |row: &StreamCount| by.iter().all(|l| l == DETECTED_LEVEL || row.labels.get(l).is_some());
    Ok(found.rows.iter().all(has))
}

/// Counts of the store, grouped; see [`grouped`].
fn counted(run: &mut Run<'_>, count: &Count, by: &[String]) -> Result<Option<BTreeMap<Labels, Vec<u64>>>, QueryError> {
    let asked = &*run;
    let Some(found) = run.storage.count(count, &|| asked.check().is_ok())? else { return Ok(None) };
    run.check()?;
    run.stats.lines += found.lines_read;
    run.stats.bytes += found.bytes_read;
    Ok(grouped(&found.rows, by))
}

/// The conditions that the stages put on lines, `None` if they do anything else that shows in the counts by `by`.
fn filters(stages: &[Stage], by: &[String]) -> Option<Vec<LineHint>> {
    let mut found = Vec::new();
    for stage in stages {
        match &stage.kind {
            StageKind::LineFilter(f) => found.extend(hints_of(f)?),
            StageKind::Drop(list) => {
                let name = |m: &NamedMatcher| match m {
                    NamedMatcher::Name(n) => n.clone(),
                    NamedMatcher::Matcher(m) => m.name().to_owned(),
                };
                if list.iter().any(|m| by.contains(&name(m))) {
                    return None;
                }
            }
            _ => return None,
        }
    }
    Some(found)
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
