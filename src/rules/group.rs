//! One group: its rules in waves, the series they left behind, and the task that evaluates it on time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::alert::Alert;
use crate::model::sample::stale_nan;
use crate::model::{Labels, TimestampMs};
use crate::rules::alerting::{self, Alerts, Change};
use crate::rules::evaluation::{Found, evaluate};
use crate::rules::interfaces::{InstantSample, Transition};
use crate::rules::manager::{RuleServices, RuleSettings};
use crate::rules::metrics;
use crate::rules::restore::{self, RuleSnapshot};
use crate::rules::spec::{AlertingSpec, GroupSpec, RuleSpec};
use crate::rules::status::{GroupStatus, Health, RuleDetail, RuleStatus};
use crate::rules::waves::waves;
use crate::text::go_template::prometheus;

/// Rules of a group that are evaluated at once. More than there are cores gains nothing.
const AT_ONCE: usize = 4;
/// Rules whose results are held before they are written. A batch of the store for each rule would cost more than most rules; all at once
/// would hold the results of a group of thousands.
const WRITTEN_TOGETHER: usize = 64;

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
    /// Which rules are evaluated together, in order.
    waves: Arc<Vec<Vec<usize>>>,
    /// What is to be kept of each rule, without its alerts.
    forms: Arc<Vec<Option<RuleSnapshot>>>,
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
    /// Whether something of it is kept for a restart.
    kept: bool,
}

