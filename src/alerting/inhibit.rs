//! Inhibition: alerts that keep others quiet while they fire.

use std::collections::HashMap;

use super::store::StoredAlert;
use crate::config::inhibit::InhibitRuleConfig;
use crate::config::{AlertMatcher, AlertMatchers};
use crate::model::{Labels, MatchOp, TimestampMs};

/// One rule: all of its conditions must be met by alerts that fire.
#[derive(Debug)]
struct Rule {
    target: AlertMatchers,
    conditions: Vec<Condition>,
}

/// A condition with the alerts that meet it, by the values of the labels that must be equal.
#[derive(Debug)]
struct Condition {
    source: AlertMatchers,
    equal: Vec<String>,
    sources: HashMap<Vec<String>, HashMap<u64, Source>>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ends_at: TimestampMs,
    /// Whether the source is a target of the same rule.
    is_target: bool,
}

impl Condition {
    fn new(source: AlertMatchers, equal: &[String]) -> Self {
        Condition { source, equal: equal.to_vec(), sources: HashMap::new() }
    }

    fn key(&self, labels: &Labels) -> Vec<String> {
        self.equal.iter().map(|n| labels.value(n).to_owned()).collect()
    }

    /// The alert that meets it for a target with these labels.
    fn met_by(&self, labels: &Labels, now: TimestampMs) -> Option<u64> {
        let sources = self.sources.get(&self.key(labels))?;
        // An alert that is both source and target is not kept quiet by itself nor by others that are both.
        let both = self.source.match_all(labels);
        let found = sources.iter().filter(|(_, s)| s.ends_at > now && !(both && s.is_target));
        found.map(|(fp, _)| *fp).min()
    }
}

/// All rules. Fed with every alert that comes in, so that a question costs one look-up for each rule.
#[derive(Debug, Default)]
pub struct Inhibitor {
    rules: Vec<Rule>,
}

impl Inhibitor {
    /// Compiles the rules; fails on a regex of the old form that does not compile.
    pub fn compile(rules: &[InhibitRuleConfig]) -> Result<Self, String> {
        let mut out = Vec::with_capacity(rules.len());
        for r in rules {
            let mut source = r.source_matchers.0.clone();
            let mut target = r.target_matchers.0.clone();
            for (list, equal, regex) in
                [(&mut source, &r.source_match, &r.source_match_re), (&mut target, &r.target_match, &r.target_match_re)]
            {
                for (n, v) in equal {
                    list.push(AlertMatcher::new(n, MatchOp::Equal, v)?);
                }
                for (n, v) in regex {
                    list.push(AlertMatcher::new(n, MatchOp::Regex, v)?);
                }
            }
            let mut conditions: Vec<_> =
                r.sources.iter().map(|s| Condition::new(s.matchers.clone(), &s.equal)).collect();
            if conditions.is_empty() {
                conditions.push(Condition::new(AlertMatchers(source), &r.equal));
            }
            out.push(Rule { target: AlertMatchers(target), conditions });
        }
        Ok(Inhibitor { rules: out })
    }

    /// Takes note of a new version of an alert.
    pub fn update(&mut self, alert: &StoredAlert) {
        let labels = &alert.alert.labels;
        for rule in &mut self.rules {
            for c in rule.conditions.iter_mut().filter(|c| c.source.match_all(labels)) {
                let source = Source { ends_at: alert.alert.ends_at, is_target: rule.target.match_all(labels) };
                let key = c.key(labels);
                c.sources.entry(key).or_default().insert(alert.fingerprint, source);
            }
        }
    }

    /// The fingerprints of alerts that keep an alert with these labels quiet, at most one for each condition of a rule, sorted.
    pub fn inhibited_by(&self, labels: &Labels, now: TimestampMs) -> Vec<u64> {
        let mut by = Vec::new();
        for rule in self.rules.iter().filter(|r| r.target.match_all(labels)) {
            let met: Option<Vec<u64>> = rule.conditions.iter().map(|c| c.met_by(labels, now)).collect();
            by.extend(met.unwrap_or_default());
        }
        by.sort_unstable();
        by.dedup();
        by
    }

    /// Forgets sources that have ended.
    pub fn collect_garbage(&mut self, now: TimestampMs) {
        for condition in self.rules.iter_mut().flat_map(|r| &mut r.conditions) {
            condition.sources.retain(|_, s| {
                s.retain(|_, s| s.ends_at > now);
                !s.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::store::test_alert;

    #[test]
    fn rules() {
        let rules = r#"[{"source_matchers":["severity=critical"],"target_matchers":["severity=~\"warning|critical\""],"equal":["instance"]}]"#;
        let critical = [("severity", "critical"), ("instance", "1")];
        for (name, target, want) in [
            ("same instance", vec![("severity", "warning"), ("instance", "1")], true),
            ("other instance", vec![("severity", "warning"), ("instance", "2")], false),
            ("not a target", vec![("severity", "info"), ("instance", "1")], false),
            ("source and target itself", vec![("severity", "critical"), ("instance", "1"), ("a", "b")], false),
            ("label missing on one side", vec![("severity", "warning")], false),
        ] {
            let mut i = Inhibitor::compile(&serde_json::from_str::<Vec<_>>(rules).unwrap()).unwrap();
            i.update(&test_alert(&critical, 0, 100, 0));
            let labels = Labels::from_pairs(target);
            assert_eq!(!i.inhibited_by(&labels, 50).is_empty(), want, "{name}");
            assert!(i.inhibited_by(&labels, 100).is_empty(), "{name}: the source has ended");
            i.collect_garbage(100);
            assert!(i.rules.iter().flat_map(|r| &r.conditions).all(|c| c.sources.is_empty()));
        }
        let mut i = Inhibitor::compile(&serde_json::from_str::<Vec<_>>(rules).unwrap()).unwrap();
        let source = test_alert(&[("severity", "critical")], 0, 100, 0);
        i.update(&source);
        let missing_on_both = Labels::from_pairs([("severity", "warning")]);
        assert_eq!(i.inhibited_by(&missing_on_both, 1), [source.fingerprint]);
    }

    #[test]
    fn several_sources_must_all_fire() {
        let rules = r#"[{"sources":[{"matchers":["alertname=Power"],"equal":["site"]},{"matchers":["alertname=Backup"]}],
            "target_matchers":["alertname=Down"]}]"#;
        let mut i = Inhibitor::compile(&serde_json::from_str::<Vec<_>>(rules).unwrap()).unwrap();
        let target = Labels::from_pairs([("alertname", "Down"), ("site", "north")]);
        let power = test_alert(&[("alertname", "Power"), ("site", "north")], 0, 100, 0);
        let backup = test_alert(&[("alertname", "Backup"), ("site", "south")], 0, 60, 0);
        i.update(&power);
        assert!(i.inhibited_by(&target, 50).is_empty(), "one of the two");
        i.update(&backup);
        let mut both = vec![power.fingerprint, backup.fingerprint];
        both.sort_unstable();
        assert_eq!(i.inhibited_by(&target, 50), both);
        assert!(i.inhibited_by(&target, 70).is_empty(), "one has ended");
        let elsewhere = Labels::from_pairs([("alertname", "Down"), ("site", "west")]);
        assert!(i.inhibited_by(&elsewhere, 50).is_empty());
    }
}
