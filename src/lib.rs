//! campanile: metrics, logs, probes and alerting in one process.
//!
//! The modules form four floors; an import points only downwards (the table is checked by `tests/project/architecture.rs`).
//!
//! | floor | modules | what they may use |
//! |---|---|---|
//! | ground | [`model`], [`text`], [`disk`], [`exec`], [`telemetry`], [`wire`], [`host`] | each other, downwards; no policy, no tasks |
//! | engines | [`tsdb`], [`logs`], [`promql`], [`logql`], [`state`] | the ground; synchronous, testable without a runtime |
//! | services | [`config`], [`query`], [`discovery`], [`scrape`], [`probe`], [`ingest`], [`rules`], [`alerting`], [`notifier`] | engines and ground; tokio tasks |
//! | edge | [`api`], [`cli`], [`app`] | everything |

pub mod alerting;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod disk;
pub mod exec;
pub mod host;
pub mod ingest;
pub mod logql;
pub mod logs;
pub mod model;
pub mod notifier;
pub mod probe;
pub mod promql;
pub mod query;
pub mod rules;
pub mod scrape;
pub mod state;
pub mod telemetry;
pub mod text;
pub mod tsdb;
pub mod wire;
