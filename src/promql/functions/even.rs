//! Series scraped at an even pace, asked at steps that are a multiple of it: all windows hold the same number of samples, and from one
//! step to the next they move by the same number. Where that is so nothing has to be searched.

use std::ops::Range;

use crate::promql::selector::Windows;
use crate::promql::series_set::Steps;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Even {
    /// The steps whose windows lie inside the series; at the others a window reaches over its begin or end.
    pub(super) steps: Range<usize>,
    /// The first sample in the window of the first of these steps.
    pub(super) first: usize,
    /// How many samples each window holds.
    pub(super) samples: usize,
    /// By how many samples the window moves from step to step.
    pub(super) stride: usize,
}

impl Even {
    /// What is even about a series with samples at `times`; `None` if nothing is.
    pub(super) fn of(times: &[i64], windows: &Windows, steps: &Steps) -> Option<Even> {
        let (first, second) = (*times.first()?, *times.get(1)?);
        let pace = second.checked_sub(first).filter(|p| *p > 0)?;
        let stride = steps.step / pace;
        // Two steps tell whether the window moves at all: with `@` it does not.
        let (here, next) = (windows.at(steps.start), windows.at(steps.time(1)));
        let moves = next.to.checked_sub(here.to)? == steps.step && next.from.checked_sub(here.from)? == steps.step;
        if steps.count < 2 || !moves || stride < 1 || stride * pace != steps.step {
            return None;
        }
        let uneven = times.windows(2).fold(0, |all, w| match w {
            [a, b] => all | (b.wrapping_sub(*a) ^ pace),
            _ => all,
        });
        if uneven != 0 {
            return None;
        }
        // The samples that the first step's window would hold if the series went on for ever: from `left` up to before `right`.
        let left = here.from.checked_sub(first)?.div_euclid(pace) + 1;
        let right = here.to.checked_sub(first)?.div_euclid(pace) + 1;
        let begin = if left >= 0 { 0 } else { (-left + stride - 1) / stride };
        let last = (times.len() as i64 - right).div_euclid(stride);
        let end = (last + 1).clamp(0, steps.count as i64);
        let samples = usize::try_from(right - left).ok().filter(|n| *n > 0)?;
        if begin >= end {
            return None;
        }
        Some(Even {
            steps: usize::try_from(begin).ok()?..usize::try_from(end).ok()?,
            first: usize::try_from(left + begin * stride).ok()?,
            samples,
            stride: usize::try_from(stride).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::ast::RangeExtension;
    use crate::promql::engine::TimeShift;

    /// The windows found by arithmetic are those found by looking.
    #[test]
    fn windows_are_those_that_a_search_finds() {
        let times: Vec<i64> = (0..50).map(|k| 1_003 + k * 15).collect();
        for range in [1, 14, 15, 16, 60, 700, 2000] {
            for start in (600..2000).step_by(7) {
                for step in [15, 30, 45, 20] {
                    let windows = Windows::new(range, TimeShift::none(), RangeExtension::None, 300);
                    let steps = Steps { start, step, count: 40 };
                    let Some(even) = Even::of(&times, &windows, &steps) else { continue };
                    assert!(step % 15 == 0);
                    for (k, i) in even.steps.clone().enumerate() {
                        let w = windows.at(steps.time(i));
                        let inside: Vec<usize> =
                            (0..times.len()).filter(|j| times[*j] > w.from && times[*j] <= w.to).collect();
                        let first = even.first + k * even.stride;
                        assert_eq!(
                            inside,
                            (first..first + even.samples).collect::<Vec<_>>(),
                            "{range} {start} {step} {i}"
                        );
                    }
                    // The neighbours reach over the ends, or hold nothing at all.
                    let full = |i: usize| {
                        let w = windows.at(steps.time(i));
                        times.iter().filter(|t| **t > w.from && **t <= w.to).count() == even.samples
                    };
                    assert!(
                        (0..steps.count).filter(|i| !even.steps.contains(i)).filter(|i| full(*i)).count() <= 80 / 15
                    );
                }
            }
        }
    }
}
