//! blackbox_exporter's modules and answers, against `/probe` of the built binary.

use std::path::Path;

use super::replay_script::{PYTHON, run, shell_script};
use super::report::AreaReport;

/// How many cases fail. May only go down.
pub const KNOWN_FAILURES: usize = 0;

/// The cases under `folder`, all of them.
pub fn replay(folder: &Path) -> AreaReport {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = shell_script(
        dir.path(),
        "server.sh",
        &format!(
            "printf 'probe_modules_file: %s\\nself_scrape: false\\nhost: {{enabled: false}}\\n' \"$1\" > \"$1.campanile.yml\"\n\
             exec {} serve --config.file=\"$1.campanile.yml\" --storage.path={}/data --web.listen-address=127.0.0.1:\"$2\"\n",
            env!("CARGO_BIN_EXE_campanile"),
            dir.path().display()
        ),
    );
    let command = format!("sh {} {{config}} {{port}}", server.display());
    run(PYTHON, folder, &["--command", &command])
}
