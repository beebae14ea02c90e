//! Where targets come from, be they scraped or sent to. Each source yields target groups.

pub mod file;
pub mod static_config;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinError;

use crate::config::scrape::{FileSdConfig, StaticConfig};
use file::FileDiscovery;

/// How often [`Sources::look`] is worth calling. A look costs one `stat` for each file and notices changes on every kind of file system.
pub const POLL: Duration = Duration::from_secs(5);

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// The labels of each target, at least `__address__`.
    pub targets: Vec<BTreeMap<String, String>>,
    /// Labels of all of them; a target's own win.
    pub labels: BTreeMap<String, String>,
}

/// All sources of one list of targets: those written down, and those of files.
#[derive(Debug)]
pub struct Sources {
    fixed: Vec<TargetGroup>,
    files: Vec<FileDiscovery>,
}

impl Sources {
    /// Nothing is read yet.
    pub fn new(fixed: &[StaticConfig], files: &[FileSdConfig]) -> Self {
        Sources { fixed: static_config::groups(fixed), files: files.iter().map(FileDiscovery::new).collect() }
    }

    /// Whether a later look can find anything else than the first.
    pub fn can_change(&self) -> bool {
        !self.files.is_empty()
    }

    /// Looks once. Gives all groups if any may have changed, or if `always`. An error means that the reading panicked: there are
    /// no files from then on.
    pub async fn look(&mut self, now_ms: i64, always: bool) -> Result<Option<Vec<TargetGroup>>, JoinError> {
        let mut changed = always;
        if !self.files.is_empty() {
            let mut files = std::mem::take(&mut self.files);
            let polled = tokio::task::spawn_blocking(move || {
                let any = files.iter_mut().fold(false, |any, f| f.poll(now_ms) | any);
                (files, any)
            });
            let (back, any) = polled.await?;
            self.files = back;
            changed |= any;
        }
        let files = self.files.iter().flat_map(FileDiscovery::groups);
        Ok(changed.then(|| self.fixed.iter().chain(files).cloned().collect()))
    }
}
