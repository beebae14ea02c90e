//! A bounded pool of threads for work that would block the runtime.

use std::sync::{Arc, LazyLock};

/// The work was dropped before it gave a result, because it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the computation ended without a result")]
pub struct Lost;

/// Address space, of which only what is used becomes memory.
const STACK_BYTES: usize = 16 << 20;

static POOL: LazyLock<Arc<rayon::ThreadPool>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("cpu-{i}"))
        // A thread that waits for its helpers takes up other queries meanwhile, on top of what its stack holds already.
        .stack_size(STACK_BYTES)
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

/// Runs `work` on a thread of its own and waits for it without blocking the runtime; only what it splits up comes to the pool. Work of
/// one caller then never waits for that of another, of which some is long, and no thread of the pool takes up a second piece of work
/// while it waits for helpers with the first. The caller bounds how much of this there is at once.
pub async fn run_beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Lost)
}

/// Runs `work` on the pool and waits for it without blocking the runtime. If the caller goes away the result is dropped.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    let (tx, rx) = tokio::sync::oneshot::channel();
    POOL.spawn(move || {
        // An error means that the caller went away, which is fine.
        let _gone = tx.send(work());
    });
    rx.await.map_err(|_| Lost)
}
