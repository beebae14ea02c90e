//! LogQL: its language and its engine. Knows no store.

pub mod ast;
pub mod check;
pub mod columns;
pub mod count;
pub mod detected_fields;
pub mod engine;
pub mod format;
pub mod hints;
pub mod label_hints;
pub mod labels;
pub mod lex;
pub mod metric;
pub mod parse;
pub mod patterns;
pub mod range;
pub mod stages;
pub mod storage;
pub mod template;
pub mod variants;

pub use parse::{ParseError, parse};
