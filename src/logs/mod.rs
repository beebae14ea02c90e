//! The log store: durable before it is acknowledged, searchable at once, kept as columns under a token index.
//!
//! A pushed batch goes to the write-ahead log and into memory ([`batch`]), where queries see it. Every few seconds, or every
//! [`limits::FLUSH_BYTES`], the batches in memory become one segment for each UTC day they touch ([`partition`]); the day's
//! list of segments ([`manifest`]) carries the WAL position it covers, so that a replay after a crash neither loses nor doubles
//! an entry. A segment ([`segment`]) is a file of row groups ([`columns`]): entries sorted by stream and time, their lines
//! taken apart into columns; of the patterns of these lines ([`patterns`]); and of indexes of tokens and of structured metadata over blocks of rows ([`index`]). A query is a merge of runs of rows and of
//! the batches in memory ([`scan`]), or works on row groups side by side ([`pieces`], [`count`]).
//!
//! Lock order: `ingest`, then the state of the store, then the stream index. No lock is held while a caller's closure runs.

pub mod batch;
mod byte_hash;
pub mod columns;
pub mod count;
pub mod damage;
pub mod detect;
pub mod doubles;
pub mod error;
pub mod filter;
pub(crate) mod index;
pub mod label_condition;
pub mod limits;
pub mod line_level;
pub mod manifest;
mod merge_runs;
mod merge_segments;
pub mod metadata;
mod metrics;
mod migrate;
mod overlaps;
pub mod partition;
pub mod patterns;
pub mod pieces;
mod reader;
pub mod scan;
pub mod segment;
mod segment_writer;
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
pub use label_condition::LabelCondition;
pub use metrics::count_refused;
pub use patterns::{FoundPattern, PatternRequest};
pub use pieces::{GroupPiece, LinesPiece, Part, Piece, Pieces, PlanFacts};
pub use scan::{Direction, ScanRequest, ScanStats, ScannedEntry, Selection};
pub use snapshot::Snapshot;
pub use store::{Options, Oversize, Pushed, Store};
pub use stream_index::StreamId;

#[cfg(test)]
mod tests;
