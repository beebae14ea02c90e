//! Files done safely: atomic replacement, the lock of a data folder, room on the disk, checksums, varints, streams of bits, the
//! write-ahead log.

pub mod atomic_file;
pub mod bits;
pub mod dir_lock;
pub mod free_space;
pub mod varint;
pub mod wal;
