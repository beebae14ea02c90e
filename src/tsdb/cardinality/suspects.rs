//! Who made the newest series.

use std::collections::{HashMap, VecDeque};

use super::group::{Group, GroupKey, Lists, Scope};
use crate::tsdb::SeriesRef;
use crate::tsdb::head::Head;

/// Newest series that are remembered.
const REMEMBERED: usize = 4096;
/// With fewer of them in a scope they say too little, and its series are counted instead.
const ENOUGH: usize = 64;
/// Series that are counted at most; of larger scopes every so many.
const COUNTED: u64 = 20_000;

/// A series that was made.
#[derive(Clone, Copy, Debug)]
struct Newest {
    series: SeriesRef,
    group: GroupKey,
    target: GroupKey,
    metric: GroupKey,
    job: GroupKey,
}

impl Newest {
    fn is_in(&self, scope: Scope, key: GroupKey) -> bool {
        match scope {
            Scope::TargetMetric => self.group == key,
            Scope::Target => self.target == key,
            Scope::Metric => self.metric == key,
            Scope::Job => self.job == key,
            Scope::Total => true,
        }
    }
}

/// The newest series of the store.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    ring: VecDeque<Newest>,
    /// A series of the group that was found guilty last.
    found: Option<(GroupKey, SeriesRef)>,
}

impl Suspects {
    pub(crate) fn note(&mut self, group: Group<'_>, series: SeriesRef) {
        if self.ring.len() == REMEMBERED {
            self.ring.pop_front();
        }
        self.ring.push_back(Newest {
            series,
            group: group.key(),
            target: Scope::Target.key(group),
            metric: Scope::Metric.key(group),
            job: Scope::Job.key(group),
        });
    }

    /// The group that has most of the newest series of a scope, or, where few are remembered, most series at all. Groups for which `leave_out`
    /// holds do not count.
    pub(crate) fn guilty(
        &mut self,
        head: &Head,
        scope: Scope,
        group: Group<'_>,
        leave_out: impl Fn(GroupKey) -> bool,
    ) -> Option<GroupKey> {
        let key = scope.key(group);
        let mut counts: HashMap<GroupKey, (usize, SeriesRef)> = HashMap::new();
        let mut enough = 0;
        for n in self.ring.iter().filter(|n| n.is_in(scope, key)) {
            enough += 1;
            if !leave_out(n.group) {
                counts.entry(n.group).or_insert((0, n.series)).0 += 1;
            }
        }
        if enough < ENOUGH {
            counts.clear();
            let all = Lists::of(&head.labels, group).members(scope);
            let every = (all.len() / COUNTED).max(1) as usize;
            let mut packed = String::new();
            for slot in all.iter().step_by(every) {
                let Some(s) = head.at(slot) else { continue };
                packed.clear();
                head.labels.packed(&s.pairs, &mut packed);
                let member = Group::of(&packed).key();
                if !leave_out(member) {
                    counts.entry(member).or_insert((0, SeriesRef::new(slot, s.epoch))).0 += 1;
                }
            }
        }
        let most = counts.into_iter().max_by_key(|(key, (n, _))| (*n, *key));
        self.found = most.map(|(key, (_, series))| (key, series));
        self.found.map(|f| f.0)
    }

    /// The packed labels of a series of the group that was found last.
    pub(crate) fn member_of(&self, head: &Head, key: GroupKey) -> Option<String> {
        let (found, series) = self.found?;
        if found != key {
            return None;
        }
        let mut packed = String::new();
        head.labels.packed(&head.get(series)?.pairs, &mut packed);
        Some(packed).filter(|p| Group::of(p).key() == key)
    }
}
