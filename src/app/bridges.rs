//! What the rules need from the rest of the program.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::alerting::AlertingHandle;
use crate::logql::engine::{Output, Query};
use crate::logql::storage::Direction;
use crate::model::alert::Alert;
use crate::model::{Column, Labels, Matcher, TimestampMs};
use crate::notifier::NotifierHandle;
use crate::promql::engine::QueryOptions;
use crate::query::metric_queries::Times;
use crate::query::{Asker, LogQueries, MetricQueries};
use crate::rules::{AlertSink, AppendReport, GroupKind, InstantSample, LastSample, RuleAppender, RuleQuerier};
use crate::tsdb::{AppendError, Db};

/// Queries of rules run like anybody's: with permits, on the CPU pool.
pub(super) struct RuleQueries {
    pub(super) metrics: MetricQueries,
    pub(super) logs: LogQueries,
}

impl RuleQueries {
    async fn metric(&self, expr: &str, t: TimestampMs) -> Result<Vec<InstantSample>, String> {
        let result = self
            .metrics
            .run(expr.to_owned(), Times::Instant(t), QueryOptions::default(), Asker::inside("rules"))
            .await
            .map_err(|e| e.to_string())?;
        InstantSample::from_result(result.value)
    }

    async fn log(&self, expr: &str, t: TimestampMs) -> Result<Vec<InstantSample>, String> {
        let ns = t.saturating_mul(1_000_000);
        let query = Query {
            expr: expr.to_owned(),
            start_ns: ns,
            end_ns: ns,
            step_ns: 0,
            limit: 0,
            direction: Direction::Backward,
            interval_ns: 0,
            explain: false,
        };
        let (output, _) = self.logs.run(query, Asker::inside("rules")).await.map_err(|e| e.to_string())?;
        match output {
            Output::Vector(series) => Ok(series
                .into_iter()
                .filter_map(|s| s.points.first().map(|p| InstantSample::float(s.labels.clone(), p.1)))
                .collect()),
            Output::Scalar(_, v) => Ok(vec![InstantSample::float(Labels::empty(), v)]),
            Output::Lines(_) | Output::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

impl RuleQuerier for RuleQueries {
    fn instant<'a>(
        &'a self,
        kind: GroupKind,
        expr: &'a str,
        t: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<InstantSample>, String>> {
        async move {
            match kind {
                GroupKind::Metrics => self.metric(expr, t).await,
                GroupKind::Logs => self.log(expr, t).await,
            }
        }
        .boxed()
    }

    fn last_samples<'a>(
        &'a self,
        matchers: &'a [Matcher],
        from: TimestampMs,
        to: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastSample>, String>> {
        let db = self.metrics.db().clone();
        let matchers = matchers.to_vec();
        async move {
            let read = tokio::task::spawn_blocking(move || last_samples(&db, &matchers, from, to)).await;
            read.map_err(|e| e.to_string())?
        }
        .boxed()
    }
}

fn last_samples(db: &Db, matchers: &[Matcher], from: TimestampMs, to: TimestampMs) -> Result<Vec<LastSample>, String> {
    let selection = db.select(matchers, from, to).map_err(|e| e.to_string())?;
    let mut column = Column::default();
    let mut out = Vec::new();
    for i in 0..selection.len() {
        column.clear();
        selection.read(i, from, to, &mut column).map_err(|e| e.to_string())?;
        if let (Some(t), Some(v)) = (column.t.last(), column.v.last()) {
            out.push(LastSample { labels: selection.labels(i), t: *t, value: *v });
        }
    }
    Ok(out)
}

/// Results of rules go to the metrics store.
pub(super) struct RuleResults {
    pub(super) db: Arc<Db>,
}

impl RuleAppender for RuleResults {
    fn append(
        &self,
        results: Vec<Vec<InstantSample>>,
        t: TimestampMs,
    ) -> BoxFuture<'_, Result<Vec<AppendReport>, String>> {
        let db = self.db.clone();
        async move {
            let appended = tokio::task::spawn_blocking(move || append(&db, &results, t)).await;
            appended.map_err(|e| e.to_string())?
        }
        .boxed()
    }
}

fn append(db: &Db, results: &[Vec<InstantSample>], t: TimestampMs) -> Result<Vec<AppendReport>, String> {
    let mut reports = Vec::with_capacity(results.len());
    let mut appender = db.appender().vital();
    for samples in results {
        let mut report = AppendReport::default();
        for s in samples {
            let appended = appender.series(&s.labels).and_then(|r| match &s.histogram {
                None => appender.float_in_order(r, t, s.value),
                Some(h) => appender.histogram(r, t, h, 0),
            });
            if let Err(e) = appended {
                report.refused += 1;
                report.first_reason.get_or_insert_with(|| refusal(e, &s.labels));
            }
        }
        reports.push(report);
    }
    appender.commit().map_err(|e| e.to_string())?;
    Ok(reports)
}

fn refusal(e: AppendError, labels: &Labels) -> String {
    format!("{e}: {labels}")
}

/// Alerts of rules go to the built-in alertmanager and to those outside.
pub(super) struct Bell {
    pub(super) alerting: AlertingHandle,
    pub(super) outside: NotifierHandle,
}

impl AlertSink for Bell {
    fn send(&self, alerts: Vec<Alert>) {
        self.outside.send(&alerts);
        // What does not fit is counted there; firing alerts are sent again and again.
        let _counted = self.alerting.send(alerts);
    }
}
