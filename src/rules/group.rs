//! One group: its rules in order, the series they left behind, and the task that evaluates it on time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::sample::stale_nan;
use crate::model::{Labels, TimestampMs};
use crate::rules::alerting::{self, Alerts, Change};
use crate::rules::expand::Expander;
use crate::rules::interfaces::{InstantSample, Transition};
use crate::rules::manager::{RuleServices, RuleSettings};
use crate::rules::metrics;
use crate::rules::recording::record;
use crate::rules::restore::{self, GroupSnapshot};
use crate::rules::spec::{AlertingSpec, GroupSpec, RuleSpec};
use crate::rules::status::{GroupStatus, Health, RuleDetail, RuleStatus};
use crate::text::go_template::Value;
use crate::text::go_template::prometheus::{self, Context, Sample};

/// A group's state as others see it; replaced piece by piece while the group is evaluated.
pub(super) type SharedStatus = Arc<Mutex<GroupStatus>>;

/// How the alerts of before the start come back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Restore {
    /// Nothing to restore, or it is done.
    Done,
    /// From the series, after so many more evaluations: the first ones may have seen too little.
    FromSeries { evaluations_left: u32 },
}

/// A group in work.
pub(super) struct GroupRunner {
    pub spec: Arc<GroupSpec>,
    pub settings: Arc<RuleSettings>,
    services: Arc<RuleServices>,
    /// One for each rule.
    rules: Vec<RuleState>,
    /// Series of rules that are gone, to be marked as stale.
    orphans: Vec<Labels>,
    restore: Restore,
    pub status: SharedStatus,
}

#[derive(Default)]
struct RuleState {
    alerts: Alerts,
    /// The series of the last evaluation.
    series: HashSet<Labels>,
}

impl GroupRunner {
    pub fn new(
        spec: Arc<GroupSpec>,
        settings: Arc<RuleSettings>,
        services: Arc<RuleServices>,
        restore: Restore,
    ) -> Self {
        let status = Arc::new(Mutex::new(first_status(&spec)));
        let rules = spec.rules.iter().map(|_| RuleState::default()).collect();
        GroupRunner { spec, settings, services, rules, orphans: Vec::new(), restore, status }
    }

    /// Takes the alerts of a snapshot.
    pub fn load(&mut self, saved: &GroupSnapshot, now: TimestampMs) {
        for (i, (rule, state)) in self.spec.rules.iter().zip(&mut self.rules).enumerate() {
            if let RuleSpec::Alerting(_) = rule {
                state.alerts = saved.restore(rule.name(), &rule.labels(), self.spec.interval_ms, now);
                // The series are known from the alerts, so that those of resolved alerts end.
                state.series = state.alerts.samples().into_iter().map(|s| s.labels).collect();
                publish_alerts(&self.status, i, &state.alerts);
            }
        }
    }

    /// Takes over from an earlier version of the group: rules that are the same go on, the series of the others end.
    pub fn take_over(&mut self, from: GroupRunner) {
        let mut old: Vec<Option<(RuleSpec, RuleState)>> =
            from.spec.rules.iter().cloned().zip(from.rules).map(Some).collect();
        self.orphans = from.orphans;
        self.restore = from.restore;
        let before = from.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.last_evaluation = before.last_evaluation;
        status.evaluation_seconds = before.evaluation_seconds;
        for (i, spec) in self.spec.rules.iter().enumerate() {
            let same =
                |o: &Option<(RuleSpec, RuleState)>| o.as_ref().is_some_and(|(s, _)| s.identity() == spec.identity());
            let Some(at) = old.iter().position(same) else { continue };
            let Some((_, state)) = old.get_mut(at).and_then(Option::take) else { continue };
            if let (Some(slot), Some(new), Some(was)) =
                (self.rules.get_mut(i), status.rules.get_mut(i), before.rules.get(at))
            {
                set_alerts(new, &state.alerts);
                new.health = was.health;
                new.last_error.clone_from(&was.last_error);
                new.last_evaluation = was.last_evaluation;
                new.evaluation_seconds = was.evaluation_seconds;
                *slot = state;
            }
        }
        self.orphans.extend(old.into_iter().flatten().flat_map(|(_, state)| state.series));
    }

    /// All series that the group left at its last evaluation.
    pub fn into_series(self) -> Vec<Labels> {
        self.rules.into_iter().flat_map(|r| r.series).chain(self.orphans).collect()
    }

