//! The metrics store. PLACEHOLDER with the final shape of the API: everything in memory, nothing durable.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::model::{Exemplar, FloatHistogram, Labels, Matcher, Metadata, TimestampMs};

/// Identity of a series inside one open database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// How the store behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {}

/// What can go wrong with the store as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Disk trouble.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Why one sample was refused; each has its own counter and its own consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The reference is not (or no longer) known; resolve the labels again.
    #[error("unknown series reference")]
    UnknownRef,
    /// Same time, other value.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// Older than the newest sample and outside the out-of-order window.
    #[error("out of order sample")]
    OutOfOrder,
    /// Older than the store takes.
    #[error("out of bounds")]
    TooOld,
    /// Too far in the future.
    #[error("too far in the future")]
    TooNew,
    /// A limit on series was reached.
    #[error("series limit reached")]
    SeriesLimit,
    /// The label set cannot be stored (no metric name, a bad name or value).
    #[error("invalid labels")]
    InvalidLabels,
}

/// The decoded samples of one series, in order of time. Floats and histograms apart.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Times of float samples.
    pub t: Vec<TimestampMs>,
    /// Values of float samples.
    pub v: Vec<f64>,
    /// Times of histogram samples.
    pub ht: Vec<TimestampMs>,
    /// Histogram samples.
    pub h: Vec<std::sync::Arc<FloatHistogram>>,
}

impl Column {
    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
        self.ht.clear();
        self.h.clear();
    }
}

#[derive(Default)]
struct Memory {
    refs: HashMap<Labels, SeriesRef>,
    series: Vec<(Labels, Vec<(TimestampMs, f64)>)>,
}

/// An open database.
pub struct Db {
    memory: Mutex<Memory>,
}

impl Db {
    /// Opens or creates the database in `dir` and replays its log.
    pub fn open(_dir: &Path, _options: Options) -> Result<Db, Error> {
        Ok(Db { memory: Mutex::default() })
    }

    /// A batch of samples that becomes visible and durable with [`Appender::commit`].
    pub fn appender(&self) -> Appender<'_> {
        Appender { db: self, pending: Vec::new() }
    }

    /// The series that satisfy all matchers and may have samples in `[mint, maxt]`, sorted by labels.
    pub fn select(&self, matchers: &[Matcher], _mint: TimestampMs, _maxt: TimestampMs) -> Result<Selection, Error> {
        let m = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut series: Vec<_> =
            m.series.iter().filter(|(l, _)| matchers.iter().all(|x| x.matches_labels(l))).cloned().collect();
        series.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Selection { series })
    }

    /// Makes everything committed so far durable (called by a task every second where the policy says so).
    pub fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The result of [`Db::select`]; holds what it needs alive, can be read from several threads.
pub struct Selection {
    series: Vec<(Labels, Vec<(TimestampMs, f64)>)>,
}

impl Selection {
    /// How many series were found.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The labels of series `i`.
    pub fn labels(&self, i: usize) -> Labels {
        self.series.get(i).map(|s| s.0.clone()).unwrap_or_default()
    }

    /// Appends the samples of series `i` in `[mint, maxt]` to `out`, staleness markers included.
    pub fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), Error> {
        for (t, v) in self.series.get(i).map(|s| s.1.as_slice()).unwrap_or_default() {
            if (mint..=maxt).contains(t) {
                out.t.push(*t);
                out.v.push(*v);
            }
        }
        Ok(())
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Samples stored.
    pub samples: u64,
}

/// See [`Db::appender`]. Dropping it without a commit forgets the batch.
pub struct Appender<'a> {
    db: &'a Db,
    pending: Vec<(SeriesRef, TimestampMs, f64)>,
}

impl Appender<'_> {
    /// The reference of a label set, making the series if it is new.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        let mut m = self.db.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(r) = m.refs.get(labels) {
            return Ok(*r);
        }
        let r = SeriesRef(m.series.len() as u64);
        m.series.push((labels.clone(), Vec::new()));
        m.refs.insert(labels.clone(), r);
        Ok(r)
    }

    /// Adds a float sample; `start` is the start timestamp of a counter where the source gives one, else 0.
    pub fn float(&mut self, series: SeriesRef, t: TimestampMs, v: f64, _start: TimestampMs) -> Result<(), AppendError> {
        self.pending.push((series, t, v));
        Ok(())
    }

    /// Adds a native histogram.
    pub fn histogram(
        &mut self,
        _series: SeriesRef,
        _t: TimestampMs,
        _h: &FloatHistogram,
        _start: TimestampMs,
    ) -> Result<(), AppendError> {
        Ok(())
    }

    /// Adds an exemplar.
    pub fn exemplar(&mut self, _series: SeriesRef, _exemplar: &Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    /// Notes the metadata of a metric family.
    pub fn metadata(&mut self, _metric: &str, _metadata: &Metadata) {}

    /// Makes the batch durable (by policy) and visible, all of it or none.
    pub fn commit(self) -> Result<Committed, Error> {
        let mut m = self.db.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = self.pending.len() as u64;
        for (r, t, v) in self.pending {
            if let Some(s) = m.series.get_mut(r.0 as usize) {
                s.1.push((t, v));
            }
        }
        Ok(Committed { samples })
    }
}
