//! The way of all protocols into the log store: bounds on what is on its way, the rate of each sender, and what was refused,
//! counted.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::push_error::PushError;
use super::sender_rate::SenderRates;
use crate::config::logs::LogLimits;
use crate::logs::{self, BatchBuilder, Pushed, Store, count_refused};
use crate::telemetry::metrics;
use crate::wire::decompress::{Encoding, decompress};

/// Bytes of entries that go to the store at once, so that a large body does not need twice its size in memory.
pub(super) const BATCH_BYTES: usize = 8 << 20;
/// Bytes of request bodies that may be in memory at once. A body may have 64 MiB, so this is four of the largest, or hundreds of
/// what shippers send.
const BODIES_IN_MEMORY_BYTES: usize = 256 << 20;
/// Requests decoded and pushed at once, for each core: one computes while another waits for the disk.
const WORKING_PER_CORE: usize = 2;
/// How long a request waits until others are done; after that the sender is told to come back.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);
/// What it is told.
const RETRY_AFTER_SECONDS: u32 = 5;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_ingest_log_requests_total", "Requests that brought logs.", &["protocol", "status"])
});
static BODY_BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_ingest_log_body_bytes_total", "Bytes of requests that brought logs, as sent.")
});
static REFUSED_REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Requests with logs refused before they were read to the end; senders were told so.";
    metrics::counter_vec("campanile_ingest_log_requests_refused_total", help, &["reason"])
});

/// Counts a request and its outcome; `status` is that of HTTP.
pub fn count_request(protocol: &str, body_bytes: usize, status: u16) {
    REQUESTS.with_label_values(&[protocol, &status.to_string()]).inc();
    BODY_BYTES.inc_by(body_bytes as u64);
}

/// A request that brings logs, as all protocols over HTTP have it.
#[derive(Clone, Copy, Debug)]
pub struct LogRequest<'a> {
    /// Who sends, for the rate: a tenant, a user, or an address.
    pub sender: &'a str,
    /// The header.
    pub content_type: Option<&'a str>,
    /// The header.
    pub content_encoding: Option<&'a str>,
    /// The body as it came.
    pub body: &'a [u8],
    /// How large it may be when unpacked.
    pub max_body_bytes: usize,
}

impl<'a> LogRequest<'a> {
    /// The body, unpacked as the header says.
    pub(super) fn unpacked(&self) -> Result<Cow<'a, [u8]>, PushError> {
        let encoding = Encoding::from_header(self.content_encoding)?;
        Ok(decompress(self.body, encoding, self.max_body_bytes)?)
    }

    /// Counts the request by its outcome and gives that back; `good` is the status of an answer that is no error.
    pub(super) fn counted<T>(
        &self,
        protocol: &str,
        good: impl FnOnce(&T) -> u16,
        outcome: Result<T, PushError>,
    ) -> Result<T, PushError> {
        count_request(protocol, self.body.len(), outcome.as_ref().map_or_else(|e| e.status, good));
        outcome
    }
}

/// The share of one request in the memory for bodies; given back when it is dropped.
#[derive(Debug, Default)]
pub struct BodyShare(Option<OwnedSemaphorePermit>);

/// The door to the store. Shared by all.
pub struct Intake {
    store: Arc<Store>,
    rates: SenderRates,
    bodies: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Intake {
    /// A door to a store.
    pub fn new(store: Arc<Store>, limits: &LogLimits) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let rates = SenderRates::default();
        rates.set(limits);
        Intake {
            store,
            rates,
            bodies: Arc::new(Semaphore::new(BODIES_IN_MEMORY_BYTES)),
            working: Arc::new(Semaphore::new(cores.max(2) * WORKING_PER_CORE)),
        }
    }

    /// Puts limits in force.
    pub fn set_limits(&self, limits: &LogLimits) {
        self.rates.set(limits);
    }

    /// The store behind the door.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A builder that applies the store's limits.
    pub fn batch(&self) -> BatchBuilder<'_> {
        self.store.batch()
    }

    /// Asks for memory for `bytes` more of a body. What is given out is bounded over all requests: beyond it they are refused, and
    /// those who hold some go on.
    pub fn reserve(&self, share: &mut BodyShare, bytes: usize) -> Result<(), PushError> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.bodies.clone().try_acquire_many_owned(wanted) {
            Ok(more) => {
                match &mut share.0 {
                    Some(held) => held.merge(more),
                    None => share.0 = Some(more),
                }
                Ok(())
            }
            Err(_) => {
                REFUSED_REQUESTS.with_label_values(&["bodies_in_memory"]).inc();
                let message =
                    format!("requests of {BODIES_IN_MEMORY_BYTES} bytes are being read already; try again later");
                Err(PushError::too_many(message, RETRY_AFTER_SECONDS))
            }
        }
    }

    /// Counts a request whose body is larger than `limit` as it comes, before it is unpacked.
    pub fn refuse_large(&self, limit: usize) -> PushError {
        REFUSED_REQUESTS.with_label_values(&["body_too_large"]).inc();
        PushError::too_large(limit)
    }

    /// Waits for a place to work; refuses after a while.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, PushError> {
        match tokio::time::timeout(WAIT_FOR_OTHERS, self.working.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                REFUSED_REQUESTS.with_label_values(&["all_working"]).inc();
                Err(PushError::too_many("too many requests with logs at once; try again later", RETRY_AFTER_SECONDS))
            }
        }
    }

    /// Counts bytes against a sender without pushing anything; the error is after how many seconds it may go on.
    pub fn take_rate(&self, sender: &str, bytes: usize) -> Result<(), u32> {
        let now_ns = self.store.options().clock.now_ns();
        self.rates.take(sender, bytes, now_ns).map_err(|e| e.retry_after_seconds)
    }

    /// Pushes a batch of one sender. If it is refused as a whole, its entries are counted by the reason.
    pub fn push(&self, sender: &str, builder: BatchBuilder<'_>) -> Result<Pushed, PushError> {
        let (lines, bytes) = (builder.entries(), builder.bytes());
        if lines > 0 {
            let now_ns = self.store.options().clock.now_ns();
            if let Err(e) = self.rates.take(sender, bytes, now_ns) {
                count_refused("rate_limited", lines as u64);
                let message = format!(
                    "Ingestion rate limit exceeded for user {sender} (limit: {} bytes/sec) while attempting to ingest '{lines}' \
                     lines totaling '{bytes}' bytes, reduce log volume or raise logs.limits.sender_rate",
                    e.rate
                );
                return Err(PushError::too_many(message, e.retry_after_seconds));
            }
        }
        self.store.push_batch(builder).map_err(|e| {
            let reason = match e {
                logs::Error::Busy { .. } => "queue_full",
                logs::Error::BatchTooLarge { .. } => "batch_too_large",
                logs::Error::Io { .. } | logs::Error::Index { .. } | logs::Error::Damaged { .. } => "store_failed",
                logs::Error::NoSpace(_) => "disk_nearly_full",
                logs::Error::Closed => "stopping",
            };
            count_refused(reason, lines as u64);
            PushError::from(e)
        })
    }
}