    /// Evaluates on time until cancelled; an evaluation that has begun is finished.
    pub async fn run(mut self, cancel: CancellationToken) -> GroupRunner {
        let interval = self.spec.interval_ns();
        let label = self.spec.metric_label();
        let clock = self.services.clock.clone();
        let mut slot = self.spec.slot_before_ns(clock.now_ns()).saturating_add(interval);
        loop {
            let wait = slot.saturating_sub(clock.now_ns());
            // A clock that was set back must not stop the group for as long.
            if wait > interval.saturating_mul(2) {
                slot = self.spec.slot_before_ns(clock.now_ns()).saturating_add(interval);
            }
            let wait = Duration::from_nanos(u64::try_from(slot.saturating_sub(clock.now_ns())).unwrap_or(0));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self,
                () = tokio::time::sleep(wait) => {}
            }
            metrics::ITERATIONS.with_label_values(&[&label]).inc();
            self.evaluate(slot / 1_000_000).await;
            let passed = clock.now_ns().saturating_sub(slot) / interval;
            if passed > 1 {
                let missed = u64::try_from(passed - 1).unwrap_or(0);
                metrics::MISSED.with_label_values(&[&label]).inc_by(missed);
                metrics::ITERATIONS.with_label_values(&[&label]).inc_by(missed);
            }
            slot = slot.saturating_add(passed.max(1).saturating_mul(interval));
        }
    }

    /// Evaluates all rules for the time `t`.
    pub async fn evaluate(&mut self, t: TimestampMs) {
        let started = Instant::now();
        for i in 0..self.rules.len() {
            self.evaluate_rule(i, t).await;
        }
        self.end_orphans(t).await;
        self.restore_from_series(t).await;
        let seconds = started.elapsed().as_secs_f64();
        metrics::GROUP_SECONDS.observe(seconds);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.evaluation_seconds = seconds;
        status.last_evaluation = Some(t);
    }

    async fn evaluate_rule(&mut self, i: usize, t: TimestampMs) {
        let spec = self.spec.clone();
        let Some(rule) = spec.rules.get(i) else { return };
        let label = spec.metric_label();
        let started = Instant::now();
        metrics::EVALUATIONS.with_label_values(&[&label]).inc();
        let outcome = self.outcome(i, rule, t).await;
        let seconds = started.elapsed().as_secs_f64();
        metrics::RULE_SECONDS.observe(seconds);
        if let Err(error) = &outcome {
            metrics::FAILURES.with_label_values(&[&label]).inc();
            tracing::warn!(file = spec.file, group = spec.name, rule = rule.name(), %error, "rule failed");
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = status.rules.get_mut(i) else { return };
        shown.evaluation_seconds = seconds;
        shown.last_evaluation = Some(t);
        shown.health = if outcome.is_ok() { Health::Ok } else { Health::Err };
        shown.last_error = outcome.err().unwrap_or_default();
        if let Some(state) = self.rules.get(i) {
            set_alerts(shown, &state.alerts);
        }
    }

    async fn outcome(&mut self, i: usize, rule: &RuleSpec, t: TimestampMs) -> Result<(), String> {
        let at = t - self.spec.query_offset_ms;
        let result = self.services.querier.instant(self.spec.kind, rule.expr(), at).await?;
        let samples = match rule {
            RuleSpec::Recording(r) => record(r, result, self.spec.limit)?,
            RuleSpec::Alerting(a) => self.alert(i, a, result, t).await?,
        };
        self.write(i, samples, at).await
    }

    async fn alert(
        &mut self,
        i: usize,
        spec: &AlertingSpec,
        result: Vec<InstantSample>,
        t: TimestampMs,
    ) -> Result<Vec<InstantSample>, String> {
        let found = self.expand(spec, result, t).await?;
        let Some(state) = self.rules.get_mut(i) else { return Ok(Vec::new()) };
        let updated = state.alerts.update(spec, found, t, self.spec.limit);
        let changes = updated.as_ref().map_or(&[][..], Vec::as_slice);
        for change in changes {
            self.services.observer.transition(&transition(&self.spec, spec, change, t));
            metrics::TRANSITIONS.with_label_values(&[change.alert.state.as_str()]).inc();
        }
        let link = link(&self.settings.external_url, &spec.expr);
        let due = state.alerts.due(t, self.spec.interval_ms, &link, &self.settings.external_labels);
        let samples = match self.restore {
            Restore::Done => state.alerts.samples(),
            // Not written before the old ones are read: they would hide them.
            Restore::FromSeries { .. } => Vec::new(),
        };
        if !due.is_empty() {
            self.services.sink.send(due);
        }
        updated.map(|_| samples)
    }

    /// Expands the texts of a result; those that query do so on a blocking thread.
    async fn expand(
        &self,
        spec: &AlertingSpec,
        result: Vec<InstantSample>,
        t: TimestampMs,
    ) -> Result<Vec<alerting::ActiveAlert>, String> {
        let mut context = Context {
            query: None,
            external_url: self.settings.external_url.clone(),
            now_s: self.services.clock.now_ms() as f64 / 1000.0,
        };
        let expander = |context: &Context| Expander {
            funcs: prometheus::functions(context),
            external_labels: Value::text_map(&self.settings.external_labels),
            external_url: self.settings.external_url.clone(),
            alert: spec.name.clone(),
        };
        let calls_query =
            |(_, text): &(String, super::spec::AlertText)| text.template.as_ref().is_some_and(|t| t.calls("query"));
        if !spec.labels.iter().chain(&spec.annotations).any(calls_query) {
            return alerting::expand_result(spec, &result, &expander(&context), t);
        }
        let (services, kind) = (self.services.clone(), self.spec.kind);
        let runtime = tokio::runtime::Handle::current();
        context.query = Some(Arc::new(move |expr: &str| {
            let found = runtime.block_on(services.querier.instant(kind, expr, t))?;
            Ok(found.into_iter().map(|s| Sample { labels: Value::text_map(&s.labels), value: s.value }).collect())
        }));
        let expander = expander(&context);
        let spec = spec.clone();
        tokio::task::spawn_blocking(move || alerting::expand_result(&spec, &result, &expander, t))
            .await
            .unwrap_or_else(|e| Err(format!("expanding templates failed: {e}")))
    }

    /// Writes samples and ends the series that are not among them any more.
    async fn write(&mut self, i: usize, mut samples: Vec<InstantSample>, at: TimestampMs) -> Result<(), String> {
        let Some(state) = self.rules.get_mut(i) else { return Ok(()) };
        let series: HashSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
        let wanted = samples.len();
        samples.extend(state.series.difference(&series).map(|l| InstantSample::float(l.clone(), stale_nan())));
        if samples.is_empty() {
            return Ok(());
        }
        let ended = samples.len() - wanted;
        let report = self.services.appender.append(samples, at).await?;
        state.series = series;
        if report.refused > 0 {
            metrics::REFUSED.with_label_values(&[&self.spec.metric_label()]).inc_by(report.refused as u64);
        }
        // A marker is refused when another rule has the series now, which is no failure.
        match report.first_reason {
            Some(reason) if report.refused > ended => {
                Err(format!("{} results were refused by the store: {reason}", report.refused))
            }
            _ => Ok(()),
        }
    }

    async fn end_orphans(&mut self, t: TimestampMs) {
        if self.orphans.is_empty() {
            return;
        }
        let samples = self.orphans.iter().map(|l| InstantSample::float(l.clone(), stale_nan())).collect();
        match self.services.appender.append(samples, t - self.spec.query_offset_ms).await {
            Ok(_) => self.orphans.clear(),
            Err(error) => tracing::warn!(group = self.spec.name, %error, "series of removed rules cannot be ended"),
        }
    }

    async fn restore_from_series(&mut self, t: TimestampMs) {
        let Restore::FromSeries { evaluations_left } = self.restore else { return };
        if evaluations_left > 1 {
            self.restore = Restore::FromSeries { evaluations_left: evaluations_left - 1 };
            return;
        }
        self.restore = Restore::Done;
        let spec = self.spec.clone();
        for (i, (rule, state)) in spec.rules.iter().zip(&mut self.rules).enumerate() {
            let RuleSpec::Alerting(a) = rule else { continue };
            if let Err(error) = restore::from_series(a, &mut state.alerts, self.services.querier.as_ref(), t).await {
                tracing::warn!(rule = a.name, %error, "the time of pending alerts cannot be restored; they start anew");
            }
            publish_alerts(&self.status, i, &state.alerts);
        }
    }
}

