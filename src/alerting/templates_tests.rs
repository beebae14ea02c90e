//! The built-in templates, and templates of users over them.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::alerting::store::test_alert;
use crate::alerting::template_data::{AlertData, Reason};
use crate::exec::clock::ManualClock;
use crate::model::Labels;

const NOW: i64 = 1_772_400_000_000;

fn templates(globs: &[String], base: &Path) -> NotificationTemplates {
    NotificationTemplates::load(globs, base, Arc::new(ManualClock::at_ms(NOW))).unwrap()
}

fn data() -> Data {
    let mut firing =
        test_alert(&[("alertname", "Disk"), ("instance", "h1"), ("job", "node")], NOW - 60_000, NOW + 1, 0);
    firing.alert.annotations =
        Labels::from_pairs([("summary", "a <b> & \"c\""), ("runbook", "http://r.example/?a=1&b=2")]);
    firing.alert.generator_url = "http://g.example/graph?x=1&y=2".to_owned();
    let over = test_alert(&[("alertname", "Disk"), ("instance", "h2"), ("job", "node")], NOW - 90_000, NOW - 30_000, 0);
    let alerts = vec![AlertData::new(&firing, NOW), AlertData::new(&over, NOW)];
    Data::new("team", Labels::from_pairs([("alertname", "Disk")]), alerts, "http://c.example", Reason::First)
}

#[test]
fn the_default_email() {
    let t = templates(&[], Path::new("."));
    assert_eq!(t.text(crate::config::notify::DEFAULT_EMAIL_SUBJECT, &data()).unwrap(), "[FIRING:1] Disk (node)");
    let text = t.text(crate::config::notify::DEFAULT_EMAIL_TEXT, &data()).unwrap();
    for part in [
        "Firing now: 1",
        "* Disk: a <b> & \"c\"",
        "instance = h1",
        "Over: 1",
        "instance = h2",
        "until 2026-03-01",
        "http://g.example/graph?x=1&y=2",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let html = t.html(crate::config::notify::DEFAULT_EMAIL_HTML, &data()).unwrap();
    for part in [
        "1 firing",
        "1 over",
        "a &lt;b&gt; &amp; &#34;c&#34;",
        ">h1<",
        ">h2<",
        "href=\"http://g.example/graph?x=1&amp;y=2\"",
        "</html>",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    assert!(!html.contains("<b>") && !html.contains("ZgotmplZ"), "{html}");
}

#[test]
fn files_of_users_replace_built_in_ones() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.tmpl"), r#"{{ define "email.default.subject" }}mine: {{ .Status }}{{ end }}"#)
        .unwrap();
    std::fs::write(dir.path().join("b.txt"), "{{ broken").unwrap();
    let t = templates(&["*.tmpl".to_owned(), "none/*.tmpl".to_owned()], dir.path());
    assert_eq!(t.text(crate::config::notify::DEFAULT_EMAIL_SUBJECT, &data()).unwrap(), "mine: firing");
    assert!(t.text("{{ .Nope }}", &data()).is_err());
    assert!(t.check("{{ .Nope }}").is_ok() && t.check("{{ nofunc }}").is_err());
    let clock = Arc::new(ManualClock::at_ms(NOW));
    let broken = NotificationTemplates::load(&["b.txt".to_owned()], dir.path(), clock.clone());
    assert!(matches!(broken, Err(TemplatesError::Parse { .. })));
    let missing = NotificationTemplates::load(&["c.txt".to_owned()], dir.path(), clock);
    assert!(matches!(missing, Err(TemplatesError::File { .. })));
}

#[test]
fn globs() {
    for (pattern, name, want) in [
        ("*.tmpl", "a.tmpl", true),
        ("*.tmpl", ".tmpl", true),
        ("*.tmpl", "a.tmpl.bak", false),
        ("a?c*", "abcd", true),
        ("a?c*", "ac", false),
        ("*a*b", "xaxbxb", true),
        ("*", "", true),
    ] {
        assert_eq!(wildcard(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
    }
}

/// Recorded answers of the real program, where the folder is at hand.
#[test]
fn recorded_cases() {
    let folder = std::env::var_os("CONFORMANCE_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join("templates/alertmanager.json")) else {
        eprintln!("no recorded templates here: skipped");
        return;
    };
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in all["template_files"].as_object().unwrap() {
        std::fs::write(dir.path().join(name), content.as_str().unwrap()).unwrap();
    }
    let clock =
        Arc::new(ManualClock::at_ms(crate::model::time::parse_rfc3339_ns("2026-11-20T00:00:00Z").unwrap() / 1_000_000));
    let t = NotificationTemplates::load(&["*.tmpl".to_owned()], dir.path(), clock).unwrap();
    let mut failed = Vec::new();
    let cases = all["cases"].as_array().unwrap();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let data = recorded_data(&all, case, id);
        let template = case["template"].as_str().unwrap();
        let got = if case["kind"] == "html" { t.html(template, &data) } else { t.text(template, &data) };
        let expect = &case["expect"];
        let fits = match (&got, expect.get("output"), expect.get("output_matches")) {
            (Ok(got), Some(want), _) => got.as_str() == want.as_str().unwrap(),
            (Ok(got), None, Some(want)) => {
                regex::Regex::new(&format!("^(?s:{})$", want.as_str().unwrap())).unwrap().is_match(got)
            }
            (Err(_), None, None) => true,
            _ => false,
        };
        if !fits {
            failed.push(format!("{id}: {template}: want {expect}, got {got:?}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn recorded_data(all: &serde_json::Value, case: &serde_json::Value, id: &str) -> Data {
    let set = &all["sets"][case["set"].as_str().unwrap()];
    let labels = |v: &serde_json::Value| -> Labels { serde_json::from_value(v.clone()).unwrap_or_default() };
    let ms = |v: &serde_json::Value| crate::model::time::parse_rfc3339_ns(v.as_str().unwrap()).unwrap() / 1_000_000;
    let mut alerts = std::collections::BTreeMap::new();
    for post in set["posts"].as_array().unwrap() {
        for a in post.as_array().unwrap() {
            let alert = crate::model::alert::Alert {
                labels: labels(&a["labels"]),
                annotations: labels(&a["annotations"]),
                starts_at: ms(&a["startsAt"]),
                ends_at: ms(&a["endsAt"]),
                updated_at: 0,
                generator_url: a["generatorURL"].as_str().unwrap_or_default().to_owned(),
            };
            alerts.insert(alert.labels.clone(), crate::alerting::store::StoredAlert::new(alert, false));
        }
    }
    let now = ms(&serde_json::json!("2026-11-20T00:00:00Z"));
    let mut alerts: Vec<_> = alerts.values().map(|a| AlertData::new(a, now)).collect();
    alerts.sort_by(AlertData::order);
    let by: Vec<String> = serde_json::from_value(set["group_by"].clone()).unwrap();
    let group = alerts[0].labels.with_only(&by);
    Data::new(&format!("c.{id}"), group, alerts, all["external_url"].as_str().unwrap(), Reason::First)
}
