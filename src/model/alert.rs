//! Alerts as the rules produce them and the bell rings them.

use crate::model::{Labels, TimestampMs};

/// One alert as handed from a rule, or a client of the API, to the alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Identity: two alerts with equal labels are the same alert.
    pub labels: Labels,
    /// Texts for people; not part of the identity.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at: TimestampMs,
    /// When it ended, or is to be taken as ended unless it is sent again.
    pub ends_at: TimestampMs,
    /// When this version of it was made.
    pub updated_at: TimestampMs,
    /// Where it came from, for people.
    pub generator_url: String,
}

impl Alert {
    /// Whether the alert has ended at `now`.
    pub fn resolved_at(&self, now: TimestampMs) -> bool {
        self.ends_at <= now
    }
}
