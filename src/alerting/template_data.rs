//! What a notification is made of: the data of templates and the JSON of webhooks (version 4).

use std::cmp::Ordering;

use serde::{Deserialize, Serialize, Serializer};

use super::store::StoredAlert;
use crate::model::time::{ZERO_TIME, rfc3339_ms};
use crate::model::{Labels, TimestampMs};

/// Whether an alert, or a whole notification, fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires; of a notification: at least one alert does.
    Firing,
    /// It is over.
    Resolved,
}

impl Status {
    /// As written in JSON and templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        }
    }
}

/// One alert of a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertData {
    /// Whether it fires.
    pub status: Status,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// When it began.
    #[serde(rename = "startsAt")]
    pub starts_at: TimeMs,
    /// When it ended; never for one that fires.
    #[serde(rename = "endsAt")]
    pub ends_at: TimeMs,
    /// Where it came from.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
}

/// A moment that JSON shows as RFC 3339; `None` is Go's zero time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMs(pub Option<TimestampMs>);

impl TimeMs {
    /// As JSON shows it.
    pub fn rfc3339(self) -> String {
        self.0.map_or_else(|| ZERO_TIME.to_owned(), rfc3339_ms)
    }
}

impl Serialize for TimeMs {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for TimeMs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == ZERO_TIME {
            return Ok(TimeMs(None));
        }
        let ns = crate::model::time::parse_rfc3339_ns(&text);
        ns.map(|t| TimeMs(Some(t / 1_000_000))).ok_or_else(|| serde::de::Error::custom(format!("not a date: {text:?}")))
    }
}

impl AlertData {
    /// An alert as it stands at `now`.
    pub fn new(alert: &StoredAlert, now: TimestampMs) -> Self {
        let a = &alert.alert;
        let resolved = alert.resolved_at(now);
        AlertData {
            status: if resolved { Status::Resolved } else { Status::Firing },
            labels: a.labels.clone(),
            annotations: a.annotations.clone(),
            starts_at: TimeMs(Some(a.starts_at)),
            ends_at: TimeMs(resolved.then_some(a.ends_at)),
            generator_url: a.generator_url.clone(),
            fingerprint: format!("{:016x}", alert.fingerprint),
        }
    }

    /// The order of alerts in a notification: by the label job, then instance (absent ones last), then fewer labels first, then
    /// label by label.
    pub fn order(&self, other: &Self) -> Ordering {
        notification_order(&self.labels, &other.labels)
    }
}

fn notification_order(a: &Labels, b: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        let ordering = match (a.get(name), b.get(name)) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    label_set_order(a, b)
}

/// The order of label sets in Alertmanager: fewer labels first; then by the first label name that differs or whose value does,
/// and of two names the set that has the earlier one comes later.
pub fn label_set_order(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        for ((an, av), (bn, bv)) in a.iter().zip(b.iter()) {
            let ordering = bn.cmp(an).then_with(|| av.cmp(bv));
            if ordering.is_ne() {
                return ordering;
            }
        }
        Ordering::Equal
    })
}

/// Why a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The group was not told before.
    First,
    /// Alerts began to fire.
    NewAlerts,
    /// Some alerts ended.
    SomeResolved,
    /// All alerts ended.
    AllResolved,
    /// Nothing changed for the repeat interval.
    Repeat,
}

impl Reason {
    /// As templates show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first notification",
            Reason::NewAlerts => "new alerts added",
            Reason::SomeResolved => "some alerts resolved",
            Reason::AllResolved => "all alerts resolved",
            Reason::Repeat => "repeat interval elapsed",
        }
    }
}

/// The data of one notification, as templates and the webhook's JSON see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The receiver's name, quoted for use in a regex as Alertmanager does.
    pub receiver: String,
    /// Firing as long as one alert is.
    pub status: Status,
    /// The alerts, sorted.
    pub alerts: Vec<AlertData>,
    /// The labels that make the group.
    #[serde(rename = "groupLabels")]
    pub group_labels: Labels,
    /// Labels that all alerts share.
    #[serde(rename = "commonLabels")]
    pub common_labels: Labels,
    /// Annotations that all alerts share.
    #[serde(rename = "commonAnnotations")]
    pub common_annotations: Labels,
    /// Where campanile is reached from outside.
    #[serde(rename = "externalURL")]
    pub external_url: String,
    /// Why it is sent.
    pub reason: Reason,
}

impl Data {
    /// Puts the data together from sorted alerts.
    pub fn new(
        receiver: &str,
        group_labels: Labels,
        alerts: Vec<AlertData>,
        external_url: &str,
        reason: Reason,
    ) -> Self {
        let firing = alerts.iter().any(|a| a.status == Status::Firing);
        Data {
            receiver: quote_meta(receiver),
            status: if firing { Status::Firing } else { Status::Resolved },
            common_labels: common(alerts.iter().map(|a| &a.labels)),
            common_annotations: common(alerts.iter().map(|a| &a.annotations)),
            alerts,
            group_labels,
            external_url: external_url.to_owned(),
            reason,
        }
    }
}

