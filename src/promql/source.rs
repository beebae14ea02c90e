//! Series on their way: labels at hand, values computed one series at a time, so that a consumer which folds them
//! (an aggregation) never holds them all.

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::model::{Column, Labels};
use crate::promql::annotations::Annotations;
use crate::promql::engine::QueryError;
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

/// Series whose values are yet to be computed.
pub struct Source<'a> {
    /// The labels of each series, and whether its name is to be dropped in the end.
    pub meta: Vec<(Labels, bool)>,
    /// Their values.
    pub compute: Compute<'a>,
}

impl<'a> Source<'a> {
    /// A source over a finished set. Values are cloned out, so a set that is used once should be used as it is.
    pub fn of_set(set: SeriesSet) -> Source<'a> {
        let meta = set.series.iter().map(|s| (s.labels.clone(), s.drop_name)).collect();
        let compute: Compute<'a> =
            Box::new(move |i, _| Ok(set.series.get(i).map(|s| s.values.clone()).unwrap_or_default()));
        Source { meta, compute }
    }

    /// The same series with `f` applied to the values of each.
    pub fn map(self, f: impl Fn(&Labels, StepValues, &mut Annotations) -> StepValues + Send + Sync + 'a) -> Source<'a> {
        let labels: Vec<Labels> = self.meta.iter().map(|m| m.0.clone()).collect();
        let inner = self.compute;
        let compute: Compute<'a> = Box::new(move |i, scratch| {
            let values = inner(i, scratch)?;
            Ok(labels.get(i).map(|l| f(l, values, &mut scratch.notes)).unwrap_or_default())
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

    /// Computes all series; those without any value are left out. `check` runs before each batch and on each series.
    pub fn materialize(
        self,
        check: impl Fn(Option<&StepValues>) -> Result<(), QueryError> + Send + Sync,
    ) -> Result<(SeriesSet, Annotations), QueryError> {
        let all: Vec<usize> = (0..self.meta.len()).collect();
        let (parts, notes) = Source::for_batches(&all, |batch, scratch| {
            check(None)?;
            let mut out = Vec::with_capacity(batch.len());
            for i in batch {
                let values = (self.compute)(*i, scratch)?;
                if values.any_present()
                    && let Some((labels, drop_name)) = self.meta.get(*i)
                {
                    check(Some(&values))?;
                    out.push(StepSeries { labels: labels.clone(), drop_name: *drop_name, values });
                }
            }
            Ok(out)
        })?;
        Ok((SeriesSet::new(parts.into_iter().flatten().collect()), notes))
    }
}
