//! What is left of chunks when deleted samples are taken out, for blocks that are written.

use super::writer::float_chunk;
use crate::model::TimestampMs;
use crate::tsdb::chunk::{Chunk, DamagedChunk, View, is_histograms};
use crate::tsdb::error::Error;
use crate::tsdb::head::closed::Closed;
use crate::tsdb::head::late::{self, LateHistogram};
use crate::tsdb::selection::Captured;
use crate::tsdb::tombstones::Deleted;

/// What became of a chunk.
pub(crate) enum Left {
    /// Nothing of it is deleted.
    All,
    /// A chunk of the samples left.
    Some(Chunk),
    /// All of it is deleted.
    None,
}

/// Takes the deleted samples out of a chunk with samples from `mint` to `maxt`.
pub(crate) fn of_chunk(
    mint: TimestampMs,
    maxt: TimestampMs,
    data: &[u8],
    deleted: &Deleted,
) -> Result<Left, DamagedChunk> {
    let Some(gone) = deleted.intervals().filter(|d| d.overlaps(mint, maxt)) else { return Ok(Left::All) };
    if gone.covers(mint, maxt) {
        return Ok(Left::None);
    }
    if !is_histograms(data) {
        let mut rows = Vec::new();
        late::rows(data, &mut rows)?;
        rows.retain(|r| !gone.contains(r.t));
        return Ok(if rows.is_empty() { Left::None } else { Left::Some(float_chunk(&rows)) });
    }
    let view = View::parse(data)?;
    let (mut rows, mut i, mut start) = (Vec::new(), 0u16, 0);
    let mut runs = view.starts().iter().peekable();
    view.histograms(|t, h| {
        if let Some(run) = runs.next_if(|r| r.0 == i) {
            start = run.1;
        }
        i += 1;
        if !gone.contains(t) {
            rows.push(LateHistogram { t, h: h.clone(), start });
        }
        true
    })?;
    Ok(if rows.is_empty() { Left::None } else { Left::Some(late::histogram_chunk(&rows)) })
}

/// The same for what the head has of a series; `None` if nothing of it is deleted.
pub(crate) fn of_captured(captured: &Captured, deleted: &Deleted) -> Result<Option<Captured>, Error> {
    let Some(gone) = deleted.intervals() else { return Ok(None) };
    let mut left = Captured::default();
    let mut buffer = Vec::new();
    for c in &captured.chunks {
        if !gone.overlaps(c.mint(), c.maxt()) {
            left.chunks.push(c.clone());
            continue;
        }
        let data = match c.read(&mut buffer) {
            Ok(data) => data,
            // Whoever writes the block tells that it is lost.
            Err(Error::HeadChunk { .. }) => {
                left.chunks.push(c.clone());
                continue;
            }
            Err(e) => return Err(e),
        };
        match of_chunk(c.mint(), c.maxt(), data, deleted)? {
            Left::All => left.chunks.push(c.clone()),
            Left::Some(c) => left.chunks.push(Closed::from(c)),
            Left::None => {}
        }
    }
    left.late.extend(captured.late.iter().filter(|l| !gone.contains(l.t)));
    left.late_histograms.extend(captured.late_histograms.iter().filter(|l| !gone.contains(l.t)).cloned());
    Ok(Some(left))
}
