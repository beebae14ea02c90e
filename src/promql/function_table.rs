//! All functions of PromQL: what they take and what they return.

use crate::promql::ast::ValueType;
use crate::promql::ast::ValueType::{Matrix, Scalar, String, Vector};

/// What the checker knows of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; with `variadic` not zero, the last one may be left out or repeated.
    pub arg_types: &'static [ValueType],
    /// How often the last argument may stand: 0 for exactly once, a positive number for up to so many times or not at
    /// all, -1 for any number of times or not at all.
    pub variadic: i32,
    /// The type of its value.
    pub return_type: ValueType,
    /// Whether Prometheus asks for a feature flag before it may be used.
    pub experimental: bool,
}

const fn row(
    name: &'static str,
    arg_types: &'static [ValueType],
    variadic: i32,
    return_type: ValueType,
    experimental: bool,
) -> Function {
    Function { name, arg_types, variadic, return_type, experimental }
}

/// All functions, sorted by name. Those of Prometheus 3.14.
pub static FUNCTIONS: &[Function] = &[
    row("abs", &[Vector], 0, Vector, false),
    row("absent", &[Vector], 0, Vector, false),
    row("absent_over_time", &[Matrix], 0, Vector, false),
    row("acos", &[Vector], 0, Vector, false),
    row("acosh", &[Vector], 0, Vector, false),
    row("asin", &[Vector], 0, Vector, false),
    row("asinh", &[Vector], 0, Vector, false),
    row("atan", &[Vector], 0, Vector, false),
    row("atanh", &[Vector], 0, Vector, false),
    row("avg_over_time", &[Matrix], 0, Vector, false),
    row("ceil", &[Vector], 0, Vector, false),
    row("changes", &[Matrix], 0, Vector, false),
    row("clamp", &[Vector, Scalar, Scalar], 0, Vector, false),
    row("clamp_max", &[Vector, Scalar], 0, Vector, false),
    row("clamp_min", &[Vector, Scalar], 0, Vector, false),
    row("cos", &[Vector], 0, Vector, false),
    row("cosh", &[Vector], 0, Vector, false),
    row("count_over_time", &[Matrix], 0, Vector, false),
    row("day_of_month", &[Vector], 1, Vector, false),
    row("day_of_week", &[Vector], 1, Vector, false),
    row("day_of_year", &[Vector], 1, Vector, false),
    row("days_in_month", &[Vector], 1, Vector, false),
    row("deg", &[Vector], 0, Vector, false),
    row("delta", &[Matrix], 0, Vector, false),
    row("deriv", &[Matrix], 0, Vector, false),
    row("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0, Vector, true),
    row("end", &[], 0, Scalar, true),
    row("exp", &[Vector], 0, Vector, false),
    row("first_over_time", &[Matrix], 0, Vector, true),
    row("floor", &[Vector], 0, Vector, false),
    row("histogram_avg", &[Vector], 0, Vector, false),
    row("histogram_count", &[Vector], 0, Vector, false),
    row("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector, false),
    row("histogram_quantile", &[Scalar, Vector], 0, Vector, false),
    row("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9, Vector, true),
    row("histogram_stddev", &[Vector], 0, Vector, false),
    row("histogram_stdvar", &[Vector], 0, Vector, false),
    row("histogram_sum", &[Vector], 0, Vector, false),
    row("hour", &[Vector], 1, Vector, false),
    row("idelta", &[Matrix], 0, Vector, false),
    row("increase", &[Matrix], 0, Vector, false),
    row("info", &[Vector, Vector], 1, Vector, true),
    row("irate", &[Matrix], 0, Vector, false),
    row("label_join", &[Vector, String, String, String], -1, Vector, false),
    row("label_replace", &[Vector, String, String, String, String], 0, Vector, false),
    row("last_over_time", &[Matrix], 0, Vector, false),
    row("ln", &[Vector], 0, Vector, false),
    row("log10", &[Vector], 0, Vector, false),
    row("log2", &[Vector], 0, Vector, false),
    row("mad_over_time", &[Matrix], 0, Vector, true),
    row("max_of", &[Scalar, Scalar], 0, Scalar, true),
    row("max_over_time", &[Matrix], 0, Vector, false),
    row("min_of", &[Scalar, Scalar], 0, Scalar, true),
    row("min_over_time", &[Matrix], 0, Vector, false),
    row("minute", &[Vector], 1, Vector, false),
    row("month", &[Vector], 1, Vector, false),
    row("pi", &[], 0, Scalar, false),
    row("predict_linear", &[Matrix, Scalar], 0, Vector, false),
    row("present_over_time", &[Matrix], 0, Vector, false),
    row("quantile_over_time", &[Scalar, Matrix], 0, Vector, false),
    row("rad", &[Vector], 0, Vector, false),
    row("range", &[], 0, Scalar, true),
    row("rate", &[Matrix], 0, Vector, false),
    row("resets", &[Matrix], 0, Vector, false),
    row("round", &[Vector, Scalar], 1, Vector, false),
    row("scalar", &[Vector], 0, Scalar, false),
    row("sgn", &[Vector], 0, Vector, false),
    row("sin", &[Vector], 0, Vector, false),
    row("sinh", &[Vector], 0, Vector, false),
    row("sort", &[Vector], 0, Vector, false),
    row("sort_by_label", &[Vector, String], -1, Vector, true),
    row("sort_by_label_desc", &[Vector, String], -1, Vector, true),
    row("sort_desc", &[Vector], 0, Vector, false),
    row("sqrt", &[Vector], 0, Vector, false),
    row("start", &[], 0, Scalar, true),
    row("start_timestamp", &[Vector], 0, Vector, true),
    row("stddev_over_time", &[Matrix], 0, Vector, false),
    row("stdvar_over_time", &[Matrix], 0, Vector, false),
    row("step", &[], 0, Scalar, true),
    row("sum_over_time", &[Matrix], 0, Vector, false),
    row("tan", &[Vector], 0, Vector, false),
    row("tanh", &[Vector], 0, Vector, false),
    row("time", &[], 0, Scalar, false),
    row("timestamp", &[Vector], 0, Vector, false),
    row("ts_of_first_over_time", &[Matrix], 0, Vector, true),
    row("ts_of_last_over_time", &[Matrix], 0, Vector, true),
    row("ts_of_max_over_time", &[Matrix], 0, Vector, true),
    row("ts_of_min_over_time", &[Matrix], 0, Vector, true),
    row("vector", &[Scalar], 0, Vector, false),
    row("year", &[Vector], 1, Vector, false),
];

/// Finds a function by its exact name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().and_then(|i| FUNCTIONS.get(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted_and_sound() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for f in FUNCTIONS {
            assert_eq!(find(f.name), Some(f));
            assert!(f.variadic == 0 || !f.arg_types.is_empty(), "{} has nothing to repeat", f.name);
        }
        assert_eq!(find("Rate"), None);
    }
}
