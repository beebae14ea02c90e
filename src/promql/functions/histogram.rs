//! `histogram_*`.

use std::collections::{BTreeMap, HashMap};

use crate::model::labels::{BUCKET_LABEL, METRIC_NAME};
use crate::model::{FloatHistogram, Labels};
use crate::promql::annotations::{Annotations, Remark};
use crate::promql::ast::Call;
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::histogram_buckets::{
    ClassicBucket, classic_fraction, classic_quantile, native_fraction, native_quantile, variance,
};
use crate::promql::functions::{arg, string_arg};
use crate::promql::quantile::is_invalid;
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues, Steps};
use crate::promql::source::Source;
use crate::text::span::Span;

/// The function of this name on one native histogram.
pub(super) fn of(name: &str) -> Option<fn(&FloatHistogram) -> f64> {
    Some(match name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_stdvar" => variance,
        "histogram_stddev" => |h| variance(h).sqrt(),
        _ => return None,
    })
}

/// One histogram of a vector: a native series, the series of classic buckets, or (at different steps) both.
#[derive(Default)]
struct Family {
    /// Bound and series of each classic bucket.
    classic: Vec<(f64, usize)>,
    native: Option<usize>,
}

struct Families {
    /// In order of first appearance.
    all: Vec<(Labels, Family)>,
    notes: Annotations,
}

fn families(set: &SeriesSet, span: Span) -> Families {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut out = Families { all: Vec::new(), notes: Annotations::default() };
    let mut slot = |out: &mut Families, labels: Labels| {
        *index.entry(labels).or_insert_with_key(|l| {
            out.all.push((l.clone(), Family::default()));
            out.all.len() - 1
        })
    };
    for (i, s) in set.series.iter().enumerate() {
        if s.values.histograms.is_some() {
            let at = slot(&mut out, s.labels.clone());
            out.all[at].1.native = Some(i);
        }
        if s.values.floats.iter().all(|v| crate::promql::series_set::is_absent(*v)) {
            continue;
        }
        let le = s.labels.value(BUCKET_LABEL);
        match le.parse::<f64>() {
            Ok(bound) => {
                let at = slot(&mut out, s.labels.without(&[BUCKET_LABEL]));
                out.all[at].1.classic.push((bound, i));
            }
            Err(_) => {
                out.notes.add(Remark::BadBucketLabel { value: le.to_owned() }, s.labels.value(METRIC_NAME), span);
            }
        }
    }
    out
}

