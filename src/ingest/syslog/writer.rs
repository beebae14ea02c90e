//! Parses what a listener has received and pushes it, a lot at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::MESSAGES;
use super::chunk::{Chunk, WAITING_CHUNKS};
use super::entry::Entries;
use super::settings::Settings;
use crate::config::logs::SyslogProtocol;
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock, SystemClock};
use crate::ingest::Intake;
use crate::logs::count_refused;

/// One push holds about this much at most.
const PUSH_BYTES: usize = 4 << 20;
/// How long the first message waits for others: a push for each would cost more than all else.
const LINGER: Duration = Duration::from_millis(20);
/// Between attempts when the store takes nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// Attempts after the signal to stop.
const LAST_ATTEMPTS: usize = 10;

static COMPLAINTS: Throttle = Throttle::new(10_000);

/// Starts a writer; it ends when all senders of the queue are gone and the queue is empty.
pub(super) fn start(
    intake: Arc<Intake>,
    settings: Arc<ArcSwap<Settings>>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> mpsc::Sender<Chunk> {
    let (sender, queue) = mpsc::channel(WAITING_CHUNKS);
    tasks.spawn(write(intake, settings, queue, stop));
    sender
}

async fn write(
    intake: Arc<Intake>,
    settings: Arc<ArcSwap<Settings>>,
    mut queue: mpsc::Receiver<Chunk>,
    stop: CancellationToken,
) {
    let mut sequence = 0u64;
    while let Some(first) = queue.recv().await {
        let mut chunks = vec![first];
        gather(&mut chunks, &mut queue).await;
        let chunks = Arc::new(chunks);
        let mut attempts_left = LAST_ATTEMPTS;
        // UDP senders cannot be told to wait, so those over their rate lose what is beyond it; counted once, not at each attempt.
        let over_rate = match settings.load().config.protocol {
            SyslogProtocol::Udp => senders_over_rate(&intake, &chunks),
            SyslogProtocol::Tcp => Vec::new(),
        };
        let over_rate = Arc::new(over_rate);
        loop {
            let (intake, settings) = (intake.clone(), settings.load_full());
            let (lot, left_out) = (chunks.clone(), over_rate.clone());
            let pushed = tokio::task::spawn_blocking(move || push(&intake, &settings, &lot, &left_out, sequence)).await;
            let error = match pushed {
                Ok(Ok(())) => break,
                Ok(Err(e)) => e,
                Err(e) => {
                    tracing::error!(error = %e, "writing syslog messages ended badly");
                    break;
                }
            };
            if stop.is_cancelled() {
                attempts_left -= 1;
                if attempts_left == 0 {
                    let lost: usize = chunks.iter().map(Chunk::len).sum();
                    count_refused("syslog_stopping", lost as u64);
                    tracing::error!(lost, error, "syslog messages are lost: the log store does not take them");
                    break;
                }
            } else if let Some(before) = COMPLAINTS.allow(SystemClock.now_ms()) {
                tracing::warn!(error, before, "the log store does not take syslog messages; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
        sequence = sequence.wrapping_add(chunks.iter().map(|c| c.len() as u64).sum());
    }
}

/// Adds what comes within a moment.
async fn gather(chunks: &mut Vec<Chunk>, queue: &mut mpsc::Receiver<Chunk>) {
    let mut bytes: usize = chunks.iter().map(Chunk::bytes).sum();
    let moment = tokio::time::sleep(LINGER);
    tokio::pin!(moment);
    while bytes < PUSH_BYTES {
        let more = tokio::select! {
            c = queue.recv() => c,
            () = &mut moment => None,
        };
        let Some(chunk) = more else { return };
        bytes += chunk.bytes();
        chunks.push(chunk);
    }
}

fn senders_over_rate(intake: &Intake, chunks: &[Chunk]) -> Vec<IpAddr> {
    let mut sent: HashMap<IpAddr, (usize, u64)> = HashMap::new();
    for (message, from) in chunks.iter().flat_map(Chunk::messages) {
        let (bytes, messages) = sent.entry(from).or_default();
        *bytes += message.len();
        *messages += 1;
    }
    let over = sent.into_iter().filter(|(from, (bytes, messages))| {
        let over = intake.take_rate(&from.to_string(), *bytes).is_err();
        if over {
            count_refused("rate_limited", *messages);
        }
        over
    });
    over.map(|(from, _)| from).collect()
}

fn push(
    intake: &Intake,
    settings: &Settings,
    chunks: &[Chunk],
    left_out: &[IpAddr],
    sequence: u64,
) -> Result<(), String> {
    let mut entries = Entries::new(settings, intake.batch(), sequence);
    for chunk in chunks {
        for (message, from) in chunk.messages() {
            if !left_out.contains(&from) {
                entries.add(message, from, chunk.received_ns);
            }
        }
    }
    let forms = entries.forms();
    // Counted against their senders already; what is refused is tried again, so it is counted only when that is given up.
    intake.store().push_batch(entries.into_batch()).map_err(|e| e.to_string())?;
    let protocol = settings.config.protocol.as_str();
    for (form, count) in forms {
        MESSAGES.with_label_values(&[protocol, form]).inc_by(count);
    }
    Ok(())
}
