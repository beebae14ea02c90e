//! What the templates of notifications see: the data that Alertmanager documents, with its fields and methods.
//!
//! `defaults.tmpl` beside this file holds the templates that receivers use unless they name others; users' templates
//! refer to them by the names that Alertmanager gave them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::funcs::wrong_type;
use super::time::GoTime;
use super::value::{Object, Value};

/// The named templates that exist without any file of the user.
pub const DEFAULT_TEMPLATES: &str = include_str!("defaults.tmpl");

/// The label that sorts first.
const ALERT_NAME: &str = "alertname";

/// The data of one notification.
#[derive(Clone, Debug, Default)]
pub struct Notification {
    /// The receiver's name; templates see it quoted for regular expressions, as in Alertmanager.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The alerts, in the order of the notification.
    pub alerts: Vec<NotifiedAlert>,
    /// The labels by which the group was made.
    pub group_labels: BTreeMap<String, String>,
    /// Labels that all alerts share.
    pub common_labels: BTreeMap<String, String>,
    /// Annotations that all alerts share.
    pub common_annotations: BTreeMap<String, String>,
    /// Labels of the route.
    pub route_labels: BTreeMap<String, String>,
    /// Where users reach this server.
    pub external_url: String,
    /// Why it is sent, in words.
    pub reason: String,
}

/// One alert of a notification.
#[derive(Clone, Debug, Default)]
pub struct NotifiedAlert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it began, in nanoseconds since the epoch.
    pub starts_at_ns: i64,
    /// When it ended; `None` while it fires, which templates see as the zero time.
    pub ends_at_ns: Option<i64>,
    /// Where it came from.
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
}

impl Notification {
    /// The dot of its templates.
    pub fn to_value(&self) -> Value {
        let alerts = self.alerts.iter().map(NotifiedAlert::to_value).collect();
        Value::Object(Arc::new(Record {
            type_name: "template.Data",
            fields: vec![
                ("Receiver", "receiver", quote_meta(&self.receiver).into()),
                ("Status", "status", self.status.as_str().into()),
                ("Alerts", "alerts", Value::Object(Arc::new(Alerts { items: alerts, methods: true }))),
                ("GroupLabels", "groupLabels", kv(&self.group_labels)),
                ("CommonLabels", "commonLabels", kv(&self.common_labels)),
                ("CommonAnnotations", "commonAnnotations", kv(&self.common_annotations)),
                ("RouteLabels", "routeLabels", kv(&self.route_labels)),
                ("ExternalURL", "externalURL", self.external_url.as_str().into()),
                ("NotificationReason", "notificationReason", self.reason.as_str().into()),
            ],
        }))
    }
}

impl NotifiedAlert {
    fn to_value(&self) -> Value {
        let ends_at = self.ends_at_ns.map_or_else(GoTime::zero, GoTime::from_ns);
        Value::Object(Arc::new(Record {
            type_name: "template.Alert",
            fields: vec![
                ("Status", "status", self.status.as_str().into()),
                ("Labels", "labels", kv(&self.labels)),
                ("Annotations", "annotations", kv(&self.annotations)),
                ("StartsAt", "startsAt", Value::Time(GoTime::from_ns(self.starts_at_ns))),
                ("EndsAt", "endsAt", Value::Time(ends_at)),
                ("GeneratorURL", "generatorURL", self.generator_url.as_str().into()),
                ("Fingerprint", "fingerprint", self.fingerprint.as_str().into()),
            ],
        }))
    }
}

/// Go's `regexp.QuoteMeta`.
fn quote_meta(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 4);
    for c in s.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A struct of Go: its fields with their names in templates and in JSON.
#[derive(Debug)]
struct Record {
    type_name: &'static str,
    fields: Vec<(&'static str, &'static str, Value)>,
}

impl Object for Record {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.fields.iter().find(|(n, ..)| *n == name).map(|(.., v)| v.clone())
    }

    fn json_fields(&self) -> Option<Vec<(&str, Value)>> {
        Some(self.fields.iter().map(|(_, json, v)| (*json, v.clone())).collect())
    }

    fn text(&self) -> Option<String> {
        let values: Vec<String> = self.fields.iter().map(|(.., v)| super::printf::format_value(v)).collect();
        Some(format!("{{{}}}", values.join(" ")))
    }
}

