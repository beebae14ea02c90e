//! The patterns of stored lines: found while a segment is written, kept in the segment, merged when segments are.
//!
//! [`mine`] finds them from the lines that a row group has taken apart already, [`section`] is their form in a segment,
//! [`answer`] reads them for a query.

pub mod answer;
pub(super) mod mine;
pub(super) mod section;

pub use answer::{FoundPattern, PatternRequest};

/// Patterns are counted in steps of so many nanoseconds, as Loki does it.
pub const BUCKET_NS: i64 = 10_000_000_000;

/// The bucket of a time.
pub(super) fn bucket_of(timestamp: crate::model::TimestampNs) -> i64 {
    timestamp.div_euclid(BUCKET_NS)
}

#[cfg(test)]
mod tests;
