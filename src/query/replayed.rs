//! After a start questions wait until the metrics store has replayed its log, as far as they concern what is not replayed yet.

use std::time::Duration;

use crate::model::TimestampMs;
use crate::tsdb::{Db, Error};

/// The log of the metrics store is not replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayed {
    /// It still goes on.
    #[error(
        "the metrics store is still replaying its log after the start ({percent} % are done) and what is asked for is not readable yet; \
         new samples are taken meanwhile. Ask again later, or for older times"
    )]
    InProgress {
        /// How much is done.
        percent: u64,
    },
    /// It cannot be replayed.
    #[error("the log of the metrics store could not be replayed: {0}")]
    Failed(String),
}

/// Waits, for as long as `patience` allows, until the store can be asked about times up to `maxt`.
pub async fn replayed(db: &Db, maxt: TimestampMs, patience: Duration) -> Result<(), NotReplayed> {
    match db.readable(maxt) {
        Err(Error::Replaying { .. }) => {}
        Ok(()) | Err(_) => return Ok(()),
    }
    let replay = db.replay();
    // When time is over the outcome says so.
    let _in_time = tokio::time::timeout(patience, replay.over().wait()).await;
    match replay.outcome() {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(NotReplayed::Failed(why.clone())),
        None => Err(NotReplayed::InProgress { percent: replay.percent() }),
    }
}
