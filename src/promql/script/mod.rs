//! The test scripts of PromQL: samples to load, expressions to evaluate, what must come out.
//!
//! ```text
//! load 5m
//!   http_requests{path="/foo"}  1 2 3 0+10x5
//!
//! eval instant at 50m  rate(http_requests[50m])
//!   expect no_warn
//!   {path="/foo"} 0.02
//! ```

pub mod backend;
pub mod command;
pub mod compare;
pub mod histogram_literal;
mod histogram_sum;
pub mod load;
pub mod run;
mod sample_number;
pub mod script_error;
pub mod series_desc;
pub mod start_timestamps;

pub use backend::{EvalOutput, EvalValue, ScriptBackend, ScriptSample, ScriptValue, SeriesData};
pub use run::{Failure, Report, run};
pub use series_desc::{SequenceValue, SeriesDescError, parse_series_desc, parse_values};

#[cfg(test)]
mod tests;
