use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::*;
use crate::config::ByteSize;
use crate::config::logs::LogLimits;
use crate::ingest::test_store::{lines as stored, options};
use crate::logs::{Options, Store};

async fn listeners(store: &Arc<Store>, limits: &LogLimits, config: SyslogListener) -> SyslogListeners {
    let intake = Arc::new(Intake::new(store.clone(), limits));
    let listeners = SyslogListeners::new(intake, CancellationToken::new());
    listeners.apply(listeners.prepare(&[config]).await.unwrap());
    listeners
}

/// What campanile's own metrics say was refused for a reason.
fn refused(reason: &str) -> u64 {
    let name = format!("campanile_logs_refused_entries_total{{reason=\"{reason}\"}} ");
    let text = metrics::render();
    text.lines().find_map(|l| l.strip_prefix(&name)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_find_no_room_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Takes one batch, then nothing until it is flushed.
    let options = Options { max_buffer_bytes: 1, max_wait: Duration::from_millis(1), ..options() };
    let store = Arc::new(Store::open(dir.path(), options).unwrap());
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config =
        SyslogListener { listen: address.to_string(), protocol: SyslogProtocol::Udp, ..SyslogListener::default() };
    let listeners = listeners(&store, &LogLimits::default(), config).await;
    let begun = Instant::now();
    let mut sent = 0;
    while refused("syslog_queue_full") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the queue has an end");
        let message = format!("<13>1 - host app - - - message {sent} {}", "v".repeat(8000));
        sender.send_to(message.as_bytes(), address).await.unwrap();
        sent += 1;
        // A pause lets it be read: what is dropped shall be dropped at the queue, not in the kernel.
        if sent % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // What waits is stored when there is room again, also at a stop.
    listeners.shutdown.cancel();
    let flushing = store.clone();
    let flushes = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + Duration::from_secs(20);
        let room = |s: &Store| s.flush().is_ok();
        while Arc::strong_count(&flushing) > 2 && Instant::now() < until && room(&flushing) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    listeners.stop().await;
    drop(listeners);
    flushes.await.unwrap();
    let lost = refused("syslog_queue_full");
    assert!(lost > 0);
    assert_eq!(stored(&store).len() as u64 + lost + KERNEL_DROPS.get(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_their_rate_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), options()).unwrap());
    let limits =
        LogLimits { sender_rate: ByteSize(16 << 10), sender_burst: ByteSize(16 << 10), ..LogLimits::default() };
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = SyslogListener { listen: address.to_string(), ..SyslogListener::default() };
    let listeners = listeners(&store, &limits, config).await;
    let begun = Instant::now();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    for i in 0..40 {
        let message = format!("<13>1 - host app - - - {} {i}\n", "v".repeat(1000));
        connection.write_all(message.as_bytes()).await.unwrap();
        // Each message is read by itself.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(connection);
    while stored(&store).len() < 40 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} stored", stored(&store).len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "40 KiB at 16 KiB a second");
    listeners.shutdown.cancel();
    listeners.stop().await;
}
