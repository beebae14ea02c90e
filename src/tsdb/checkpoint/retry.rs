//! When a checkpoint that could not be written is tried again: writing one costs as much as the head is large, and a disk that is full or
//! broken now mostly is so a second later.

use std::time::{Duration, Instant};

/// The first pause; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// Free space that counts as new, at least: logs and blocks of others come and go.
const NEW_SPACE: u64 = 1 << 20;

/// What is known of the last attempt.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// Whether there is a reason for a checkpoint that does not come again by itself.
    pub owed: bool,
    pause: Duration,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    /// Bytes that were free on the disk.
    free: u64,
}

impl Retry {
    /// Whether it is time for an attempt: the pause is over, or there is room on the disk that was not there. `free` gives the bytes
    /// that are free and is asked only after a failure.
    pub(crate) fn is_due(&self, now: Instant, free: impl FnOnce() -> u64) -> bool {
        let Some(failed) = &self.failed else { return true };
        now.duration_since(failed.at) >= self.pause || free() >= failed.free.saturating_add(NEW_SPACE)
    }

    /// Notes how an attempt ended.
    pub(crate) fn note<T, E>(&mut self, outcome: &Result<T, E>, now: Instant, free: impl FnOnce() -> u64) {
        if outcome.is_ok() {
            *self = Retry::default();
            return;
        }
        self.pause = if self.failed.is_some() { (self.pause * 2).min(LONGEST) } else { FIRST };
        self.failed = Some(Failed { at: now, free: free() });
    }

    /// Makes the next attempt due at once.
    pub(crate) fn forget(&mut self) {
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_success_or_new_space() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        assert!(retry.is_due(now, || unreachable!("nothing failed yet")));
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            retry.note(&Err::<(), ()>(()), now, || 100);
            let almost = now + Duration::from_secs(pause) - Duration::from_millis(1);
            assert!(!retry.is_due(almost, || 100), "after {pause} s");
            assert!(retry.is_due(almost, || 100 + NEW_SPACE));
            now += Duration::from_secs(pause);
            assert!(retry.is_due(now, || 0));
        }
        retry.owed = true;
        retry.note(&Ok::<(), ()>(()), now, || 100);
        assert!(retry.is_due(now, || 100) && !retry.owed);
        retry.note(&Err::<(), ()>(()), now, || 100);
        assert!(retry.is_due(now + FIRST, || 100), "it begins at the first pause again");
        retry.forget();
        assert!(retry.is_due(now, || 100));
    }
}
