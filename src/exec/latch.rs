//! A door that opens once and stays open; anybody may look at it or wait before it.

use tokio::sync::watch;

/// See the module. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Latch(watch::Sender<bool>);

impl Default for Latch {
    fn default() -> Self {
        Latch(watch::Sender::new(false))
    }
}

impl Latch {
    /// A door that is open from the beginning.
    pub fn opened() -> Self {
        let latch = Latch::default();
        latch.open();
        latch
    }

    /// Opens it.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open.
    pub async fn wait(&self) {
        // It fails only when the sender is gone, which we hold.
        let mut seen = self.0.subscribe();
        let _open = seen.wait_for(|open| *open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lets_through_who_came_before_and_after() {
        let latch = Latch::default();
        let waiter = tokio::spawn({
            let latch = latch.clone();
            async move { latch.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!latch.is_open() && !waiter.is_finished());
        latch.open();
        waiter.await.unwrap();
        latch.wait().await;
        assert!(latch.is_open() && Latch::opened().is_open());
    }
}
