//! The configuration: plain structs, how they are loaded, and what is wrong with them.

pub mod alert_matcher;
pub mod alerting;
pub mod bytesize;
pub mod duration;
pub mod error;
pub mod notify;
pub mod secret;
pub mod time_interval;

pub use alert_matcher::{AlertMatcher, AlertMatchers};
pub use alerting::AlertmanagerConfig;
pub use bytesize::ByteSize;
pub use duration::ConfigDuration;
pub use error::{Problem, Problems};
pub use secret::Secret;
