//! Log entries and the streams they belong to.

use crate::model::{Labels, TimestampNs};

/// One line of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in nanoseconds.
    pub timestamp: TimestampNs,
    /// The line as received.
    pub line: String,
    /// Labels of this entry alone (structured metadata), such as `trace_id`.
    pub metadata: Labels,
}

/// Some entries of one stream, as they come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStream {
    /// The stream's labels.
    pub labels: Labels,
    /// Its entries, in the order received.
    pub entries: Vec<LogEntry>,
}
