//! PromQL: its language and its columnar engine. Knows no store; asks through [`storage::Storage`].

pub mod ast;
mod ast_json;
mod check;
pub mod duration_expr;
pub mod format;
mod format_pretty;
pub mod function_table;
pub mod lex;
mod number;
pub mod parse;
pub mod parse_error;
mod parse_expr;
mod parse_selector;
pub mod script;
pub mod string_literal;
mod token;

pub use ast_json::to_json;
pub use format::format;
pub use format_pretty::format_pretty;
pub use parse::{ParseOptions, parse, parse_metric, parse_selector, parse_selector_non_empty, parse_with};
pub use parse_error::{ParseError, ParseErrors};

#[cfg(test)]
mod language_tests;
