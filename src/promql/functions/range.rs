//! Functions over range vectors: two indexes slide over the decoded column of a series, a window for each step.

use std::sync::Arc;

use crate::model::{Column, FloatHistogram};
use crate::promql::annotations::{Annotations, Remark};
use crate::promql::ast::{Call, ExprKind, RangeExtension};
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::sliding_extreme::sliding_extreme;
use crate::promql::functions::{arg, changes, extended_rate, linear, over_time, rate};
use crate::promql::limits::{Limits, Pace};
use crate::promql::selector::{self, Window};
use crate::promql::series_set::{StepValues, Steps};
use crate::promql::source::{Compute, Source};
use crate::promql::subquery;
use crate::text::span::Span;

/// The functions over range vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Avg,
    Sum,
    Count,
    Min,
    Max,
    Stddev,
    Stdvar,
    First,
    Last,
    Present,
    Quantile,
    Mad,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMax,
    TimeOfMin,
    Deriv,
    PredictLinear,
    Smoothing,
    Changes,
    Resets,
}

impl RangeFunction {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => RangeFunction::Rate,
            "increase" => RangeFunction::Increase,
            "delta" => RangeFunction::Delta,
            "irate" => RangeFunction::Irate,
            "idelta" => RangeFunction::Idelta,
            "avg_over_time" => RangeFunction::Avg,
            "sum_over_time" => RangeFunction::Sum,
            "count_over_time" => RangeFunction::Count,
            "min_over_time" => RangeFunction::Min,
            "max_over_time" => RangeFunction::Max,
            "stddev_over_time" => RangeFunction::Stddev,
            "stdvar_over_time" => RangeFunction::Stdvar,
            "first_over_time" => RangeFunction::First,
            "last_over_time" => RangeFunction::Last,
            "present_over_time" => RangeFunction::Present,
            "quantile_over_time" => RangeFunction::Quantile,
            "mad_over_time" => RangeFunction::Mad,
            "ts_of_first_over_time" => RangeFunction::TimeOfFirst,
            "ts_of_last_over_time" => RangeFunction::TimeOfLast,
            "ts_of_max_over_time" => RangeFunction::TimeOfMax,
            "ts_of_min_over_time" => RangeFunction::TimeOfMin,
            "deriv" => RangeFunction::Deriv,
            "predict_linear" => RangeFunction::PredictLinear,
            "double_exponential_smoothing" => RangeFunction::Smoothing,
            "changes" => RangeFunction::Changes,
            "resets" => RangeFunction::Resets,
            _ => return None,
        })
    }

    fn is_counter(self) -> bool {
        matches!(self, RangeFunction::Rate | RangeFunction::Increase)
    }
}

/// What a function sees of a series at one step.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) t: &'a [i64],
    pub(super) v: &'a [f64],
    /// Start timestamps of the floats; empty where the series has none.
    pub(super) start: &'a [i64],
    pub(super) ht: &'a [i64],
    pub(super) h: &'a [Arc<FloatHistogram>],
    /// Start timestamps of the histograms; empty where the series has none.
    pub(super) hstart: &'a [i64],
    pub(super) window: Window,
    /// The evaluation time.
    pub(super) now: i64,
    pub(super) extension: RangeExtension,
}

/// What a function may say beside its value.
pub(super) struct Speaker<'a> {
    pub(super) notes: &'a mut Annotations,
    /// The metric's name.
    pub(super) name: &'a str,
    /// Where the range vector stands.
    pub(super) span: Span,
}

impl Speaker<'_> {
    pub(super) fn say(&mut self, remark: Remark) {
        self.notes.add(remark, self.name, self.span);
    }
}

