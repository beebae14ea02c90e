//! `--enable-feature`: parts that Prometheus keeps behind names, because they may still change. Off unless named, as there.

use crate::promql::ParseOptions;

/// What of campanile depends on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Experimental parts of PromQL.
    pub syntax: ParseOptions,
    /// `promql-delayed-name-removal`.
    pub delayed_name_removal: bool,
    /// `promql-per-step-stats`.
    pub per_step_stats: bool,
    /// `use-start-timestamps`.
    pub use_start_timestamps: bool,
}

impl Default for Features {
    /// Everything off.
    fn default() -> Self {
        let syntax = ParseOptions {
            experimental_functions: false,
            duration_expressions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
        };
        Features { syntax, delayed_name_removal: false, per_step_stats: false, use_start_timestamps: false }
    }
}

/// Names of Prometheus that need no flag here: what they ask for is always so, or has become a key of the configuration.
const WITHOUT_EFFECT: [(&str, &str); 11] = [
    ("auto-reload-config", "changed files are always noticed"),
    ("exemplar-storage", "exemplars are always kept"),
    ("extra-scrape-metrics", "set extra_scrape_metrics in the configuration"),
    ("memory-snapshot-on-shutdown", "the store keeps what a restart needs by itself"),
    ("metadata-wal-records", "metadata is always kept"),
    ("native-histograms", "native histograms are always understood"),
    ("otlp-write-receiver", "metrics by OTLP are always taken"),
    ("promql-at-modifier", "it is always on"),
    ("promql-negative-offset", "it is always on"),
    ("remote-write-receiver", "remote write is always taken"),
    ("st-storage", "start timestamps are always kept"),
];

/// Names of Prometheus that stand for something campanile does not have.
const UNSUPPORTED: [&str; 11] = [
    "agent",
    "concurrent-rule-eval",
    "created-timestamp-zero-ingestion",
    "delayed-compaction",
    "no-default-scrape-port",
    "old-ui",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "type-and-unit-labels",
    "use-uncached-io",
    "xor2-encoding",
];

impl Features {
    /// Reads lists of names divided by commas. Gives what is on and a remark for each name that changes nothing; as in Prometheus
    /// such a name is no error.
    pub fn parse(lists: &[String]) -> (Features, Vec<String>) {
        let mut features = Features::default();
        let mut remarks = Vec::new();
        for name in lists.iter().flat_map(|l| l.split(',')).map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "promql-experimental-functions" => features.syntax.experimental_functions = true,
                "promql-duration-expr" => features.syntax.duration_expressions = true,
                "promql-extended-range-selectors" => features.syntax.extended_range_selectors = true,
                "promql-binop-fill-modifiers" => features.syntax.fill_modifiers = true,
                "promql-delayed-name-removal" => features.delayed_name_removal = true,
                "promql-per-step-stats" => features.per_step_stats = true,
                "use-start-timestamps" => features.use_start_timestamps = true,
                _ => remarks.push(match WITHOUT_EFFECT.iter().find(|(n, _)| *n == name) {
                    Some((_, why)) => format!("--enable-feature={name} has no effect: {why}"),
                    None if UNSUPPORTED.contains(&name) => format!("--enable-feature={name} is not supported"),
                    None => format!("unknown option for --enable-feature: {name:?}"),
                }),
            }
        }
        (features, remarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_turn_things_on_or_are_remarked_on() {
        let lists =
            ["promql-experimental-functions, promql-duration-expr".to_owned(), "native-histograms,,x".to_owned()];
        let (on, remarks) = Features::parse(&lists);
        assert!(on.syntax.experimental_functions && on.syntax.duration_expressions && !on.syntax.fill_modifiers);
        assert_eq!(remarks.len(), 2);
        assert!(remarks[0].contains("always understood") && remarks[1].contains("unknown option"), "{remarks:?}");
        assert_eq!(Features::parse(&[]), (Features::default(), Vec::new()));
    }
}
