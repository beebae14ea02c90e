//! Notification templates: each case is a text executed with the data of a set of alerts.

use std::collections::BTreeMap;

use campanile::model::Labels;
use campanile::model::time::parse_rfc3339_ns;
use campanile::text::go_template::notification::{DEFAULT_TEMPLATES, Notification, NotifiedAlert};
use campanile::text::go_template::{Func, MissingKey, Options, Template, TemplateError, alertmanager};
use serde_json::Value as Json;

use super::{compare, pairs};
use crate::report::AreaReport;

pub fn replay(all: &Json, report: &mut AreaReport) {
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
    let mut funcs = alertmanager::functions(now);
    // The routes of the recording have no labels.
    funcs.insert("routeLabels".to_owned(), Func::new(|_| Ok("".into())));
    let mut set = Template::empty("");
    set.add("defaults", DEFAULT_TEMPLATES, &funcs).unwrap_or_else(|e| panic!("the default templates: {e}"));
    for (name, text) in pairs(&all["template_files"]) {
        set.add(&name, &text, &funcs).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for case in all["cases"].as_array().into_iter().flatten() {
        let id = case["id"].as_str().unwrap_or("?");
        let mut data = data_of(&all["sets"][case["set"].as_str().unwrap_or("")], now);
        data.receiver = format!("c.{id}");
        data.external_url = all["external_url"].as_str().unwrap_or("").to_owned();
        let options = Options { missing_key: MissingKey::Zero, html: case["kind"] == "html", ..Options::default() };
        let run = || -> Result<String, TemplateError> {
            let mut template = set.clone();
            template.add("", case["template"].as_str().unwrap_or(""), &funcs)?;
            template.execute(&data.to_value(), &funcs, &options)
        };
        let outcome = match (run(), case["expect"]["error"].as_str()) {
            (Ok(got), None) => compare(&got, &case["expect"]),
            (Ok(got), Some(want)) => Err(format!("got {got:?}, want the error {want}")),
            (Err(e), None) => Err(format!("failed: {e}, want {}", case["expect"])),
            (Err(_), Some(_)) => Ok(()),
        };
        report.count(format!("alertmanager/{id}"), outcome);
    }
}

/// The data of the notification that holds the last state of all alerts.
fn data_of(set: &Json, now: i64) -> Notification {
    let mut alerts: BTreeMap<String, NotifiedAlert> = BTreeMap::new();
    for posted in set["posts"].as_array().into_iter().flatten().flat_map(|p| p.as_array().into_iter().flatten()) {
        let labels: BTreeMap<String, String> = pairs(&posted["labels"]).into_iter().collect();
        let time = |key: &str| posted[key].as_str().and_then(parse_rfc3339_ns).unwrap_or(0);
        let resolved = time("endsAt") <= now;
        let fingerprint = format!("{:016x}", Labels::from_pairs(&labels).fingerprint());
        let part = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let order = format!("{}\0{}\0{labels:?}", part("job"), part("instance"));
        let alert = NotifiedAlert {
            status: if resolved { "resolved" } else { "firing" }.to_owned(),
            annotations: pairs(&posted["annotations"]).into_iter().collect(),
            labels,
            starts_at_ns: time("startsAt"),
            ends_at_ns: resolved.then(|| time("endsAt")),
            generator_url: posted["generatorURL"].as_str().unwrap_or("").to_owned(),
            fingerprint,
        };
        alerts.insert(order, alert);
    }
    let alerts: Vec<NotifiedAlert> = alerts.into_values().collect();
    let common = |of: fn(&NotifiedAlert) -> &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let first = alerts.first().map(of).cloned().unwrap_or_default();
        first.into_iter().filter(|(k, v)| alerts.iter().all(|a| of(a).get(k) == Some(v))).collect()
    };
    let (common_labels, common_annotations) = (common(|a| &a.labels), common(|a| &a.annotations));
    let by = set["group_by"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let group_labels = by.filter_map(|n| Some((n.to_owned(), common_labels.get(n)?.clone()))).collect();
    let firing = alerts.iter().any(|a| a.status == "firing");
    Notification {
        status: if firing { "firing" } else { "resolved" }.to_owned(),
        alerts,
        group_labels,
        common_labels,
        common_annotations,
        reason: "first notification".to_owned(),
        ..Notification::default()
    }
}
