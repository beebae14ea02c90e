//! Durations in the configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::duration::{format_ms, parse_ms};

/// A duration in milliseconds, written `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ConfigDuration(i64);

impl ConfigDuration {
    /// So many milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        ConfigDuration(ms)
    }

    /// So many seconds.
    pub const fn from_secs(s: i64) -> Self {
        ConfigDuration(s * 1000)
    }

    /// In milliseconds.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// As a standard duration; negative ones do not exist.
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_ms(self.0))
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse_ms(&text)
            .map(ConfigDuration)
            .map_err(|e| de::Error::custom(format!("{e}; write it like 15s, 5m or 1h30m")))
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
