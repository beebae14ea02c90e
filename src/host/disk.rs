//! `/proc/diskstats`: what each disk did.

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

/// The unit of sector counts there, whatever the disk's own is.
const SECTOR_BYTES: f64 = 512.0;
/// Milliseconds to seconds.
const MS: f64 = 0.001;

/// A metric of one column: name, help, whether it is a counter, factor.
type Column = (&'static str, &'static str, bool, f64);

/// The columns behind the device's name, in order (kernel documentation, admin-guide/iostats).
const COLUMNS: [Column; 17] = [
    ("reads_completed_total", "Reads completed.", true, 1.0),
    ("reads_merged_total", "Reads merged.", true, 1.0),
    ("read_bytes_total", "Bytes read.", true, SECTOR_BYTES),
    ("read_time_seconds_total", "Seconds spent by all reads.", true, MS),
    ("writes_completed_total", "Writes completed.", true, 1.0),
    ("writes_merged_total", "Writes merged.", true, 1.0),
    ("written_bytes_total", "Bytes written.", true, SECTOR_BYTES),
    ("write_time_seconds_total", "Seconds spent by all writes.", true, MS),
    ("io_now", "I/Os in progress.", false, 1.0),
    ("io_time_seconds_total", "Seconds spent doing I/Os.", true, MS),
    ("io_time_weighted_seconds_total", "Seconds spent doing I/Os, each counted.", true, MS),
    ("discards_completed_total", "Discards completed.", true, 1.0),
    ("discards_merged_total", "Discards merged.", true, 1.0),
    ("discarded_sectors_total", "Sectors discarded.", true, 1.0),
    ("discard_time_seconds_total", "Seconds spent by all discards.", true, MS),
    ("flush_requests_total", "Flushes completed.", true, 1.0),
    ("flush_requests_time_seconds_total", "Seconds spent by all flushes.", true, MS),
];

pub fn collect(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for line in roots.proc("diskstats")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) = (words.next(), words.next(), words.next()) else { continue };
        if is_excluded(device) {
            continue;
        }
        f.gauge(
            "node_disk_info",
            "The disk's numbers.",
            &[("device", device), ("major", major), ("minor", minor)],
            1.0,
        );
        for ((name, help, is_counter, factor), word) in COLUMNS.iter().zip(words) {
            let Ok(value) = word.parse::<f64>() else { continue };
            // Milliseconds by division: 1292 ms are 1.292 s, not 1.2919999999999998.
            let value = if *factor == MS { value / 1000.0 } else { value * factor };
            let name = format!("node_disk_{name}");
            match is_counter {
                true => f.counter(&name, help, &[("device", device)], value),
                false => f.gauge(&name, help, &[("device", device)], value),
            }
        }
    }
    Ok(())
}

/// RAM disks, loop devices, floppies and partitions, as node_exporter leaves them out:
/// `^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_excluded(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let disk = ["hd", "sd", "vd", "xvd"].iter().any(|p| {
        stem.strip_prefix(p).is_some_and(|letter| letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_lowercase()))
    });
    let nvme = stem.strip_prefix("nvme").and_then(|s| s.strip_suffix('p')).is_some_and(|numbers| {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        numbers.split_once('n').is_some_and(|(a, b)| digits(a) && digits(b))
    });
    matches!(stem, "ram" | "loop" | "fd") || disk || nvme
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_partitions() {
        for (device, want) in [
            ("sda", false),
            ("sda1", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("loop3", true),
            ("ram0", true),
            ("dm-0", false),
            ("md127", false),
            ("zram0", false),
            ("xvda1", true),
            ("mmcblk0p1", false),
        ] {
            assert_eq!(is_excluded(device), want, "{device}");
        }
    }
}
