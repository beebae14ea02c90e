//! Runs the area's own `replay.py` against the built binary and reads what it prints.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::report::{AreaReport, FailedCase};

/// How many cases fail. May only go down.
pub const KNOWN_FAILURES: usize = 1;

/// Killed when the replay ends, whatever way it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The entries are months old, so nothing may be dropped for its age.
const CONFIG: &str = "logs: {retention_time: 0}\nself_scrape: false\nhost: {enabled: false}\n";

/// Starts the server on a free port and waits until it takes connections.
fn start(dir: &Path) -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port();
    fs::write(dir.join("campanile.yml"), CONFIG).expect("a folder to write to");
    let log = fs::File::create(dir.join("log")).expect("a folder to write to");
    let child = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["serve", "--config.file"])
        .arg(dir.join("campanile.yml"))
        .arg(format!("--storage.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary starts");
    let server = Server(child);
    let begun = Instant::now();
    // The server listens once everything is up.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not up: {}",
            fs::read_to_string(dir.join("log")).unwrap_or_default()
        );
        std::thread::yield_now();
    }
    (server, format!("http://127.0.0.1:{port}"))
}

/// The cases under `folder`, all of them.
pub fn replay(folder: &Path) -> AreaReport {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (_server, base) = start(dir.path());
    let out = Command::new("python3")
        .arg(folder.join("replay.py"))
        .args(["--base", &base])
        .arg(folder.join("cases.json"))
        .output()
        .expect("python3 is installed");
    read(&String::from_utf8_lossy(&out.stdout), &String::from_utf8_lossy(&out.stderr))
}

/// `FAIL id ...` for each failing case, then `N passed, M failed`.
fn read(printed: &str, errors: &str) -> AreaReport {
    let mut report = AreaReport::default();
    let mut counted = None;
    for line in printed.lines() {
        if let Some(rest) = line.strip_prefix("FAIL ") {
            let (id, message) = rest.split_once(' ').unwrap_or((rest, ""));
            report.failed.push(FailedCase { id: id.to_owned(), message: message.to_owned() });
        } else if let Some((passed, failed)) = line.split_once(" passed, ") {
            counted = passed.parse().ok().zip(failed.strip_suffix(" failed").and_then(|f| f.parse::<usize>().ok()));
        }
    }
    let (passed, failed) = counted.unwrap_or_else(|| panic!("replay.py did not finish: {printed}\n{errors}"));
    assert_eq!(failed, report.failed.len(), "replay.py counts other failures than it lists");
    report.passed = passed;
    report
}
