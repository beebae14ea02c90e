//! Where targets come from. Each source yields target groups.

pub mod file;
pub mod static_config;

use std::collections::BTreeMap;

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// The labels of each target, at least `__address__`.
    pub targets: Vec<BTreeMap<String, String>>,
    /// Labels of all of them; a target's own win.
    pub labels: BTreeMap<String, String>,
}
