//! The nouns every other module speaks: labels, matchers, samples, histograms, log entries, alerts, time.

pub mod alert;
pub mod column;
pub mod exemplar;
pub mod histogram;
pub mod label_table;
pub mod labels;
pub mod log_entry;
pub mod matcher;
pub mod metadata;
pub mod sample;
pub mod time;

pub use column::Column;
pub use exemplar::Exemplar;
pub use histogram::FloatHistogram;
pub use label_table::LabelTable;
pub use labels::{Labels, LabelsBuilder};
pub use log_entry::{LogEntry, LogStream};
pub use matcher::{MatchOp, Matcher};
pub use metadata::{Metadata, MetricType};
pub use time::{TimestampMs, TimestampNs};
