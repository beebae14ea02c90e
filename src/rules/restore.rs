//! What survives a restart: the alerts of every rule, from a snapshot that the program keeps, or without one the times
//! of `ALERTS_FOR_STATE` in the metrics store.

use serde::{Deserialize, Serialize};

use crate::model::labels::METRIC_NAME;
use crate::model::sample::is_stale_nan;
use crate::model::{Labels, Matcher, TimestampMs};
use crate::rules::alerting::{ALERT_NAME, ALERTS_FOR_STATE, ActiveAlert, AlertState, Alerts};
use crate::rules::interfaces::{LastSample, RuleQuerier};
use crate::rules::spec::AlertingSpec;

/// How long an outage may be for `ALERTS_FOR_STATE` to count (Prometheus' `--rules.alert.for-outage-tolerance`).
pub const OUTAGE_TOLERANCE_MS: i64 = 3_600_000;
/// A pending alert waits at least this long after a restart (Prometheus' `--rules.alert.for-grace-period`).
pub const FOR_GRACE_PERIOD_MS: i64 = 600_000;
/// How long at least a firing alert of before the restart goes on without a result, so that targets can be scraped
/// and recording rules be evaluated first.
const FIRING_GRACE_MS: i64 = 60_000;

/// What was kept of all rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Of each alerting rule that has alerts.
    pub rules: Vec<RuleSnapshot>,
}

/// The alerts of one rule. Serialized as it is, to survive restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleSnapshot {
    /// Its file.
    pub file: String,
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its labels as written.
    pub labels: Labels,
    /// The how manyth rule with that name and labels it is in its group.
    pub ordinal: usize,
    /// When it was evaluated.
    pub evaluated_at: TimestampMs,
    /// The alerts.
    pub alerts: Vec<ActiveAlert>,
}

impl RuleSnapshot {
    /// What makes it the same rule: file, group, name, labels, ordinal.
    pub fn key(&self) -> (&str, &str, &str, &Labels, usize) {
        (&self.file, &self.group, &self.name, &self.labels, self.ordinal)
    }

    /// The alerts, ready for evaluations from `now` on. The time in which nobody looked does not count as pending; what fired
    /// goes on firing until its targets had time to be scraped. All are sent again at once: the last send may not have arrived.
    pub fn restore(&self, interval_ms: i64, now: TimestampMs) -> Alerts {
        let away = (now - self.evaluated_at - interval_ms).max(0);
        let mut alerts = Alerts::default();
        for alert in &self.alerts {
            let mut alert = alert.clone();
            alert.last_sent_at = None;
            match alert.state {
                AlertState::Pending => alert.active_at += away,
                AlertState::Firing => alert.hold_until = Some(now + FIRING_GRACE_MS.max(2 * interval_ms)),
                AlertState::Inactive => {}
            }
            alerts.active.insert(alert.labels.clone(), alert);
        }
        alerts
    }
}

/// Gives alerts the time since when they were active before the restart, from their `ALERTS_FOR_STATE` series.
pub(super) async fn from_series(
    spec: &AlertingSpec,
    alerts: &mut Alerts,
    querier: &dyn RuleQuerier,
    now: TimestampMs,
) -> Result<(), String> {
    // With a short `for` it is quicker to wait than to look.
    if spec.hold_ms < FOR_GRACE_PERIOD_MS || alerts.active.is_empty() {
        return Ok(());
    }
    let matchers = [Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE), Matcher::equal(ALERT_NAME, spec.name.as_str())];
    let found = querier.last_samples(&matchers, now - OUTAGE_TOLERANCE_MS, now).await?;
    apply(spec.hold_ms, alerts, &found, now);
    Ok(())
}

fn apply(hold_ms: i64, alerts: &mut Alerts, found: &[LastSample], now: TimestampMs) {
    for sample in found.iter().filter(|s| !is_stale_nan(s.value)) {
        let Some(alert) = alerts.active.get_mut(&sample.labels.without_name()) else { continue };
        if alert.state != AlertState::Pending {
            continue;
        }
        // Seconds since the epoch; the cast saturates for nonsense.
        let active_at = (sample.value as i64).saturating_mul(1000);
        let remaining = hold_ms - (sample.t - active_at);
        alert.active_at = if remaining <= 0 {
            // It was firing; the next evaluation lets it fire again.
            active_at
        } else if remaining < FOR_GRACE_PERIOD_MS {
            now + FOR_GRACE_PERIOD_MS - hold_ms
        } else {
            active_at + (now - sample.t)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::interfaces::InstantSample;

    fn pending(at: TimestampMs) -> Alerts {
        let labels = Labels::from_pairs([("alertname", "A")]);
        let mut alerts = Alerts::default();
        let alert = ActiveAlert {
            labels: labels.clone(),
            annotations: Labels::empty(),
            state: AlertState::Pending,
            value: f64::INFINITY,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
            hold_until: None,
        };
        alerts.active.insert(labels, alert);
        alerts
    }

    #[test]
    fn series_restore_the_time_that_is_left() {
        let minute = 60_000;
        let now = 100 * minute;
        // (for, active since, last seen) in minutes, and the time since when it counts as active.
        for (hold, since, seen, want) in [
            (30, 20, 60, 20), // fired before
            (60, 35, 90, 50), // five minutes were left: the grace period
            (60, 50, 80, 70), // half an hour was left: the outage does not count
        ] {
            let mut alerts = pending(now);
            let labels = Labels::from_pairs([("__name__", ALERTS_FOR_STATE), ("alertname", "A")]);
            let sample = LastSample { labels, t: seen * minute, value: (since * 60) as f64 };
            apply(hold * minute, &mut alerts, &[sample], now);
            assert_eq!(alerts.active.values().next().unwrap().active_at, want * minute, "{hold} {since} {seen}");
        }
    }

    #[test]
    fn snapshots_go_through_json() {
        let snapshot = RuleSnapshot {
            file: "f".into(),
            group: "g".into(),
            name: "A".into(),
            labels: Labels::empty(),
            ordinal: 0,
            evaluated_at: 60_000,
            alerts: pending(1000).active.into_values().collect(),
        };
        let text = serde_json::to_string(&snapshot).unwrap();
        let back: RuleSnapshot = serde_json::from_str(&text).unwrap();
        assert_eq!(back, snapshot);
        let alerts = back.restore(60_000, 300_000);
        assert_eq!(alerts.active.values().next().unwrap().active_at, 1000 + 180_000);
        assert_eq!(
            alerts.samples()[0],
            InstantSample::float(Labels::from_pairs([("__name__", ALERTS_FOR_STATE), ("alertname", "A")]), 181.0)
        );
    }
}
