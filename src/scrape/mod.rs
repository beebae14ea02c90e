//! Scraping: targets are found, relabelled, fetched on a schedule; what they say goes to the store.
//!
//! One [`ScrapeHandle`] owns a pool for each job, a pool owns a loop for each target. A loop fetches, then hands the body to a blocking thread that
//! parses and appends it as one batch. A reload restarts only what changed, and a target that lives on keeps its cache, so that no gap shows.

mod append;
mod cache;
mod client;
mod histogram_limits;
mod manager;
mod metrics;
mod pool;
mod report;
mod self_target;
mod status;
pub mod target;
mod target_loop;

#[cfg(test)]
mod tests;

pub use manager::{ApplyError, ScrapeHandle};
pub use self_target::InProcessTarget;
pub use status::{DroppedTarget, Health, TargetMetadata, TargetStatus, TargetsStatus};
