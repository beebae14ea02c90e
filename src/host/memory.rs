//! `/proc/meminfo` and `/proc/vmstat`.

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

/// Every line of meminfo: `Active(anon): 12 kB` is `node_memory_Active_anon_bytes 12288`, a number without a unit has
/// no `_bytes`.
pub fn collect(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for line in roots.proc("meminfo")?.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(|w| w.parse::<f64>().ok()) else { continue };
        let key = key.replace('(', "_").replace(')', "");
        let (name, value) = match words.next() {
            Some("kB") => (format!("node_memory_{key}_bytes"), value * 1024.0),
            Some(_) | None => (format!("node_memory_{key}"), value),
        };
        f.gauge(&name, &format!("{key} of /proc/meminfo."), &[], value);
    }
    Ok(())
}

/// The lines of vmstat that node_exporter shows by default.
pub fn vmstat(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for line in roots.proc("vmstat")?.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let wanted = key.starts_with("oom_kill")
            || key.starts_with("pgpg")
            || key.starts_with("pswp")
            || (key.starts_with("pg") && key.contains("fault"));
        if let (true, Ok(value)) = (wanted, value.trim().parse()) {
            f.untyped(&format!("node_vmstat_{key}"), &format!("{key} of /proc/vmstat."), &[], value);
        }
    }
    Ok(())
}
