//! What few series need: late samples, native histograms, start timestamps.

use std::sync::Arc;

use crate::model::{FloatHistogram, TimestampMs};
use crate::tsdb::chunk::histogram::OpenHistograms;
use crate::tsdb::chunk::{Chunk, DamagedChunk, StartRuns, View, seal_histograms};

/// A float sample that came after newer ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    pub t: TimestampMs,
    pub v: f64,
    /// Start timestamp, 0 for none.
    pub start: TimestampMs,
}

/// A histogram that came after newer samples.
#[derive(Clone, Debug)]
pub(crate) struct LateHistogram {
    pub t: TimestampMs,
    pub h: Arc<FloatHistogram>,
    /// Start timestamp, 0 for none.
    pub start: TimestampMs,
}

/// See the module. Most series are in order, of floats and without start timestamps, and have none of this.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The open histogram chunk.
    pub open: OpenHistograms,
    /// Start timestamps of the open float chunk.
    pub starts: StartRuns,
    /// Start timestamps of the open histogram chunk.
    pub histogram_starts: StartRuns,
    /// Sorted by time.
    pub late: Vec<Late>,
    /// Sorted by time.
    pub late_histograms: Vec<LateHistogram>,
}

impl Rare {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.len() == 0 && self.starts.is_empty() && self.late.is_empty() && self.late_histograms.is_empty()
    }
}

/// Appends the float samples of a chunk with their start timestamps; on damage nothing is appended.
pub(crate) fn rows(chunk: &[u8], out: &mut Vec<Late>) -> Result<(), DamagedChunk> {
    let view = View::parse(chunk)?;
    let before = out.len();
    let (mut i, mut start) = (0u16, 0);
    let mut runs = view.starts().iter().peekable();
    let done = view.floats(|t, v| {
        if let Some(run) = runs.next_if(|r| r.0 == i) {
            start = run.1;
        }
        i += 1;
        out.push(Late { t, v, start });
        true
    });
    done.inspect_err(|_| out.truncate(before))
}

/// Start timestamps of samples in a row as runs.
pub(crate) fn runs(starts: impl Iterator<Item = TimestampMs>) -> StartRuns {
    let mut runs = StartRuns::new();
    for (i, start) in starts.enumerate() {
        if start != runs.last().map_or(0, |r| r.1) {
            runs.push((i as u16, start));
        }
    }
    runs
}

/// A chunk of histograms that came late.
pub(crate) fn histogram_chunk(rows: &[LateHistogram]) -> Chunk {
    let mut open = OpenHistograms::default();
    for r in rows {
        open.push(r.t, r.h.clone());
    }
    seal_histograms(&open, &runs(rows.iter().map(|r| r.start)))
}
