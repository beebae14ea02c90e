//! Warnings and infos of an evaluation, in the words of Prometheus, each with the place in the query it is about.

use crate::model::histogram::{AddOutcome, FloatHistogram};
use crate::model::time::{NS_PER_MS, rfc3339_ns};
use crate::text::quote::quote;
use crate::text::span::{Span, line_column};

/// During what histograms were combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Combining {
    Addition,
    Subtraction,
    Aggregation,
}

impl Combining {
    fn word(self) -> &'static str {
        match self {
            Combining::Addition => "addition",
            Combining::Subtraction => "subtraction",
            Combining::Aggregation => "aggregation",
        }
    }
}

/// What there is to remark.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the text below")]
pub enum Remark {
    InvalidQuantile(f64),
    InvalidRatio { got: f64, to: f64 },
    BadBucketLabel { value: String },
    MixedFloatsHistograms,
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative,
    NotACounter,
    NotAGauge,
    MixedExponentialCustom,
    IncompatibleBuckets { operator: &'static str },
    CounterResetCollision(Combining),
    StartTimeOverlap,
    SortIneffective,
    PossibleNonCounter,
    PossibleNonCounterLabel { label: String },
    ForcedMonotonicity { from: f64, to: f64, diff: f64, t: i64, samples: u64, last: i64 },
    IncompatibleTypes { left: &'static str, operator: &'static str, right: &'static str },
    HistogramIgnoredInAggregation { operator: &'static str },
    HistogramIgnoredInMixedRange,
    QuantileNaNResult,
    QuantileNaNSkew,
    FractionNaNs,
    BoundsReconciled(Combining),
}

impl Remark {
    fn is_warning(&self) -> bool {
        match self {
            Remark::InvalidQuantile(_)
            | Remark::InvalidRatio { .. }
            | Remark::BadBucketLabel { .. }
            | Remark::MixedFloatsHistograms
            | Remark::MixedFloatsHistogramsInAggregation
            | Remark::MixedClassicNative
            | Remark::NotACounter
            | Remark::NotAGauge
            | Remark::MixedExponentialCustom
            | Remark::IncompatibleBuckets { .. }
            | Remark::CounterResetCollision(_)
            | Remark::StartTimeOverlap
            | Remark::SortIneffective => true,
            Remark::PossibleNonCounter
            | Remark::PossibleNonCounterLabel { .. }
            | Remark::ForcedMonotonicity { .. }
            | Remark::IncompatibleTypes { .. }
            | Remark::HistogramIgnoredInAggregation { .. }
            | Remark::HistogramIgnoredInMixedRange
            | Remark::QuantileNaNResult
            | Remark::QuantileNaNSkew
            | Remark::FractionNaNs
            | Remark::BoundsReconciled(_) => false,
        }
    }

    fn same_as(&self, other: &Remark) -> bool {
        match (self, other) {
            (Remark::InvalidQuantile(a), Remark::InvalidQuantile(b)) => a.to_bits() == b.to_bits(),
            (Remark::ForcedMonotonicity { .. }, Remark::ForcedMonotonicity { .. }) => true,
            (a, b) => a == b,
        }
    }

    fn text(&self, name: &str) -> String {
        let for_name = if name.is_empty() { String::new() } else { format!(" for metric name {}", quote(name)) };
        let q = quote(name);
        let g = crate::model::histogram::go_g;
        match self {
            Remark::InvalidQuantile(v) => format!("quantile value should be between 0 and 1, got {}", g(*v)),
            Remark::InvalidRatio { got, to } => {
                format!("ratio value should be between -1 and 1, got {}, capping to {}", g(*got), g(*to))
            }
            Remark::BadBucketLabel { value } => {
                format!("bucket label \"le\" is missing or has a malformed value of {}{for_name}", quote(value))
            }
            Remark::MixedFloatsHistograms => format!("encountered a mix of histograms and floats for metric name {q}"),
            Remark::MixedFloatsHistogramsInAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Remark::MixedClassicNative => {
                format!("vector contains a mix of classic and native histograms{for_name}")
            }
            Remark::NotACounter => format!("this native histogram metric is not a counter: {q}"),
            Remark::NotAGauge => format!("this native histogram metric is not a gauge: {q}"),
            Remark::MixedExponentialCustom => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {q}"
            ),
            Remark::IncompatibleBuckets { operator } => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Remark::CounterResetCollision(c) => format!("conflicting counter resets during histogram {}", c.word()),
            Remark::StartTimeOverlap => {
                format!("sample has start time that overlaps with previous sample timestamp for metric {q}")
            }
            Remark::SortIneffective => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            Remark::PossibleNonCounter => {
                format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {q}")
            }
            Remark::PossibleNonCounterLabel { label } => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {q}",
                quote(label)
            ),
            Remark::ForcedMonotonicity { from, to, diff, t, samples, last } => format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/\
                 prometheus/latest/querying/functions/#histogram_quantile){for_name}, from buckets {} to {}, with a \
                 max diff of {}, over {samples} samples from {} to {}",
                g(*from),
                g(*to),
                two_digits(*diff),
                rfc3339_ns(t.saturating_mul(NS_PER_MS)),
                rfc3339_ns(last.saturating_mul(NS_PER_MS))
            ),
            Remark::IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
                quote(operator)
            ),
            Remark::HistogramIgnoredInAggregation { operator } => {
                format!("ignored histogram in {operator} aggregation")
            }
            Remark::HistogramIgnoredInMixedRange => {
                format!("ignored histograms in a range containing both floats and histograms for metric name {q}")
            }
            Remark::QuantileNaNResult => {
                format!("input to histogram_quantile has NaN observations, result is NaN{for_name}")
            }
            Remark::QuantileNaNSkew => {
                format!("input to histogram_quantile has NaN observations, result is skewed higher{for_name}")
            }
            Remark::FractionNaNs => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{for_name}"
            ),
            Remark::BoundsReconciled(c) => {
                format!("mismatched custom buckets were reconciled during {}", c.word())
            }
        }
    }
}

