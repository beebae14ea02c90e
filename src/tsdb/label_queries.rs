//! Questions about labels, metadata, exemplars and the head as a whole.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::db::Db;
use super::error::Error;
use super::label_index::{LabelIndex, Pair};
use super::matching::matching;
use super::querier;
use crate::model::{Exemplar, LabelTable, Labels, Matcher, Metadata, TimestampMs};

/// The head in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series.
    pub series: u64,
    /// Chunks, open ones counted.
    pub chunks: u64,
    /// Samples.
    pub samples: u64,
    /// Time of the oldest sample or a little before; `None` without samples.
    pub min_time: Option<TimestampMs>,
    /// Time of the newest sample; `None` without samples.
    pub max_time: Option<TimestampMs>,
    /// Bytes of the write-ahead log on disk.
    pub wal_bytes: u64,
    /// Different labels (name and value).
    pub label_pairs: u64,
}

impl Db {
    /// The label names of the series that satisfy all matchers, in parts of the store that overlap `[mint, maxt]`. Sorted.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        mint: TimestampMs,
        maxt: TimestampMs,
    ) -> Result<Vec<String>, Error> {
        self.shared.require_replayed(maxt)?;
        let mut names = BTreeSet::new();
        self.each_index(matchers, mint, maxt, |index, found| {
            for n in index.names() {
                if found.map_or(!n.having.is_empty(), |f| !f.is_disjoint(&n.having)) && !names.contains(&*n.text) {
                    names.insert(n.text.to_string());
                }
            }
        });
        Ok(names.into_iter().collect())
    }

    /// The values of a label of the series that satisfy all matchers, in parts of the store that overlap `[mint, maxt]`. Sorted.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        mint: TimestampMs,
        maxt: TimestampMs,
    ) -> Result<Vec<String>, Error> {
        self.shared.require_replayed(maxt)?;
        let mut values: Vec<String> = Vec::new();
        self.each_index(matchers, mint, maxt, |index, found| {
            let Some(n) = index.name(name) else { return };
            let from = values.len();
            let carried = |p: &&Pair| match found {
                None => !p.postings.is_empty(),
                Some(f) => p.postings.meets(f),
            };
            values
                .extend(n.pairs.iter().filter_map(|id| index.pair(*id)).filter(carried).map(|p| p.value().to_owned()));
            if from > 0 {
                // What several blocks know is kept once, so that the memory does not grow with their number.
                values.sort_unstable();
                values.dedup();
            }
        });
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// The labels of the series that satisfy all matchers of at least one set and have samples in `[mint, maxt]`.
    pub fn series(&self, sets: &[&[Matcher]], mint: TimestampMs, maxt: TimestampMs) -> Result<LabelTable, Error> {
        self.shared.require_replayed(maxt)?;
        querier::series(&self.shared, sets, mint, maxt)
    }

    /// Gives each label index that overlaps the range, with the series that match (`None` if there are no matchers: all).
    fn each_index(
        &self,
        matchers: &[Matcher],
        mint: TimestampMs,
        maxt: TimestampMs,
        mut each: impl FnMut(&LabelIndex, Option<&RoaringBitmap>),
    ) {
        let blocks = {
            let head = self.shared.read_head();
            if head.max_t >= mint && maxt >= head.visible_from.max(head.min_t) {
                let found = (!matchers.is_empty())
                    .then(|| matching(&head.labels, matchers, |id| head.at(id).map_or(&[][..], |s| &s.pairs)));
                each(&head.labels, found.as_ref());
            }
            self.shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect::<Vec<_>>()
        };
        for b in blocks {
            let Some(index) = self.shared.index_of(&b) else { continue };
            let found = (!matchers.is_empty()).then(|| matching(&index.labels, matchers, |id| index.pairs(id)));
            each(&index.labels, found.as_ref());
        }
    }

    /// What is known so far about metric families, one or all, at most `limit`, in order of names; of each the newest version first.
    pub fn metadata(&self, metric: Option<&str>, limit: usize) -> Vec<(String, Vec<Metadata>)> {
        self.shared.lock_metadata().get(metric, limit)
    }

    /// The exemplars in `[mint, maxt]` of the series that satisfy all matchers of at least one set, in order of labels and time.
    pub fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        mint: TimestampMs,
        maxt: TimestampMs,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, Error> {
        self.shared.require_replayed(TimestampMs::MAX)?;
        let head = self.shared.read_head();
        let mut found = RoaringBitmap::new();
        for matchers in sets {
            found |= matching(&head.labels, matchers, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
        }
        let mut by_series: BTreeMap<u32, Vec<Exemplar>> = BTreeMap::new();
        let exemplars = self.shared.lock_exemplars();
        for (r, e) in exemplars.all().iter().filter(|(_, e)| e.t >= mint && e.t <= maxt) {
            if found.contains(r.slot()) && head.get(*r).is_some() {
                let e = Exemplar { labels: e.labels.clone(), value: e.value, timestamp: Some(e.t) };
                by_series.entry(r.slot()).or_default().push(e);
            }
        }
        drop(exemplars);
        let mut out: Vec<(Labels, Vec<Exemplar>)> = by_series
            .into_iter()
            .map(|(slot, list)| {
                let mut packed = String::new();
                head.labels.packed(head.at(slot).map_or(&[][..], |s| &s.pairs), &mut packed);
                (Labels::from_packed(&packed), list)
            })
            .collect();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(out)
    }

    /// Counts what is in the head; looks at each series.
    pub fn head_stats(&self) -> Result<HeadStats, Error> {
        let wal_bytes = self.shared.wal.size_bytes()?;
        let head = self.shared.read_head();
        let mut stats = HeadStats {
            series: head.labels.all().len(),
            wal_bytes,
            label_pairs: head.labels.names().iter().map(|n| n.pairs.len() as u64).sum(),
            ..HeadStats::default()
        };
        if head.min_t <= head.max_t {
            (stats.min_time, stats.max_time) = (Some(head.min_t), Some(head.max_t));
        }
        for s in head.labels.all().iter().filter_map(|slot| head.at(slot)) {
            stats.chunks += s.chunk_count() as u64;
            stats.samples += s.sample_count();
        }
        Ok(stats)
    }
}
