//! `and`, `or`, `unless`.

use std::collections::HashMap;

use crate::model::Labels;
use crate::promql::ast::{BinaryOp, VectorMatching};
use crate::promql::binary::matching::signature;
use crate::promql::series_set::{SeriesSet, StepValues};

/// For each match group, at which steps any of its series has a value.
fn presence(set: &SeriesSet, keys: &[Labels]) -> HashMap<Labels, Vec<bool>> {
    let mut out: HashMap<Labels, Vec<bool>> = HashMap::new();
    for (s, key) in set.series.iter().zip(keys) {
        let steps = out.entry(key.clone()).or_insert_with(|| vec![false; s.values.len()]);
        for (i, there) in steps.iter_mut().enumerate() {
            *there |= s.values.is_present(i);
        }
    }
    out
}

fn keep_where(values: &mut StepValues, keep: impl Fn(usize) -> bool) {
    for i in 0..values.len() {
        if !keep(i) {
            values.clear(i);
        }
    }
}

/// Applies a set operator; other operators give the left side back.
pub fn set_operation(op: BinaryOp, left: SeriesSet, right: SeriesSet, matching: &VectorMatching) -> SeriesSet {
    let keys = |set: &SeriesSet| -> Vec<Labels> { set.series.iter().map(|s| signature(&s.labels, matching)).collect() };
    let (left_keys, right_keys) = (keys(&left), keys(&right));
    let mut out = left;
    match op {
        BinaryOp::And | BinaryOp::Unless => {
            let there = presence(&right, &right_keys);
            for (s, key) in out.series.iter_mut().zip(&left_keys) {
                let steps = there.get(key);
                let at = |i: usize| steps.is_some_and(|p| p.get(i).copied().unwrap_or(false));
                keep_where(&mut s.values, |i| at(i) == (op == BinaryOp::And));
            }
        }
        BinaryOp::Or => {
            let there = presence(&out, &left_keys);
            for (mut s, key) in right.series.into_iter().zip(right_keys) {
                if let Some(steps) = there.get(&key) {
                    keep_where(&mut s.values, |i| !steps.get(i).copied().unwrap_or(false));
                }
                out.series.push(s);
            }
        }
        _ => {}
    }
    out.series.retain(|s| s.values.any_present());
    out
}
