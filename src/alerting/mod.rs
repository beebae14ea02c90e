//! The bell: Alertmanager's model in process. Alerts come in from rules and from clients, are routed to groups, and groups are told
//! to receivers, unless something keeps them quiet.
//!
//! | file | job |
//! |---|---|
//! | `handle` | what the rest of the program holds |
//! | `core` | what the tasks share, taking alerts in, clearing away |
//! | `store` | the alerts, merged by identity |
//! | `route` | the compiled tree |
//! | `dispatch`, `group` | alerts to groups; a group's timer and flush |
//! | `inhibit`, `silence`, `time_interval` | what keeps alerts quiet |
//! | `in_flight` | one notification at a time under each key |
//! | `nflog`, `intent`, `persist` | what was told, what is to be told, the alerts: in the state file |
//! | `notify` | the steps of a notification, and one file for each kind of receiver |
//! | `template_data`, `template_values`, `templates`, `default_templates` | what a message is made of |
//! | `trial` | receivers and templates tried out by hand |
//! | `observer`, `metrics` | what others see of it |
//!
//! **Nothing is lost.** A notification is a row of intent, synced before the send; its outcome strikes the row out and writes the
//! notification log in one transaction. What is found at start is sent again, marked as possible repeat.

mod compiled;
mod core;
pub mod default_templates;
mod dispatch;
mod group;
mod handle;
mod in_flight;
pub mod inhibit;
pub mod intent;
pub mod metrics;
pub mod nflog;
pub mod notify;
pub mod observer;
mod persist;
pub mod route;
pub mod silence;
pub mod store;
pub mod template_data;
pub mod template_values;
pub mod templates;
pub mod time_interval;
pub mod trial;

pub use compiled::{CompileError, validate_templates};
pub use handle::{AlertStatus, AlertingError, AlertingHandle, AlertingOptions, GroupStatus, PostError, PostedAlert};
pub use observer::{Because, Event, Observer, SilenceEvent, Suppression};

#[cfg(test)]
mod tests;
