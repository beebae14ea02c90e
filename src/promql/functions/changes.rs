//! `changes`, `resets`: how often something happens from one sample to the next.

use std::sync::Arc;

use crate::model::FloatHistogram;
use crate::promql::ast::RangeExtension;
use crate::promql::functions::range::{Sample, View};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Change,
    Reset,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Float(f64, (i64, i64)),
    Histogram(&'a Arc<FloatHistogram>, (i64, i64)),
}

/// The number of events in the window. With `anchored` the sample before the range is compared, too.
pub(super) fn count(view: &View<'_>, event: Event) -> Option<Sample> {
    let anchored = view.extension == RangeExtension::Anchored;
    let (mut i, mut j) = (0, 0);
    let mut previous: Option<At<'_>> = None;
    let mut before_range: Option<At<'_>> = None;
    let (mut n, mut inside) = (0u32, false);
    while i < view.t.len() || j < view.ht.len() {
        let float_next = j >= view.ht.len() || (i < view.t.len() && view.t[i] < view.ht[j]);
        let (t, now) = if float_next {
            i += 1;
            let start = view.start.get(i - 1).copied().unwrap_or(0);
            (view.t[i - 1], At::Float(view.v[i - 1], (start, view.t[i - 1])))
        } else {
            j += 1;
            let start = view.hstart.get(j - 1).copied().unwrap_or(0);
            (view.ht[j - 1], At::Histogram(&view.h[j - 1], (start, view.ht[j - 1])))
        };
        if anchored && t <= view.window.start {
            before_range = Some(now);
            continue;
        }
        if let (Some(p), None) = (before_range, previous) {
            previous = Some(p);
        }
        inside = true;
        if let Some(p) = previous {
            n += u32::from(happened(p, now, event));
        }
        previous = Some(now);
    }
    inside.then(|| Sample::Float(f64::from(n)))
}

fn happened(before: At<'_>, now: At<'_>, event: Event) -> bool {
    match (before, now) {
        (At::Float(a, s), At::Float(b, t)) => match event {
            Event::Change => a != b && !(a.is_nan() && b.is_nan()),
            Event::Reset => b < a || super::rate::start_says_reset(s, t),
        },
        (At::Histogram(a, s), At::Histogram(b, t)) => match event {
            Event::Change => !b.same_observations(a),
            Event::Reset => super::rate::start_says_reset(s, t) || b.detect_reset(a),
        },
        (At::Float(..), At::Histogram(..)) | (At::Histogram(..), At::Float(..)) => true,
    }
}
