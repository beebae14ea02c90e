//! What the head is full of: the numbers behind `status/tsdb`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::db::Db;
use super::self_metrics as count;
use crate::model::TimestampMs;
use crate::model::labels::{METRIC_NAME, packed_labels};

/// Labels looked at under one lock: commits wait for a millisecond or two, not for all of them.
const LABELS_AT_ONCE: usize = 20_000;

/// Names with numbers, largest first.
pub type Ranking = Vec<(String, u64)>;

/// See the module. Lists are cut at the limit asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadStatus {
    /// Series.
    pub series: u64,
    /// Different labels (name and value).
    pub label_pairs: u64,
    /// Chunks, open ones counted.
    pub chunks: u64,
    /// Time of the oldest sample or a little before; `None` without samples.
    pub min_time: Option<TimestampMs>,
    /// Time of the newest sample; `None` without samples.
    pub max_time: Option<TimestampMs>,
    /// Series of each metric.
    pub series_by_metric: Ranking,
    /// Values of each label name.
    pub values_by_label: Ranking,
    /// Bytes of the values of each label name, counted once for each series.
    pub bytes_by_label: Ranking,
    /// Series of each label, as `name=value`.
    pub series_by_pair: Ranking,
    /// Series made in the last hour (in steps of five minutes, since the start), by job.
    pub series_made_by_job: Ranking,
}

/// Keeps the largest of many.
struct Largest<T> {
    limit: usize,
    heap: BinaryHeap<(Reverse<u64>, T)>,
}

impl<T: Ord> Largest<T> {
    fn new(limit: usize) -> Self {
        Largest { limit, heap: BinaryHeap::new() }
    }

    fn add(&mut self, n: u64, what: impl FnOnce() -> T) {
        if self.heap.len() >= self.limit {
            if self.heap.peek().is_none_or(|least| n <= least.0.0) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push((Reverse(n), what()));
    }

    fn finish(self, show: impl Fn(T) -> String) -> Ranking {
        let mut all: Ranking = self.heap.into_iter().map(|(n, what)| (show(what), n.0)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

/// A label from its packed text, as it is shown.
fn shown(text: &str, with_name: bool) -> String {
    let (name, value) = packed_labels(text).next().map_or(("", ""), |(_, n, v)| (n, v));
    if with_name { format!("{name}={value}") } else { value.to_owned() }
}

impl Db {
    /// Looks at the labels of the head, thousands at a time, so that commits go on between. While the log is replayed chunks and times are those
    /// replayed so far; series that come and go meanwhile may or may not
    /// be counted.
    pub fn head_status(&self, limit: usize) -> HeadStatus {
        let shared = &self.shared;
        let mut status = HeadStatus::default();
        // By number of the name: values, bytes.
        let mut names: Vec<(u64, u64)> = Vec::new();
        let mut metrics: Largest<Arc<str>> = Largest::new(limit);
        let mut pairs: Largest<Arc<str>> = Largest::new(limit);
        let mut from = 0;
        loop {
            let head = shared.read_head();
            let index = &head.labels;
            let metric_name = index.name_number(METRIC_NAME);
            names.resize(names.len().max(index.names().len()), (0, 0));
            for pair in index.pairs_from(from).take(LABELS_AT_ONCE) {
                let series = pair.postings.len();
                if series == 0 {
                    continue;
                }
                if let Some(n) = names.get_mut(pair.name_number() as usize) {
                    n.0 += 1;
                    n.1 += pair.value().len() as u64 * series;
                }
                if Some(pair.name_number()) == metric_name {
                    metrics.add(series, || pair.text.clone());
                }
                pairs.add(series, || pair.text.clone());
            }
            from += LABELS_AT_ONCE;
            if index.pairs_from(from).next().is_some() {
                continue;
            }
            status.series = index.all().len();
            if head.min_t <= head.max_t {
                (status.min_time, status.max_time) = (Some(head.min_t), Some(head.max_t));
            }
            let (mut values, mut bytes) = (Largest::new(limit), Largest::new(limit));
            for (name, n) in index.names().iter().zip(&names).filter(|(_, n)| n.0 > 0) {
                values.add(n.0, || name.text.clone());
                bytes.add(n.1, || name.text.clone());
            }
            status.values_by_label = values.finish(|t| t.to_string());
            status.bytes_by_label = bytes.finish(|t| t.to_string());
            break;
        }
        status.label_pairs = names.iter().map(|n| n.0).sum();
        status.chunks = count::HEAD_CHUNKS.get().unsigned_abs();
        status.series_by_metric = metrics.finish(|t| shown(&t, false));
        status.series_by_pair = pairs.finish(|t| shown(&t, true));
        status.series_made_by_job = shared.cardinality.made_by_job(shared.options.clock.now_ms(), limit);
        status
    }
}
