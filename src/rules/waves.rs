//! Which rules of a group may be evaluated at once. Rules of one wave neither read nor write what another of them writes; a rule that reads
//! what an earlier one writes comes in a later wave, and so does one that writes what an earlier one reads, so that every rule sees what it
//! would see if all were evaluated one after the other.

use std::collections::{BTreeMap, HashMap};

use crate::model::Matcher;
use crate::model::labels::METRIC_NAME;
use crate::promql::ast::selectors;
use crate::rules::alerting::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE};
use crate::rules::file::GroupKind;
use crate::rules::spec::{AlertText, GroupSpec, RuleSpec};

/// What a rule reads of the metrics store.
enum Reads {
    /// Series that satisfy one of these lists of matchers.
    Selected(Vec<Vec<Matcher>>),
    /// It cannot be said beforehand.
    Anything,
}

/// What a rule writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Writes<'a> {
    Series(&'a str),
    Alert(&'a str),
}

/// The rules of a group by number, wave after wave; inside a wave in order.
pub fn waves(spec: &GroupSpec) -> Vec<Vec<usize>> {
    let reads: Vec<Reads> = spec.rules.iter().map(|r| reads(r, spec.kind)).collect();
    let mut writers: BTreeMap<Writes<'_>, Vec<usize>> = BTreeMap::new();
    let mut by_name: HashMap<&str, Vec<Writes<'_>>> = HashMap::new();
    for (i, rule) in spec.rules.iter().enumerate() {
        let what = writes(rule);
        let numbers = writers.entry(what).or_default();
        if numbers.is_empty() {
            for name in what.metric_names() {
                by_name.entry(name).or_default().push(what);
            }
        }
        numbers.push(i);
    }
    // For each rule the earlier ones that it must come after.
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); spec.rules.len()];
    let mut order = |a: usize, b: usize| {
        let (first, second) = (a.min(b), a.max(b));
        if first != second
            && let Some(list) = after.get_mut(second)
        {
            list.push(first);
        }
    };
    for numbers in writers.values() {
        for pair in numbers.windows(2) {
            if let [a, b] = pair {
                order(*a, *b);
            }
        }
    }
    for (reader, reads) in reads.iter().enumerate() {
        match reads {
            Reads::Anything => (0..spec.rules.len()).for_each(|other| order(reader, other)),
            Reads::Selected(lists) => {
                for list in lists {
                    let name = list.iter().find(|m| m.name() == METRIC_NAME && m.op() == crate::model::MatchOp::Equal);
                    // A name that is written down is looked up, so that thousands of rules are no square of thousands.
                    let candidates: Vec<Writes<'_>> = match name {
                        Some(m) => by_name.get(m.value()).cloned().unwrap_or_default(),
                        None => writers.keys().copied().collect(),
                    };
                    for what in candidates.into_iter().filter(|w| w.may_satisfy(list)) {
                        for writer in writers.get(&what).into_iter().flatten() {
                            order(reader, *writer);
                        }
                    }
                }
            }
        }
    }
    let mut wave_of: Vec<usize> = Vec::with_capacity(spec.rules.len());
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (i, earlier) in after.iter().enumerate() {
        let wave = earlier.iter().filter_map(|e| wave_of.get(*e)).max().map_or(0, |w| w + 1);
        wave_of.push(wave);
        if waves.len() <= wave {
            waves.resize(wave + 1, Vec::new());
        }
        if let Some(members) = waves.get_mut(wave) {
            members.push(i);
        }
    }
    waves
}

impl<'a> Writes<'a> {
    fn metric_names(self) -> Vec<&'a str> {
        match self {
            Writes::Series(name) => vec![name],
            Writes::Alert(_) => vec![ALERTS, ALERTS_FOR_STATE],
        }
    }

    /// Whether a selector could find what is written, as far as names tell; other labels come from data.
    fn may_satisfy(self, matchers: &[Matcher]) -> bool {
        let named = |names: &[&str], label: &str| {
            let mut of_label = matchers.iter().filter(|m| m.name() == label);
            of_label.all(|m| names.iter().any(|n| m.matches(n)))
        };
        match self {
            Writes::Series(name) => named(&[name], METRIC_NAME),
            Writes::Alert(alert) => named(&[ALERTS, ALERTS_FOR_STATE], METRIC_NAME) && named(&[alert], ALERT_NAME),
        }
    }
}

