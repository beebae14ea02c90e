//! Network devices: traffic, state, neighbours, tracked connections.

use std::collections::BTreeMap;

use crate::host::families::Families;
use crate::host::{CollectError, Roots, read};

/// The columns of `/proc/net/dev` behind a device's name.
const COLUMNS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];

/// Traffic of each device but the loopback.
pub fn devices(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for line in roots.proc("net/dev")?.lines().skip(2) {
        let Some((device, numbers)) = line.rsplit_once(':') else { continue };
        let device = device.trim();
        if device == "lo" {
            continue;
        }
        for (column, word) in COLUMNS.iter().zip(numbers.split_ascii_whitespace()) {
            if let Ok(value) = word.parse() {
                let name = format!("node_network_{column}_total");
                f.counter(&name, &format!("Network device statistic {column}."), &[("device", device)], value);
            }
        }
        let unhandled = roots.sys.join("class/net").join(device).join("statistics/rx_nohandler");
        if let Some(value) = number(&unhandled) {
            let help = "Network device statistic receive_nohandler.";
            f.counter("node_network_receive_nohandler_total", help, &[("device", device)], value);
        }
    }
    Ok(())
}

/// Files of `/sys/class/net/DEVICE`, their metric, and whether it is a counter.
const FILES: [(&str, &str, bool); 17] = [
    ("addr_assign_type", "address_assign_type", false),
    ("carrier", "carrier", false),
    ("carrier_changes", "carrier_changes_total", true),
    ("carrier_up_count", "carrier_up_changes_total", true),
    ("carrier_down_count", "carrier_down_changes_total", true),
    ("dev_id", "device_id", false),
    ("dormant", "dormant", false),
    ("flags", "flags", false),
    ("ifindex", "iface_id", false),
    ("iflink", "iface_link", false),
    ("link_mode", "iface_link_mode", false),
    ("mtu", "mtu_bytes", false),
    ("name_assign_type", "name_assign_type", false),
    ("netdev_group", "net_dev_group", false),
    ("type", "protocol_type", false),
    ("tx_queue_len", "transmit_queue_length", false),
    ("speed", "speed_bytes", false),
];

/// State of each device.
pub fn classes(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let dir = roots.sys.join("class/net");
    let entries = std::fs::read_dir(&dir).map_err(|error| CollectError::Read { path: dir.clone(), error })?;
    let mut devices: Vec<_> = entries.flatten().filter(|e| e.path().is_dir()).map(|e| e.file_name()).collect();
    devices.sort();
    for device in devices {
        let path = dir.join(&device);
        let device = device.to_string_lossy();
        let text = |file: &str| read(&path.join(file)).map(|t| t.trim().to_owned()).unwrap_or_default();
        let state = text("operstate");
        let (address, broadcast, duplex, alias) = (text("address"), text("broadcast"), text("duplex"), text("ifalias"));
        let labels = [
            ("address", address.as_str()),
            ("broadcast", broadcast.as_str()),
            ("device", &device),
            ("duplex", duplex.as_str()),
            ("ifalias", alias.as_str()),
            ("operstate", state.as_str()),
        ];
        f.gauge("node_network_info", "What the device is.", &labels, 1.0);
        let up = if state == "up" { 1.0 } else { 0.0 };
        f.gauge("node_network_up", "Whether the device is up.", &[("device", &device)], up);
        for (file, metric, is_counter) in FILES {
            let Some(mut value) = number(&path.join(file)) else { continue };
            if file == "speed" {
                // Megabits to bytes; -1 means unknown and comes through as a negative number, as in node_exporter.
                value *= 125_000.0;
            }
            let (name, help) = (format!("node_network_{metric}"), format!("{file} of /sys/class/net."));
            match is_counter {
                true => f.counter(&name, &help, &[("device", &device)], value),
                false => f.gauge(&name, &help, &[("device", &device)], value),
            }
        }
    }
    Ok(())
}

/// A number in a file, decimal or `0x`; nothing if the kernel has none (many files fail while a device is down).
fn number(path: &std::path::Path) -> Option<f64> {
    let text = read(path).ok()?;
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as f64),
        None => text.parse::<i64>().ok().map(|n| n as f64),
    }
}

/// Neighbours by device.
pub fn arp(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let text = roots.proc("net/arp")?;
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for device in text.lines().skip(1).filter_map(|l| l.split_ascii_whitespace().nth(5)) {
        *count.entry(device).or_default() += 1;
    }
    for (device, n) in count {
        f.gauge("node_arp_entries", "ARP entries by device.", &[("device", device)], f64::from(n));
    }
    Ok(())
}

/// Tracked connections.
pub fn conntrack(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for (file, name, help) in [
        ("nf_conntrack_count", "node_nf_conntrack_entries", "Connections that are tracked."),
        ("nf_conntrack_max", "node_nf_conntrack_entries_limit", "Connections that can be tracked."),
    ] {
        let text = roots.proc(&format!("sys/net/netfilter/{file}"))?;
        if let Ok(value) = text.trim().parse() {
            f.gauge(name, help, &[], value);
        }
    }
    Ok(())
}
