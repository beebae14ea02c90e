//! PromQL: its language and its columnar engine. Knows no store; asks through [`storage::Storage`].

pub mod ast;
pub mod script;