/// One histogram at one step.
enum Input<'a> {
    Native(&'a FloatHistogram),
    Classic(&'a mut Vec<ClassicBucket>),
}

/// Applies `f` to every histogram at every step.
fn each_histogram(
    cx: &Context<'_>,
    set: &SeriesSet,
    span: Span,
    steps: &Steps,
    f: impl Fn(usize, Input<'_>, &str, &mut Annotations) -> f64 + Send + Sync,
) -> Result<Vec<StepSeries>, QueryError> {
    let families = families(set, span);
    cx.note(families.notes);
    let all: Vec<usize> = (0..families.all.len()).collect();
    let one = |(labels, family): &(Labels, Family), buckets: &mut Vec<ClassicBucket>, notes: &mut Annotations| {
        let mut values = StepValues::absent(steps.count);
        let name = labels.value(METRIC_NAME);
        for step in 0..steps.count {
            buckets.clear();
            buckets.extend(family.classic.iter().filter_map(|(upper, i)| {
                let count = set.series.get(*i)?.values.float(step)?;
                Some(ClassicBucket { upper: *upper, count })
            }));
            let native = family.native.and_then(|i| set.series.get(i)?.values.histogram(step));
            match native {
                Some(_) if !buckets.is_empty() => notes.add(Remark::MixedClassicNative, name, span),
                Some(h) => values.set_float(step, f(step, Input::Native(h), name, notes)),
                None if buckets.is_empty() => {}
                None => values.set_float(step, f(step, Input::Classic(buckets), name, notes)),
            }
        }
        values.any_present().then(|| StepSeries { labels: labels.clone(), drop_name: true, values })
    };
    let (parts, notes) = Source::for_batches(&all, |batch, scratch| {
        cx.limits.check()?;
        let mut buckets = Vec::new();
        let families = batch.iter().filter_map(|i| families.all.get(*i));
        Ok(families.filter_map(|x| one(x, &mut buckets, &mut scratch.notes)).collect::<Vec<_>>())
    })?;
    cx.note(notes);
    Ok(parts.into_iter().flatten().collect())
}

fn quantile_at(q: f64, input: Input<'_>, t: i64, (name, span): (&str, Span), notes: &mut Annotations) -> f64 {
    match input {
        Input::Native(h) => {
            let (v, remark) = native_quantile(q, h);
            if let Some(r) = remark {
                notes.add(r, name, span);
            }
            v
        }
        Input::Classic(buckets) => {
            let (v, forced) = classic_quantile(q, buckets);
            if let Some(f) = forced {
                let remark =
                    Remark::ForcedMonotonicity { from: f.from, to: f.to, diff: f.diff, t, samples: 1, last: t };
                notes.add(remark, name, span);
            }
            v
        }
    }
}

fn check_quantiles(cx: &Context<'_>, qs: &[f64], span: Span) {
    let mut notes = Annotations::default();
    for q in qs.iter().filter(|q| is_invalid(**q)) {
        notes.add(Remark::InvalidQuantile(*q), "", span);
    }
    cx.note(notes);
}

pub(super) fn quantile(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let (q_arg, vector_arg) = (arg(call, 0)?, arg(call, 1)?);
    let qs = cx.scalar(q_arg, steps)?;
    check_quantiles(cx, &qs, q_arg.span);
    let set = cx.vector(vector_arg, steps)?;
    let span = vector_arg.span;
    let series = each_histogram(cx, &set, span, steps, |step, input, name, notes| {
        let q = qs.get(step).copied().unwrap_or(f64::NAN);
        quantile_at(q, input, steps.time(step), (name, span), notes)
    })?;
    Ok(SeriesSet::new(series))
}

/// A number as OpenMetrics writes it in labels: always with a fraction or an exponent.
fn open_metrics_float(v: f64) -> String {
    let mut s = crate::model::histogram::go_g(v);
    if v.is_finite() && !s.contains(['.', 'e']) {
        s.push_str(".0");
    }
    s
}

pub(super) fn quantiles(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let vector_arg = arg(call, 0)?;
    let label = string_arg(call, 1)?;
    let mut all_qs = Vec::new();
    for i in 2..call.args.len() {
        let a = arg(call, i)?;
        let qs = cx.scalar(a, steps)?;
        check_quantiles(cx, &qs, a.span);
        all_qs.push(qs);
    }
    let set = cx.vector(vector_arg, steps)?;
    let span = vector_arg.span;
    // The same quantile may come from two arguments at different steps, so results are kept by label value.
    let mut by_value: BTreeMap<(usize, String), Vec<StepSeries>> = BTreeMap::new();
    for (k, qs) in all_qs.iter().enumerate() {
        let mut texts: Vec<String> = qs.iter().map(|q| open_metrics_float(*q)).collect();
        texts.sort();
        texts.dedup();
        for text in texts {
            let part = each_histogram(cx, &set, span, steps, |step, input, name, notes| {
                let q = qs.get(step).copied().unwrap_or(f64::NAN);
                if open_metrics_float(q) == text {
                    quantile_at(q, input, steps.time(step), (name, span), notes)
                } else {
                    crate::promql::series_set::ABSENT
                }
            })?;
            by_value.insert((k, text), part);
        }
    }
    let mut out = SeriesSet::default();
    for ((_, text), part) in by_value {
        for mut s in part {
            let mut b = s.labels.to_builder();
            b.set(label, text.clone());
            s.labels = b.build();
            out.series.push(s);
        }
    }
    out.merge_same_labels()?;
    Ok(out)
}

pub(super) fn fraction(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let (lower, upper) = (cx.scalar(arg(call, 0)?, steps)?, cx.scalar(arg(call, 1)?, steps)?);
    let vector_arg = arg(call, 2)?;
    let set = cx.vector(vector_arg, steps)?;
    let span = vector_arg.span;
    let series = each_histogram(cx, &set, span, steps, |step, input, name, notes| {
        let bound = |all: &[f64]| all.get(step).copied().unwrap_or(f64::NAN);
        match input {
            Input::Native(h) => {
                let (v, remark) = native_fraction(bound(&lower), bound(&upper), h);
                if let Some(r) = remark {
                    notes.add(r, name, span);
                }
                v
            }
            Input::Classic(buckets) => classic_fraction(bound(&lower), bound(&upper), buckets),
        }
    })?;
    Ok(SeriesSet::new(series))
}
