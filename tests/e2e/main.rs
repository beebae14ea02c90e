//! The built binary, from outside: no mocks of campanile's own parts, only loopback traffic.
//!
//! Tests that need programs of the distribution (node_exporter, an SMTP server) are marked `ignored`; `make test` includes
//! them where the programs are installed, and continuous integration installs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod crash;
mod flow;
mod grafana;
mod grafana_logs;
mod harness;
mod life;
mod loki;
mod sinks;
