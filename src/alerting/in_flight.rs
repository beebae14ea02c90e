//! Notifications under way: one at a time for each receiver, integration and group. A reload can make a group anew while the flush of its
//! predecessor still goes on, and a start finds intents of the process before; whoever comes second waits, or the same would be told twice.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Doubtful ends that are remembered. One key is some hundred bytes, and there is one for each group whose receiver fails.
const MAX_DOUBTFUL: usize = 50_000;

/// See the module.
pub(super) struct InFlight {
    keys: watch::Sender<HashSet<String>>,
    /// Keys whose last notification ended so that it may have arrived all the same (no answer, a broken connection).
    doubtful: Mutex<HashSet<String>>,
}

/// The right to tell something under one key; given back when dropped.
pub(super) struct Claim {
    of: Arc<InFlight>,
    key: String,
}

impl InFlight {
    /// Nothing is under way.
    pub fn new() -> Arc<Self> {
        Arc::new(InFlight { keys: watch::Sender::default(), doubtful: Mutex::default() })
    }

    /// Takes a key, if it is free.
    pub fn try_claim(self: &Arc<Self>, key: &str) -> Option<Claim> {
        let mut taken = false;
        self.keys.send_if_modified(|keys| {
            taken = keys.insert(key.to_owned());
            // Nobody waits for a key to be taken.
            false
        });
        taken.then(|| Claim { of: self.clone(), key: key.to_owned() })
    }

    /// Waits until a key is free, and takes it.
    pub async fn claim(self: &Arc<Self>, key: &str) -> Claim {
        let mut keys = self.keys.subscribe();
        loop {
            if let Some(claim) = self.try_claim(key) {
                return claim;
            }
            // The sender lives in `self`, so that waiting cannot fail.
            let _still_open = keys.wait_for(|keys| !keys.contains(key)).await;
        }
    }

    /// Whether the last notification under a key may have arrived although it counts as failed.
    pub fn is_doubtful(&self, key: &str) -> bool {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Notes how a notification ended. Beyond the bound doubts are not kept: a repeat then comes without its mark.
    pub fn ended(&self, key: &str, doubtful: bool) {
        let mut all = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        if !doubtful {
            all.remove(key);
        } else if all.len() < MAX_DOUBTFUL {
            all.insert(key.to_owned());
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.of.keys.send_modify(|keys| {
            keys.remove(&self.key);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time() {
        let all = InFlight::new();
        let first = all.claim("a").await;
        assert!(all.try_claim("a").is_none());
        let other = all.claim("b").await;
        let waiting = tokio::spawn({
            let all = all.clone();
            async move { all.claim("a").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.unwrap();
        assert!(all.try_claim("a").is_none());
        drop((second, other));
        assert!(all.keys.borrow().is_empty());
    }

    #[test]
    fn doubts_end_with_an_answer() {
        let all = InFlight::new();
        all.ended("a", true);
        assert!(all.is_doubtful("a") && !all.is_doubtful("b"));
        all.ended("a", false);
        assert!(!all.is_doubtful("a"));
    }
}
