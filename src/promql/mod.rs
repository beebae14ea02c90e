//! PromQL: its language and its columnar engine. Knows no store; asks through [`storage::Storage`].

pub mod aggregate;
pub mod annotations;
pub mod ast;
mod ast_json;
pub mod binary;
mod check;
pub mod duration_expr;
pub mod engine;
pub mod format;
mod format_pretty;
pub mod function_table;
mod functions;
pub mod kahan;
pub mod lex;
pub mod limits;
mod number;
pub mod parse;
pub mod parse_error;
mod parse_expr;
mod parse_selector;
pub mod quantile;
mod sample_counts;
pub mod script;
mod selector;
pub mod series_meta;
pub mod series_set;
pub mod source;
pub mod storage;
pub mod string_literal;
mod subquery;
mod token;
pub mod value;

pub use ast_json::to_json;
pub use engine::{Engine, EngineOptions, QueryError, QueryOptions};
pub use format::format;
pub use format_pretty::format_pretty;
pub use parse::{ParseOptions, parse, parse_metric, parse_selector, parse_selector_non_empty, parse_with};
pub use parse_error::{ParseError, ParseErrors};
pub use storage::{Admit, MemoryStorage, SelectHints, SelectedSeries, Storage, StorageError};
pub use value::{MatrixSeries, QueryResult, QueryStats, SampleValue, Value, VectorSample};

#[cfg(test)]
mod language_tests;
