//! What is known about metric families.

use std::collections::BTreeMap;

use super::limits::{MAX_METADATA, METADATA_VERSIONS};
use crate::model::Metadata;

/// The newest few versions for each metric family, newest first.
#[derive(Debug, Default)]
pub(crate) struct MetadataStore {
    families: BTreeMap<Box<str>, Vec<Metadata>>,
}

impl MetadataStore {
    /// Whether this would be news.
    pub(crate) fn is_new(&self, metric: &str, m: &Metadata) -> bool {
        self.families.get(metric).and_then(|v| v.first()) != Some(m)
    }

    /// Notes a family's metadata; `false` if there is no room for one more family.
    pub(crate) fn note(&mut self, metric: &str, m: Metadata) -> bool {
        if let Some(versions) = self.families.get_mut(metric) {
            versions.retain(|v| *v != m);
            versions.insert(0, m);
            versions.truncate(METADATA_VERSIONS);
            return true;
        }
        if self.families.len() >= MAX_METADATA {
            return false;
        }
        self.families.insert(metric.into(), vec![m]);
        true
    }

    /// The families in order of names, one or all, `limit` at most.
    pub(crate) fn get(&self, metric: Option<&str>, limit: usize) -> Vec<(String, Vec<Metadata>)> {
        fn pair((name, versions): (&impl AsRef<str>, &Vec<Metadata>)) -> (String, Vec<Metadata>) {
            (name.as_ref().to_owned(), versions.clone())
        }
        match metric {
            Some(m) => self.families.get_key_value(m).into_iter().take(limit).map(pair).collect(),
            None => self.families.iter().take(limit).map(pair).collect(),
        }
    }

    /// All versions, the oldest of each family first.
    pub(crate) fn all(&self) -> Vec<(&str, &Metadata)> {
        self.families.iter().flat_map(|(n, v)| v.iter().rev().map(move |m| (&**n, m))).collect()
    }
}
