//! The format version of the state file and the steps from one version to the next.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableError};

use super::error::StateError;
use super::table::Table;

/// The version this program writes.
pub const FORMAT_VERSION: u32 = 1;

const VERSION_KEY: &[u8] = b"format_version";

/// Brings an opened file to [`FORMAT_VERSION`], making all tables. A file from a later program is refused unharmed.
pub(super) fn migrate(db: &Database, path: &Path) -> Result<(), StateError> {
    let found = version(db)?;
    if found.is_some_and(|v| v > FORMAT_VERSION) {
        return Err(StateError::TooNew {
            path: path.to_owned(),
            found: found.unwrap_or_default(),
            known: FORMAT_VERSION,
        });
    }
    if found == Some(FORMAT_VERSION) {
        return Ok(());
    }
    // Version 1 is the first: a file without a version is a new one. Later versions add their steps here.
    let txn = db.begin_write().map_err(StateError::write)?;
    for table in Table::ALL {
        txn.open_table(table.definition()).map_err(StateError::write)?;
    }
    {
        let mut meta = txn.open_table(Table::Meta.definition()).map_err(StateError::write)?;
        meta.insert(VERSION_KEY, FORMAT_VERSION.to_le_bytes().as_slice()).map_err(StateError::write)?;
    }
    txn.commit().map_err(StateError::write)
}

fn version(db: &Database) -> Result<Option<u32>, StateError> {
    let txn = db.begin_read().map_err(StateError::read)?;
    let meta = match txn.open_table(Table::Meta.definition()) {
        Ok(t) => t,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(StateError::read(e)),
    };
    let value = meta.get(VERSION_KEY).map_err(StateError::read)?;
    Ok(value.and_then(|v| v.value().try_into().ok()).map(u32::from_le_bytes))
}

#[cfg(test)]
pub(super) fn set_version(db: &Database, version: u32) {
    let txn = db.begin_write().unwrap();
    txn.open_table(Table::Meta.definition()).unwrap().insert(VERSION_KEY, version.to_le_bytes().as_slice()).unwrap();
    txn.commit().unwrap();
}
