//! What campanile tells about itself: its metrics and its own log.

pub mod metrics;
pub mod process;
pub mod tracing_setup;