/// The value of a function at one step.
pub(super) enum Sample {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl From<f64> for Sample {
    fn from(v: f64) -> Self {
        Sample::Float(v)
    }
}

impl From<FloatHistogram> for Sample {
    fn from(h: FloatHistogram) -> Self {
        Sample::Histogram(Arc::new(h))
    }
}

fn slide(indexes: (usize, usize), times: &[i64], w: &Window) -> (usize, usize) {
    let advance = |from: usize, t: i64| {
        if from > 0 && times.get(from - 1).is_some_and(|x| *x > t) {
            return times.partition_point(|x| *x <= t);
        }
        let mut i = from;
        while times.get(i).is_some_and(|x| *x <= t) {
            i += 1;
        }
        i
    };
    let l = advance(indexes.0, w.from);
    (l, advance(indexes.1.max(l), w.to))
}

fn sub<T>(all: &[T], (l, r): (usize, usize)) -> &[T] {
    all.get(l..r).unwrap_or(&[])
}

/// A histogram is as much work as so many samples.
const HISTOGRAM_WORK: usize = 64;

/// Calls `f` for each step whose window holds a sample.
pub(super) fn for_each_window(
    (column, windows, steps): (&Column, &selector::Windows, &Steps),
    limits: &Limits,
    mut f: impl FnMut(usize, View<'_>) -> Option<Sample>,
    out: &mut StepValues,
) -> Result<(), QueryError> {
    let (mut floats, mut histograms) = ((0, 0), (0, 0));
    let mut pace = Pace::new(limits);
    for (i, now) in steps.times().enumerate() {
        let window = windows.at(now);
        floats = slide(floats, &column.t, &window);
        if !column.ht.is_empty() {
            histograms = slide(histograms, &column.ht, &window);
        }
        if floats.0 == floats.1 && histograms.0 == histograms.1 {
            continue;
        }
        let view = View {
            t: sub(&column.t, floats),
            v: sub(&column.v, floats),
            start: sub(&column.start, floats),
            ht: sub(&column.ht, histograms),
            h: sub(&column.h, histograms),
            hstart: sub(&column.hstart, histograms),
            window,
            now,
            extension: windows.extension,
        };
        pace.step(view.t.len() + view.ht.len() * HISTOGRAM_WORK)?;
        match f(i, view) {
            Some(Sample::Float(v)) => out.set_float(i, v),
            Some(Sample::Histogram(h)) => out.set_histogram(i, h),
            None => {}
        }
    }
    Ok(())
}

/// `anchored` and `smoothed` make sense for some functions only.
fn check_extension(call: &Call, f: RangeFunction, extension: RangeExtension) -> Result<(), QueryError> {
    let rate = matches!(f, RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta);
    let (fits, word, others) = match extension {
        RangeExtension::None => return Ok(()),
        RangeExtension::Anchored => (
            rate || matches!(f, RangeFunction::Changes | RangeFunction::Resets),
            "anchored",
            "changes, delta, increase, rate, resets",
        ),
        RangeExtension::Smoothed => (rate, "smoothed", "delta, increase, rate"),
    };
    if fits {
        return Ok(());
    }
    Err(QueryError::Execution(format!("{word} modifier can only be used with: {others} - not with {}", call.func)))
}

/// The series that a function over a range vector yields.
pub(super) fn source<'s>(
    cx: &'s Context<'_>,
    call: &'s Call,
    f: RangeFunction,
    steps: &Steps,
) -> Result<Source<'s>, QueryError> {
    let at = usize::from(f == RangeFunction::Quantile);
    let range_arg = arg(call, at)?;
    let inner = range_arg.unwrap_parens();
    let input = match &inner.kind {
        ExprKind::Matrix(m) => {
            check_extension(call, f, m.selector.extension)?;
            selector::range_source(cx, m, steps, call.func)?
        }
        ExprKind::Subquery(s) => subquery::range_source(cx, s, inner.span, steps)?,
        _ => return Err(QueryError::Execution(format!("{}() needs a range vector", call.func))),
    };
    let mut scalars = Vec::new();
    for (i, a) in call.args.iter().enumerate() {
        if i != at {
            scalars.push(cx.scalar(a, steps)?);
        }
    }
    if f == RangeFunction::Smoothing && !input.meta.is_empty() {
        linear::check_factors(&scalars)?;
    }
    let mut meta = input.meta;
    let named = meta.clone();
    if !matches!(f, RangeFunction::First | RangeFunction::Last) {
        meta.drop_names();
    }
    let (steps, windows, read) = (*steps, input.windows, input.read);
    // Remarks point at the first argument, as Prometheus' do, whichever is the range vector.
    let span = match &inner.kind {
        ExprKind::Matrix(_) if at == 0 => input.span,
        _ => arg(call, 0)?.span,
    };
    let by_label = cx.options.type_and_unit_labels;
    let compute: Compute<'s> = Box::new(move |i, scratch| {
        read(i, &mut scratch.column)?;
        let mut out = StepValues::absent(steps.count);
        if scratch.column.is_empty() {
            return Ok(out);
        }
        let mut speaker = Speaker { notes: &mut scratch.notes, name: named.metric_name(i), span };
        let input = (&scratch.column, &windows, &steps);
        evaluate(f, input, &cx.limits, &scalars, &mut speaker, &mut out)?;
        if f.is_counter() {
            let type_label = by_label.then(|| named.value(i, "__type__"));
            remark_on_name(type_label, &out, &mut speaker);
        }
        Ok(out)
    });
    Ok(Source { meta, compute })
}

