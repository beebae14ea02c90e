//! How busy the machine is: load average and pressure.

use crate::host::families::Families;
use crate::host::{CollectError, Roots};

pub fn average(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let text = roots.proc("loadavg")?;
    let names = [("node_load1", "1m"), ("node_load5", "5m"), ("node_load15", "15m")];
    for ((name, span), word) in names.iter().zip(text.split_ascii_whitespace()) {
        if let Ok(value) = word.parse() {
            f.gauge(name, &format!("{span} load average."), &[], value);
        }
    }
    Ok(())
}

/// Pressure stall information: microseconds that some or all tasks waited.
pub fn pressure(roots: Roots<'_>, f: &mut Families) -> Result<(), CollectError> {
    let wanted = [
        ("cpu", "some", "node_pressure_cpu_waiting_seconds_total", "Seconds some tasks waited for a CPU."),
        ("io", "some", "node_pressure_io_waiting_seconds_total", "Seconds some tasks waited for I/O."),
        ("io", "full", "node_pressure_io_stalled_seconds_total", "Seconds all tasks waited for I/O."),
        ("memory", "some", "node_pressure_memory_waiting_seconds_total", "Seconds some tasks waited for memory."),
        ("memory", "full", "node_pressure_memory_stalled_seconds_total", "Seconds all tasks waited for memory."),
    ];
    let mut outcome = Ok(());
    for (file, line, name, help) in wanted {
        match roots.proc(&format!("pressure/{file}")) {
            Ok(text) => {
                let found = text.lines().find(|l| l.starts_with(line)).and_then(|l| l.split("total=").nth(1));
                if let Some(total) = found.and_then(|t| t.trim().parse::<f64>().ok()) {
                    f.counter(name, help, &[], total / 1e6);
                }
            }
            Err(e) => outcome = Err(e),
        }
    }
    outcome
}