/// A rule that was evaluated, on its way to the store.
struct Done {
    rule: usize,
    seconds: f64,
    /// What is to be written, if it went well.
    result: Result<Vec<InstantSample>, String>,
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
        let (waves, forms) = (Arc::new(waves(&spec)), Arc::new(forms(&spec)));
        GroupRunner { spec, settings, services, waves, forms, rules, orphans: Vec::new(), restore, status }
    }

    /// Takes the alerts that were kept of its rules; gives back what is of none of them.
    pub fn load(&mut self, kept: Vec<RuleSnapshot>, now: TimestampMs) -> Vec<RuleSnapshot> {
        let places: HashMap<_, _> =
            self.forms.iter().enumerate().filter_map(|(i, f)| Some((f.as_ref()?.key(), i))).collect();
        let mut left = Vec::new();
        for saved in kept {
            let place = places.get(&saved.key()).copied();
            let Some((i, state)) = place.and_then(|i| Some((i, self.rules.get_mut(i)?))) else {
                left.push(saved);
                continue;
            };
            state.alerts = saved.restore(self.spec.interval_ms, now);
            state.kept = true;
            // The series are known from the alerts, so that those of resolved alerts end.
            state.series = state.alerts.samples().into_iter().map(|s| s.labels).collect();
            publish_alerts(&self.status, i, &state.alerts);
        }
        left
    }

    /// Takes over from an earlier version of the group: rules that are the same go on, the series of the others end. Gives what is
    /// no longer to be kept.
    pub fn take_over(&mut self, from: GroupRunner) -> Vec<RuleSnapshot> {
        let before = from.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut places: HashMap<_, VecDeque<usize>> = HashMap::new();
        for (i, spec) in from.spec.rules.iter().enumerate() {
            places.entry(spec.identity()).or_default().push_back(i);
        }
        let mut old: Vec<Option<RuleState>> = from.rules.into_iter().map(Some).collect();
        self.orphans = from.orphans;
        self.restore = from.restore;
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.last_evaluation = before.last_evaluation;
        status.evaluation_seconds = before.evaluation_seconds;
        for ((spec, slot), new) in self.spec.rules.iter().zip(&mut self.rules).zip(&mut status.rules) {
            let Some(at) = places.get_mut(&spec.identity()).and_then(VecDeque::pop_front) else { continue };
            let (Some(state), Some(was)) = (old.get_mut(at).and_then(Option::take), before.rules.get(at)) else {
                continue;
            };
            set_alerts(new, &state.alerts);
            new.health = was.health;
            new.last_error.clone_from(&was.last_error);
            new.last_evaluation = was.last_evaluation;
            new.evaluation_seconds = was.evaluation_seconds;
            *slot = state;
        }
        let mut forgotten = Vec::new();
        for (state, form) in old.into_iter().zip(from.forms.iter()) {
            let Some(state) = state else { continue };
            self.orphans.extend(state.series);
            forgotten.extend(form.clone().filter(|_| state.kept));
        }
        forgotten
    }

    /// All series that the group left at its last evaluation, and what is no longer to be kept of its rules.
    pub fn into_remains(self) -> (Vec<Labels>, Vec<RuleSnapshot>) {
        let kept = self.forms.iter().zip(&self.rules).filter(|(_, state)| state.kept);
        let forgotten = kept.filter_map(|(form, _)| form.clone()).collect();
        (self.rules.into_iter().flat_map(|r| r.series).chain(self.orphans).collect(), forgotten)
    }

    /// Evaluates on time until cancelled, from when everything can be asked for; an evaluation that has begun is finished.
    pub async fn run(mut self, cancel: CancellationToken) -> GroupRunner {
        let interval = self.spec.interval_ns();
        let label = self.spec.metric_label();
        let clock = self.services.clock.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => return self,
            () = self.services.ready.wait() => {}
        }
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
        let label = self.spec.metric_label();
        metrics::EVALUATIONS.with_label_values(&[&label]).inc_by(self.rules.len() as u64);
        let waves = self.waves.clone();
        for together in waves.iter().flat_map(|wave| wave.chunks(WRITTEN_TOGETHER)) {
            self.evaluate_together(together, t).await;
        }
        self.end_orphans(t).await;
        self.restore_from_series(t).await;
        let seconds = started.elapsed().as_secs_f64();
        metrics::GROUP_SECONDS.observe(seconds);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.evaluation_seconds = seconds;
        status.last_evaluation = Some(t);
    }

    /// Evaluates rules that do not touch each other: asks, moves the states of alerts on, keeps them, sends what is due, writes.
    async fn evaluate_together(&mut self, rules: &[usize], t: TimestampMs) {
        // Owned numbers: a borrowed one in the closure would tie the whole future to one lifetime.
        let numbers = rules.to_vec();
        let asked = numbers.into_iter().map(|i| {
            let (spec, settings, services) = (self.spec.clone(), self.settings.clone(), self.services.clone());
            async move {
                let started = Instant::now();
                let found = evaluate(&spec, i, &settings, &services, t).await;
                (i, started.elapsed().as_secs_f64(), found)
            }
        });
        let answers: Vec<_> = futures_util::stream::iter(asked).buffered(AT_ONCE).collect().await;
        let (mut due, mut to_keep, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for (rule, seconds, found) in answers {
            metrics::RULE_SECONDS.observe(seconds);
            let result = match found {
                Ok(Found::Samples(samples)) => Ok(samples),
                Ok(Found::Alerts(alerts)) => self.alert(rule, alerts, t, &mut due, &mut to_keep),
                Err(e) => Err(e),
            };
            done.push(Done { rule, seconds, result });
        }
        // What was sent is known after a restart, whenever the process ends: kept first, sent then.
        self.keep(to_keep).await;
        if !due.is_empty() {
            self.services.sink.send(due);
        }
        self.write(&mut done, t - self.spec.query_offset_ms).await;
        self.show(done, t);
    }

    /// Moves the alerts of one rule on and gives the samples that say so.
    fn alert(
        &mut self,
        rule: usize,
        found: Vec<alerting::ActiveAlert>,
        t: TimestampMs,
        due: &mut Vec<Alert>,
        to_keep: &mut Vec<RuleSnapshot>,
    ) -> Result<Vec<InstantSample>, String> {
        let (Some(RuleSpec::Alerting(spec)), Some(state)) = (self.spec.rules.get(rule), self.rules.get_mut(rule))
        else {
            return Ok(Vec::new());
        };
        let updated = state.alerts.update(spec, found, t, self.spec.limit);
        let changes = updated.as_ref().map_or(&[][..], Vec::as_slice);
        for change in changes {
            self.services.observer.transition(&transition(&self.spec, spec, change, t));
            metrics::TRANSITIONS.with_label_values(&[change.alert.state.as_str()]).inc();
        }
        let empty = state.alerts.active.is_empty();
        if !changes.is_empty() || state.alerts.moves_with_time() || (empty && state.kept) {
            to_keep.extend(self.forms.get(rule).cloned().flatten().map(|form| RuleSnapshot {
                evaluated_at: t,
                alerts: state.alerts.active.values().cloned().collect(),
                ..form
            }));
            state.kept = !empty;
        }
        let link = link(&self.settings.external_url, &spec.expr);
        due.extend(state.alerts.due(t, self.spec.interval_ms, &link, &self.settings.external_labels));
        let samples = match self.restore {
            Restore::Done => state.alerts.samples(),
            // Not written before the old ones are read: they would hide them.
            Restore::FromSeries { .. } => Vec::new(),
        };
        updated.map(|_| samples)
    }

    async fn keep(&self, rules: Vec<RuleSnapshot>) {
        if rules.is_empty() {
            return;
        }
        if let Err(error) = self.services.keeper.keep(rules).await {
            metrics::NOT_KEPT.inc();
            tracing::error!(
                group = self.spec.name,
                error,
                "the state of alerts cannot be kept; a restart now would go back to an older one"
            );
        }
    }

    /// Writes what was found, in one batch, and ends the series that are not among it any more.
    async fn write(&mut self, done: &mut [Done], at: TimestampMs) {
        let (mut results, mut writers) = (Vec::new(), Vec::new());
        for (place, d) in done.iter_mut().enumerate() {
            let (Ok(samples), Some(state)) = (&mut d.result, self.rules.get(d.rule)) else { continue };
            let mut samples = std::mem::take(samples);
            let series: HashSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
            let wanted = samples.len();
            samples.extend(state.series.difference(&series).map(|l| InstantSample::float(l.clone(), stale_nan())));
            if samples.is_empty() {
                continue;
            }
            let ended = samples.len() - wanted;
            results.push(samples);
            writers.push((place, series, ended));
        }
        if results.is_empty() {
            return;
        }
        let reports = self.services.appender.append(results, at).await;
        for (n, (place, series, ended)) in writers.into_iter().enumerate() {
            let Some(d) = done.get_mut(place) else { continue };
            let report = match &reports {
                Ok(reports) => reports.get(n).cloned().unwrap_or_default(),
                Err(e) => {
                    d.result = Err(e.clone());
                    continue;
                }
            };
            if let Some(state) = self.rules.get_mut(d.rule) {
                state.series = series;
            }
            if report.refused > 0 {
                metrics::REFUSED.with_label_values(&[&self.spec.metric_label()]).inc_by(report.refused as u64);
            }
            // A marker is refused when another rule has the series now, which is no failure.
            if let Some(reason) = report.first_reason.filter(|_| report.refused > ended) {
                d.result = Err(format!("{} results were refused by the store: {reason}", report.refused));
            }
        }
    }

    /// Shows how the evaluation of some rules went.
    fn show(&self, done: Vec<Done>, t: TimestampMs) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        for d in done {
            let (Some(shown), Some(rule)) = (status.rules.get_mut(d.rule), self.spec.rules.get(d.rule)) else {
                continue;
            };
            if let Err(error) = &d.result {
                metrics::FAILURES.with_label_values(&[&self.spec.metric_label()]).inc();
                tracing::warn!(file = self.spec.file, group = self.spec.name, rule = rule.name(), %error, "rule failed");
            }
            shown.evaluation_seconds = d.seconds;
            shown.last_evaluation = Some(t);
            shown.health = if d.result.is_ok() { Health::Ok } else { Health::Err };
            shown.last_error = d.result.err().unwrap_or_default();
            if let Some(state) = self.rules.get(d.rule) {
                set_alerts(shown, &state.alerts);
            }
        }
    }

    async fn end_orphans(&mut self, t: TimestampMs) {
        if self.orphans.is_empty() {
            return;
        }
        let samples = self.orphans.iter().map(|l| InstantSample::float(l.clone(), stale_nan())).collect();
        match self.services.appender.append(vec![samples], t - self.spec.query_offset_ms).await {
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

/// What is to be kept of each alerting rule, without its alerts.
fn forms(spec: &GroupSpec) -> Vec<Option<RuleSnapshot>> {
    let mut seen: HashMap<_, usize> = HashMap::new();
    let form = |rule: &RuleSpec| {
        let ordinal = seen.entry(rule.identity()).or_default();
        let form = RuleSnapshot {
            file: spec.file.clone(),
            group: spec.name.clone(),
            name: rule.name().to_owned(),
            labels: rule.labels(),
            ordinal: *ordinal,
            evaluated_at: 0,
            alerts: Vec::new(),
        };
        *ordinal += 1;
        matches!(rule, RuleSpec::Alerting(_)).then_some(form)
    };
    spec.rules.iter().map(form).collect()
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
