//! Values between two samples, for `smoothed`.

use crate::model::FloatHistogram;
use crate::promql::annotations::{Annotations, Combining, Remark};
use crate::text::span::Span;

/// The value at `t` on the line through two samples. A counter that fell is taken to have started from 0.
pub(crate) fn float((t1, v1): (i64, f64), (t2, v2): (i64, f64), t: i64, is_counter: bool) -> f64 {
    let v1 = if is_counter && v2 < v1 { 0.0 } else { v1 };
    v1 + (v2 - v1) * (t - t1) as f64 / (t2 - t1) as f64
}

/// The same for histograms; `None`, with a remark, where the two do not fit together.
pub(crate) fn histogram(
    (t1, h1): (i64, &FloatHistogram),
    (t2, h2): (i64, &FloatHistogram),
    t: i64,
    is_counter: bool,
    (name, span): (&str, Span),
    notes: &mut Annotations,
) -> Option<FloatHistogram> {
    if t == t1 {
        return Some(h1.clone());
    }
    if t == t2 {
        return Some(h2.clone());
    }
    let fraction = (t - t1) as f64 / (t2 - t1) as f64;
    let mut out = h2.clone();
    if is_counter && h2.detect_reset(h1) {
        out.scale(fraction);
        return Some(out);
    }
    for (subtract, during) in [(true, Combining::Subtraction), (false, Combining::Addition)] {
        let outcome = if subtract { out.sub(h1) } else { out.add(h1) };
        match outcome {
            Err(_) => {
                notes.add(Remark::MixedExponentialCustom, name, span);
                return None;
            }
            Ok(o) if o.bounds_reconciled => notes.add(Remark::BoundsReconciled(during), "", span),
            Ok(_) => {}
        }
        if subtract {
            out.scale(fraction);
        }
    }
    Some(out)
}
