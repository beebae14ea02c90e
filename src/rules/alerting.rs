//! The states of the alerts of one rule: inactive, pending, firing, and resolved for a while.
//!
//! ```text
//!  result appears            held for `for`
//! ────────────────► pending ───────────────► firing ◄──┐ result comes back within keep_firing_for
//!                      │                       │  └────┘
//!                      ▼ result gone           ▼ result gone (and keep_firing_for over)
//!                   forgotten               inactive (resolved), sent for 15 minutes more, then forgotten
//! ```

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::alert::Alert;
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, TimestampMs};
use crate::rules::expand::Expander;
use crate::rules::interfaces::InstantSample;
use crate::rules::spec::AlertingSpec;

/// The series of alerts by state.
pub const ALERTS: &str = "ALERTS";
/// The series of the times since when alerts are active, in seconds.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label with the alert's name.
pub const ALERT_NAME: &str = "alertname";
/// The label with the alert's state in [`ALERTS`].
pub const ALERT_STATE: &str = "alertstate";

/// How long a resolved alert is kept and sent again, so that a receiver that was away hears of it (as Prometheus).
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;
/// How long to wait before a firing alert is sent again (Prometheus' default).
pub const RESEND_DELAY_MS: i64 = 60_000;

/// The state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Not active; a resolved alert is inactive too.
    Inactive,
    /// Active, and `for` is not over.
    Pending,
    /// Active for long enough.
    Firing,
}

impl AlertState {
    /// The state as the API and `alertstate` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// One alert of a rule. Serialized as it is, to survive restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlert {
    /// Its labels, with `alertname`.
    pub labels: Labels,
    /// Its texts at the last evaluation with a result.
    pub annotations: Labels,
    /// The state.
    pub state: AlertState,
    /// The value at the last evaluation with a result.
    #[serde(with = "float_text")]
    pub value: f64,
    /// Since when there are results.
    pub active_at: TimestampMs,
    /// When it began to fire.
    pub fired_at: Option<TimestampMs>,
    /// When it stopped to fire.
    pub resolved_at: Option<TimestampMs>,
    /// Since when it only fires because of `keep_firing_for`.
    pub keep_firing_since: Option<TimestampMs>,
    /// When it was last handed to the sink.
    pub last_sent_at: Option<TimestampMs>,
    /// A firing alert from before a restart is not taken as resolved before this time: its targets may not have been
    /// scraped yet.
    pub hold_until: Option<TimestampMs>,
}

/// JSON has no NaN and no infinity; text has.
mod float_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&crate::model::sample::format_value(*v))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no number")))
    }
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// By their labels.
    pub active: HashMap<Labels, ActiveAlert>,
}

/// A change of state seen in one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The alert after the change.
    pub alert: ActiveAlert,
    /// Its state before.
    pub from: AlertState,
}

/// The alerts that a result stands for: labels and texts expanded, nothing known of their past.
pub(super) fn expand_result(
    spec: &AlertingSpec,
    result: &[InstantSample],
    expander: &Expander,
    t: TimestampMs,
) -> Result<Vec<ActiveAlert>, String> {
    let mut seen = std::collections::HashSet::with_capacity(result.len());
    let mut alerts = Vec::with_capacity(result.len());
    for sample in result {
        let data = expander.data(&sample.labels, sample.value);
        let mut b = sample.labels.to_builder();
        b.remove(METRIC_NAME);
        for (name, text) in &spec.labels {
            b.set(name, expander.expand(text, &data));
        }
        b.set(ALERT_NAME, spec.name.as_str());
        let labels = b.build();
        if !seen.insert(labels.clone()) {
            return Err("vector contains metrics with the same labelset after applying alert labels".to_owned());
        }
        let annotations =
            Labels::from_pairs(spec.annotations.iter().map(|(name, text)| (name, expander.expand(text, &data))));
        alerts.push(ActiveAlert {
            labels,
            annotations,
            state: AlertState::Pending,
            value: sample.value,
            active_at: t,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
            hold_until: None,
        });
    }
    Ok(alerts)
}

