//! Which alerts of a group are kept quiet, and by what: inhibition, then time intervals, then silences.

use std::collections::HashMap;

use crate::alerting::inhibit::Inhibitor;
use crate::alerting::observer::Suppression;
use crate::alerting::route::RouteOptions;
use crate::alerting::silence::Silences;
use crate::alerting::time_interval;
use crate::config::time_interval::TimeInterval;
use crate::model::{Labels, TimestampMs};

/// The named intervals of the configuration.
pub type Intervals = HashMap<String, Vec<TimeInterval>>;

/// Whether a route is quiet at `now`, and the names of the intervals that make it so.
pub fn route_is_quiet(options: &RouteOptions, intervals: &Intervals, now: TimestampMs) -> Option<Suppression> {
    let holds =
        |name: &String| intervals.get(name).is_some_and(|list| list.iter().any(|i| time_interval::contains(i, now)));
    let muted: Vec<_> = options.mute_time_intervals.iter().filter(|n| holds(n)).cloned().collect();
    if !muted.is_empty() {
        return Some(Suppression::TimeInterval(muted));
    }
    let active = &options.active_time_intervals;
    if !active.is_empty() && !active.iter().any(holds) {
        return Some(Suppression::TimeInterval(active.clone()));
    }
    None
}

/// What keeps one alert quiet, apart from its route.
pub fn alert_is_quiet(
    labels: &Labels,
    inhibitor: &Inhibitor,
    silences: &Silences,
    now: TimestampMs,
) -> Option<Suppression> {
    let by = inhibitor.inhibited_by(labels, now);
    if !by.is_empty() {
        return Some(Suppression::Inhibited(by));
    }
    let by = silences.silenced_by(labels, now);
    (!by.is_empty()).then_some(Suppression::Silenced(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_routes() {
        let always: Vec<TimeInterval> = serde_json::from_str("[{}]").unwrap();
        let never: Vec<TimeInterval> = serde_json::from_str(r#"[{"years":["1999"]}]"#).unwrap();
        let intervals = Intervals::from([("always".to_owned(), always), ("never".to_owned(), never)]);
        for (mute, active, quiet) in [
            (vec![], vec![], false),
            (vec!["never"], vec![], false),
            (vec!["never", "always"], vec![], true),
            (vec![], vec!["never"], true),
            (vec![], vec!["never", "always"], false),
            (vec!["always"], vec!["always"], true),
        ] {
            let own = |v: &Vec<&str>| v.iter().map(|s| (*s).to_owned()).collect();
            let options = RouteOptions {
                mute_time_intervals: own(&mute),
                active_time_intervals: own(&active),
                ..RouteOptions::default()
            };
            let now = 1_800_000_000_000;
            assert_eq!(route_is_quiet(&options, &intervals, now).is_some(), quiet, "{mute:?} {active:?}");
        }
    }
}
