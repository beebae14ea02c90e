//! `meta.json` of a block.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::TimestampMs;

/// Version of the format of the whole block. The first had chunks of other encodings; they are read.
pub(crate) const VERSION: u32 = 2;

/// What a block is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    /// See [`VERSION`].
    pub version: u32,
    /// First time of the range it covers.
    pub mint: TimestampMs,
    /// First time after the range it covers.
    pub end: TimestampMs,
    /// Series in it.
    pub series: u64,
    /// Chunks in it.
    pub chunks: u64,
    /// Length of the chunk file.
    pub chunk_bytes: u64,
    /// Names of the blocks it was made of; they are removed once it is there.
    pub parents: Vec<String>,
}

impl Meta {
    /// Reads a `meta.json`; `None` if it is not of this version.
    pub(crate) fn read(path: &Path) -> std::io::Result<Option<Meta>> {
        let content = std::fs::read(path)?;
        Ok(serde_json::from_slice::<Meta>(&content)
            .ok()
            .filter(|m| (1..=VERSION).contains(&m.version) && m.mint < m.end))
    }
}
