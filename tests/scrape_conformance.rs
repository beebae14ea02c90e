//! Drives the areas `exposition` and `relabel` of the conformance folder.

#[path = "conformance/exposition.rs"]
mod exposition;
#[path = "conformance/exposition_scrape.rs"]
mod exposition_scrape;
#[path = "conformance/relabel.rs"]
mod relabel;
#[path = "conformance/report.rs"]
#[allow(dead_code, clippy::panic, reason = "shared with other test targets")]
mod report;

#[test]
fn exposition() {
    report::replay("exposition", exposition::KNOWN_FAILURES, exposition::replay);
}

#[test]
fn exposition_scrape() {
    report::replay("exposition scrape", exposition_scrape::KNOWN_FAILURES, exposition_scrape::replay);
}

#[test]
fn relabel() {
    report::replay("relabel", relabel::KNOWN_FAILURES, relabel::replay);
}
