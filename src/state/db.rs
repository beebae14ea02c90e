//! Opening, reading and committing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus::{Histogram, IntCounter};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable};

use super::error::StateError;
use super::migrate::migrate;
use super::table::Table;
use crate::telemetry::metrics;

/// redb's page cache; the state is a few megabytes at most, its default of 1 GiB is for large stores.
const CACHE_BYTES: usize = 8 << 20;

static COMMITS: std::sync::LazyLock<IntCounter> = std::sync::LazyLock::new(|| {
    metrics::counter("campanile_state_commits_total", "Transactions written to the state file.")
});
static FAILURES: std::sync::LazyLock<IntCounter> = std::sync::LazyLock::new(|| {
    metrics::counter("campanile_state_commit_failures_total", "Transactions that the state file did not take.")
});
static SECONDS: std::sync::LazyLock<Histogram> = std::sync::LazyLock::new(|| {
    metrics::seconds("campanile_state_commit_seconds", "Time of one transaction of the state file, fsync included.")
});

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a row, replacing what was there.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Removes a row if it is there.
    Delete(Table, Vec<u8>),
}

/// Key and value of one row.
pub type Row = (Vec<u8>, Vec<u8>);

/// What [`StateDb::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The open file.
    pub db: StateDb,
    /// Where a damaged file was moved to, and what was wrong with it; the state starts empty then.
    pub set_aside: Option<(PathBuf, String)>,
}

/// The open state file. Share it with `Arc`.
#[derive(Debug)]
pub struct StateDb {
    db: Database,
    queue: Mutex<Queue>,
    turn: Condvar,
}

/// Callers that come while a transaction is being written join the next batch; whoever finds nobody writing writes it.
#[derive(Debug, Default)]
struct Queue {
    next: Arc<Batch>,
    ops: Vec<Op>,
    writing: bool,
}

#[derive(Debug, Default)]
struct Batch {
    result: OnceLock<Result<(), StateError>>,
}

impl StateDb {
    /// Opens or makes the file. A damaged one is renamed to `NAME.damaged-N` and a fresh one is made, because a server that
    /// does not start tells nobody anything; the caller reports [`Opened::set_aside`].
    ///
    /// Fails where a fresh file would not help: rights, a full disk, a second process, a file of a later version.
    pub fn open(path: &Path) -> Result<Opened, StateError> {
        let (db, set_aside) = match open_guarded(path) {
            Ok(db) => (db, None),
            Err(OpenFailure::Damaged(why)) => {
                let to = set_aside(path)?;
                let db = open_guarded(path).map_err(|e| match e {
                    OpenFailure::Refused(e) => e,
                    OpenFailure::Damaged(why) => {
                        StateError::Open { path: path.to_owned(), source: Arc::new(redb::Error::Corrupted(why)) }
                    }
                })?;
                (db, Some((to, why)))
            }
            Err(OpenFailure::Refused(e)) => return Err(e),
        };
        let state = StateDb { db, queue: Mutex::default(), turn: Condvar::new() };
        Ok(Opened { db: state, set_aside })
    }

    /// All rows of a table in order of keys.
    pub fn read_all(&self, table: Table) -> Result<Vec<Row>, StateError> {
        let txn = self.db.begin_read().map_err(StateError::read)?;
        let rows = txn.open_table(table.definition()).map_err(StateError::read)?;
        let mut out = Vec::new();
        for row in rows.iter().map_err(StateError::read)? {
            let (k, v) = row.map_err(StateError::read)?;
            out.push((k.value().to_vec(), v.value().to_vec()));
        }
        Ok(out)
    }

