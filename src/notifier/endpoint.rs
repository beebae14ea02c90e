//! From discovered label sets to the addresses of Alertmanagers.

use std::collections::BTreeSet;

use crate::config::outside::OutsideAlertmanagers;
use crate::config::relabel::Relabel;
use crate::discovery::TargetGroup;
use crate::model::LabelsBuilder;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
/// The label that relabelling may change the path of the request by (Prometheus).
const PATH: &str = "__alerts_path__";

/// What the target groups of one entry come to: addresses, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Where alerts go.
    pub active: BTreeSet<String>,
    /// What relabelling dropped, as it would have been written.
    pub dropped: BTreeSet<String>,
    /// What cannot be an address.
    pub refused: BTreeSet<String>,
}

/// Makes the addresses of one entry. `rules` are its compiled `relabel_configs`.
pub fn endpoints(config: &OutsideAlertmanagers, rules: &[Relabel], groups: &[TargetGroup]) -> Endpoints {
    let mut out = Endpoints::default();
    for group in groups {
        for target in &group.targets {
            let mut labels = LabelsBuilder::new();
            for (n, v) in group.labels.iter().chain(target) {
                labels.set(n, v.as_str());
            }
            labels.set(SCHEME, config.scheme()).set(PATH, config.alerts_path());
            let before = url(&labels);
            if !Relabel::apply_all(rules, &mut labels) {
                out.dropped.insert(before);
            } else if labels.get(ADDRESS).is_empty() || labels.get(ADDRESS).contains('/') {
                out.refused.insert(labels.get(ADDRESS).to_owned());
            } else {
                out.active.insert(url(&labels));
            }
        }
    }
    out
}

fn url(labels: &LabelsBuilder) -> String {
    let path = labels.get(PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{}://{}{slash}{path}", labels.get(SCHEME), labels.get(ADDRESS))
}
