//! The other ends of campanile's connections: a webhook receiver, an SMTP server, a web server to probe.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Process, eventually, free_port};

/// Keeps every JSON body that is posted to it.
pub struct WebhookSink {
    pub port: u16,
    bodies: Bodies,
    task: JoinHandle<()>,
}

/// Bodies with the moments at which they came.
type Bodies = Arc<Mutex<Vec<(Instant, Value)>>>;

impl WebhookSink {
    pub async fn start() -> Self {
        Self::start_slow(Duration::ZERO).await
    }

    /// One that lets its senders wait for the answer.
    pub async fn start_slow(wait: Duration) -> Self {
        let bodies: Bodies = Arc::default();
        let app = Router::new()
            .route(
                "/hook",
                post(move |State(b): State<Bodies>, body: String| async move {
                    b.lock().unwrap().push((Instant::now(), serde_json::from_str(&body).unwrap()));
                    tokio::time::sleep(wait).await;
                }),
            )
            .with_state(bodies.clone());
        let (port, task) = serve(app, 0).await;
        WebhookSink { port, bodies, task }
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    /// When they came.
    pub fn times(&self) -> Vec<Instant> {
        self.bodies.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// Waits for a body that `wanted` accepts.
    pub async fn wait_for(&self, what: &str, seconds: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, seconds, async || self.bodies().into_iter().find(&wanted)).await
    }
}

impl Drop for WebhookSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(app: Router, port: u16) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (port, task)
}

/// A web server that can be stopped and started again on the same port.
pub struct WebServer {
    pub port: u16,
    task: Option<JoinHandle<()>>,
}

impl WebServer {
    pub async fn start() -> Self {
        let (port, task) = serve(Self::app(), 0).await;
        WebServer { port, task: Some(task) }
    }

    fn app() -> Router {
        Router::new().route("/", get(|| async { "all is well" }))
    }

    pub async fn stop(&mut self) {
        if let Some(t) = self.task.take() {
            t.abort();
            let _cancelled = t.await;
        }
    }

    pub async fn start_again(&mut self) {
        self.task = Some(serve(Self::app(), self.port).await.1);
    }
}

/// Debian's aiosmtpd, printing each mail it takes.
pub struct SmtpServer {
    pub port: u16,
    log: PathBuf,
    _process: Process,
}

impl SmtpServer {
    pub async fn start(dir: &Path) -> Self {
        let port = free_port();
        let log = dir.join("mails");
        let address = format!("127.0.0.1:{port}");
        let args = ["-u", "-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Debugging", "stdout", "-l", &address];
        let process = Process::start("/usr/bin/python3", &args, &log);
        eventually("aiosmtpd listens", 20, async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
            .await;
        SmtpServer { port, log, _process: process }
    }

    /// Waits until the mails so far hold a text.
    pub async fn wait_for(&self, text: &str, seconds: u64) -> String {
        eventually(&format!("a mail with {text:?}"), seconds, async || {
            std::fs::read_to_string(&self.log).ok().filter(|m| m.contains(text))
        })
        .await
    }
}
