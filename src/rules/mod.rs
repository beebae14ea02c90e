//! Rules: expressions evaluated on a schedule, whose results become series and alerts.
//!
//! | file | job |
//! |---|---|
//! | `file` | rule files as Prometheus reads them |
//! | `spec` | groups and rules compiled: templates parsed, labels merged |
//! | `alerting`, `recording` | one evaluation of one rule |
//! | `expand` | label and annotation templates of an alert |
//! | `evaluation` | the query of a rule and what it found |
//! | `waves` | which rules of a group may be evaluated at once |
//! | `group` | one group: its rules in waves, its series, its timer |
//! | `manager` | all groups; reload as a diff; the view for the API |
//! | `restore` | what survives a restart |
//! | `load` | from paths to compiled groups |
//! | `unit_test` | rules against made-up series, in promtool's format |
//! | `interfaces` | what the rules need from the rest of the program |

pub mod alerting;
mod evaluation;
mod expand;
pub mod file;
pub mod group;
pub mod interfaces;
pub mod load;
pub mod manager;
mod metrics;
pub mod recording;
pub mod restore;
pub mod spec;
pub mod status;
pub mod unit_test;
pub mod waves;

#[cfg(test)]
mod tests;

pub use alerting::{ActiveAlert, AlertState};
pub use file::{GroupKind, Rule, RuleFile, RuleGroup};
pub use interfaces::{
    AlertSink, AppendReport, InstantSample, LastSample, RuleAppender, RuleQuerier, RuleStateKeeper, Transition,
    TransitionObserver,
};
pub use manager::{RuleManager, RuleServices, RuleSettings};
pub use restore::{RuleSnapshot, Snapshot};
pub use spec::GroupSpec;
pub use status::{GroupStatus, Health, RuleDetail, RuleStatus};