impl Alerts {
    /// Takes the alerts of the evaluation at `t` and moves all states on. With more active ones than `limit` all are
    /// dropped and the rule fails.
    pub fn update(
        &mut self,
        spec: &AlertingSpec,
        found: Vec<ActiveAlert>,
        t: TimestampMs,
        limit: Option<usize>,
    ) -> Result<Vec<Change>, String> {
        let mut present = std::collections::HashSet::with_capacity(found.len());
        let mut changes = Vec::new();
        for alert in found {
            present.insert(alert.labels.clone());
            match self.active.get_mut(&alert.labels) {
                Some(old) if old.state != AlertState::Inactive => {
                    old.value = alert.value;
                    old.annotations = alert.annotations;
                }
                _ => {
                    changes.push(Change { alert: alert.clone(), from: AlertState::Inactive });
                    self.active.insert(alert.labels.clone(), alert);
                }
            }
        }
        let mut count = 0;
        self.active.retain(|labels, alert| {
            if present.contains(labels) {
                alert.keep_firing_since = None;
                alert.hold_until = None;
            } else if !alert.keeps_firing(spec.keep_firing_ms, t) {
                let from = alert.state;
                if from != AlertState::Inactive {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at = Some(t);
                    changes.push(Change { alert: alert.clone(), from });
                }
                let over = alert.resolved_at.is_some_and(|r| t - r > RESOLVED_RETENTION_MS);
                return from != AlertState::Pending && !over;
            }
            count += 1;
            if alert.state == AlertState::Pending && t - alert.active_at >= spec.hold_ms {
                alert.state = AlertState::Firing;
                alert.fired_at = Some(t);
                changes.push(Change { alert: alert.clone(), from: AlertState::Pending });
            }
            true
        });
        match limit {
            Some(limit) if count > limit => {
                self.active.clear();
                Err(format!("exceeded limit of {limit} with {count} alerts"))
            }
            _ => Ok(changes),
        }
    }

    /// The samples of `ALERTS` and `ALERTS_FOR_STATE` for what is active.
    pub fn samples(&self) -> Vec<InstantSample> {
        let mut out = Vec::with_capacity(self.active.len() * 2);
        for alert in self.active.values().filter(|a| a.state != AlertState::Inactive) {
            let mut b = alert.labels.to_builder();
            b.set(METRIC_NAME, ALERTS_FOR_STATE);
            // Whole seconds, as Prometheus writes and promtool expects it.
            out.push(InstantSample::float(b.build(), alert.active_at.div_euclid(1000) as f64));
            b.set(METRIC_NAME, ALERTS).set(ALERT_STATE, alert.state.as_str());
            out.push(InstantSample::float(b.build(), 1.0));
        }
        out
    }

    /// The alerts that are due to be sent at `t`, marked as sent. A firing one is valid for four rounds, so that two
    /// lost ones do no harm.
    pub fn due(&mut self, t: TimestampMs, interval_ms: i64, link: &str, external: &Labels) -> Vec<Alert> {
        let valid_until = t + 4 * interval_ms.max(RESEND_DELAY_MS);
        let mut out = Vec::new();
        for alert in self.active.values_mut().filter(|a| a.needs_sending(t)) {
            alert.last_sent_at = Some(t);
            let mut b = alert.labels.to_builder();
            for (name, value) in external {
                if b.get(name).is_empty() {
                    b.set(name, value);
                }
            }
            out.push(Alert {
                labels: b.build(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                updated_at: t,
                generator_url: link.to_owned(),
            });
        }
        out
    }

    /// Whether time alone changes what is to be kept for a restart: something is pending, or fires only for `keep_firing_for`.
    pub fn moves_with_time(&self) -> bool {
        self.active.values().any(|a| a.state == AlertState::Pending || a.keep_firing_since.is_some())
    }

    /// The highest state of any alert.
    pub fn state(&self) -> AlertState {
        self.active.values().map(|a| a.state).max().unwrap_or(AlertState::Inactive)
    }
}

impl ActiveAlert {
    /// Whether a firing alert without a result goes on firing.
    fn keeps_firing(&mut self, keep_firing_ms: i64, t: TimestampMs) -> bool {
        if self.state != AlertState::Firing {
            return false;
        }
        if self.hold_until.is_some_and(|h| t < h) {
            return true;
        }
        keep_firing_ms > 0 && t - *self.keep_firing_since.get_or_insert(t) < keep_firing_ms
    }

    fn needs_sending(&self, t: TimestampMs) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        match (self.last_sent_at, self.resolved_at) {
            (None, _) => true,
            (Some(sent), Some(resolved)) if resolved > sent => true,
            (Some(sent), _) => sent + RESEND_DELAY_MS < t,
        }
    }
}
