//! Alerts of rules on their way to Alertmanagers outside this process (`alerting:` of prometheus.yml).
//!
//! | file | job |
//! |---|---|
//! | `handle` | what the rest of the program holds; a reload as a diff |
//! | `endpoint` | from a discovered label set to the address of an Alertmanager |
//! | `queue` | the newest version of each alert that one Alertmanager has not taken yet |
//! | `send_loop` | one Alertmanager: batches, attempts, pauses |
//! | `metrics` | what is counted |
//!
//! Each Alertmanager has a queue and a task of its own: one that hangs holds up nobody else. What it did not take is tried again, so that an
//! outage shorter than the queue is deep loses nothing.

mod endpoint;
mod handle;
mod metrics;
mod queue;
mod send_loop;

#[cfg(test)]
mod tests;

pub use handle::{ApplyError, NotifierHandle, OutsideStatus};
