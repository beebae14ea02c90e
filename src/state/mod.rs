//! The small state that must survive a kill: silences, the notification log, the outbox of notifications, alerts, rule state.
//!
//! One redb file. The API is synchronous; [`StateDb::commit`] gathers what callers hand in at the same moment into one
//! transaction with one fsync, so a burst of notifications costs few syncs.

mod db;
mod error;
mod migrate;
mod table;

pub use db::{Op, Opened, Row, StateDb};
pub use error::StateError;
pub use migrate::FORMAT_VERSION;
pub use table::Table;
