//! How work is run: clocks, the CPU pool, permits, doors, shutdown, throttled log messages. No policy here.

pub mod clock;
pub mod cpu_pool;
pub mod latch;
pub mod permits;
pub mod throttled_log;

pub use clock::{Clock, SystemClock};
pub use tokio_util::sync::CancellationToken;
