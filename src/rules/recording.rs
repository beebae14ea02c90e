//! One evaluation of a recording rule.

use std::collections::HashSet;

use crate::model::labels::METRIC_NAME;
use crate::rules::interfaces::InstantSample;
use crate::rules::spec::RecordingSpec;

/// Gives a query's result the rule's name and labels. Two results with the same labels afterwards, or more than the
/// limit, fail the rule: nothing is recorded.
pub fn record(
    spec: &RecordingSpec,
    result: Vec<InstantSample>,
    limit: Option<usize>,
) -> Result<Vec<InstantSample>, String> {
    let mut seen = HashSet::with_capacity(result.len());
    let mut out = Vec::with_capacity(result.len());
    for mut sample in result {
        let mut b = sample.labels.to_builder();
        b.set(METRIC_NAME, spec.name.as_str());
        for (name, value) in &spec.labels {
            b.set(name, value.as_str());
        }
        sample.labels = b.build();
        if !seen.insert(sample.labels.clone()) {
            return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
        }
        out.push(sample);
    }
    match limit {
        Some(limit) if out.len() > limit => Err(format!("exceeded limit of {limit} with {} series", out.len())),
        _ => Ok(out),
    }
}
