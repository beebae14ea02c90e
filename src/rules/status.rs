//! The state of groups and rules as the API shows it.

use crate::model::{Labels, TimestampMs};
use crate::rules::alerting::{ActiveAlert, AlertState};
use crate::rules::file::GroupKind;

/// How the last evaluation of a rule went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Health {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// Well.
    Ok,
    /// It failed.
    Err,
}

impl Health {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Ok => "ok",
            Health::Err => "err",
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    /// The name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The language of its expressions.
    pub kind: GroupKind,
    /// Milliseconds between evaluations.
    pub interval_ms: i64,
    /// The limit as the API shows it, 0 for none.
    pub limit: usize,
    /// Seconds that the last evaluation took.
    pub evaluation_seconds: f64,
    /// When the last evaluation began.
    pub last_evaluation: Option<TimestampMs>,
    /// The rules, in order.
    pub rules: Vec<RuleStatus>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleStatus {
    /// The name.
    pub name: String,
    /// The expression.
    pub query: String,
    /// The labels as written.
    pub labels: Labels,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed; empty if it did not.
    pub last_error: String,
    /// Seconds that the last evaluation took.
    pub evaluation_seconds: f64,
    /// When the last evaluation began.
    pub last_evaluation: Option<TimestampMs>,
    /// What depends on the kind.
    pub detail: RuleDetail,
}

/// The part of a rule's state that depends on its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleDetail {
    /// A recording rule.
    Recording,
    /// An alerting rule.
    Alerting {
        /// The highest state of its alerts.
        state: AlertState,
        /// Milliseconds of `for`.
        hold_ms: i64,
        /// Milliseconds of `keep_firing_for`.
        keep_firing_ms: i64,
        /// The annotations as written.
        annotations: Labels,
        /// All alerts, resolved ones (state inactive) included, in order of labels. The API shows the active ones.
        alerts: Vec<ActiveAlert>,
    },
}

impl RuleStatus {
    /// The alerts that are pending or firing.
    pub fn active_alerts(&self) -> impl Iterator<Item = &ActiveAlert> {
        let alerts: &[ActiveAlert] = match &self.detail {
            RuleDetail::Alerting { alerts, .. } => alerts,
            RuleDetail::Recording => &[],
        };
        alerts.iter().filter(|a| a.state != AlertState::Inactive)
    }
}