impl Data {
    /// The same with only the first `n` alerts; status and what is common are those of the alerts that are left.
    pub fn first_alerts(&self, n: usize) -> Data {
        let alerts: Vec<_> = self.alerts.iter().take(n).cloned().collect();
        let mut out = Data::new("", self.group_labels.clone(), alerts, &self.external_url, self.reason);
        out.receiver.clone_from(&self.receiver);
        out
    }
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    let mut out = first.clone();
    for set in sets {
        out = Labels::from_sorted(out.iter().filter(|(n, v)| set.get(n) == Some(*v)));
    }
    out
}

/// Quotes what is special in a regex, as Go's `regexp.QuoteMeta`.
fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The body of a webhook.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookMessage<'a> {
    /// See [`Data::receiver`].
    pub receiver: &'a str,
    /// See [`Data::status`].
    pub status: Status,
    /// The alerts, as many as `max_alerts` allows.
    pub alerts: &'a [AlertData],
    /// See [`Data::group_labels`].
    #[serde(rename = "groupLabels")]
    pub group_labels: &'a Labels,
    /// See [`Data::common_labels`].
    #[serde(rename = "commonLabels")]
    pub common_labels: &'a Labels,
    /// See [`Data::common_annotations`].
    #[serde(rename = "commonAnnotations")]
    pub common_annotations: &'a Labels,
    /// See [`Data::external_url`].
    #[serde(rename = "externalURL")]
    pub external_url: &'a str,
    /// The version of this form: `4`.
    pub version: &'static str,
    /// The group's key.
    #[serde(rename = "groupKey")]
    pub group_key: &'a str,
    /// How many alerts were left out.
    #[serde(rename = "truncatedAlerts")]
    pub truncated_alerts: usize,
}

impl<'a> WebhookMessage<'a> {
    /// The message of some data.
    pub fn new(data: &'a Data, group_key: &'a str, truncated_alerts: usize) -> Self {
        WebhookMessage {
            receiver: &data.receiver,
            status: data.status,
            alerts: &data.alerts,
            group_labels: &data.group_labels,
            common_labels: &data.common_labels,
            common_annotations: &data.common_annotations,
            external_url: &data.external_url,
            version: "4",
            group_key,
            truncated_alerts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::store::test_alert;

    #[test]
    fn alerts_are_sorted_as_alertmanager_does() {
        let sets: [&[(&str, &str)]; 6] = [
            &[("alertname", "O"), ("instance", "1"), ("job", "a"), ("z", "1")],
            &[("alertname", "O"), ("b", "1"), ("instance", "1"), ("job", "a")],
            &[("alertname", "O"), ("a", "1"), ("instance", "9"), ("job", "a")],
            &[("alertname", "O"), ("a", "9"), ("instance", "1"), ("job", "z")],
            &[("alertname", "O"), ("instance", "0")],
            &[("alertname", "O")],
        ];
        let mut alerts: Vec<_> = sets.iter().rev().map(|l| AlertData::new(&test_alert(l, 0, 10, 0), 0)).collect();
        alerts.sort_by(AlertData::order);
        let got: Vec<_> = alerts.iter().map(|a| a.labels.clone()).collect();
        assert_eq!(got, sets.map(|l| Labels::from_pairs(l.iter().copied())));
    }

    #[test]
    fn the_json_is_version_4() {
        let firing = AlertData::new(&test_alert(&[("a", "1"), ("c", "x")], 1000, 9000, 0), 5000);
        let resolved = AlertData::new(&test_alert(&[("a", "2"), ("c", "x")], 1000, 3000, 0), 5000);
        let data = Data::new("team.x", Labels::empty(), vec![firing, resolved], "http://c", Reason::First);
        let json = serde_json::to_string(&WebhookMessage::new(&data, "{}:{}", 3)).unwrap();
        assert_eq!(
            json,
            r#"{"receiver":"team\\.x","status":"firing","alerts":[{"status":"firing","labels":{"a":"1","c":"x"},"annotations":{},"startsAt":"1970-01-01T00:00:01.000Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"FP1"},{"status":"resolved","labels":{"a":"2","c":"x"},"annotations":{},"startsAt":"1970-01-01T00:00:01.000Z","endsAt":"1970-01-01T00:00:03.000Z","generatorURL":"","fingerprint":"FP2"}],"groupLabels":{},"commonLabels":{"c":"x"},"commonAnnotations":{},"externalURL":"http://c","version":"4","groupKey":"{}:{}","truncatedAlerts":3}"#
                .replace("FP1", &data.alerts[0].fingerprint)
                .replace("FP2", &data.alerts[1].fingerprint)
        );
        let back: Data = serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
        assert_eq!(back, data);
    }
}
