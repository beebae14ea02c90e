//! The lock of a data folder: one process at a time, and the second one learns who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The file that is locked; holds the owner's process id and address as text.
pub const LOCK_FILE: &str = "campanile.lock";

/// Why the folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{dir} is in use by another campanile ({holder}); stop it or choose another --storage.path")]
    Held {
        /// The folder.
        dir: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("cannot lock {dir}: {source}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Holds the lock until dropped; the kernel frees it when the process dies.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that was forked and has not begun its program yet has it open as well. If unlocking
        // fails, the lock goes when the last of them closes it.
        let _kept = self.file.unlock();
    }
}

impl DirLock {
    /// Makes the folder if it is missing and locks it. `about` says who we are, for the next one who tries.
    pub fn acquire(dir: &Path, about: &str) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
                return Err(LockError::Held { dir: dir.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "pid {}, {about}", std::process::id()).map_err(io)?;
        Ok(DirLock { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path(), "first").unwrap();
        let error = DirLock::acquire(dir.path(), "second").unwrap_err().to_string();
        assert!(error.contains("first") && error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DirLock::acquire(dir.path(), "second").unwrap();
    }
}
