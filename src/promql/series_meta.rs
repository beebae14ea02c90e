//! What is known of series before their values: labels, and whether the metric's name is to go.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::model::labels::METRIC_NAME;
use crate::model::{LabelTable, Labels};
use crate::promql::series_set::{SeriesSet, is_metadata_label, without_metadata};

/// Which series are to lose name, type and unit in the end.
#[derive(Clone, Debug)]
enum Dropped {
    All,
    None,
    Each(Arc<[bool]>),
}

#[derive(Clone, Debug)]
enum Source {
    /// Label sets as they are.
    Built(Arc<[Labels]>),
    /// As a store keeps them; label sets are made of them when they are shown.
    Table {
        table: Arc<LabelTable>,
        /// The places of metric names.
        names: Range<u32>,
        /// Name, type and unit are off.
        stripped: bool,
    },
}

/// See the module. Clones share the labels.
#[derive(Clone, Debug)]
pub struct SeriesMeta {
    source: Source,
    dropped: Dropped,
}

impl SeriesMeta {
    /// Of what a store found.
    pub fn of_table(table: Arc<LabelTable>) -> Self {
        let names = table.places_of(METRIC_NAME);
        SeriesMeta { source: Source::Table { table, names, stripped: false }, dropped: Dropped::None }
    }

    /// Of a finished set.
    pub fn of_set(set: &SeriesSet) -> Self {
        SeriesMeta {
            source: Source::Built(set.series.iter().map(|s| s.labels.clone()).collect()),
            dropped: Dropped::Each(set.series.iter().map(|s| s.drop_name).collect()),
        }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Built(labels) => labels.len(),
            Source::Table { table, .. } => table.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of series `i`.
    pub fn labels(&self, i: usize) -> Labels {
        match &self.source {
            Source::Built(labels) => labels.get(i).cloned().unwrap_or_default(),
            Source::Table { table, stripped: false, .. } => table.labels(i),
            Source::Table { table, .. } => without_metadata(&table.labels(i)),
        }
    }

    /// Whether series `i` is to lose its name.
    pub fn drops_name(&self, i: usize) -> bool {
        match &self.dropped {
            Dropped::All => true,
            Dropped::None => false,
            Dropped::Each(all) => all.get(i).copied().unwrap_or(false),
        }
    }

    /// The metric's name of series `i`, empty if it has none.
    pub fn metric_name(&self, i: usize) -> &str {
        match &self.source {
            Source::Built(labels) => labels.get(i).map_or("", Labels::metric_name),
            Source::Table { table, names, stripped: false } => table.value(i, names),
            Source::Table { .. } => "",
        }
    }

    /// The value of a label of series `i`, empty if it has none.
    pub fn value(&self, i: usize, name: &str) -> &str {
        match &self.source {
            Source::Built(labels) => labels.get(i).map_or("", |l| l.value(name)),
            Source::Table { stripped: true, .. } if is_metadata_label(name) => "",
            Source::Table { table, .. } => table.value(i, &table.places_of(name)),
        }
    }

    /// Marks all names for removal. They stay on until the series are collected, because only then it shows which collide.
    pub fn drop_names(&mut self) {
        self.dropped = Dropped::All;
    }

    /// Takes the marked names off. If that makes two series one, nothing is changed and the answer is `false`.
    #[must_use]
    pub fn strip(&mut self) -> bool {
        match (&mut self.source, &self.dropped) {
            (Source::Table { .. }, Dropped::None) => {}
            (Source::Table { table, stripped, .. }, Dropped::All) => {
                if !table.differ_without(is_metadata_label) {
                    return false;
                }
                *stripped = true;
            }
            (Source::Built(labels), Dropped::None) => return all_differ(labels),
            _ => {
                let stripped: Arc<[Labels]> = (0..self.len())
                    .map(|i| if self.drops_name(i) { without_metadata(&self.labels(i)) } else { self.labels(i) })
                    .collect();
                if !all_differ(&stripped) {
                    return false;
                }
                self.source = Source::Built(stripped);
            }
        }
        self.dropped = Dropped::None;
        true
    }

    /// Groups the series by those labels whose name `keep` accepts: the groups' labels in order of appearance, and the number of the
    /// group of each series.
    pub fn grouped(&self, keep: impl Fn(&str) -> bool) -> (Vec<Labels>, Vec<u32>) {
        match &self.source {
            Source::Built(labels) => group_built(labels.iter(), keep),
            Source::Table { table, stripped, .. } => {
                table.grouped(|name| keep(name) && !(*stripped && is_metadata_label(name)))
            }
        }
    }
}

/// Groups label sets by those of their labels whose name `keep` accepts.
pub(crate) fn group_built<'a>(
    all: impl Iterator<Item = &'a Labels>,
    keep: impl Fn(&str) -> bool,
) -> (Vec<Labels>, Vec<u32>) {
    let mut index: HashMap<Labels, u32> = HashMap::new();
    let mut groups = Vec::new();
    let of_series = all
        .map(|labels| {
            *index.entry(labels.filtered(&keep)).or_insert_with_key(|key| {
                groups.push(key.clone());
                (groups.len() - 1) as u32
            })
        })
        .collect();
    (groups, of_series)
}

fn all_differ(labels: &[Labels]) -> bool {
    let mut seen = HashSet::with_capacity(labels.len());
    labels.iter().all(|l| seen.insert(l.packed()))
}
