//! Segment files: their names, their header, and positions in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The first bytes of each segment: magic and format version 1.
pub const HEADER: [u8; 8] = *b"CAMPWAL1";

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WalPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Byte offset in it.
    pub offset: u64,
}

/// The path of a segment: eight or more digits, `.wal`.
pub fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:08}.wal"))
}

/// The numbers of the segments in a folder, ascending. A missing folder has none.
pub fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(e) => e,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let name = entry?.file_name();
        if let Some(n) = name.to_str().and_then(|n| n.strip_suffix(".wal")).and_then(|n| n.parse().ok()) {
            found.push(n);
        }
    }
    found.sort_unstable();
    Ok(found)
}
