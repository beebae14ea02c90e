//! How much memory this process can have.

use std::path::Path;

/// Where nothing can be read: a small server.
const UNKNOWN: u64 = 2 << 30;

/// The memory of the machine or, where that is less, of the control group this process runs in. In bytes.
pub fn usable_memory_bytes() -> u64 {
    usable(Path::new("/proc"), Path::new("/sys"))
}

fn usable(proc: &Path, sys: &Path) -> u64 {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let of_machine = read(proc.join("meminfo"))
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(UNKNOWN, |kib| kib << 10);
    // The path below the mount of version 2; a container sees its own group as the root.
    let group = read(proc.join("self/cgroup"));
    let group = group.lines().find_map(|l| l.strip_prefix("0::/")).unwrap_or_default();
    let mount = sys.join("fs/cgroup");
    let limit = |folder: &Path| read(folder.join("memory.max")).trim().parse::<u64>().ok();
    let of_groups = mount.join(group).ancestors().take_while(|f| f.starts_with(&mount)).filter_map(limit).min();
    of_groups.unwrap_or(u64::MAX).min(of_machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (proc, sys) = (dir.path().join("proc"), dir.path().join("sys"));
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(usable(&proc, &sys), UNKNOWN);
        put("proc/meminfo", "MemTotal:       4000 kB\nMemFree: 1 kB\n");
        assert_eq!(usable(&proc, &sys), 4000 << 10);
        put("proc/self/cgroup", "0::/a/b\n");
        put("sys/fs/cgroup/a/b/memory.max", "max\n");
        put("sys/fs/cgroup/a/memory.max", "1048576\n");
        assert_eq!(usable(&proc, &sys), 1 << 20);
    }
}
