//! The blocks in a folder: finding them at start, setting aside what cannot be read.

use std::path::Path;
use std::sync::Arc;

use super::Block;
use crate::tsdb::error::Error;
use crate::tsdb::filenames::{BLOCKS_DIR, DAMAGED_SUFFIX, TEMPORARY_SUFFIX};
use crate::tsdb::self_metrics as count;

/// Opens all blocks of the store in `dir`, in order of time. Removes what a crash left half done or not yet removed.
pub(crate) fn open_all(dir: &Path) -> Result<Vec<Arc<Block>>, Error> {
    let dir = dir.join(BLOCKS_DIR);
    std::fs::create_dir_all(&dir)?;
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(TEMPORARY_SUFFIX) {
            std::fs::remove_dir_all(&path)?;
        } else if !name.ends_with(DAMAGED_SUFFIX) && path.is_dir() {
            match Block::open(&path) {
                Ok(b) => blocks.push(Arc::new(b)),
                Err(e) => set_aside(&path, &e),
            }
        }
    }
    let parents: Vec<String> = blocks.iter().flat_map(|b| b.meta.parents.iter().cloned()).collect();
    for b in blocks.extract_if(.., |b| parents.contains(&b.name())) {
        std::fs::remove_dir_all(&b.dir)?;
    }
    sort(&mut blocks);
    Ok(blocks)
}

/// Puts blocks in order of time.
pub(crate) fn sort(blocks: &mut [Arc<Block>]) {
    blocks.sort_by_key(|b| (b.meta.mint, b.meta.end));
}

/// Renames a block that cannot be read, so that it is kept for people and not tried again.
pub(crate) fn set_aside(dir: &Path, e: &Error) {
    count::BLOCKS_DAMAGED.inc();
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(DAMAGED_SUFFIX);
    let renamed = std::fs::rename(dir, dir.with_file_name(&name));
    tracing::error!(block = %dir.display(), error = %e, renamed = renamed.is_ok(), "a block of metrics cannot be read and is set aside");
}
