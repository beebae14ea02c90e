//! The walk over the syntax tree.

use std::sync::{Arc, Mutex, PoisonError};

use crate::promql::aggregate;
use crate::promql::annotations::Annotations;
use crate::promql::ast::{Aggregate, AggregateOp, Binary, Expr, ExprKind, UnaryOp};
use crate::promql::binary;
use crate::promql::engine::time_scope::is_step_invariant;
use crate::promql::engine::{EngineOptions, QueryError, QueryTimes};
use crate::promql::functions;
use crate::promql::limits::Limits;
use crate::promql::sample_counts::SampleCounts;
use crate::promql::selector;
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues, Steps, is_absent};
use crate::promql::source::Source;
use crate::promql::storage::Storage;
use crate::promql::string_literal;

/// The value of an expression over all steps.
#[derive(Debug)]
pub(crate) enum Evaluated {
    Scalar(Vec<f64>),
    String(String),
    Vector(SeriesSet),
}

/// All that belongs to one evaluation.
pub(crate) struct Context<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) options: &'a EngineOptions,
    /// Milliseconds.
    pub(crate) lookback: i64,
    pub(crate) times: QueryTimes,
    pub(crate) is_instant: bool,
    pub(crate) limits: Arc<Limits>,
    pub(crate) notes: Mutex<Annotations>,
    /// The source of the query; may be empty.
    pub(crate) query: &'a str,
    /// Where those selectors begin whose histograms are to be compared for resets when they are read.
    pub(crate) compared_hints: std::collections::HashSet<usize>,
    /// The samples that selectors see, where they are to be counted.
    pub(crate) counts: Option<SampleCounts>,
}

impl<'a> Context<'a> {
    pub(crate) fn note(&self, notes: Annotations) {
        if !notes.is_empty() {
            self.notes.lock().unwrap_or_else(PoisonError::into_inner).merge(notes);
        }
    }

    /// The literal of a string expression as it is shown in messages, if its bytes are no UTF-8.
    pub(crate) fn not_utf8(&self, expr: &Expr) -> Option<String> {
        let span = expr.unwrap_parens().span;
        string_literal::shown_if_not_utf8(self.query.get(span.start..span.end)?)
    }

