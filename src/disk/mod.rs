//! Files done safely: atomic replacement, the lock of a data folder, room on the disk, reading in pieces, varints, streams of bits, zstd
//! frames, the write-ahead log.

pub mod atomic_file;
pub mod bits;
pub mod dir_lock;
pub mod free_space;
pub mod varint;
pub mod wal;
pub mod window;
pub mod zstd_frame;
