//! Targets written down in the configuration, or in a file of the same form.

use std::collections::BTreeMap;

use crate::config::scrape::StaticConfig;
use crate::discovery::TargetGroup;

/// Makes target groups of `static_configs`.
pub fn groups(configs: &[StaticConfig]) -> Vec<TargetGroup> {
    configs
        .iter()
        .map(|c| TargetGroup {
            targets: c.targets.iter().map(|t| BTreeMap::from([("__address__".to_owned(), t.clone())])).collect(),
            labels: c.labels.clone(),
        })
        .collect()
}
