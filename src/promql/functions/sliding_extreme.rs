//! `min_over_time` and `max_over_time` of floats, at a constant cost for each sample however long the windows are.

use std::collections::VecDeque;
use std::ops::Range;

use crate::model::Column;
use crate::promql::functions::even::Even;
use crate::promql::selector::Windows;
use crate::promql::series_set::{StepValues, Steps};

/// The extreme of every window of a series of floats.
pub(super) fn sliding_extreme(column: &Column, windows: &Windows, steps: &Steps, max: bool, out: &mut StepValues) {
    let any_nan = column.v.iter().fold(false, |any, v| any | v.is_nan());
    let even = if any_nan { None } else { Even::of(&column.t, windows, steps) };
    let Some(even) = even else {
        return queued(column, windows, steps, 0..steps.count, max, out);
    };
    queued(column, windows, steps, 0..even.steps.start, max, out);
    if max {
        in_blocks(&column.v, &even, |a, b| if b > a { b } else { a }, out);
    } else {
        in_blocks(&column.v, &even, |a, b| if b < a { b } else { a }, out);
    }
    queued(column, windows, steps, even.steps.end..steps.count, max, out);
}

/// Any windows: the queue holds the indexes of those samples that no later one beats.
fn queued(column: &Column, windows: &Windows, steps: &Steps, which: Range<usize>, max: bool, out: &mut StepValues) {
    let (t, v) = (&column.t, &column.v);
    let mut queue: VecDeque<usize> = VecDeque::new();
    let (mut l, mut r) = (0usize, 0usize);
    if which.start > 0 && !which.is_empty() {
        let from = windows.at(steps.time(which.start)).from;
        l = t.partition_point(|t| *t <= from);
        r = l;
    }
    for i in which {
        let w = windows.at(steps.time(i));
        if l > 0 && t[l - 1] > w.from {
            (l, r) = (0, 0);
            queue.clear();
        }
        while r < t.len() && t[r] <= w.to {
            // NaN counts only where there is nothing else.
            if !v[r].is_nan() {
                while queue.pop_back_if(|k| if max { v[*k] <= v[r] } else { v[*k] >= v[r] }).is_some() {}
                queue.push_back(r);
            }
            r += 1;
        }
        while l < r && t[l] <= w.from {
            l += 1;
        }
        while queue.pop_front_if(|k| *k < l).is_some() {}
        if l < r {
            out.set_float(i, queue.front().map_or(f64::NAN, |k| v[*k]));
        }
    }
}

/// Windows of one length, after van Herk ("A fast algorithm for local minimum and maximum filters", 1992): in blocks as long as a window
/// the best value from the block's begin to each sample, and from each sample to the block's end. A window is the end of one block
/// and the begin of the next.
fn in_blocks(v: &[f64], even: &Even, better: impl Fn(f64, f64) -> f64, out: &mut StepValues) {
    let n = even.samples;
    let seen = (even.steps.len() - 1) * even.stride + n;
    let Some(v) = v.get(even.first..even.first + seen) else { return };
    let Some(places) = out.floats.get_mut(even.steps.clone()) else { return };
    let (mut from_begin, mut to_end) = (v.to_vec(), v.to_vec());
    for block in from_begin.chunks_mut(n) {
        let mut best = block.first().copied().unwrap_or(f64::NAN);
        for x in block {
            best = better(best, *x);
            *x = best;
        }
    }
    for block in to_end.chunks_mut(n) {
        let mut best = block.last().copied().unwrap_or(f64::NAN);
        for x in block.iter_mut().rev() {
            best = better(best, *x);
            *x = best;
        }
    }
    let ends = to_end.iter().step_by(even.stride);
    let begins = from_begin.get(n - 1..).unwrap_or_default().iter().step_by(even.stride);
    for ((place, end), begin) in places.iter_mut().zip(ends).zip(begins) {
        *place = better(*end, *begin);
    }
}
