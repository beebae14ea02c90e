//! The built-in collector of this machine's metrics, under node_exporter's metric and label names, so that dashboards
//! and rules written for it work as they are. Linux only; elsewhere it gives nothing.
//!
//! [`render`] reads `/proc` and `/sys` when it is called and keeps nothing between calls. It blocks for as long as the
//! kernel needs (milliseconds; a hanging network mount is given up on), so call it from a blocking task.

mod cpu;
mod disk;
mod families;
mod filesystem;
mod load;
mod memory;
mod network;
mod protocols;
mod system;
mod usable_memory;

use std::path::{Path, PathBuf};
use std::time::Instant;

use families::Families;

pub use usable_memory::usable_memory_bytes;

/// Why a group of metrics is missing.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error("{path} cannot be read: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    System(#[from] rustix::io::Errno),
}

/// Where the kernel tells about itself; a test has its own.
#[derive(Clone, Copy)]
struct Roots<'a> {
    proc: &'a Path,
    sys: &'a Path,
}

impl Roots<'_> {
    fn proc(&self, file: &str) -> Result<String, CollectError> {
        read(&self.proc.join(file))
    }
}

fn read(path: &Path) -> Result<String, CollectError> {
    // Lossy: a file system may be mounted under any bytes.
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(CollectError::Read { path: path.to_owned(), error }),
    }
}

type Collect = fn(Roots<'_>, &mut Families) -> Result<(), CollectError>;

/// The groups, named as node_exporter's collectors are.
const COLLECTORS: [(&str, Collect); 18] = [
    ("arp", network::arp),
    ("conntrack", network::conntrack),
    ("diskstats", disk::collect),
    ("entropy", system::entropy),
    ("filefd", system::files),
    ("filesystem", filesystem::collect),
    ("loadavg", load::average),
    ("meminfo", memory::collect),
    ("netclass", network::classes),
    ("netdev", network::devices),
    ("netstat", protocols::netstat),
    ("os", system::os),
    ("pressure", load::pressure),
    ("sockstat", protocols::sockstat),
    ("stat", cpu::collect),
    ("time", system::time),
    ("uname", system::uname),
    ("vmstat", memory::vmstat),
];

/// Appends the host's metrics in the Prometheus text format 0.0.4. A group that cannot be read has
/// `node_scrape_collector_success` 0 and is left out.
pub fn render(out: &mut String) {
    if cfg!(target_os = "linux") {
        render_from(Roots { proc: Path::new("/proc"), sys: Path::new("/sys") }, out);
    }
}

fn render_from(roots: Roots<'_>, out: &mut String) {
    let mut families = Families::default();
    for (name, collect) in COLLECTORS {
        let start = Instant::now();
        let outcome = collect(roots, &mut families);
        if let Err(e) = &outcome {
            // A kernel without the feature has no file; that is no news every fifteen seconds.
            tracing::debug!(collector = name, error = %e, "host metrics left out");
        }
        let labels = [("collector", name)];
        families.gauge(
            "node_scrape_collector_duration_seconds",
            "How long a group took to collect.",
            &labels,
            start.elapsed().as_secs_f64(),
        );
        let success = if outcome.is_ok() { 1.0 } else { 0.0 };
        families.gauge("node_scrape_collector_success", "Whether a group could be collected.", &labels, success);
    }
    families.write(out);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let mut out = String::new();
        render(&mut out);
        for want in [
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} ",
            "node_memory_MemTotal_bytes ",
            "node_load1 ",
            "node_boot_time_seconds ",
            "node_uname_info{",
            "# TYPE node_network_receive_bytes_total counter",
            "node_scrape_collector_success{collector=\"stat\"} 1",
        ] {
            assert!(out.contains(want), "{want} is missing in\n{out}");
        }
        // Each family stands together and once.
        let types: Vec<_> = out.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let unique: std::collections::BTreeSet<_> = types.iter().collect();
        assert_eq!(types.len(), unique.len());
    }

    #[test]
    fn recorded_files() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(
            "stat",
            "cpu  9 9 9\ncpu1 100 20 30 400 50 6 7 8 9 1\nintr 77 1 2\nctxt 5\nbtime 1000\nprocesses 3\nprocs_running 1\nprocs_blocked 0\n",
        );
        put("meminfo", "MemTotal:       1000 kB\nActive(anon):      2 kB\nHugePages_Total:       4\n");
        put(
            "diskstats",
            " 8 0 sda 10 1 100 1500 20 2 200 2500 1 3500 4500\n 8 1 sda1 1 1 1 1 1 1 1 1 1 1 1\n 7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n",
        );
        put(
            "net/dev",
            "Inter-| Receive\n face |bytes\n  lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\neth0: 10 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n",
        );
        put("net/snmp", "Tcp: ActiveOpens Other\nTcp: 5 6\n");
        put("net/netstat", "TcpExt: ListenDrops Z\nTcpExt: 1 2\n");
        put("net/snmp6", "Ip6InOctets   42\nUdp6NoPorts 3\nIp6Other 1\n");
        put("pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n");
        let mut out = String::new();
        render_from(Roots { proc: dir.path(), sys: dir.path() }, &mut out);
        for want in [
            "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 1\n",
            "node_cpu_seconds_total{cpu=\"1\",mode=\"steal\"} 0.08\n",
            "node_cpu_guest_seconds_total{cpu=\"1\",mode=\"user\"} 0.09\n",
            "node_intr_total 77\n",
            "node_memory_Active_anon_bytes 2048\n",
            "node_memory_HugePages_Total 4\n",
            "node_disk_read_bytes_total{device=\"sda\"} 51200\n",
            "node_disk_write_time_seconds_total{device=\"sda\"} 2.5\n",
            "node_network_transmit_carrier_total{device=\"eth0\"} 17\n",
            "node_netstat_Tcp_ActiveOpens 5\n",
            "node_netstat_TcpExt_ListenDrops 1\n",
            "node_netstat_Ip6_InOctets 42\n",
            "node_netstat_Udp6_NoPorts 3\n",
            "node_pressure_cpu_waiting_seconds_total 2.5\n",
            "node_scrape_collector_success{collector=\"loadavg\"} 0\n",
        ] {
            assert!(out.contains(want), "{want} is missing in\n{out}");
        }
        for absent in ["sda1", "loop0", "device=\"lo\"", "Tcp_Other", "Ip6_Other", "discard"] {
            assert!(!out.contains(absent), "{absent} must not be in\n{out}");
        }
    }
}
