//! Files done safely: atomic replacement, the lock of a data folder, checksums, varints, the write-ahead log.

pub mod atomic_file;
pub mod dir_lock;
pub mod varint;
pub mod wal;
