//! `/probe` as blackbox_exporter answers it: one run on request, in the text format. Free of any web framework.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::probe::{ProbeKind, ProbeModule};
use crate::probe::{Question, history, probe_once};

/// The module where none is named.
const DEFAULT_MODULE: &str = "http_2xx";
/// How long a run may take where neither the scraper nor the module says.
const DEFAULT_TIMEOUT_SECONDS: f64 = 120.0;
/// Taken off the scraper's timeout, so that the answer is there before it gives up.
const SCRAPE_TIMEOUT_OFFSET_SECONDS: f64 = 0.5;

/// What is asked of `/probe`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters<'a> {
    /// `target`.
    pub target: Option<&'a str>,
    /// `module`.
    pub module: Option<&'a str>,
    /// `hostname`.
    pub hostname: Option<&'a str>,
    /// `debug`: answer with everything seen, as text.
    pub debug: bool,
    /// The header `X-Prometheus-Scrape-Timeout-Seconds`.
    pub scrape_timeout: Option<&'a str>,
}

/// A status and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    fn refusal(status: u16, body: impl Into<String>) -> Self {
        Answer { status, body: body.into() }
    }
}

/// Runs the probe that is asked for. The caller holds a permit, as each request opens connections.
pub async fn answer(modules: &BTreeMap<String, ProbeModule>, asked: Parameters<'_>) -> Answer {
    let name = asked.module.unwrap_or(DEFAULT_MODULE);
    // The built-in modules are for those who configured none; else a name that is not there is a mistake.
    let built_in = || if modules.is_empty() { ProbeModule::built_in(name) } else { None };
    let Some(module) = modules.get(name).cloned().or_else(built_in) else {
        return Answer::refusal(400, format!("unknown module {name:?}\n"));
    };
    let Some(target) = asked.target.filter(|t| !t.is_empty()) else {
        return Answer::refusal(400, "target parameter is missing\n");
    };
    let timeout = match timeout(&module, asked.scrape_timeout) {
        Ok(timeout) => timeout,
        Err(message) => return Answer::refusal(500, message),
    };
    let names_host = module.http.headers.keys().any(|k| k.eq_ignore_ascii_case("host"));
    if let Some(hostname) = asked.hostname
        && module.prober.0 == ProbeKind::Http
        && names_host
        && !module.http.headers.values().any(|v| v == hostname)
    {
        return Answer::refusal(400, "the hostname parameter and the module's Host header contradict each other\n");
    }
    let question = Question { module: &module, target, hostname: asked.hostname, timeout };
    let result = probe_once(question).await;
    let mut body = String::new();
    if asked.debug {
        body.push_str("Log of the probe:\n");
        body.push_str(&history::line(module.prober.0, target, &result));
        body.push_str("\n\nMetrics that would have been returned:\n");
    }
    body.push_str(&result.render());
    Answer { status: 200, body }
}

/// The scraper's timeout less the offset, at most the module's.
fn timeout(module: &ProbeModule, scrape_timeout: Option<&str>) -> Result<Duration, String> {
    let seconds = match scrape_timeout.filter(|t| !t.is_empty()) {
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|s| s.is_finite() && (0.0..=86_400.0).contains(s))
            .ok_or_else(|| format!("{text:?} is not a timeout in seconds\n"))?,
        None => 0.0,
    };
    let seconds = if seconds == 0.0 { DEFAULT_TIMEOUT_SECONDS } else { seconds };
    let seconds =
        if seconds > SCRAPE_TIMEOUT_OFFSET_SECONDS { seconds - SCRAPE_TIMEOUT_OFFSET_SECONDS } else { seconds };
    let own = module.timeout.as_duration();
    let asked = Duration::from_secs_f64(seconds);
    Ok(if own.is_zero() { asked } else { own.min(asked) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_and_limits() {
        let none = BTreeMap::new();
        let status = |p| async move { answer(&BTreeMap::new(), p).await.status };
        assert_eq!(answer(&none, Parameters::default()).await.status, 400);
        assert_eq!(status(Parameters { target: Some("x"), module: Some("nope"), ..Parameters::default() }).await, 400);
        let bad = Parameters { target: Some("x"), scrape_timeout: Some("soon"), ..Parameters::default() };
        assert_eq!(status(bad).await, 500);
        let mut module = ProbeModule::of(ProbeKind::Tcp);
        assert_eq!(timeout(&module, Some("1.5")), Ok(Duration::from_secs(1)));
        assert_eq!(timeout(&module, None), Ok(Duration::from_millis(119_500)));
        module.timeout = crate::config::ConfigDuration::from_secs(3);
        assert_eq!(timeout(&module, Some("10")), Ok(Duration::from_secs(3)));
    }
}