    /// One row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let txn = self.db.begin_read().map_err(StateError::read)?;
        let rows = txn.open_table(table.definition()).map_err(StateError::read)?;
        let value = rows.get(key).map_err(StateError::read)?;
        Ok(value.map(|v| v.value().to_vec()))
    }

    /// Writes all changes in one transaction and returns when they are on disk (fsync). Blocks; call it from a blocking thread.
    /// Changes that several threads hand in at once share a transaction, in the order they came; if it fails, all of them fail.
    pub fn commit(&self, ops: Vec<Op>) -> Result<(), StateError> {
        if ops.is_empty() {
            return Ok(());
        }
        let mut queue = self.lock();
        queue.ops.extend(ops);
        let mine = queue.next.clone();
        loop {
            if let Some(result) = mine.result.get() {
                return result.clone();
            }
            if queue.writing {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.writing = true;
            let batch = std::mem::take(&mut queue.next);
            let ops = std::mem::take(&mut queue.ops);
            drop(queue);
            let result = self.write(&ops);
            let _first = batch.result.set(result);
            queue = self.lock();
            queue.writing = false;
            self.turn.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, ops: &[Op]) -> Result<(), StateError> {
        let timer = SECONDS.start_timer();
        // redb panics on some damage; a panic here would leave all later callers waiting for a writer that is gone.
        let result = catch_unwind(AssertUnwindSafe(|| self.write_batch(ops))).unwrap_or_else(|_| {
            Err(StateError::write(redb::Error::Corrupted("the database panicked, see the log".to_owned())))
        });
        timer.observe_duration();
        match &result {
            Ok(()) => COMMITS.inc(),
            Err(_) => FAILURES.inc(),
        }
        result
    }

    fn write_batch(&self, ops: &[Op]) -> Result<(), StateError> {
        let txn = self.db.begin_write().map_err(StateError::write)?;
        for op in ops {
            match op {
                Op::Put(t, k, v) => {
                    let mut rows = txn.open_table(t.definition()).map_err(StateError::write)?;
                    rows.insert(k.as_slice(), v.as_slice()).map_err(StateError::write)?;
                }
                Op::Delete(t, k) => {
                    let mut rows = txn.open_table(t.definition()).map_err(StateError::write)?;
                    rows.remove(k.as_slice()).map_err(StateError::write)?;
                }
            }
        }
        txn.commit().map_err(StateError::write)
    }
}

enum OpenFailure {
    Damaged(String),
    Refused(StateError),
}

/// Damage that redb does not report but panics on counts as damage as well.
fn open_guarded(path: &Path) -> Result<Database, OpenFailure> {
    catch_unwind(|| open_file(path))
        .unwrap_or_else(|_| Err(OpenFailure::Damaged("the database panicked while it was read".to_owned())))
}

fn open_file(path: &Path) -> Result<Database, OpenFailure> {
    let refused =
        |e: DatabaseError| OpenFailure::Refused(StateError::Open { path: path.to_owned(), source: Arc::new(e.into()) });
    let mut db = match Database::builder().set_cache_size(CACHE_BYTES).create(path) {
        Ok(db) => db,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(refused(DatabaseError::DatabaseAlreadyOpen)),
        Err(DatabaseError::Storage(redb::StorageError::Io(e))) if is_damage(&e) => {
            return Err(OpenFailure::Damaged(e.to_string()));
        }
        Err(DatabaseError::Storage(redb::StorageError::Io(e))) => {
            return Err(refused(DatabaseError::Storage(redb::StorageError::Io(e))));
        }
        Err(e) => return Err(OpenFailure::Damaged(e.to_string())),
    };
    // Walks the whole file and its checksums; it is a few megabytes.
    if let Err(e) = db.check_integrity() {
        return Err(OpenFailure::Damaged(e.to_string()));
    }
    match migrate(&db, path).and_then(|()| check(&db)) {
        Ok(()) => Ok(db),
        Err(e @ (StateError::TooNew { .. } | StateError::Open { .. } | StateError::SetAside { .. })) => {
            Err(OpenFailure::Refused(e))
        }
        Err(e) => Err(OpenFailure::Damaged(e.to_string())),
    }
}

/// redb reports a file that is none of its own, or is cut off, as such I/O errors.
fn is_damage(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

/// Reads every row once, so that damage shows at start and not at the first notification.
fn check(db: &Database) -> Result<(), StateError> {
    let txn = db.begin_read().map_err(StateError::read)?;
    for table in Table::ALL {
        let rows = txn.open_table(table.definition()).map_err(StateError::read)?;
        for row in rows.iter().map_err(StateError::read)? {
            row.map_err(StateError::read)?;
        }
    }
    Ok(())
}

fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let failed = |e: std::io::Error| StateError::SetAside { path: path.to_owned(), source: Arc::new(e) };
    for n in 1..=1000u32 {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".damaged-{n}"));
        let to = path.with_file_name(name);
        if to.try_exists().map_err(failed)? {
            continue;
        }
        std::fs::rename(path, &to).map_err(failed)?;
        return Ok(to);
    }
    Err(failed(std::io::Error::other("a thousand damaged files are here already")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put(Table::Silences, key.as_bytes().to_vec(), value.as_bytes().to_vec())
    }

    #[test]
    fn rows_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let opened = StateDb::open(&path).unwrap();
        assert!(opened.set_aside.is_none());
        opened.db.commit(vec![put("a", "1"), put("b", "2"), put("c", "3")]).unwrap();
        opened.db.commit(vec![Op::Delete(Table::Silences, b"b".to_vec()), put("a", "4")]).unwrap();
        drop(opened);
        let db = StateDb::open(&path).unwrap().db;
        let rows = db.read_all(Table::Silences).unwrap();
        assert_eq!(rows, [(b"a".to_vec(), b"4".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
        assert_eq!(db.get(Table::Silences, b"c").unwrap().as_deref(), Some(b"3".as_slice()));
        assert_eq!(db.get(Table::Nflog, b"c").unwrap(), None);
    }

    #[test]
    fn many_writers_share_transactions_and_all_land() {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(StateDb::open(&dir.path().join("state.redb")).unwrap().db);
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let db = db.clone();
                std::thread::spawn(move || {
                    for i in 0..20 {
                        db.commit(vec![put(&format!("{t}-{i}"), "x")]).unwrap();
                    }
                })
            })
            .collect();
        for t in threads {
            t.join().unwrap();
        }
        assert_eq!(db.read_all(Table::Silences).unwrap().len(), 160);
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        std::fs::write(&path, b"this was never a database").unwrap();
        let opened = StateDb::open(&path).unwrap();
        let (to, why) = opened.set_aside.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"this was never a database");
        assert!(!why.is_empty());
        opened.db.commit(vec![put("a", "1")]).unwrap();
    }

    #[test]
    fn flipped_bytes_never_stop_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let db = StateDb::open(&path).unwrap().db;
        for i in 0..200 {
            db.commit(vec![put(&format!("key-{i}"), &"v".repeat(100))]).unwrap();
        }
        drop(db);
        let good = std::fs::read(&path).unwrap();
        for start in (0..good.len()).step_by((good.len() / 24).max(1)) {
            let mut bad = good.clone();
            for b in bad.iter_mut().skip(start).take(64) {
                *b ^= 0xa5;
            }
            std::fs::write(&path, &bad).unwrap();
            let opened = StateDb::open(&path).unwrap();
            opened.db.commit(vec![put("after", "1")]).unwrap();
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let db = StateDb::open(&path).unwrap().db;
        super::super::migrate::set_version(&db.db, 99);
        drop(db);
        assert!(matches!(StateDb::open(&path), Err(StateError::TooNew { found: 99, .. })));
        assert!(path.try_exists().unwrap());
    }
}
