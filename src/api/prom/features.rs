//! `features`: what this server understands, in the categories of Prometheus.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::ApiState;
use crate::promql::function_table::FUNCTIONS;

/// Operators and aggregations that are always understood.
const OPERATORS: [&str; 31] = [
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "<=",
    "==",
    "=~",
    ">",
    ">=",
    "@",
    "^",
    "and",
    "atan2",
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "max",
    "min",
    "or",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];

pub(super) async fn features(State(state): State<ApiState>) -> Response {
    let on = state.features;
    let functions: Map<String, Value> = FUNCTIONS
        .iter()
        .map(|f| (f.name.to_owned(), Value::Bool(!f.experimental || on.syntax.experimental_functions)))
        .collect();
    let mut operators: Map<String, Value> = OPERATORS.iter().map(|o| ((*o).to_owned(), Value::Bool(true))).collect();
    for aggregation in ["limitk", "limit_ratio"] {
        operators.insert(aggregation.to_owned(), Value::Bool(on.syntax.experimental_functions));
    }
    super::status::success(&json!({
        "api": {
            "exclude_alerts": true, "label_values_match": true, "lifecycle": true, "query_stats": true, "query_warnings": true,
            "remote_write_receiver": true, "time_range_labels": true, "time_range_series": true,
        },
        "prometheus": {"agent_mode": false, "auto_reload_config": true, "server_mode": true},
        "promql": {
            "anchored": on.syntax.extended_range_selectors, "smoothed": on.syntax.extended_range_selectors,
            "at_modifier": true, "bool": true, "by": true, "delayed_name_removal": on.delayed_name_removal,
            "duration_expr": on.syntax.duration_expressions, "fill": on.syntax.fill_modifiers,
            "fill_left": on.syntax.fill_modifiers, "fill_right": on.syntax.fill_modifiers, "group_left": true,
            "group_right": true, "ignoring": true, "negative_offset": true, "offset": true, "on": true,
            "per_query_lookback_delta": true, "per_step_stats": on.per_step_stats, "subqueries": true,
            "type_and_unit_labels": false, "without": true,
        },
        "promql_functions": functions,
        "promql_operators": operators,
        "rules": {"concurrent_rule_eval": false, "keep_firing_for": true, "query_offset": true},
        "scrape": {"extra_scrape_metrics": true, "start_timestamp_zero_ingestion": false, "type_and_unit_labels": false},
        "tsdb": {"delayed_compaction": false, "exemplar_storage": true, "isolation": true, "native_histograms": true},
    }))
}
