//! The log store: durable before it is acknowledged, searchable at once, indexed with Tantivy.
//!
//! A pushed batch goes to the write-ahead log and into memory ([`batch`]), where queries see it. Every few seconds, or every
//! [`limits::FLUSH_BYTES`], the batches in memory become one Tantivy segment for each UTC day they touch ([`partition`]); the
//! commit carries the WAL position it covers, so that a replay after a crash neither loses nor doubles an entry. Segments are
//! sorted by (stream, time), so a stream is one range of documents ([`segment`]), and a query is a merge of such ranges and of
//! the batches in memory ([`scan`], [`count`]).
//!
//! Lock order: `ingest`, then the state of the store, then the stream index. No lock is held while a caller's closure runs.

pub mod batch;
pub mod candidates;
pub mod count;
pub mod detect;
pub mod doubles;
pub mod error;
pub mod filter;
pub mod limits;
pub mod line_level;
pub mod merge_runs;
pub mod metadata;
mod metrics;
pub mod partition;
pub mod scan;
pub mod schema;
pub mod segment;
pub mod snapshot;
pub mod store;
pub mod stream_index;
pub mod stream_table;
pub mod tokens;
mod writer;

pub use batch::{Batch, BatchBuilder, Refusal};
pub use count::{CountRequest, CountRow, Measure};
pub use error::Error;
pub use filter::LineFilter;
pub use metrics::count_refused;
pub use scan::{Direction, ScanRequest, ScanStats, ScannedEntry, Selection};
pub use snapshot::Snapshot;
pub use store::{Options, Oversize, Pushed, Store};
pub use stream_index::StreamId;

#[cfg(test)]
mod tests;
