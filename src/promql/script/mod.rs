//! The test scripts of PromQL: samples to load, expressions to evaluate, what must come out.

pub mod backend;
