//! The built binary, from outside: no mocks of campanile's own parts, only loopback traffic.
//!
//! Tests that need programs of the distribution (node_exporter, an SMTP server) are marked `ignored`; `make test` includes
//! them where the programs are installed, and continuous integration installs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod alert_history;
mod alert_state;
mod alert_tools;
mod crash;
mod differential;
mod differential_histograms;
mod flow;
mod grafana;
mod grafana_alerting;
mod grafana_logs;
mod grafana_prometheus;
mod harness;
mod life;
mod log_protocols;
mod loki;
mod nothing_lost;
mod operations;
mod otlp_metrics;
mod outside;
mod overload;
mod prom_write;
mod prometheus_api;
mod prometheus_endpoints;
mod prometheus_peers;
mod prompb;
mod query_logs;
mod receivers;
mod replaying;
mod senders;
mod sinks;
mod syslog;
