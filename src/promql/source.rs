//! Series on their way: labels at hand, values computed one series at a time, so that a consumer which folds them
//! (an aggregation) never holds them all.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::model::Column;
use crate::promql::annotations::Annotations;
use crate::promql::engine::QueryError;
use crate::promql::limits::Limits;
use crate::promql::series_meta::SeriesMeta;
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues};

/// How many series a thread takes at once: enough to make the hand-over cheap, few enough to share the work evenly
/// and to notice a cancelled query soon.
pub const BATCH: usize = 64;

/// What one thread reuses from series to series.
#[derive(Default)]
pub struct Scratch {
    /// For the decoded samples of a series.
    pub column: Column,
    /// What was remarked by this thread.
    pub notes: Annotations,
}

/// Computes the values of series `i`.
pub type Compute<'a> = Box<dyn Fn(usize, &mut Scratch) -> Result<StepValues, QueryError> + Send + Sync + 'a>;

/// Series whose values are yet to be computed, each once.
pub struct Source<'a> {
    /// Their labels.
    pub meta: SeriesMeta,
    /// Their values.
    pub compute: Compute<'a>,
}

impl<'a> Source<'a> {
    /// A source over a finished set. Values are moved out as they are asked for.
    pub fn of_set(mut set: SeriesSet) -> Source<'a> {
        let meta = SeriesMeta::of_set(&set);
        let charge = set.charge.take();
        let values: Vec<Mutex<StepValues>> = set.series.into_iter().map(|s| Mutex::new(s.values)).collect();
        let compute: Compute<'a> = Box::new(move |i, _| {
            let _held = &charge;
            let place = values.get(i);
            Ok(place
                .map(|v| std::mem::take(&mut *v.lock().unwrap_or_else(PoisonError::into_inner)))
                .unwrap_or_default())
        });
        Source { meta, compute }
    }

    /// The same series with `f` applied to the values of each.
    pub fn map(self, f: impl Fn(StepValues, &mut Annotations) -> StepValues + Send + Sync + 'a) -> Source<'a> {
        let inner = self.compute;
        let compute: Compute<'a> = Box::new(move |i, scratch| {
            let values = inner(i, scratch)?;
            Ok(f(values, &mut scratch.notes))
        });
        Source { meta: self.meta, compute }
    }

    /// Runs `work` over batches of series, in parallel where there are several, and returns the results in order.
    pub fn for_batches<T: Send>(
        indexes: &[usize],
        work: impl Fn(&[usize], &mut Scratch) -> Result<T, QueryError> + Send + Sync,
    ) -> Result<(Vec<T>, Annotations), QueryError> {
        let one = |batch: &[usize]| {
            let mut scratch = Scratch::default();
            work(batch, &mut scratch).map(|out| (out, scratch.notes))
        };
        let parts: Vec<(T, Annotations)> = if indexes.len() <= BATCH {
            vec![one(indexes)?]
        } else {
            cpu_pool::pool().install(|| indexes.par_chunks(BATCH).map(one).collect::<Result<_, _>>())?
        };
        let mut notes = Annotations::default();
        let mut out = Vec::with_capacity(parts.len());
        for (part, n) in parts {
            out.push(part);
            notes.merge(n);
        }
        Ok((out, notes))
    }

    /// Computes all series; those without any value are left out. The set is charged for, while it grows and then as a whole.
    pub fn materialize(self, limits: &Arc<Limits>) -> Result<(SeriesSet, Annotations), QueryError> {
        let growing = Mutex::new(limits.charge(0, 0)?);
        let all: Vec<usize> = (0..self.meta.len()).collect();
        let (parts, notes) = Source::for_batches(&all, |batch, scratch| {
            limits.check()?;
            let mut out = Vec::with_capacity(batch.len());
            for i in batch {
                let values = (self.compute)(*i, scratch)?;
                if values.any_present() {
                    let s = StepSeries { labels: self.meta.labels(*i), drop_name: self.meta.drops_name(*i), values };
                    let mut growing = growing.lock().unwrap_or_else(PoisonError::into_inner);
                    growing.grow(s.values.present() as u64, s.size_bytes() as u64)?;
                    out.push(s);
                }
            }
            Ok(out)
        })?;
        let mut set = SeriesSet::new(parts.into_iter().flatten().collect());
        set.charge = Some(growing.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok((set, notes))
    }
}
