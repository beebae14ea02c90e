//! Queries as a service: the engines over the stores, on the CPU pool, with permits, cancelled when the caller goes away.

pub mod active_file;
pub mod admission;
pub mod asker;
pub mod log_queries;
mod log_rows;
pub mod log_storage;
#[cfg(test)]
mod log_tests;
pub mod metric_queries;
pub mod metric_storage;
pub mod query_log;
pub mod replayed;

pub use asker::Asker;
pub use log_queries::LogQueries;
pub use metric_queries::MetricQueries;
pub use query_log::QueryLogs;
pub use replayed::{NotReplayed, replayed};
