//! Reloads when a file of the configuration changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::reload::Services;
use crate::config::load::FileRead;
use crate::exec::CancellationToken;

/// How long it must be quiet before files are read: editors and configuration management write in several steps.
const SETTLE: Duration = Duration::from_millis(300);
/// How often files are looked at without a word from the system: network file systems give none.
const POLL: Duration = Duration::from_secs(30);

/// Watches folders, not files: a file that is replaced by renaming is another file.
pub(super) async fn watch(services: Arc<Services>, stop: CancellationToken) {
    let (tx, mut rx) = mpsc::channel::<()>(1);
    let mut watched = BTreeSet::new();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let access = event.is_ok_and(|e| e.kind.is_access());
        if !access {
            // A full channel holds a word already.
            let _one_is_enough = tx.try_send(());
        }
    });
    let mut watcher = watcher
        .inspect_err(|e| tracing::warn!(error = %e, "files cannot be watched; they are looked at every 30 s"))
        .ok();
    let mut seen = files(&services);
    loop {
        if let Some(w) = &mut watcher {
            watch_folders(w, &services, &mut watched);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
            // Without a watcher the sender is gone and this branch would spin.
            Some(()) = rx.recv() => {
                while tokio::time::timeout(SETTLE, rx.recv()).await.is_ok_and(|word| word.is_some()) {}
            }
        }
        let now = files(&services);
        if now != seen {
            // The outcome is in the log, in a metric and in the API.
            let _shown_elsewhere = services.reload("file change").await;
            seen = files(&services);
        }
    }
}

/// The present state of all files that the configuration was read from or names by patterns.
fn files(services: &Services) -> Vec<FileRead> {
    let loaded = services.config.load();
    let mut paths: BTreeSet<PathBuf> = loaded.files.iter().map(|f| f.path.clone()).collect();
    paths.insert(services.config_file.clone());
    paths.extend(services.matching_rule_files());
    paths.iter().map(|p| FileRead::now(p)).collect()
}

fn watch_folders(watcher: &mut notify::RecommendedWatcher, services: &Services, watched: &mut BTreeSet<PathBuf>) {
    let loaded = services.config.load();
    let paths = loaded.files.iter().map(|f| f.path.as_path()).chain([services.config_file.as_path()]);
    let folders: BTreeSet<PathBuf> = paths.map(folder).filter(|f| f.is_dir()).collect();
    for folder in folders {
        if watched.contains(&folder) {
            continue;
        }
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                watched.insert(folder);
            }
            Err(e) => {
                tracing::warn!(folder = %folder.display(), error = %e, "folder cannot be watched; its files are looked at every 30 s")
            }
        }
    }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    }
}
