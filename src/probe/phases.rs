//! The phases of a run: how long each took, summed over redirects.

use std::time::Duration;

use tokio::time::Instant;

use crate::probe::result::Recorder;

/// Times by phase of one gauge such as `probe_http_duration_seconds`.
pub struct Phases {
    metric: &'static str,
    spent: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Phases that are written to the gauge `metric` with a label `phase`; the first is written at once, as 0.
    pub fn new(metric: &'static str, first: &'static str, recorder: &mut Recorder) -> Self {
        let mut phases = Phases { metric, spent: Vec::new() };
        phases.add(first, Duration::ZERO, recorder);
        phases
    }

    /// Makes the named phases appear, as 0 where they have no time yet.
    pub fn show(&mut self, names: &[&'static str], recorder: &mut Recorder) {
        for name in names {
            self.add(name, Duration::ZERO, recorder);
        }
    }

    /// Adds time to a phase.
    pub fn add(&mut self, phase: &'static str, time: Duration, recorder: &mut Recorder) {
        let sum = match self.spent.iter_mut().find(|(p, _)| *p == phase) {
            Some((_, spent)) => {
                *spent += time;
                *spent
            }
            None => {
                self.spent.push((phase, time));
                time
            }
        };
        recorder.set_with(self.metric, &[("phase", phase)], sum.as_secs_f64());
    }

    /// Adds the time since `start` to a phase; gives the present moment for the next one.
    pub fn until_now(&mut self, phase: &'static str, start: Instant, recorder: &mut Recorder) -> Instant {
        let now = Instant::now();
        self.add(phase, now.duration_since(start), recorder);
        now
    }
}
