//! Rebuilds the head after a start, in two steps. First [`series`]: the checkpoint, and of the log after it what series there are; then
//! new samples are taken. After that [`samples`]: those of the log, and behind them those that came meanwhile, which are in the log as well.

pub(crate) mod samples;
pub(crate) mod series;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::self_metrics as count;
use crate::disk::wal::ReplayReport;
use crate::exec::latch::Latch;

/// The replay of the log as others see it; may be asked from any thread.
#[derive(Debug, Default)]
pub struct Replay {
    done: AtomicU64,
    total: AtomicU64,
    outcome: OnceLock<Result<(), String>>,
    over: Latch,
}

impl Replay {
    /// Bytes of the log replayed so far, and all of them. The second grows while samples come in.
    pub fn bytes(&self) -> (u64, u64) {
        let done = self.done.load(Ordering::Relaxed);
        (done, self.total.load(Ordering::Relaxed).max(done))
    }

    /// What share of the log has been replayed, in percent; 100 only when the replay is over.
    pub fn percent(&self) -> u64 {
        let (done, total) = self.bytes();
        if self.is_complete() { 100 } else { (done.saturating_mul(100) / total.max(1)).min(99) }
    }

    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        matches!(self.outcome(), Some(Ok(())))
    }

    /// How it ended, or nothing while it goes on. After a failure what came in since is in the log, and the next start replays it.
    pub fn outcome(&self) -> Option<&Result<(), String>> {
        self.outcome.get()
    }

    /// Open when the replay has ended, well or not.
    pub fn over(&self) -> &Latch {
        &self.over
    }

    fn end(&self, outcome: Result<(), String>) {
        // The first word counts.
        let _later = self.outcome.set(outcome);
        self.over.open();
    }
}

/// Tells what of the log could not be read.
fn tell_damage(report: &ReplayReport) {
    for d in &report.damage {
        tracing::warn!(
            segment = d.at.segment,
            offset = d.at.offset,
            bytes = d.bytes,
            reason = d.reason,
            "a part of the metrics log is lost"
        );
        count::REPLAY_LOST.inc_by(d.bytes);
    }
}
