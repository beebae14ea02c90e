//! A gate with a bounded queue: so many at once, so many waiting, the rest is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Both the places and the queue are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{running} running and {waiting} waiting: try again later")]
pub struct Full {
    /// How many may run at once.
    pub running: usize,
    /// How many may wait.
    pub waiting: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Permits {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    max_running: usize,
    max_waiting: usize,
}

impl Permits {
    /// A gate for `running` at once and `waiting` in the queue.
    pub fn new(running: usize, waiting: usize) -> Self {
        Permits {
            places: Arc::new(Semaphore::new(running)),
            waiting: Arc::default(),
            max_running: running,
            max_waiting: waiting,
        }
    }

    /// Waits for a place; refuses at once when the queue is full. The place is free again when the permit is dropped.
    pub async fn acquire(&self) -> Result<OwnedSemaphorePermit, Full> {
        let full = Full { running: self.max_running, waiting: self.max_waiting };
        if let Ok(p) = self.places.clone().try_acquire_owned() {
            return Ok(p);
        }
        let _place_in_queue = Waiting::enter(&self.waiting, self.max_waiting).ok_or(full)?;
        self.places.clone().acquire_owned().await.map_err(|_| full)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(n: &'a AtomicUsize, max: usize) -> Option<Self> {
        let guard = Waiting(n);
        // Counted first and taken back on drop, so that two at once cannot both take the last place.
        if n.fetch_add(1, Ordering::SeqCst) >= max { None } else { Some(guard) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_past_the_queue() {
        let gate = Permits::new(1, 1);
        let first = gate.acquire().await.unwrap();
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.acquire().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(gate.acquire().await.is_err());
        drop(first);
        assert!(waiter.await.unwrap());
    }
}
