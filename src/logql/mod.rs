//! LogQL: its language and its engine. Knows no store.

pub mod ast;
pub mod check;
pub mod engine;
pub mod labels;
pub mod lex;
pub mod metric;
pub mod parse;
pub mod range;
pub mod stages;
pub mod storage;
pub mod template;

pub use parse::{ParseError, parse};