fn writes(rule: &RuleSpec) -> Writes<'_> {
    match rule {
        RuleSpec::Recording(r) => Writes::Series(&r.name),
        RuleSpec::Alerting(a) => Writes::Alert(&a.name),
    }
}

fn reads(rule: &RuleSpec, kind: GroupKind) -> Reads {
    if kind == GroupKind::Logs {
        return Reads::Selected(Vec::new());
    }
    if let RuleSpec::Alerting(a) = rule {
        let queries = |(_, text): &(String, AlertText)| text.template.as_ref().is_some_and(|t| t.calls("query"));
        if a.labels.iter().chain(&a.annotations).any(queries) {
            return Reads::Anything;
        }
    }
    match crate::promql::parse(rule.expr()) {
        Ok(expr) => Reads::Selected(selectors(&expr).into_iter().map(|s| s.matchers.clone()).collect()),
        Err(_) => Reads::Anything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file::RuleFile;

    fn of(rules: &str) -> Vec<Vec<usize>> {
        let text = format!("groups: [{{name: g, rules: [{rules}]}}]");
        let file: RuleFile = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        waves(&GroupSpec::compile("f", &file.groups[0], 60_000, 0).unwrap())
    }

    #[test]
    fn independent_rules_share_a_wave() {
        assert_eq!(of(""), Vec::<Vec<usize>>::new());
        assert_eq!(
            of("{record: a, expr: x}, {record: b, expr: 'rate(y[5m])'}, {alert: C, expr: 'z > 1'}"),
            [vec![0, 1, 2]]
        );
        assert_eq!(of("{record: a, expr: 'sum(a)'}"), [[0]], "what it wrote last time");
    }

    #[test]
    fn readers_come_after_writers_and_before_later_writers() {
        for (rules, want) in [
            (
                "{record: a, expr: x}, {record: b, expr: 'sum(a)'}, {alert: C, expr: 'b > 1'}",
                vec![vec![0], vec![1], vec![2]],
            ),
            ("{record: b, expr: a}, {record: a, expr: x}", vec![vec![0], vec![1]]),
            (
                "{record: a, expr: x}, {record: a, expr: y, labels: {l: v}}, {record: c, expr: z}",
                vec![vec![0, 2], vec![1]],
            ),
            ("{record: 'ns:a', expr: x}, {record: b, expr: 'count({__name__=~\"ns:.*\"})'}", vec![vec![0], vec![1]]),
            ("{record: 'ns:a', expr: x}, {record: b, expr: 'count({__name__=~\"os:.*\"})'}", vec![vec![0, 1]]),
            ("{record: a, expr: x}, {record: b, expr: 'count({job=\"j\"})'}", vec![vec![0], vec![1]]),
            ("{alert: A, expr: x}, {record: b, expr: 'count(ALERTS{alertname=\"A\"})'}", vec![vec![0], vec![1]]),
            ("{alert: A, expr: x}, {record: b, expr: 'count(ALERTS{alertname=\"B\"})'}", vec![vec![0, 1]]),
            ("{alert: A, expr: x}, {alert: B, expr: 'absent(ALERTS)'}", vec![vec![0], vec![1]]),
            (
                "{alert: A, expr: x, annotations: {q: '{{ query \"y\" }}'}}, {record: b, expr: z}",
                vec![vec![0], vec![1]],
            ),
            ("{record: a, expr: x}, {record: b, expr: 'max_over_time(sum(a)[1h:5m])'}", vec![vec![0], vec![1]]),
        ] {
            assert_eq!(of(rules), want, "{rules}");
        }
    }

    #[test]
    fn many_rules_are_quick() {
        let rules: Vec<String> = (0..5000).map(|i| format!("{{record: 'r{i}', expr: 'm{i}'}}")).collect();
        let begun = std::time::Instant::now();
        assert_eq!(of(&rules.join(",")).len(), 1);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
