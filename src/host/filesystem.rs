//! The mounted file systems: size, free space, files.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

/// Kinds that hold no data of users, as node_exporter leaves them out.
const EXCLUDED_TYPES: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
    "efivarfs",
];

/// Folders below which mounts are left out, as node_exporter does.
const EXCLUDED_BELOW: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/mnt", "/media"];

/// How long a network file system may take to answer before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(3);

/// Mounts that did not answer; a thread still waits for each. They are not asked again until it comes back.
static HANGING: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

struct Mount {
    device: String,
    point: String,
    kind: String,
    read_only: bool,
}

struct Space {
    size: f64,
    free: f64,
    available: f64,
    files: f64,
    files_free: f64,
    read_only: bool,
}

pub fn collect(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    // The mounts of the first process, not those of our own namespace, where they can be seen.
    let text = roots.proc("1/mounts").or_else(|_| roots.proc("mounts"))?;
    let mut seen = HashSet::new();
    for mount in text.lines().filter_map(parse) {
        if is_excluded(&mount) || !seen.insert((mount.device.clone(), mount.point.clone())) {
            continue;
        }
        let labels =
            [("device", mount.device.as_str()), ("fstype", mount.kind.as_str()), ("mountpoint", mount.point.as_str())];
        let space = space_of(&mount);
        let error = if space.is_some() { 0.0 } else { 1.0 };
        f.gauge("node_filesystem_device_error", "Whether the file system did not answer.", &labels, error);
        let Some(s) = space else { continue };
        f.gauge("node_filesystem_size_bytes", "Size of the file system.", &labels, s.size);
        f.gauge("node_filesystem_free_bytes", "Free bytes, those kept for root included.", &labels, s.free);
        f.gauge("node_filesystem_avail_bytes", "Bytes free for users.", &labels, s.available);
        f.gauge("node_filesystem_files", "Places for files.", &labels, s.files);
        f.gauge("node_filesystem_files_free", "Free places for files.", &labels, s.files_free);
        let read_only = if s.read_only || mount.read_only { 1.0 } else { 0.0 };
        f.gauge("node_filesystem_readonly", "Whether it can only be read.", &labels, read_only);
    }
    Ok(())
}

fn parse(line: &str) -> Option<Mount> {
    let mut words = line.split(' ');
    let (device, point, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Mount {
        device: unescape(device),
        point: unescape(point),
        kind: kind.to_owned(),
        read_only: options.split(',').any(|o| o == "ro"),
    })
}

/// Undoes the octal escapes of spaces and tabs (fstab(5)).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn is_excluded(mount: &Mount) -> bool {
    let below = |dir: &str| mount.point.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    EXCLUDED_TYPES.contains(&mount.kind.as_str())
        || EXCLUDED_BELOW.iter().any(|d| below(d))
        || ["/var/lib/docker/", "/var/lib/containers/storage/"].iter().any(|d| mount.point.starts_with(d))
}

/// Nothing if the file system does not answer.
fn space_of(mount: &Mount) -> Option<Space> {
    let remote =
        ["nfs", "cifs", "smb", "fuse", "ceph", "gluster", "9p", "afs"].iter().any(|k| mount.kind.starts_with(k));
    if !remote {
        return ask(&mount.point);
    }
    let hanging = || HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    if !hanging().insert(mount.point.clone()) {
        return None;
    }
    let (tx, rx) = mpsc::sync_channel(1);
    let point = mount.point.clone();
    let spawned = std::thread::Builder::new().name("statvfs".to_owned()).spawn(move || {
        let answer = ask(&point);
        HANGING.lock().unwrap_or_else(PoisonError::into_inner).remove(&point);
        // An error means that nobody waits any more.
        let _late = tx.send(answer);
    });
    if spawned.is_err() {
        hanging().remove(&mount.point);
        return None;
    }
    rx.recv_timeout(PATIENCE).ok().flatten()
}

#[cfg(target_os = "linux")]
fn ask(point: &str) -> Option<Space> {
    let s = rustix::fs::statvfs(point).ok()?;
    let unit = s.f_frsize as f64;
    Some(Space {
        size: s.f_blocks as f64 * unit,
        free: s.f_bfree as f64 * unit,
        available: s.f_bavail as f64 * unit,
        files: s.f_files as f64,
        files_free: s.f_ffree as f64,
        read_only: s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

#[cfg(not(target_os = "linux"))]
fn ask(_point: &str) -> Option<Space> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_excludes() {
        let m = parse("/dev/sdb1 /data\\040disk ext4 ro,relatime 0 0").unwrap();
        assert_eq!((m.point.as_str(), m.read_only), ("/data disk", true));
        let excluded = |line: &str| is_excluded(&parse(line).unwrap());
        assert!(excluded("tmpfs /run/user/0 tmpfs rw 0 0") && excluded("proc /proc proc rw 0 0"));
        assert!(!excluded("tmpfs /tmp tmpfs rw 0 0") && !excluded("/dev/x /running ext4 rw 0 0"));
    }
}