    /// The value of an expression.
    pub(crate) fn evaluate(&self, expr: &Expr, steps: &Steps) -> Result<Evaluated, QueryError> {
        self.limits.check()?;
        if steps.count > 1 && is_step_invariant(expr) && !matches!(expr.kind, ExprKind::Number(_) | ExprKind::String(_))
        {
            return self.repeat(self.evaluate(expr, &Steps { count: 1, ..*steps })?, steps.count);
        }
        match &expr.kind {
            ExprKind::Number(n) => Ok(Evaluated::Scalar(vec![n.value; steps.count])),
            ExprKind::String(s) => Ok(Evaluated::String(s.clone())),
            ExprKind::Paren(e) => self.evaluate(e, steps),
            ExprKind::Unary(op, e) if is_scalar(e) => {
                let mut v = self.scalar(e, steps)?;
                if *op == UnaryOp::Minus {
                    v.iter_mut().for_each(|x| *x = -*x);
                }
                Ok(Evaluated::Scalar(v))
            }
            ExprKind::Binary(b) if is_scalar(&b.lhs) && is_scalar(&b.rhs) => {
                let (l, r) = (self.scalar(&b.lhs, steps)?, self.scalar(&b.rhs, steps)?);
                Ok(Evaluated::Scalar(l.iter().zip(&r).map(|(l, r)| binary::scalar(b.op, *l, *r)).collect()))
            }
            ExprKind::Binary(b) if b.matching.is_some() => self.vector_vector(expr, b, steps),
            ExprKind::Aggregate(a) => self.aggregate(a, steps),
            ExprKind::Call(c) => {
                if let Some(v) = functions::whole(self, expr, c, steps)? {
                    return Ok(v);
                }
                self.materialize(self.source(expr, steps)?)
            }
            ExprKind::Vector(_) | ExprKind::Unary(..) | ExprKind::Binary(_) => {
                self.materialize(self.source(expr, steps)?)
            }
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                Err(QueryError::Execution("a range vector has no value at a single time".to_owned()))
            }
        }
    }

    fn materialize(&self, source: Source<'_>) -> Result<Evaluated, QueryError> {
        let mut set = self.collect(source)?;
        self.finish(&mut set)?;
        Ok(Evaluated::Vector(set))
    }

    /// The series of a source as a set that is charged for.
    pub(crate) fn collect(&self, source: Source<'_>) -> Result<SeriesSet, QueryError> {
        let (set, notes) = source.materialize(&self.limits)?;
        self.note(notes);
        Ok(set)
    }

    /// Takes names off at once where they are not to be kept until the end, and charges for the set.
    pub(crate) fn finish(&self, set: &mut SeriesSet) -> Result<(), QueryError> {
        if !self.options.delayed_name_removal && set.series.iter().any(|s| s.drop_name) {
            let _joining = self.limits.charge(0, set.joining_bytes())?;
            set.drop_marked_names()?;
        }
        self.limits.hold(set)
    }

    /// Takes the marked names off and joins series that are the same then, at the end of the evaluation: two series of one label set can
    /// also come out of a selector-like node that keeps names.
    pub(super) fn join(&self, set: &mut SeriesSet) -> Result<(), QueryError> {
        let _joining = self.limits.charge(0, set.joining_bytes())?;
        set.drop_marked_names()?;
        Ok(set.merge_same_labels()?)
    }

    fn repeat(&self, value: Evaluated, n: usize) -> Result<Evaluated, QueryError> {
        Ok(match value {
            Evaluated::Scalar(v) => Evaluated::Scalar(vec![v.first().copied().unwrap_or(f64::NAN); n]),
            Evaluated::String(s) => Evaluated::String(s),
            Evaluated::Vector(set) => Evaluated::Vector(SeriesSet {
                charge: {
                    let bytes: usize = set.series.iter().map(|s| s.size_bytes() + 8 * n).sum();
                    Some(self.limits.charge((set.series.len() * n) as u64, bytes as u64)?)
                },
                series: set
                    .series
                    .into_iter()
                    .map(|s| StepSeries {
                        values: StepValues {
                            floats: vec![s.values.floats.first().copied().unwrap_or(f64::NAN); n],
                            histograms: s.values.histograms.map(|h| vec![h.first().cloned().flatten(); n]),
                        },
                        ..s
                    })
                    .collect(),
            }),
        })
    }

    /// The value of a scalar expression.
    pub(crate) fn scalar(&self, expr: &Expr, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.evaluate(expr, steps)? {
            Evaluated::Scalar(v) => Ok(v),
            Evaluated::String(_) | Evaluated::Vector(_) => Err(QueryError::Execution("expected a scalar".to_owned())),
        }
    }

    /// The value of an expression of type instant vector.
    pub(crate) fn vector(&self, expr: &Expr, steps: &Steps) -> Result<SeriesSet, QueryError> {
        match self.evaluate(expr, steps)? {
            Evaluated::Vector(set) => Ok(set),
            Evaluated::Scalar(_) | Evaluated::String(_) => {
                Err(QueryError::Execution("expected an instant vector".to_owned()))
            }
        }
    }

    /// The series of an expression of type instant vector, their values not yet computed where that is possible.
    pub(crate) fn source<'s>(&'s self, expr: &'s Expr, steps: &Steps) -> Result<Source<'s>, QueryError> {
        self.limits.check()?;
        let invariant = steps.count > 1 && is_step_invariant(expr);
        match &expr.kind {
            _ if invariant => {}
            ExprKind::Paren(e) => return self.source(e, steps),
            ExprKind::Vector(v) => return selector::instant_source(self, v, expr.span, steps),
            ExprKind::Unary(op, e) => {
                let source = self.source(e, steps)?;
                return Ok(match op {
                    UnaryOp::Plus => source,
                    UnaryOp::Minus => self.dropping_names(source).map(|v, _| binary::negate(v)),
                });
            }
            ExprKind::Binary(b) if b.matching.is_none() => return self.vector_scalar(expr, b, steps),
            ExprKind::Call(c) => {
                if let Some(s) = functions::per_series(self, c, steps)? {
                    return Ok(s);
                }
            }
            _ => {}
        }
        Ok(Source::of_set(self.vector(expr, steps)?))
    }

    /// Marks names for removal.
    pub(crate) fn dropping_names<'s>(&self, mut source: Source<'s>) -> Source<'s> {
        source.meta.drop_names();
        source
    }

    fn vector_scalar<'s>(&'s self, expr: &'s Expr, b: &'s Binary, steps: &Steps) -> Result<Source<'s>, QueryError> {
        let scalar_left = is_scalar(&b.lhs);
        let (vector, scalar) = if scalar_left { (&b.rhs, &b.lhs) } else { (&b.lhs, &b.rhs) };
        let scalar = self.scalar(scalar, steps)?;
        let mut source = self.source(vector, steps)?;
        if binary::changes_metric(b.op) || b.return_bool {
            source = self.dropping_names(source);
        }
        let (op, return_bool, span) = (b.op, b.return_bool, expr.span);
        Ok(source.map(move |v, notes| {
            binary::with_scalar(op, v, &scalar, binary::ScalarSide { left: scalar_left, return_bool }, notes, span)
        }))
    }

    fn vector_vector(&self, expr: &Expr, b: &Binary, steps: &Steps) -> Result<Evaluated, QueryError> {
        let Some(matching) = &b.matching else {
            return Err(QueryError::Execution("a binary operation on vectors needs a matching".to_owned()));
        };
        let (left, right) = (self.vector(&b.lhs, steps)?, self.vector(&b.rhs, steps)?);
        // The result is about as large as the larger side.
        let size = |set: &SeriesSet| set.series.iter().map(|s| s.size_bytes() as u64).sum::<u64>();
        let matched = [&left, &right].into_iter().map(binary::matching_bytes).sum::<u64>();
        let _work = self.limits.charge(0, size(&left).max(size(&right)) + matched)?;
        let mut notes = Annotations::default();
        let mut set = if b.op.is_set_operator() {
            binary::set_operation(b.op, left, right, matching)
        } else {
            let op = binary::VectorOp { op: b.op, return_bool: b.return_bool, span: expr.span };
            let work = binary::Work { matching, steps: steps.count, check: &|| self.limits.check() };
            binary::vectors(&op, left, right, &work, &mut notes)?
        };
        self.note(notes);
        self.finish(&mut set)?;
        Ok(Evaluated::Vector(set))
    }

    fn aggregate(&self, a: &Aggregate, steps: &Steps) -> Result<Evaluated, QueryError> {
        let param = match &a.param {
            None => aggregate::Param::None,
            Some(p) => match self.evaluate(p, steps)? {
                Evaluated::Scalar(v) => aggregate::Param::Scalar(v, p.span),
                Evaluated::String(s) => match self.not_utf8(p) {
                    Some(shown) => return Err(QueryError::Execution(format!("invalid label name {shown}"))),
                    None => aggregate::Param::Label(s),
                },
                Evaluated::Vector(_) => return Err(QueryError::Execution("expected a scalar parameter".to_owned())),
            },
        };
        let source = if self.options.delayed_name_removal || a.op == AggregateOp::CountValues {
            self.source(&a.expr, steps)?
        } else {
            self.source_without_collisions(&a.expr, steps)?
        };
        let grouping = aggregate::Grouping { labels: &a.grouping, without: a.without };
        let run = aggregate::Run {
            op: a.op,
            param: &param,
            span: a.expr.span,
            steps: steps.count,
            sort: self.is_instant && steps.count == 1,
            limits: &self.limits,
        };
        let (mut set, notes) = aggregate::aggregate(&run, source, &grouping)?;
        self.note(notes);
        self.finish(&mut set)?;
        Ok(Evaluated::Vector(set))
    }

    /// A source whose names are off already. Where that makes two series one, the set is collected first, which
    /// joins them or fails.
    fn source_without_collisions<'s>(&'s self, expr: &'s Expr, steps: &Steps) -> Result<Source<'s>, QueryError> {
        let mut source = self.source(expr, steps)?;
        if source.meta.strip() {
            return Ok(source);
        }
        match self.materialize(source)? {
            Evaluated::Vector(set) => Ok(Source::of_set(set)),
            Evaluated::Scalar(_) | Evaluated::String(_) => {
                Err(QueryError::Execution("expected an instant vector".to_owned()))
            }
        }
    }
}

/// Whether an expression is a scalar.
pub(crate) fn is_scalar(expr: &Expr) -> bool {
    expr.value_type() == crate::promql::ast::ValueType::Scalar
}

/// The values that are present, for functions that look at single floats only.
pub(crate) fn map_floats(mut v: StepValues, f: impl Fn(f64) -> f64) -> StepValues {
    for x in &mut v.floats {
        if !is_absent(*x) {
            *x = f(*x);
        }
    }
    v.histograms = None;
    v
}
