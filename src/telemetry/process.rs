//! Metrics about this process under the names of Prometheus' client libraries. Linux only; elsewhere they are absent.

use std::sync::Mutex;
use std::sync::PoisonError;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// The unit of CPU times in `/proc`: USER_HZ, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the process' metrics to the registry; once, at the start of the program.
pub fn register() {
    let collector = match ProcessCollector::new() {
        Ok(c) => c,
        Err(e) => {
            tracing::error!(error = %e, "process metrics cannot be made");
            return;
        }
    };
    if let Err(e) = crate::telemetry::metrics::registry().register(Box::new(collector)) {
        tracing::error!(error = %e, "process metrics registered twice");
    }
}

struct ProcessCollector {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_memory: Gauge,
    resident_memory: Gauge,
    start_time: Gauge,
    threads: Gauge,
    /// Two scrapes at once must not both add to the counter.
    lock: Mutex<()>,
}

/// What `/proc/self` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Facts {
    cpu_seconds: f64,
    /// Since the machine was started.
    started_seconds: f64,
    threads: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    max_fds: f64,
}

impl ProcessCollector {
    fn new() -> prometheus::Result<Self> {
        Ok(ProcessCollector {
            cpu: Counter::new("process_cpu_seconds_total", "User and system CPU time spent, in seconds.")?,
            open_fds: Gauge::new("process_open_fds", "File descriptors in use.")?,
            max_fds: Gauge::new("process_max_fds", "File descriptors there can be.")?,
            virtual_memory: Gauge::new("process_virtual_memory_bytes", "Size of the virtual memory.")?,
            resident_memory: Gauge::new("process_resident_memory_bytes", "Size of the resident memory.")?,
            start_time: Gauge::new("process_start_time_seconds", "When the process was started, as Unix time.")?,
            threads: Gauge::new("process_threads", "Threads of the process.")?,
            lock: Mutex::new(()),
        })
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_memory,
            &self.resident_memory,
            &self.start_time,
            &self.threads,
        ]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(facts) = read() else { return Vec::new() };
        // A counter can only grow, and so does the kernel's number.
        self.cpu.inc_by((facts.cpu_seconds - self.cpu.get()).max(0.0));
        self.threads.set(facts.threads);
        self.virtual_memory.set(facts.virtual_bytes);
        self.resident_memory.set(facts.resident_bytes);
        self.max_fds.set(facts.max_fds);
        if let Some(boot) = boot_time() {
            self.start_time.set(boot + facts.started_seconds);
        }
        if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
            // One of them is this reading itself.
            self.open_fds.set(fds.count().saturating_sub(1) as f64);
        }
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

fn read() -> Option<Facts> {
    let text = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    parse(&text("stat")?, &text("status")?, &text("limits")?)
}

fn parse(stat: &str, status: &str, limits: &str) -> Option<Facts> {
    // The name may hold spaces and brackets; the fields begin behind its last one (proc(5)).
    let fields: Vec<f64> =
        stat.rsplit_once(')')?.1.split_ascii_whitespace().map(|w| w.parse().unwrap_or(0.0)).collect();
    let kib = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|n| n * 1024.0)
    };
    let max_fds = limits.lines().find_map(|l| l.strip_prefix("Max open files")?.split_ascii_whitespace().next());
    Some(Facts {
        cpu_seconds: (fields.get(11)? + fields.get(12)?) / TICKS_PER_SECOND,
        threads: *fields.get(17)?,
        started_seconds: fields.get(19)? / TICKS_PER_SECOND,
        virtual_bytes: kib("VmSize")?,
        resident_bytes: kib("VmRSS")?,
        max_fds: max_fds.and_then(|w| w.parse().ok()).unwrap_or(f64::INFINITY),
    })
}

fn boot_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reads_recorded_files() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 3 18 12300 20 21";
        let f = parse(stat, "VmSize:\t 10 kB\nVmRSS:\t 2 kB\n", "Max open files 1024 4096 files\n").unwrap();
        assert_eq!(
            f,
            Facts {
                cpu_seconds: 2.0,
                started_seconds: 123.0,
                threads: 3.0,
                virtual_bytes: 10_240.0,
                resident_bytes: 2048.0,
                max_fds: 1024.0
            }
        );
    }

    #[test]
    fn this_process() {
        let c = ProcessCollector::new().unwrap();
        let families = c.collect();
        assert_eq!(families.len(), 7);
        assert!(c.open_fds.get() >= 3.0 && c.start_time.get() > 1.6e9 && c.resident_memory.get() > 1e6);
    }
}
