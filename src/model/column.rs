//! The decoded samples of one series, in the form in which stores hand them to the query engine.

use std::sync::Arc;

use crate::model::sample::is_stale_nan;
use crate::model::{FloatHistogram, TimestampMs};

/// The decoded samples of one series, each half in order of time without duplicates. Floats and histograms apart.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Times of float samples.
    pub t: Vec<TimestampMs>,
    /// Values of float samples; staleness markers included where the store has them.
    pub v: Vec<f64>,
    /// Since when each float has been counted up, 0 for unknown. Empty where no sample of the series has one,
    /// else as long as `t`.
    pub start: Vec<TimestampMs>,
    /// Times of histogram samples.
    pub ht: Vec<TimestampMs>,
    /// Histogram samples; a stale one has the staleness marker as its `sum`.
    pub h: Vec<Arc<FloatHistogram>>,
    /// Start timestamps of the histograms, as `start`.
    pub hstart: Vec<TimestampMs>,
}

impl Column {
    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
        self.start.clear();
        self.ht.clear();
        self.h.clear();
        self.hstart.clear();
    }

    /// How many samples it holds.
    pub fn len(&self) -> usize {
        self.t.len() + self.ht.len()
    }

    /// Whether it holds no sample.
    pub fn is_empty(&self) -> bool {
        self.t.is_empty() && self.ht.is_empty()
    }

    /// Adds a float; `start` is 0 where it is not known. Times must rise.
    pub fn push_float(&mut self, t: TimestampMs, v: f64, start: TimestampMs) {
        if start != 0 && self.start.is_empty() {
            self.start.resize(self.t.len(), 0);
        }
        self.t.push(t);
        self.v.push(v);
        if start != 0 || !self.start.is_empty() {
            self.start.push(start);
        }
    }

    /// Adds a histogram; `start` is 0 where it is not known. Times must rise.
    pub fn push_histogram(&mut self, t: TimestampMs, h: Arc<FloatHistogram>, start: TimestampMs) {
        if start != 0 && self.hstart.is_empty() {
            self.hstart.resize(self.ht.len(), 0);
        }
        self.ht.push(t);
        self.h.push(h);
        if start != 0 || !self.hstart.is_empty() {
            self.hstart.push(start);
        }
    }

    /// Takes the staleness markers out, as range selectors never see them.
    pub fn drop_stale(&mut self) {
        // Looking at all is faster than stopping at the first.
        if self.v.iter().fold(false, |any, v| any | is_stale_nan(*v)) {
            let keep: Vec<bool> = self.v.iter().map(|v| !is_stale_nan(*v)).collect();
            retain(&mut self.t, &keep);
            retain(&mut self.v, &keep);
            retain(&mut self.start, &keep);
        }
        if self.h.iter().any(|h| is_stale_nan(h.sum)) {
            let keep: Vec<bool> = self.h.iter().map(|h| !is_stale_nan(h.sum)).collect();
            retain(&mut self.ht, &keep);
            retain(&mut self.h, &keep);
            retain(&mut self.hstart, &keep);
        }
    }
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    // A start column may be empty, then there is nothing to walk over.
    values.retain(|_| flags.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::stale_nan;

    #[test]
    fn stale_markers_go_with_their_times_and_starts() {
        let mut c = Column::default();
        c.push_float(1, 1.0, 0);
        c.push_float(2, stale_nan(), 1);
        c.push_float(3, f64::NAN, 2);
        c.drop_stale();
        assert_eq!((c.t, c.start), (vec![1, 3], vec![0, 2]));
        assert_eq!(c.v[0], 1.0);
        assert!(c.v[1].is_nan());
    }
}
