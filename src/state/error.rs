//! What can go wrong with the state file.

use std::path::PathBuf;
use std::sync::Arc;

/// Why the state file could not be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be opened or made for a reason that is not damage: rights, a full disk, another process.
    #[error("cannot open the state file {path}: {source}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What redb said.
        source: Arc<redb::Error>,
    },
    /// The damaged file cannot be moved out of the way.
    #[error("cannot set the damaged state file {path} aside: {source}; move it away by hand", path = path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A later campanile wrote the file.
    #[error("the state file {path} has format {found}, this campanile knows up to {known}; use the newer campanile", path = path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A transaction failed.
    #[error("cannot {what} the state file: {source}")]
    Transaction {
        /// `read` or `write`.
        what: &'static str,
        /// What redb said.
        source: Arc<redb::Error>,
    },
}

impl StateError {
    pub(super) fn read(source: impl Into<redb::Error>) -> Self {
        StateError::Transaction { what: "read", source: Arc::new(source.into()) }
    }

    pub(super) fn write(source: impl Into<redb::Error>) -> Self {
        StateError::Transaction { what: "write", source: Arc::new(source.into()) }
    }
}
