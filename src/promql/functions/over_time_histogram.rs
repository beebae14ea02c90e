//! `sum_over_time` and `avg_over_time` of native histograms.

use crate::model::FloatHistogram;
use crate::model::histogram::{HistogramAccumulator, IncompatibleHistograms};
use crate::promql::annotations::{Combining, Remark};
use crate::promql::functions::range::{Sample, Speaker, View};

fn fold(
    view: &View<'_>,
    speaker: &mut Speaker<'_>,
    add: impl Fn(&mut HistogramAccumulator, &FloatHistogram) -> Result<(), IncompatibleHistograms>,
) -> Option<HistogramAccumulator> {
    if !view.v.is_empty() {
        speaker.say(Remark::MixedFloatsHistograms);
        return None;
    }
    let (first, rest) = view.h.split_first()?;
    let mut acc = HistogramAccumulator::new(first);
    for h in rest {
        if add(&mut acc, h).is_err() {
            speaker.say(Remark::MixedExponentialCustom);
            return None;
        }
    }
    speaker.notes.add_outcome(acc.outcome(), Combining::Aggregation, speaker.span);
    Some(acc)
}

pub(super) fn sum(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    fold(view, speaker, HistogramAccumulator::add).map(|acc| acc.into_sum().into())
}

pub(super) fn avg(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    fold(view, speaker, HistogramAccumulator::add_for_mean).map(|acc| acc.into_mean().into())
}
