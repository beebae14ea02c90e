//! LogQL: its language and its engine. Knows no store.

pub mod ast;
pub mod check;
pub mod lex;
pub mod parse;

pub use parse::{ParseError, parse};
