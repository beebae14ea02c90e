//! One evaluation of one rule, as far as it needs nothing of its past: the query, and the texts of what it found.

use std::sync::Arc;

use crate::model::TimestampMs;
use crate::rules::alerting::{self, ActiveAlert};
use crate::rules::expand::Expander;
use crate::rules::interfaces::InstantSample;
use crate::rules::manager::{RuleServices, RuleSettings};
use crate::rules::recording::record;
use crate::rules::spec::{AlertText, AlertingSpec, GroupSpec, RuleSpec};
use crate::text::go_template::Value;
use crate::text::go_template::prometheus::{self, Context, Sample};

/// What an evaluation found.
pub(super) enum Found {
    /// The series of a recording rule.
    Samples(Vec<InstantSample>),
    /// The alerts that there are now, nothing known of their past.
    Alerts(Vec<ActiveAlert>),
}

/// Evaluates rule number `rule` of a group for the time `t`.
pub(super) async fn evaluate(
    spec: &GroupSpec,
    rule: usize,
    settings: &RuleSettings,
    services: &Arc<RuleServices>,
    t: TimestampMs,
) -> Result<Found, String> {
    let Some(rule) = spec.rules.get(rule) else { return Ok(Found::Samples(Vec::new())) };
    let result = services.querier.instant(spec.kind, rule.expr(), t - spec.query_offset_ms).await?;
    match rule {
        RuleSpec::Recording(r) => record(r, result, spec.limit).map(Found::Samples),
        RuleSpec::Alerting(a) => expand(spec, a, result, settings, services, t).await.map(Found::Alerts),
    }
}

/// Expands the texts of a result; those that query do so on a blocking thread.
async fn expand(
    group: &GroupSpec,
    spec: &AlertingSpec,
    result: Vec<InstantSample>,
    settings: &RuleSettings,
    services: &Arc<RuleServices>,
    t: TimestampMs,
) -> Result<Vec<ActiveAlert>, String> {
    if result.is_empty() {
        return Ok(Vec::new());
    }
    let mut context = Context {
        query: None,
        external_url: settings.external_url.clone(),
        now_s: services.clock.now_ms() as f64 / 1000.0,
    };
    let expander = |context: &Context| Expander {
        funcs: prometheus::functions(context),
        external_labels: Value::text_map(&settings.external_labels),
        external_url: settings.external_url.clone(),
        alert: spec.name.clone(),
    };
    let calls_query = |(_, text): &(String, AlertText)| text.template.as_ref().is_some_and(|t| t.calls("query"));
    if !spec.labels.iter().chain(&spec.annotations).any(calls_query) {
        return alerting::expand_result(spec, &result, &expander(&context), t);
    }
    let (services, kind) = (services.clone(), group.kind);
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
