//! `query:` — what is written down about queries. Bounds of queries are flags, because they need a restart.

use serde::Deserialize;

use crate::config::ConfigDuration;

/// `query:` of the configuration.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Queries that take this long or longer are logged and become part of the history; 0 for none.
    pub log_slow: ConfigDuration,
}

impl Default for Query {
    /// Five seconds: people have begun to wonder by then, and dashboards that are well do not get there.
    fn default() -> Self {
        Query { log_slow: ConfigDuration::from_secs(5) }
    }
}