fn two_digits(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return crate::model::histogram::go_g(v);
    }
    let rounded: f64 = format!("{v:.1e}").parse().unwrap_or(v);
    crate::model::histogram::go_g(rounded)
}

#[derive(Clone, Debug)]
struct Entry {
    remark: Remark,
    name: String,
    span: Span,
}

/// A collection of remarks, each kept once.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    entries: Vec<Entry>,
}

impl Annotations {
    /// Adds a remark about a metric (`name` may be empty).
    pub fn add(&mut self, remark: Remark, name: &str, span: Span) {
        for e in &mut self.entries {
            if e.remark.same_as(&remark) && e.name == name {
                if let (
                    Remark::ForcedMonotonicity { from, to, diff, t, samples, last },
                    Remark::ForcedMonotonicity { from: f, to: u, diff: d, t: first, samples: n, last: l },
                ) = (&mut e.remark, &remark)
                {
                    (*from, *to, *diff) = (from.min(*f), to.max(*u), diff.max(*d));
                    (*t, *last, *samples) = ((*t).min(*first), (*last).max(*l), *samples + n);
                }
                return;
            }
        }
        self.entries.push(Entry { remark, name: name.to_owned(), span });
    }

    /// Takes over the remarks of another collection.
    pub fn merge(&mut self, other: Annotations) {
        for e in other.entries {
            self.add(e.remark, &e.name, e.span);
        }
    }

    /// Whether nothing was remarked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The warnings and the infos as the API shows them, with positions in `query`.
    pub fn render(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for e in &self.entries {
            let text = e.remark.text(&e.name);
            let at = if query.is_empty() {
                String::new()
            } else {
                let (line, column) = line_column(query, e.span.start);
                format!(" ({line}:{column})")
            };
            if e.remark.is_warning() {
                warnings.push(format!("PromQL warning: {text}{at}"));
            } else {
                infos.push(format!("PromQL info: {text}{at}"));
            }
        }
        (warnings, infos)
    }

    /// Remarks on the outcome of combining histograms.
    pub fn add_outcome(&mut self, outcome: crate::model::histogram::AddOutcome, during: Combining, span: Span) {
        if outcome.reset_collision {
            self.add(Remark::CounterResetCollision(during), "", span);
        }
        if outcome.bounds_reconciled {
            self.add(Remark::BoundsReconciled(during), "", span);
        }
    }

    /// Adds `other` to `base`, with remarks; false where they do not fit together.
    pub(crate) fn add_histogram(
        &mut self,
        base: &mut FloatHistogram,
        other: &FloatHistogram,
        name: &str,
        span: Span,
    ) -> bool {
        self.told(base.add(other), Combining::Addition, name, span)
    }

    /// Subtracts `other` from `base`, with remarks; false where they do not fit together.
    pub(crate) fn sub_histogram(
        &mut self,
        base: &mut FloatHistogram,
        other: &FloatHistogram,
        name: &str,
        span: Span,
    ) -> bool {
        self.told(base.sub(other), Combining::Subtraction, name, span)
    }

    fn told<E>(&mut self, outcome: Result<AddOutcome, E>, during: Combining, name: &str, span: Span) -> bool {
        let Ok(outcome) = outcome else {
            self.add(Remark::MixedExponentialCustom, name, span);
            return false;
        };
        if outcome.bounds_reconciled {
            self.add(Remark::BoundsReconciled(during), "", span);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_deduplicated_and_positioned() {
        let mut a = Annotations::default();
        for _ in 0..3 {
            a.add(Remark::NotACounter, "x", Span::new(5, 6));
        }
        a.add(Remark::HistogramIgnoredInAggregation { operator: "max" }, "", Span::new(0, 1));
        let (warnings, infos) = a.render("rate(x[5m])");
        assert_eq!(warnings, ["PromQL warning: this native histogram metric is not a counter: \"x\" (1:6)"]);
        assert_eq!(infos, ["PromQL info: ignored histogram in max aggregation (1:1)"]);
    }
}
