//! Loki's recorded answers, against the built binary.

use std::path::Path;

use super::replay_script::{Server, run};
use super::report::AreaReport;

/// How many cases fail. May only go down.
pub const KNOWN_FAILURES: usize = 0;

/// The entries are months old, so nothing may be dropped for its age.
const CONFIG: &str = "logs: {retention_time: 0}\nself_scrape: false\nhost: {enabled: false}\n";

/// The cases under `folder`, all of them.
pub fn replay(folder: &Path) -> AreaReport {
    let server = Server::start(CONFIG);
    let cases = folder.join("cases.json").display().to_string();
    run("python3", folder, &["--base", &server.base, &cases])
}
