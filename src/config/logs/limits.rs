//! `logs.limits`: what one sender may send.

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Problems};

/// Who counts as one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenderBy {
    /// The header `X-Scope-OrgID`, else the user of basic authentication, else the address.
    #[default]
    Tenant,
    /// The address alone.
    Address,
}

/// The section `logs.limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogLimits {
    /// Bytes of lines a second that one sender may send in the long run; 0 for no limit.
    pub sender_rate: ByteSize,
    /// Bytes it may send at once after a pause.
    pub sender_burst: ByteSize,
    /// Who counts as one sender.
    pub sender_by: SenderBy,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            // A hundred times what 50 GB a day are; more than that from one sender for long is a loop.
            sender_rate: ByteSize::mib(64),
            // What a shipper has saved up while the network was away.
            sender_burst: ByteSize::mib(1024),
            sender_by: SenderBy::Tenant,
        }
    }
}

impl LogLimits {
    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        if self.sender_rate.0 > 0 && self.sender_burst < self.sender_rate {
            let message = format!(
                "({}) is less than one second of sender_rate ({}); raise it or lower the rate",
                self.sender_burst, self.sender_rate
            );
            problems.add(format!("{path}.sender_burst"), message);
        }
        if self.sender_rate.0 > 0 && self.sender_rate < ByteSize(1024) {
            let message =
                format!("{} a second is less than a line; use at least 1KiB, or 0 for no limit", self.sender_rate);
            problems.add(format!("{path}.sender_rate"), message);
        }
    }
}
