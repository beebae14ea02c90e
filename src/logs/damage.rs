//! Damage that a query comes across: told and counted, and the rest is answered.

use std::sync::LazyLock;

use super::error::Error;
use super::metrics;
use crate::exec::throttled_log::Throttle;
use crate::exec::{Clock, SystemClock};

static TOLD: LazyLock<Throttle> = LazyLock::new(|| Throttle::new(60_000));

/// Counts and tells damage, so that the caller can leave out what is damaged; any other error is given back.
pub fn leave_out(error: Error) -> Result<(), Error> {
    let Error::Damaged { .. } = &error else { return Err(error) };
    metrics::DAMAGED.with_label_values(&["rows"]).inc();
    if let Some(more) = TOLD.allow(SystemClock.now_ms()) {
        tracing::error!(%error, suppressed = more, "damaged log entries are left out of queries");
    }
    Ok(())
}
