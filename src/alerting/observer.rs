//! What others may want to know as it happens; the app writes these as log lines of `{job="campanile"}`.

use std::sync::Arc;
use std::time::Duration;

use super::silence::{Silence, SilenceState};
use super::template_data::Reason;
use crate::model::Labels;

/// Is called for each event, from the tasks of the alertmanager: it must not block.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// One attempt to notify has ended.
    Attempt {
        /// Who was to be told.
        receiver: &'a str,
        /// `email`, `webhook`.
        integration: &'a str,
        /// The group.
        group_key: &'a str,
        /// Why.
        reason: Reason,
        /// Labels of the alerts that fire.
        firing: Vec<&'a Labels>,
        /// Labels of the alerts that are over.
        resolved: Vec<&'a Labels>,
        /// Counted from 1.
        attempt: u32,
        /// Whether it repeats one whose outcome was lost with the process.
        possible_repeat: bool,
        /// How long it took.
        latency: Duration,
        /// What went wrong, if it did.
        error: Option<&'a str>,
        /// Whether there will be another attempt.
        retried: bool,
    },
    /// An alert is now kept quiet that was not before.
    Suppressed {
        /// The alert.
        labels: &'a Labels,
        /// The group.
        group_key: &'a str,
        /// What keeps it quiet.
        by: &'a Suppression,
    },
    /// An alert is no longer kept quiet.
    Unsuppressed {
        /// The alert.
        labels: &'a Labels,
        /// The group.
        group_key: &'a str,
    },
    /// A silence was made, changed or ended.
    Silence {
        /// Its new version.
        silence: &'a Silence,
        /// Where it stands now.
        state: SilenceState,
    },
}

/// What keeps an alert quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// Other alerts, by fingerprint.
    Inhibited(Vec<u64>),
    /// Silences, by id.
    Silenced(Vec<String>),
    /// The route is quiet now, by the names of its intervals.
    TimeInterval(Vec<String>),
}

impl Suppression {
    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Suppression::Inhibited(_) => "inhibition",
            Suppression::Silenced(_) => "silence",
            Suppression::TimeInterval(_) => "time_interval",
        }
    }
}
