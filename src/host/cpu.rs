//! `/proc/stat`: time of each CPU, interrupts, context switches, forks, boot time.

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

/// The unit of CPU times in `/proc`: USER_HZ, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a CPU's line (proc(5)).
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

pub fn collect(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let text = roots.proc("stat")?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        let mut value = || words.next().and_then(|w| w.parse::<f64>().ok());
        match key {
            "intr" => one(f.counter_fn("node_intr_total", "Interrupts serviced."), value()),
            "ctxt" => one(f.counter_fn("node_context_switches_total", "Context switches."), value()),
            "processes" => one(f.counter_fn("node_forks_total", "Forks."), value()),
            "btime" => {
                one(f.gauge_fn("node_boot_time_seconds", "When the machine was started, as Unix time."), value())
            }
            "procs_running" => one(f.gauge_fn("node_procs_running", "Processes that could run."), value()),
            "procs_blocked" => one(f.gauge_fn("node_procs_blocked", "Processes that wait for I/O."), value()),
            _ => {
                let Some(cpu) = key.strip_prefix("cpu").filter(|n| !n.is_empty()) else { continue };
                let ticks: Vec<f64> = words.filter_map(|w| w.parse().ok()).collect();
                times(cpu, &ticks, f);
            }
        }
    }
    Ok(())
}

fn one(mut add: impl FnMut(f64), value: Option<f64>) {
    if let Some(v) = value {
        add(v);
    }
}

impl Families {
    fn counter_fn(&mut self, name: &'static str, help: &'static str) -> impl FnMut(f64) {
        move |v| self.counter(name, help, &[], v)
    }

    fn gauge_fn(&mut self, name: &'static str, help: &'static str) -> impl FnMut(f64) {
        move |v| self.gauge(name, help, &[], v)
    }
}

fn times(cpu: &str, ticks: &[f64], f: &mut Families) {
    let mut sorted: Vec<(&str, f64)> = MODES.iter().copied().zip(ticks.iter().copied()).collect();
    sorted.sort_by_key(|(mode, _)| *mode);
    for (mode, n) in sorted {
        f.counter(
            "node_cpu_seconds_total",
            "Seconds each CPU spent in each mode.",
            &[("cpu", cpu), ("mode", mode)],
            n / TICKS_PER_SECOND,
        );
    }
    for (mode, n) in [("nice", ticks.get(9)), ("user", ticks.get(8))] {
        if let Some(n) = n {
            f.counter(
                "node_cpu_guest_seconds_total",
                "Seconds each CPU spent in virtual machines.",
                &[("cpu", cpu), ("mode", mode)],
                n / TICKS_PER_SECOND,
            );
        }
    }
}