/// The list of alerts; `.Firing` and `.Resolved` are plain lists without those methods.
#[derive(Debug)]
struct Alerts {
    items: Vec<Value>,
    methods: bool,
}

impl Alerts {
    fn with_status(&self, status: &str) -> Value {
        let is = |v: &&Value| match v {
            Value::Object(o) => o.field("Status").is_some_and(|s| s.as_str() == Some(status)),
            _ => false,
        };
        Value::Object(Arc::new(Alerts { items: self.items.iter().filter(is).cloned().collect(), methods: false }))
    }
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        if self.methods { "template.Alerts" } else { "[]template.Alert" }
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Firing", []) if self.methods => Some(Ok(self.with_status("firing"))),
            ("Resolved", []) if self.methods => Some(Ok(self.with_status("resolved"))),
            _ => None,
        }
    }

    fn as_list(&self) -> Option<&[Value]> {
        Some(&self.items)
    }
}

/// Labels or annotations, which print in order with the alert's name first.
#[derive(Debug)]
struct Kv(BTreeMap<String, Value>);

fn kv(map: &BTreeMap<String, String>) -> Value {
    Value::Object(Arc::new(Kv(map.iter().map(|(k, v)| (k.clone(), Value::str(v))).collect())))
}

impl Kv {
    fn sorted(&self) -> Vec<(&str, &Value)> {
        let first = self.0.get_key_value(ALERT_NAME);
        let rest = self.0.iter().filter(|(k, _)| *k != ALERT_NAME);
        first.into_iter().chain(rest).map(|(k, v)| (k.as_str(), v)).collect()
    }

    fn pairs(&self) -> Pairs {
        let pair = |(name, value): (&str, &Value)| {
            let fields = vec![("Name", "Name", Value::str(name)), ("Value", "Value", value.clone())];
            Value::Object(Arc::new(Record { type_name: "template.Pair", fields }) as Arc<dyn Object>)
        };
        Pairs(self.sorted().into_iter().map(pair).collect())
    }
}

impl Object for Kv {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        Some(match (name, args) {
            ("SortedPairs", []) => Ok(Value::Object(Arc::new(self.pairs()))),
            ("Names" | "Values" | "String", []) => return self.pairs().method(name, args),
            ("Remove", [names]) => {
                let texts: Option<Vec<&str>> = names.as_list().and_then(|l| l.iter().map(Value::as_str).collect());
                match texts {
                    Some(gone) => {
                        let left = self.0.iter().filter(|(k, _)| !gone.contains(&k.as_str()));
                        let left = left.map(|(k, v)| (k.clone(), v.clone())).collect();
                        Ok(Value::Object(Arc::new(Kv(left))))
                    }
                    None => Err(wrong_type("[]string", names)),
                }
            }
            ("SortedPairs" | "Names" | "Values" | "String" | "Remove", _) => {
                Err(format!("wrong number of args for {name}: got {}", args.len()))
            }
            _ => return None,
        })
    }

    fn text(&self) -> Option<String> {
        self.pairs().text()
    }

    fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        Some(&self.0)
    }
}

/// Labels or annotations in order.
#[derive(Debug)]
struct Pairs(Vec<Value>);

impl Pairs {
    fn column(&self, name: &str) -> Vec<Value> {
        let field = |v: &Value| match v {
            Value::Object(o) => o.field(name),
            _ => None,
        };
        self.0.iter().filter_map(field).collect()
    }
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Names", []) => Some(Ok(Value::strings(self.column("Name").iter().filter_map(Value::as_str)))),
            ("Values", []) => Some(Ok(Value::strings(self.column("Value").iter().filter_map(Value::as_str)))),
            ("String", []) => Some(Ok(self.text().unwrap_or_default().into())),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        let names = self.column("Name");
        let values = self.column("Value");
        let pairs = names
            .iter()
            .zip(&values)
            .map(|(n, v)| format!("{}={}", n.as_str().unwrap_or_default(), v.as_str().unwrap_or_default()));
        Some(pairs.collect::<Vec<_>>().join(", "))
    }

    fn as_list(&self) -> Option<&[Value]> {
        Some(&self.0)
    }
}
