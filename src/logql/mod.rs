//! LogQL: its language and its engine. Knows no store.

pub mod ast;
pub mod check;
pub mod labels;
pub mod lex;
pub mod parse;
pub mod stages;

pub use parse::{ParseError, parse};
