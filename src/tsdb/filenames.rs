//! Names of files and folders in the store's folder.

/// Folder of the write-ahead log.
pub(crate) const WAL_DIR: &str = "wal";
/// Folder of the blocks, one folder each.
pub(crate) const BLOCKS_DIR: &str = "blocks";
/// What blocks that cannot be read are renamed to end with.
pub(crate) const DAMAGED_SUFFIX: &str = ".damaged";
/// What blocks under construction end with; leftovers of a crash are removed at start.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// Folder of the files of full chunks that are not in a block yet.
pub(crate) const HEAD_DIR: &str = "head";
/// What the names of those files end with.
pub(crate) const HEAD_CHUNKS_SUFFIX: &str = ".chunks";
/// The head without what is in files of chunks and in the log.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// What a block is about, as JSON.
pub(crate) const META_FILE: &str = "meta.json";
/// Labels of a block and where its chunks are.
pub(crate) const INDEX_FILE: &str = "index";
/// Deleted stretches of time, of a block or of the head.
pub(crate) const TOMBSTONES_FILE: &str = "tombstones";
/// Folder of the snapshots, one folder each.
pub(crate) const SNAPSHOTS_DIR: &str = "snapshots";
/// Chunks of a block.
pub(crate) const CHUNKS_FILE: &str = "chunks";
