//! Starts the built binary in a folder of its own and takes it down again.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::prompb::{TimeSeries, WriteRequest, packed};

/// The program under test.
pub const CAMPANILE: &str = env!("CARGO_BIN_EXE_campanile");

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How much longer a thing may take than on a machine that does nothing else.
const BUSY: u64 = 4;

/// Asks `done` every 50 ms until it gives something; panics with `what` if it does not in [`BUSY`] times `seconds`, which are to be plenty
/// on a machine that does nothing else.
pub async fn eventually<T>(what: &str, seconds: u64, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = done().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(seconds * BUSY), "{what}: not within {} s", seconds * BUSY);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Loki push body: one stream with lines at the given times.
pub fn push_body(labels: Value, lines: &[(i64, String)]) -> String {
    let values: Vec<_> = lines.iter().map(|(t, l)| serde_json::json!([t.to_string(), l])).collect();
    serde_json::json!({"streams": [{"stream": labels, "values": values}]}).to_string()
}

/// A process that is killed when the test ends, whatever way it ends.
pub struct Process(pub Child);

impl Process {
    /// Starts a program with its output in `log`.
    pub fn start(program: &str, args: &[&str], log: &Path) -> Self {
        Self::start_with(program, args, log, &[])
    }

    /// The same with environment variables.
    pub fn start_with(program: &str, args: &[&str], log: &Path, env: &[(&str, &str)]) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {program}: {e}"));
        Process(child)
    }

    /// Sends a signal by the name `kill` knows.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for the end and gives the exit code.
    pub async fn wait(&mut self, seconds: u64) -> Option<i32> {
        eventually("the process ends", seconds, async || self.0.try_wait().unwrap()).await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A running server with its folder.
pub struct Server {
    pub dir: TempDir,
    pub port: u16,
    pub process: Process,
    pub http: reqwest::Client,
    /// Further arguments of the program.
    args: Vec<String>,
}

impl Server {
    /// Starts with a configuration and waits until it is ready. `{port}` in the text stands for its own port.
    pub async fn start(config: &str) -> Server {
        Self::start_with(config, &[]).await
    }

    /// The same with a file of rules in its folder.
    pub async fn start_with_rules(config: &str, rules: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let path = rules_in(dir.path());
        std::fs::write(&path, rules).unwrap();
        Self::start_in(dir, &format!("{config}\nrule_files: ['{}']\n", path.display()), &[], &[]).await
    }

    /// The same with more flags.
    pub async fn start_with_flags(config: &str, flags: &[&str]) -> Server {
        Self::start_in(tempfile::tempdir().unwrap(), config, flags, &[]).await
    }

    /// The same with environment variables.
    pub async fn start_with(config: &str, env: &[(&str, &str)]) -> Server {
        Self::start_in(tempfile::tempdir().unwrap(), config, &[], env).await
    }

    /// The same in a folder that is there (the data goes to `data` below it), with further arguments.
    pub async fn start_in(dir: TempDir, config: &str, args: &[&str], env: &[(&str, &str)]) -> Server {
        let port = free_port();
        std::fs::write(dir.path().join("campanile.yml"), config.replace("{port}", &port.to_string())).unwrap();
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let server = Server { process: Self::spawn(dir.path(), port, &args, env), dir, port, http: client(), args };
        server.wait_ready().await;
        server
    }

    fn spawn(dir: &Path, port: u16, more: &[String], env: &[(&str, &str)]) -> Process {
        let config = format!("--config.file={}", dir.join("campanile.yml").display());
        let data = format!("--storage.path={}", dir.join("data").display());
        let address = format!("--web.listen-address=127.0.0.1:{port}");
        let mut args = vec!["serve", &config, &data, &address];
        args.extend(more.iter().map(String::as_str));
        Process::start_with(CAMPANILE, &args, &dir.join("log"), env)
    }

    /// Waits for `/-/ready`.
    pub async fn wait_ready(&self) {
        eventually("the server is ready", 30, async || {
            let r = self.http.get(self.url("/-/ready")).send().await.ok()?;
            r.status().is_success().then_some(())
        })
        .await;
    }

    /// Kills with -9, starts again on the same folder and waits until it is ready.
    pub async fn crash_and_restart(&mut self) {
        self.crash().await;
        self.restart().await;
    }

    /// Kills with -9.
    pub async fn crash(&mut self) {
        self.process.signal("KILL");
        self.process.wait(10).await;
    }

    /// Starts again on the same folder and waits until it is ready.
    pub async fn restart(&mut self) {
        self.restart_early();
        self.wait_ready().await;
    }

    /// Starts again on the same folder and waits for nothing.
    pub fn restart_early(&mut self) {
        self.process = Self::spawn(self.dir.path(), self.port, &self.args, &[]);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("campanile.yml")
    }

    /// The file of [`Self::start_with_rules`].
    pub fn rules_path(&self) -> PathBuf {
        rules_in(self.dir.path())
    }

    /// A GET that must succeed and answer JSON.
    pub async fn get(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let (status, body) = self.try_get(path, params).await;
        assert_eq!(status, 200, "{path} {params:?}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// A GET; status and body.
    pub async fn try_get(&self, path: &str, params: &[(&str, &str)]) -> (u16, String) {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let r = self.http.get(self.url(&format!("{path}?{query}"))).send().await.unwrap();
        (r.status().as_u16(), r.text().await.unwrap())
    }

    /// A POST of a form that must succeed and answer JSON.
    pub async fn post_form(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let post =
            self.http.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded").body(form);
        let r = post.send().await.unwrap();
        let (status, body) = (r.status(), r.text().await.unwrap());
        assert_eq!(status, 200, "POST {path} {params:?}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("POST {path}: {e}: {body}"))
    }

    /// Stores series by remote write 1.0.
    pub async fn write(&self, series: Vec<TimeSeries>) {
        self.write_request(&WriteRequest { timeseries: series, metadata: Vec::new() }).await;
    }

    /// Sends a whole request of remote write 1.0; it must be taken.
    pub async fn write_request(&self, request: &WriteRequest) {
        let post = self.http.post(self.url("/api/v1/write")).header("content-encoding", "snappy");
        let r = post.header("content-type", "application/x-protobuf").body(packed(request)).send().await.unwrap();
        let (status, body) = (r.status(), r.text().await.unwrap());
        assert_eq!(status, 204, "{body}");
    }

    /// Pushes lines to one stream; they must be taken.
    pub async fn push(&self, labels: Value, lines: &[(i64, String)]) {
        let post = self.http.post(self.url("/loki/api/v1/push")).header("content-type", "application/json");
        let r = post.body(push_body(labels, lines)).send().await.unwrap();
        let (status, body) = (r.status(), r.text().await.unwrap());
        assert_eq!(status, 204, "{body}");
    }

    /// Waits until an instant PromQL query gives something.
    pub async fn until(&self, expr: &str) {
        eventually(expr, 20, async || (!self.instant(expr).await.is_empty()).then_some(())).await;
    }

    /// The values of an instant PromQL query, by series.
    pub async fn instant(&self, expr: &str) -> Vec<(Value, f64)> {
        let answer = self.get("/api/v1/query", &[("query", expr)]).await;
        answer["data"]["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["metric"].clone(), s["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// All lines of a LogQL query as (ns, line), over all time, fetched page by page. Lines of equal time must fit into one page.
    pub async fn lines(&self, expr: &str) -> Vec<(i64, String)> {
        let mut out: Vec<(i64, String)> = Vec::new();
        let mut start = 0i64;
        loop {
            let from = start.to_string();
            let params = [
                ("query", expr),
                ("start", &from),
                ("end", "4000000000000000000"),
                ("limit", "5000"),
                ("direction", "forward"),
            ];
            let answer = self.get("/loki/api/v1/query_range", &params).await;
            let mut page: Vec<(i64, String)> = answer["data"]["result"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|s| s["values"].as_array().unwrap())
                .map(|v| (v[0].as_str().unwrap().parse().unwrap(), v[1].as_str().unwrap().to_owned()))
                .collect();
            page.sort();
            let Some(last) = page.last().map(|l| l.0) else { return out };
            start = last + 1;
            out.extend(page);
        }
    }

    /// The server's own log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

fn rules_in(dir: &Path) -> PathBuf {
    dir.join("rules.yml")
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the server's log (end):");
            tail.iter().rev().for_each(|l| eprintln!("{l}"));
        }
    }
}

/// An HTTP client for tests.
pub fn client() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    // Bodies are looked at as they were sent.
    reqwest::Client::builder().no_gzip().timeout(Duration::from_secs(120)).build().unwrap()
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    campanile::exec::Clock::now_ms(&campanile::exec::SystemClock)
}
