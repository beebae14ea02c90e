//! A write-ahead log: numbered segment files of checksummed records, for whoever needs a batch to survive a crash.
//!
//! [`writer::Wal`] appends, [`reader::replay`] reads everything back after a start, cutting off a torn tail and stepping over
//! damage with a report of what was lost. The file format is drawn in `docs/storage-format.md`.

pub mod reader;
pub mod record;
pub mod segment;
pub mod writer;

pub use reader::{Damage, ReplayReport, cut_torn_tail, replay};
pub use segment::WalPosition;
pub use writer::{EncodedRecord, Wal, WalOptions};
