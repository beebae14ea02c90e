//! Secrets that stand in files, read again on each use.

use std::path::{Path, PathBuf};

use super::{FailureReason, SendError};
use crate::config::Secret;

/// A secret is a line; certificates are a few kilobytes. More is a wrong file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file of the configuration; a relative name is meant from the folder of the configuration file.
pub async fn read(base: &Path, file: &str) -> Result<String, SendError> {
    let path: PathBuf = base.join(file);
    let failed = |e: &dyn std::fmt::Display| {
        SendError::temporary(FailureReason::File, format!("cannot read {}: {e}", path.display()))
    };
    let length = tokio::fs::metadata(&path).await.map_err(|e| failed(&e))?.len();
    if length > MAX_BYTES {
        return Err(failed(&format!("it has {length} bytes, at most {MAX_BYTES} are read")));
    }
    tokio::fs::read_to_string(&path).await.map_err(|e| failed(&e))
}

/// The secret itself or the content of its file without the white space around it; `None` if neither is given.
pub async fn secret(base: &Path, given: Option<&Secret>, file: Option<&str>) -> Result<Option<String>, SendError> {
    match (given, file) {
        (Some(s), _) => Ok(Some(s.expose().to_owned())),
        (None, Some(f)) => Ok(Some(read(base, f).await?.trim().to_owned())),
        (None, None) => Ok(None),
    }
}
