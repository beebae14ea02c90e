//! Checks that concern more than one section of the configuration.

use std::collections::HashMap;

use crate::config::{Config, Problems};

/// The job by which campanile scrapes itself.
pub const SELF_JOB: &str = "campanile";

/// Finds contradictions between sections.
pub fn check(config: &Config, problems: &mut Problems) {
    probe_identities(config, problems);
    self_scrape(config, problems);
}

/// The built-in job has a name of its own.
fn self_scrape(config: &Config, problems: &mut Problems) {
    let named = config.scrape_configs.iter().position(|j| j.job_name == SELF_JOB);
    if let Some(i) = named.filter(|_| config.self_scrape) {
        let message = format!(
            "{SELF_JOB:?} is the job by which campanile scrapes itself; give it another name or set self_scrape: false"
        );
        problems.add(format!("scrape_configs[{i}].job_name"), message);
    }
}

/// Two probes with the same name and target (and labels) would write the same series.
fn probe_identities(config: &Config, problems: &mut Problems) {
    let mut seen: HashMap<crate::model::Labels, usize> = HashMap::new();
    for (i, p) in config.probes.iter().enumerate() {
        for target in p.all_targets() {
            let labels = p.labels_of(target).build();
            if let Some(first) = seen.get(&labels) {
                let message = format!(
                    "probes {target:?} as probes[{first}] does, with the same name and labels; give it another name or label"
                );
                problems.add(format!("probes[{i}]"), message);
            } else {
                seen.insert(labels, i);
            }
        }
    }
}
