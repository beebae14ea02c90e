//! The patterns that segments keep, for a query.

use std::collections::HashMap;
use std::sync::Arc;

use super::BUCKET_NS;
use crate::logs::partition::PartitionView;
use crate::logs::scan::Selection;
use crate::logs::snapshot::Snapshot;
use crate::model::TimestampNs;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct PatternRequest {
    /// Which streams.
    pub selection: Selection,
    /// From this time on; the bucket it lies in counts as a whole.
    pub start_ns: TimestampNs,
    /// Before this time; the bucket it lies in counts as a whole.
    pub end_ns: TimestampNs,
    /// The steps in which lines are counted, in nanoseconds.
    pub step_ns: i64,
}

/// A pattern of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPattern {
    /// The level of its lines.
    pub level: String,
    /// See [`crate::text::drain::Pattern::line`].
    pub line: String,
    /// The beginnings of steps in nanoseconds, and how many lines came then; in no order, perhaps more than once.
    pub samples: Vec<(TimestampNs, u64)>,
}

/// Places of level and pattern in a section.
type Key = (usize, usize);
/// Beginnings of steps, and how many lines came then.
type Steps = Vec<(TimestampNs, u64)>;

impl Snapshot {
    /// The patterns that segments keep of some streams and a time, and a snapshot of what has none: the lines in memory and
    /// the segments that were written without.
    pub fn patterns(&self, request: &PatternRequest) -> (Vec<FoundPattern>, Snapshot) {
        let streams = self.select(&request.selection);
        let first = request.start_ns.div_euclid(BUCKET_NS);
        let last = request.end_ns.saturating_sub(1).div_euclid(BUCKET_NS);
        let step = request.step_ns.max(1);
        let mut found = Vec::new();
        let mut rest = Vec::new();
        for partition in &self.partitions {
            let mut without = Vec::new();
            for segment in &partition.segments {
                let bounds = segment.bounds();
                if bounds.0 >= request.end_ns || bounds.1 < request.start_ns {
                    continue;
                }
                let Some(section) = segment.patterns() else {
                    without.push(segment.clone());
                    continue;
                };
                let mut of_segment: HashMap<Key, Steps> = HashMap::new();
                let mut slot: Option<(Key, Steps)> = None;
                let wanted = |stream: u32| segment.stream(stream).is_some_and(|s| streams.contains(s));
                section.each(
                    |entry| wanted(entry.stream),
                    |entry, line, bucket, lines| {
                        if bucket < first || bucket > last {
                            return;
                        }
                        let key = (entry.level, line);
                        if slot.as_ref().is_none_or(|(k, _)| *k != key) {
                            if let Some((k, samples)) = slot.take() {
                                of_segment.insert(k, samples);
                            }
                            slot = Some((key, of_segment.remove(&key).unwrap_or_default()));
                        }
                        let time = bucket.saturating_mul(BUCKET_NS).div_euclid(step).saturating_mul(step);
                        if let Some((_, samples)) = &mut slot {
                            match samples.last_mut() {
                                Some(last) if last.0 == time => last.1 += lines,
                                _ => samples.push((time, lines)),
                            }
                        }
                    },
                );
                of_segment.extend(slot);
                found.extend(of_segment.into_iter().filter_map(|((level, line), samples)| {
                    Some(FoundPattern {
                        level: section.levels.get(level)?.clone(),
                        line: section.lines.get(line)?.clone(),
                        samples,
                    })
                }));
            }
            if !without.is_empty() {
                rest.push(Arc::new(PartitionView { day: partition.day, segments: without }));
            }
        }
        // In a fixed order, as what becomes one pattern depends on it.
        found.sort_unstable_by(|a, b| (&a.level, &a.line, &a.samples).cmp(&(&b.level, &b.line, &b.samples)));
        let rest = Snapshot {
            partitions: rest,
            frozen: self.frozen.clone(),
            active: self.active.clone(),
            streams: self.streams.clone(),
        };
        (found, rest)
    }
}
