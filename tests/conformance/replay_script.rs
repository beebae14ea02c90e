//! Areas that bring a `replay.py` of their own: runs it against the built binary and reads what it prints.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::report::{AreaReport, FailedCase};

/// The distribution's Python, for which packages can be installed.
pub const PYTHON: &str = "/usr/bin/python3";

/// A server in a folder of its own, killed when the replay ends, whatever way it ends.
pub struct Server {
    child: Child,
    pub base: String,
    _dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    /// Starts the built binary on a free port and waits until it takes connections.
    pub fn start(config: &str) -> Server {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port();
        fs::write(dir.path().join("campanile.yml"), config).expect("a folder to write to");
        let log = fs::File::create(dir.path().join("log")).expect("a folder to write to");
        let child = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(["serve", "--config.file"])
            .arg(dir.path().join("campanile.yml"))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let server = Server { child, base: format!("http://127.0.0.1:{port}"), _dir: dir };
        let begun = Instant::now();
        // The server listens once everything is up.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(server._dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "not up: {}", log());
            std::thread::yield_now();
        }
        server
    }
}

/// A shell script in `dir`, as an argument for a script's `--command`.
pub fn shell_script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("a folder to write to");
    path
}

/// Runs `replay.py` of a folder and reads its report.
pub fn run(python: &str, folder: &Path, args: &[&str]) -> AreaReport {
    let out = Command::new(python).arg(folder.join("replay.py")).args(args).output().expect("python3 is installed");
    read(&String::from_utf8_lossy(&out.stdout), &String::from_utf8_lossy(&out.stderr))
}

/// `FAIL id ...` for each failing case, then `N passed, M failed`.
fn read(printed: &str, errors: &str) -> AreaReport {
    let mut report = AreaReport::default();
    let mut counted = None;
    for line in printed.lines() {
        if let Some(rest) = line.strip_prefix("FAIL ") {
            let (id, message) = rest.split_once([' ', ':']).unwrap_or((rest, ""));
            report.failed.push(FailedCase { id: id.to_owned(), message: message.to_owned() });
        } else if let Some((passed, failed)) = line.split_once(" passed, ") {
            counted = passed.parse().ok().zip(failed.strip_suffix(" failed").and_then(|f| f.parse::<usize>().ok()));
        }
    }
    let (passed, failed) = counted.unwrap_or_else(|| panic!("replay.py did not finish: {printed}\n{errors}"));
    assert_eq!(failed, report.failed.len(), "replay.py counts other failures than it lists: {printed}");
    report.passed = passed;
    report
}
