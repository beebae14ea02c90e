//! Metrics of targets, the scopes that limits are set on, and their sizes.

use std::collections::{HashMap, HashSet};

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::SeriesLimits;
use crate::model::labels::{METRIC_NAME, packed_labels};
use crate::tsdb::head::Head;
use crate::tsdb::label_index::{LabelIndex, Pair};
use crate::tsdb::postings::Postings;

/// Series of a group that are looked at to find the label that explodes.
const LOOKED_AT: usize = 2_000;
/// Values of it that are shown, and their length in characters.
const EXAMPLES: usize = 3;
const EXAMPLE_CHARS: usize = 40;

/// A hash of what makes a group or a scope.
pub(crate) type GroupKey = u64;

/// A metric of a target. Parts that a series does not have are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub metric: &'a str,
    pub job: &'a str,
    pub instance: &'a str,
}

fn hash(parts: &[&str]) -> GroupKey {
    let mut text = String::with_capacity(96);
    for p in parts {
        crate::model::labels::push_part(&mut text, p);
    }
    xxh3_64(text.as_bytes())
}

impl<'a> Group<'a> {
    /// The group of a series, given its labels in packed form.
    pub(crate) fn of(packed: &'a str) -> Self {
        let mut group = Group::default();
        for (_, name, value) in packed_labels(packed) {
            let part = match name {
                METRIC_NAME => &mut group.metric,
                "job" => &mut group.job,
                "instance" => &mut group.instance,
                _ => continue,
            };
            *part = value;
        }
        group
    }

    pub(crate) fn key(self) -> GroupKey {
        Scope::TargetMetric.key(self)
    }
}

/// What a limit is set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    TargetMetric,
    Target,
    Metric,
    Job,
    Total,
}

impl Scope {
    /// All of them, narrow ones first: they name the guilty one best.
    pub(crate) const ALL: [Scope; 5] = [Scope::TargetMetric, Scope::Target, Scope::Metric, Scope::Job, Scope::Total];

    pub(crate) fn limit(self, limits: &SeriesLimits) -> u64 {
        match self {
            Scope::TargetMetric => limits.target_metric,
            Scope::Target => limits.target,
            Scope::Metric => limits.metric,
            Scope::Job => limits.job,
            Scope::Total => limits.total,
        }
    }

    /// The word for its limit, as in the configuration.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Scope::TargetMetric => "series_per_target_metric",
            Scope::Target => "series_per_target",
            Scope::Metric => "series_per_metric",
            Scope::Job => "series_per_job",
            Scope::Total => "series",
        }
    }

    /// Whether a group has such a scope: series without `job` and `instance` belong to no target.
    pub(crate) fn applies(self, group: Group<'_>) -> bool {
        match self {
            Scope::TargetMetric | Scope::Target => !group.job.is_empty() && !group.instance.is_empty(),
            Scope::Job => !group.job.is_empty(),
            Scope::Metric | Scope::Total => true,
        }
    }

    pub(crate) fn key(self, group: Group<'_>) -> GroupKey {
        let Group { metric: m, job: j, instance: i } = group;
        match self {
            Scope::TargetMetric => hash(&[m, j, i]),
            Scope::Target => hash(&[j, i]),
            Scope::Metric => hash(&[m]),
            Scope::Job => hash(&[j]),
            Scope::Total => 0,
        }
    }
}

/// The posting lists of the labels that make a group.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    index: &'a LabelIndex,
    metric: Option<&'a Postings>,
    job: Option<&'a Postings>,
    instance: Option<&'a Postings>,
}

impl<'a> Lists<'a> {
    pub(crate) fn of(index: &'a LabelIndex, group: Group<'_>) -> Self {
        let list = |name: &str, value: &str| index.find(name, value).map(|p| &p.postings);
        let (metric, job) = (list(METRIC_NAME, group.metric), list("job", group.job));
        Lists { index, metric, job, instance: list("instance", group.instance) }
    }

    /// The lists that make a scope, `None` where nobody has the label yet.
    fn of_scope(&self, scope: Scope) -> Vec<Option<&'a Postings>> {
        match scope {
            Scope::TargetMetric => vec![self.instance, self.metric, self.job],
            Scope::Target => vec![self.instance, self.job],
            Scope::Metric => vec![self.metric],
            Scope::Job => vec![self.job],
            Scope::Total => vec![],
        }
    }

    /// The size of a scope, if it is `from` at least. Lists are intersected only if the shortest is that long.
    pub(crate) fn size_from(&self, scope: Scope, from: u64) -> Option<u64> {
        let lists = match scope {
            Scope::Total => return Some(self.index.all().len()).filter(|n| *n >= from),
            Scope::Metric | Scope::Job | Scope::Target | Scope::TargetMetric => self.of_scope(scope),
        };
        let shortest = lists.iter().map(|l| l.map_or(0, Postings::len)).min().unwrap_or(0);
        if shortest < from || lists.len() == 1 {
            return Some(shortest).filter(|n| *n >= from);
        }
        Some(self.members(scope).len()).filter(|n| *n >= from)
    }

    /// The series of a scope.
    pub(crate) fn members(&self, scope: Scope) -> RoaringBitmap {
        if scope == Scope::Total {
            return self.index.all().clone();
        }
        let Some(mut lists) = self.of_scope(scope).into_iter().collect::<Option<Vec<&Postings>>>() else {
            return RoaringBitmap::new();
        };
        lists.sort_by_key(|l| l.len());
        let mut all = RoaringBitmap::new();
        if let Some((first, others)) = lists.split_first() {
            first.add_to(&mut all);
            others.iter().for_each(|l| l.intersect(&mut all));
        }
        all
    }
}

/// The label of a group that has most values.
pub(crate) struct Exploding {
    /// Its name; empty if no label has more than one value.
    pub label: String,
    /// How many values it has among the series looked at.
    pub values: usize,
    /// A few of them.
    pub examples: Vec<String>,
}

/// Looks for the label whose values make a group large.
pub(crate) fn exploding_label(head: &Head, group: Group<'_>) -> Exploding {
    let mut values: HashMap<&str, HashSet<u32>> = HashMap::new();
    let members = Lists::of(&head.labels, group).members(Scope::TargetMetric);
    for slot in members.iter().rev().take(LOOKED_AT) {
        for id in head.at(slot).map_or(&[][..], |s| &s.pairs) {
            let Some(pair) = head.labels.pair(*id) else { continue };
            values.entry(head.labels.name_of(pair)).or_default().insert(*id);
        }
    }
    let most = values.into_iter().max_by(|a, b| a.1.len().cmp(&b.1.len()).then_with(|| b.0.cmp(a.0)));
    let Some((label, ids)) = most.filter(|(_, ids)| ids.len() > 1) else {
        return Exploding { label: String::new(), values: 0, examples: Vec::new() };
    };
    let mut examples: Vec<&str> = ids.iter().filter_map(|id| head.labels.pair(*id)).map(Pair::value).collect();
    examples.sort_unstable();
    let examples = examples.into_iter().take(EXAMPLES).map(|v| v.chars().take(EXAMPLE_CHARS).collect()).collect();
    Exploding { label: label.to_owned(), values: ids.len(), examples }
}
