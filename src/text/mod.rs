//! Text of users: spans and carets, Go's quoting, regex syntax and templates.

pub mod decimal;
pub mod drain;
pub mod duration;
pub mod go_regex;
pub mod go_template;
pub mod quote;
pub mod span;
