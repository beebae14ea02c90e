//! Replays what real programs were recorded to answer, one test for each area.
//!
//! ```text
//! cargo test --test conformance promql -- --nocapture
//! ```
//!
//! The folder with the areas is taken from `CONFORMANCE_DIR`, else it is `../shared/conformance` beside the checkout.
//! Every area prints its failing cases and one line `AREA: N passed, M failed` (cargo shows it with `-- --nocapture`, and
//! always when the area fails). An area whose folder is missing says so and is skipped. Areas that need programs of the
//! distribution are ignored tests with the reason, so that they are never counted as passed where those are missing.

#![allow(clippy::panic, clippy::expect_used, reason = "a harness that cannot go on fails its test")]

mod exposition;
mod exposition_scrape;
mod logql;
mod notifications;
mod probes;
mod promql;
mod relabel;
mod replay_script;
mod report;
mod routing;
mod rules;
mod templates;

/// How many evaluations of the PromQL scripts fail. May only go down; zero when the area is done.
const PROMQL_KNOWN_FAILURES: usize = 0;

#[test]
fn promql() {
    report::replay("promql", PROMQL_KNOWN_FAILURES, promql::replay);
}

/// The language alone: every script and expression is read, printed and read again.
#[test]
fn promql_language() {
    report::replay("promql language", 0, promql::read_scripts);
}

#[test]
fn exposition() {
    report::replay("exposition", exposition::KNOWN_FAILURES, exposition::replay);
}

/// The cases of the area that need a whole scrape over HTTP into a store.
#[test]
fn exposition_scrape() {
    report::replay("exposition scrape", exposition_scrape::KNOWN_FAILURES, exposition_scrape::replay);
}

#[test]
fn relabel() {
    report::replay("relabel", relabel::KNOWN_FAILURES, relabel::replay);
}

/// Against the built binary.
#[test]
fn rules() {
    report::replay("rules", rules::KNOWN_FAILURES, rules::replay);
}

#[test]
fn templates() {
    report::replay("templates", templates::KNOWN_FAILURES, templates::replay);
}

#[test]
fn routing() {
    report::replay("routing", 0, routing::replay);
}

/// Against the built binary.
#[test]
#[ignore = "needs python3-requests, python3-yaml and amtool"]
fn notifications() {
    report::replay("notifications", notifications::KNOWN_FAILURES, notifications::replay);
}

/// Against the built binary; needs python3 for the area's own script.
#[test]
fn logql() {
    report::replay("logql", logql::KNOWN_FAILURES, logql::replay);
}

/// Against the built binary.
#[test]
#[ignore = "needs python3-requests and python3-yaml"]
fn probes() {
    report::replay("probes", probes::KNOWN_FAILURES, probes::replay);
}
