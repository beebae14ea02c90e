//! Attempts with growing pauses, until one works, trying again cannot help, or the time is up.

use std::time::Duration;

use tokio::time::Instant;

use super::{FailureReason, Integration, Notification, SendError};
use crate::alerting::metrics::{FAILED, LATENCY};
use crate::exec::CancellationToken;

/// First pause, growth and longest pause; the values of the back-off that Alertmanager uses.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How the attempts ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent.
    Sent,
    /// It was not, and will not be before the next flush.
    Failed {
        /// What went wrong at last.
        error: SendError,
        /// Whether one of the attempts may have arrived all the same.
        doubtful: bool,
    },
    /// The process stops; the intent stays open.
    Interrupted,
}

/// One attempt that has ended, for those who watch.
pub struct Attempt<'a> {
    /// Counted from 1.
    pub number: u32,
    /// How long it took.
    pub latency: Duration,
    /// Whether it may repeat one that arrived.
    pub possible_repeat: bool,
    /// What went wrong, if it did.
    pub error: Option<&'a SendError>,
    /// Whether another follows.
    pub retried: bool,
}

/// Sends until one attempt works. An attempt in flight when `stop` comes is waited for (the app has a deadline of its own).
pub async fn send(
    integration: &Integration,
    notification: &Notification<'_>,
    patience: Duration,
    stop: &CancellationToken,
    mut observe: impl FnMut(&Attempt<'_>),
) -> Outcome {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    let mut number = 0;
    let mut possible_repeat = notification.possible_repeat;
    loop {
        number += 1;
        let started = Instant::now();
        let notification = Notification { possible_repeat, ..*notification };
        let result = match tokio::time::timeout_at(deadline, integration.notifier.send(&notification)).await {
            Ok(result) => result,
            Err(_) => Err(SendError::temporary(
                FailureReason::Timeout,
                format!("no answer within {:.1} s", started.elapsed().as_secs_f64()),
            )),
        };
        let latency = started.elapsed();
        LATENCY.with_label_values(&[integration.kind]).observe(latency.as_secs_f64());
        let error = match result {
            Ok(()) => {
                observe(&Attempt { number, latency, possible_repeat, error: None, retried: false });
                return Outcome::Sent;
            }
            Err(e) => e,
        };
        FAILED.with_label_values(&[integration.kind, error.reason.as_str()]).inc();
        let wait = spread(pause, number, notification.group_key).max(error.retry_after.unwrap_or_default());
        let next = Instant::now() + wait;
        let retried = error.retry && next < deadline;
        observe(&Attempt { number, latency, possible_repeat, error: Some(&error), retried });
        possible_repeat |= error.is_doubtful();
        if !retried {
            return Outcome::Failed { error, doubtful: possible_repeat };
        }
        tokio::select! {
            () = stop.cancelled() => return Outcome::Interrupted,
            () = tokio::time::sleep_until(next) => {}
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Half to one and a half of the pause, different for each group, so that a receiver that comes back is not hit by all at once.
fn spread(pause: Duration, number: u32, group_key: &str) -> Duration {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(group_key.as_bytes(), u64::from(number));
    pause.mul_f64(0.5 + (hash % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;

    use super::super::Notifier;
    use super::*;
    use crate::alerting::template_data::{Data, Reason};
    use crate::model::Labels;

    struct Fails {
        times: usize,
        error: Option<SendError>,
        calls: AtomicUsize,
    }

    impl Notifier for Fails {
        fn send<'a>(&'a self, _: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
            Box::pin(async move {
                let n = self.calls.fetch_add(1, Ordering::SeqCst);
                match &self.error {
                    Some(e) if n < self.times => Err(e.clone()),
                    None if n < self.times => std::future::pending().await,
                    _ => Ok(()),
                }
            })
        }
    }

    async fn run(times: usize, error: Option<SendError>) -> (Outcome, usize, Duration) {
        let notifier = Arc::new(Fails { times, error, calls: AtomicUsize::new(0) });
        let integration = Integration { kind: "webhook", index: 0, send_resolved: true, notifier: notifier.clone() };
        let data = Data::new("r", Labels::empty(), Vec::new(), "", Reason::First);
        let n = Notification::new(&data, "g");
        let started = Instant::now();
        let mut seen = 0;
        let outcome = send(&integration, &n, Duration::from_secs(10), &CancellationToken::new(), |_| seen += 1).await;
        assert_eq!(seen, notifier.calls.load(Ordering::SeqCst));
        (outcome, seen, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn retries_what_can_be_helped() {
        let busy = SendError::temporary(FailureReason::ServerError, "503");
        let wrong = SendError::permanent(FailureReason::ClientError, "400");
        let (outcome, attempts, _) = run(2, Some(busy.clone())).await;
        assert_eq!((outcome, attempts), (Outcome::Sent, 3));
        let (outcome, attempts, took) = run(1000, Some(busy.clone())).await;
        assert_eq!(outcome, Outcome::Failed { error: busy.clone(), doubtful: false });
        assert!((4..=9).contains(&attempts) && took <= Duration::from_secs(10), "{attempts} in {took:?}");
        let (outcome, attempts, took) = run(1, Some(wrong.clone())).await;
        assert_eq!((outcome, attempts, took), (Outcome::Failed { error: wrong, doubtful: false }, 1, Duration::ZERO));
        let (outcome, attempts, took) = run(1, None).await;
        assert!(matches!(outcome, Outcome::Failed { error: e, doubtful: true } if e.reason == FailureReason::Timeout));
        assert_eq!((attempts, took), (1, Duration::from_secs(10)));
        let limited = SendError { retry_after: Some(Duration::from_secs(7)), ..busy.clone() };
        let (outcome, attempts, took) = run(1, Some(limited.clone())).await;
        assert_eq!((outcome, attempts), (Outcome::Sent, 2));
        assert!(took >= Duration::from_secs(7), "{took:?}");
        // A pause that is longer than what is left ends the attempts at once.
        let limited = SendError { retry_after: Some(Duration::from_secs(60)), ..limited };
        assert_eq!(
            run(1, Some(limited.clone())).await,
            (Outcome::Failed { error: limited, doubtful: false }, 1, Duration::ZERO)
        );
    }
}
