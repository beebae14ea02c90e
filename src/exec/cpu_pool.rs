//! Work that computes and would block the runtime: threads for it, and a pool of helpers among which it is split.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;

/// The work was dropped before it gave a result, because it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the computation ended without a result")]
pub struct Lost;

static POOL: LazyLock<Arc<rayon::ThreadPool>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("cpu-{i}"))
        // A panic in a query must not take the process down; the caller sees `Lost`.
        .panic_handler(|_| tracing::error!("a task on the CPU pool panicked"))
        .build();
    match pool {
        Ok(p) => Arc::new(p),
        // No threads to be had at start: nothing can run.
        Err(e) => {
            tracing::error!(error = %e, "cannot start the CPU pool");
            std::process::abort()
        }
    }
});

/// The pool itself, for engines that split their work with rayon.
pub fn pool() -> &'static rayon::ThreadPool {
    &POOL
}

/// Pieces of work under way for each core. A few more than cores, so that a short one need not wait for the end of a long one; not many,
/// because each holds memory, and because the rest of the process wants to be heard.
const PER_CORE: usize = 2;

static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(PER_CORE * POOL.current_num_threads()));

/// Runs `work` on a thread of its own and waits for it without blocking the runtime; what it splits up comes to the pool. So no thread of
/// the pool takes up a second piece of work while it waits for helpers with the first. Two pieces for each core run at once, the others
/// wait in the order in which they came. If the caller goes away before `work` has begun it never does, later its result is dropped.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    let place = PLACES.acquire().await.map_err(|_| Lost)?;
    let result = tokio::task::spawn_blocking(move || {
        // Free only when the work is done, even if nobody waits for it any more.
        let _place = place;
        work()
    });
    result.await.map_err(|_| Lost)
}
