//! The system as a whole: kernel, distribution, time, open files, entropy.

use crate::exec::{Clock, SystemClock};
use crate::host::families::Families;
use crate::host::{CollectError, Roots, read};

#[cfg(target_os = "linux")]
pub fn uname(_roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let u = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    let (domain, machine, node) = (text(u.domainname()), text(u.machine()), text(u.nodename()));
    let (release, system, version) = (text(u.release()), text(u.sysname()), text(u.version()));
    let labels = [
        ("domainname", domain.as_str()),
        ("machine", machine.as_str()),
        ("nodename", node.as_str()),
        ("release", release.as_str()),
        ("sysname", system.as_str()),
        ("version", version.as_str()),
    ];
    f.gauge("node_uname_info", "The kernel, as uname tells it.", &labels, 1.0);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn uname(_roots: Roots<'_>, _f: &mut Families) -> Result<(), CollectError> {
    Ok(())
}

/// The present time and the offset of the time zone.
pub fn time(_roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let now = SystemClock.now_ns();
    f.gauge("node_time_seconds", "The time, as Unix time.", &[], now as f64 / 1e9);
    let local = chrono::DateTime::from_timestamp_nanos(now).with_timezone(&chrono::Local);
    let zone = local.format("%Z").to_string();
    let zone = if zone == "+00:00" { "UTC".to_owned() } else { zone };
    f.gauge(
        "node_time_zone_offset_seconds",
        "Seconds the time zone is ahead of UTC.",
        &[("time_zone", &zone)],
        f64::from(local.offset().local_minus_utc()),
    );
    Ok(())
}

/// `/proc/sys/fs/file-nr`: allocated, unused, maximum.
pub fn files(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let text = roots.proc("sys/fs/file-nr")?;
    let words: Vec<f64> = text.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect();
    if let [allocated, _, maximum] = words.as_slice() {
        f.gauge("node_filefd_allocated", "File descriptors in use.", &[], *allocated);
        f.gauge("node_filefd_maximum", "File descriptors there can be.", &[], *maximum);
    }
    Ok(())
}

pub fn entropy(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for (file, name, help) in [
        ("entropy_avail", "node_entropy_available_bits", "Bits of entropy there are."),
        ("poolsize", "node_entropy_pool_size_bits", "Bits of entropy there can be."),
    ] {
        let text = roots.proc(&format!("sys/kernel/random/{file}"))?;
        if let Ok(value) = text.trim().parse() {
            f.gauge(name, help, &[], value);
        }
    }
    Ok(())
}

/// The distribution (os-release(5)).
pub fn os(_roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let text = read("/etc/os-release".as_ref()).or_else(|_| read("/usr/lib/os-release".as_ref()))?;
    let value = |key: &str| {
        let found = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or("").trim_matches(['"', '\'']).to_owned()
    };
    let keys = [
        "build_id",
        "id",
        "id_like",
        "image_id",
        "image_version",
        "name",
        "pretty_name",
        "variant",
        "variant_id",
        "version",
        "version_codename",
        "version_id",
    ];
    let values: Vec<String> = keys.iter().map(|k| value(&k.to_ascii_uppercase())).collect();
    let labels: Vec<(&str, &str)> = keys.iter().copied().zip(values.iter().map(String::as_str)).collect();
    f.gauge("node_os_info", "The distribution.", &labels, 1.0);
    // 12.4.1 is 12.4.
    let version: String = value("VERSION_ID").splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    if let Ok(version) = version.parse() {
        let (id, like, name) = (value("ID"), value("ID_LIKE"), value("NAME"));
        let labels = [("id", id.as_str()), ("id_like", like.as_str()), ("name", name.as_str())];
        f.gauge("node_os_version", "The distribution's version, major and minor.", &labels, version);
    }
    Ok(())
}