/// `type_label` is the type by label, where counters are told by it and not by their name.
fn remark_on_name(type_label: Option<&str>, out: &StepValues, speaker: &mut Speaker<'_>) {
    let name = speaker.name;
    let counter_name = ["_total", "_sum", "_count", "_bucket"].iter().any(|s| name.ends_with(s));
    if name.is_empty() || (type_label.is_none() && counter_name) {
        return;
    }
    if out.floats.iter().all(|v| crate::promql::series_set::is_absent(*v)) {
        return;
    }
    if let Some(label) = type_label {
        if label != "counter" && label != "histogram" {
            speaker.say(Remark::PossibleNonCounterLabel { label: label.to_owned() });
        }
    } else {
        speaker.say(Remark::PossibleNonCounter);
    }
}

fn evaluate(
    f: RangeFunction,
    input: (&Column, &selector::Windows, &Steps),
    limits: &Limits,
    scalars: &[Vec<f64>],
    speaker: &mut Speaker<'_>,
    out: &mut StepValues,
) -> Result<(), QueryError> {
    let (column, windows, steps) = input;
    let scalar = |k: usize, i: usize| scalars.get(k).and_then(|s| s.get(i)).copied().unwrap_or(f64::NAN);
    let range_seconds = windows.range as f64 / 1000.0;
    // One loop for each function, so that the match is not made at every step.
    macro_rules! each {
        ($f:expr) => {
            for_each_window(input, limits, $f, out)?
        };
    }
    match f {
        RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta => {
            let kind = rate::Kind {
                is_counter: f != RangeFunction::Delta,
                per_second: (f == RangeFunction::Rate).then_some(range_seconds),
            };
            if windows.extension != RangeExtension::None {
                each!(|_, view| extended_rate::value(&view, kind, speaker));
            } else if column.ht.is_empty() && column.start.is_empty() {
                rate::floats(column, windows, steps, kind, out);
            } else {
                each!(|_, view| rate::value(&view, kind, speaker));
            }
        }
        RangeFunction::Irate => each!(|_, view| rate::last_two(&view, true, speaker)),
        RangeFunction::Idelta => each!(|_, view| rate::last_two(&view, false, speaker)),
        RangeFunction::Avg => each!(|_, view| over_time::avg(&view, speaker)),
        RangeFunction::Sum => each!(|_, view| over_time::sum(&view, speaker)),
        RangeFunction::Count => each!(|_, view| Some(((view.t.len() + view.ht.len()) as f64).into())),
        RangeFunction::Min | RangeFunction::Max if column.ht.is_empty() => {
            sliding_extreme(column, windows, steps, f == RangeFunction::Max, out);
        }
        RangeFunction::Min => each!(|_, view| over_time::extreme(&view, |new, old| new < old, speaker)),
        RangeFunction::Max => each!(|_, view| over_time::extreme(&view, |new, old| new > old, speaker)),
        RangeFunction::TimeOfMin => each!(|_, view| over_time::time_of(&view, |new, old| new <= old, speaker)),
        RangeFunction::TimeOfMax => each!(|_, view| over_time::time_of(&view, |new, old| new >= old, speaker)),
        RangeFunction::Stdvar => each!(|_, view| over_time::variance(&view, speaker).map(Sample::Float)),
        RangeFunction::Stddev => each!(|_, view| over_time::variance(&view, speaker).map(|v| v.sqrt().into())),
        RangeFunction::First => each!(|_, view| over_time::first(&view)),
        RangeFunction::Last => each!(|_, view| over_time::last(&view)),
        RangeFunction::Present => each!(|_, _| Some(1.0.into())),
        RangeFunction::TimeOfFirst => each!(|_, view| over_time::time_of_first(&view)),
        RangeFunction::TimeOfLast => each!(|_, view| over_time::time_of_last(&view)),
        RangeFunction::Quantile => each!(|i, view| over_time::quantile_of(&view, scalar(0, i), speaker)),
        RangeFunction::Mad => each!(|_, view| over_time::mad(&view, speaker)),
        RangeFunction::Deriv => each!(|_, view| linear::deriv(&view, speaker)),
        RangeFunction::PredictLinear => each!(|i, view| linear::predict(&view, scalar(0, i), speaker)),
        RangeFunction::Smoothing => {
            each!(|i, view| linear::double_exponential(&view, scalar(0, i), scalar(1, i), speaker));
        }
        RangeFunction::Changes => each!(|_, view| changes::count(&view, changes::Event::Change)),
        RangeFunction::Resets => each!(|_, view| changes::count(&view, changes::Event::Reset)),
    }
    Ok(())
}
