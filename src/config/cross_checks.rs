//! Checks that concern more than one section of the configuration.

use std::collections::HashMap;

use crate::config::{Config, Problems};

/// Finds contradictions between sections.
pub fn check(config: &Config, problems: &mut Problems) {
    probe_identities(config, problems);
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
