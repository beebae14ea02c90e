//! Counters of the network protocols and numbers of sockets.

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

/// The size of a page, the unit of socket memory in `/proc/net/sockstat`.
const PAGE_BYTES: f64 = 4096.0;

/// The counters of `/proc/net/{netstat,snmp,snmp6}` that node_exporter shows by default.
pub fn netstat(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    for file in ["net/netstat", "net/snmp"] {
        let text = roots.proc(file)?;
        let mut lines = text.lines();
        // Two lines each: names, then values.
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':')) else {
                continue;
            };
            for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
                add(protocol, name, value, f);
            }
        }
    }
    // Without IPv6 there is no such file, and nothing is wrong.
    let text = roots.proc("net/snmp6").unwrap_or_default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some(key), Some(value)) = (words.next(), words.next())
            && let Some(at) = key.find('6')
        {
            let (protocol, name) = key.split_at(at + 1);
            add(protocol, name, value, f);
        }
    }
    Ok(())
}

fn add(protocol: &str, name: &str, value: &str, f: &mut Families) {
    if !is_wanted(protocol, name) {
        return;
    }
    if let Ok(value) = value.parse() {
        let metric = format!("node_netstat_{protocol}_{name}");
        f.untyped(&metric, &format!("Statistic {protocol}{name}."), &[], value);
    }
}

fn is_wanted(protocol: &str, name: &str) -> bool {
    if name.ends_with("InErrors") || name.ends_with("InErrs") {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(name, "TCPSynRetrans" | "TCPTimeouts")
        }
        "Tcp" => matches!(
            name,
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab"
        ),
        "Udp" | "Udp6" => {
            matches!(name, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
        }
        _ => false,
    }
}

/// `/proc/net/sockstat`: `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1`.
pub fn sockstat(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let v6 = roots.proc("net/sockstat6").unwrap_or_default();
    for line in roots.proc("net/sockstat")?.lines().chain(v6.lines()) {
        let Some((protocol, rest)) = line.split_once(':') else { continue };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let help = format!("{protocol} sockets: {name}.");
            f.gauge(&format!("node_sockstat_{protocol}_{name}"), &help, &[], value);
            if *name == "mem" {
                f.gauge(&format!("node_sockstat_{protocol}_mem_bytes"), &help, &[], value * PAGE_BYTES);
            }
        }
    }
    Ok(())
}