fn transition(group: &GroupSpec, rule: &AlertingSpec, change: &Change, t: TimestampMs) -> Transition {
    Transition {
        file: group.file.clone(),
        group: group.name.clone(),
        rule: rule.name.clone(),
        labels: change.alert.labels.clone(),
        annotations: change.alert.annotations.clone(),
        from: change.from,
        to: change.alert.state,
        value: change.alert.value,
        at: t,
    }
}

/// Where the expression of an alert can be seen.
fn link(external_url: &str, expr: &str) -> String {
    format!("{}/graph?g0.expr={}&g0.tab=1", external_url.trim_end_matches('/'), prometheus::query_escape(expr))
}

fn first_status(spec: &GroupSpec) -> GroupStatus {
    let rules = spec
        .rules
        .iter()
        .map(|rule| RuleStatus {
            name: rule.name().to_owned(),
            query: rule.expr().to_owned(),
            labels: rule.labels(),
            health: Health::Unknown,
            last_error: String::new(),
            evaluation_seconds: 0.0,
            last_evaluation: None,
            detail: match rule {
                RuleSpec::Recording(_) => RuleDetail::Recording,
                RuleSpec::Alerting(a) => RuleDetail::Alerting {
                    state: alerting::AlertState::Inactive,
                    hold_ms: a.hold_ms,
                    keep_firing_ms: a.keep_firing_ms,
                    annotations: Labels::from_pairs(a.annotations.iter().map(|(n, t)| (n, &t.source))),
                    alerts: Vec::new(),
                },
            },
        })
        .collect();
    GroupStatus {
        name: spec.name.clone(),
        file: spec.file.clone(),
        kind: spec.kind,
        interval_ms: spec.interval_ms,
        limit: spec.limit.unwrap_or(0),
        evaluation_seconds: 0.0,
        last_evaluation: None,
        rules,
    }
}

fn set_alerts(shown: &mut RuleStatus, from: &Alerts) {
    if let RuleDetail::Alerting { state, alerts, .. } = &mut shown.detail {
        *state = from.state();
        *alerts = from.active.values().cloned().collect();
        alerts.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
}

fn publish_alerts(status: &SharedStatus, rule: usize, from: &Alerts) {
    let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shown) = status.rules.get_mut(rule) {
        set_alerts(shown, from);
    }
}
