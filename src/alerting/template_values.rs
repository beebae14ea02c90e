//! The data of a notification as templates see it: fields, methods, and how things print.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::template_data::{AlertData, Data, Status, TimeMs};
use crate::model::Labels;
use crate::text::go_template::{GoTime, Object, Value};

/// The value of a notification's data.
pub fn data_value(data: &Data) -> Value {
    let alerts: Vec<_> = data.alerts.iter().map(alert_value).collect();
    let only = |status: Status| {
        let pairs = data.alerts.iter().zip(&alerts);
        pairs.filter(|(a, _)| a.status == status).map(|(_, v)| v.clone()).collect::<Vec<_>>()
    };
    let list = Alerts {
        firing: List::of("[]template.Alert", only(Status::Firing)),
        resolved: List::of("[]template.Alert", only(Status::Resolved)),
        all: alerts,
    };
    Record::of(
        "template.Data",
        [
            ("Receiver", Value::str(&data.receiver)),
            ("Status", Value::str(data.status.as_str())),
            ("Alerts", Value::Object(Arc::new(list))),
            ("GroupLabels", kv(&data.group_labels)),
            ("CommonLabels", kv(&data.common_labels)),
            ("CommonAnnotations", kv(&data.common_annotations)),
            ("ExternalURL", Value::str(&data.external_url)),
            ("NotificationReason", Value::str(data.reason.as_str())),
            ("RouteLabels", kv(&Labels::empty())),
        ],
    )
}

fn alert_value(alert: &AlertData) -> Value {
    Record::of(
        "template.Alert",
        [
            ("Status", Value::str(alert.status.as_str())),
            ("Labels", kv(&alert.labels)),
            ("Annotations", kv(&alert.annotations)),
            ("StartsAt", time(alert.starts_at)),
            ("EndsAt", time(alert.ends_at)),
            ("GeneratorURL", Value::str(&alert.generator_url)),
            ("Fingerprint", Value::str(&alert.fingerprint)),
        ],
    )
}

fn time(t: TimeMs) -> Value {
    Value::Time(t.0.map_or_else(GoTime::zero, GoTime::from_ms))
}

/// A value with named fields.
#[derive(Debug)]
struct Record {
    name: &'static str,
    fields: BTreeMap<&'static str, Value>,
}

impl Record {
    fn of<const N: usize>(name: &'static str, fields: [(&'static str, Value); N]) -> Value {
        Value::Object(Arc::new(Record { name, fields: BTreeMap::from(fields) }))
    }
}

impl Object for Record {
    fn type_name(&self) -> &str {
        self.name
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.fields.get(name).cloned()
    }
}

/// A list with the name that Go gives its type.
#[derive(Debug)]
struct List {
    name: &'static str,
    items: Vec<Value>,
}

impl List {
    fn of(name: &'static str, items: Vec<Value>) -> Value {
        Value::Object(Arc::new(List { name, items }))
    }
}

impl Object for List {
    fn type_name(&self) -> &str {
        self.name
    }

    fn as_list(&self) -> Option<&[Value]> {
        Some(&self.items)
    }
}

/// The alerts of a notification.
#[derive(Debug)]
struct Alerts {
    all: Vec<Value>,
    firing: Value,
    resolved: Value,
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let value = match name {
            "Firing" => &self.firing,
            "Resolved" => &self.resolved,
            _ => return None,
        };
        Some(no_arguments(name, args).map(|()| value.clone()))
    }

    fn as_list(&self) -> Option<&[Value]> {
        Some(&self.all)
    }
}

fn no_arguments(name: &str, args: &[Value]) -> Result<(), String> {
    if args.is_empty() { Ok(()) } else { Err(format!("wrong number of args for {name}: want 0 got {}", args.len())) }
}

/// Labels or annotations.
#[derive(Debug)]
struct Kv {
    entries: BTreeMap<String, Value>,
    labels: Labels,
}

fn kv(labels: &Labels) -> Value {
    let entries = labels.iter().map(|(n, v)| (n.to_owned(), Value::str(v))).collect();
    Value::Object(Arc::new(Kv { entries, labels: labels.clone() }))
}

impl Object for Kv {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let pairs = || Pairs(sorted_pairs(&self.labels));
        match name {
            "SortedPairs" => Some(no_arguments(name, args).map(|()| Value::Object(Arc::new(PairList::new(pairs()))))),
            "Names" => Some(no_arguments(name, args).map(|()| pairs().names())),
            "Values" => Some(no_arguments(name, args).map(|()| pairs().values())),
            "Remove" => Some(self.remove(args)),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        Some(Pairs(sorted_pairs(&self.labels)).to_string())
    }

    fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        Some(&self.entries)
    }
}

impl Kv {
    fn remove(&self, args: &[Value]) -> Result<Value, String> {
        let [list] = args else { return Err(format!("wrong number of args for Remove: want 1 got {}", args.len())) };
        let items = list.as_list().ok_or("wrong type for value; expected []string")?;
        let names: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        let names = names.ok_or("wrong type for value; expected []string")?;
        Ok(kv(&self.labels.without(&names)))
    }
}

/// Pairs with alertname first, then by name.
fn sorted_pairs(labels: &Labels) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    pairs.sort_by_key(|(n, _)| n != "alertname");
    pairs
}

#[derive(Debug)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn names(&self) -> Value {
        Value::strings(self.0.iter().map(|(n, _)| n))
    }

    fn values(&self) -> Value {
        Value::strings(self.0.iter().map(|(_, v)| v))
    }
}

/// `a=1, b=2`
impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (n, v)) in self.0.iter().enumerate() {
            write!(f, "{}{n}={v}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct PairList {
    pairs: Pairs,
    items: Vec<Value>,
}

impl PairList {
    fn new(pairs: Pairs) -> Self {
        let item = |(n, v): &(String, String)| {
            Record::of("template.Pair", [("Name", Value::str(n)), ("Value", Value::str(v))])
        };
        let items = pairs.0.iter().map(item).collect();
        PairList { pairs, items }
    }
}

impl Object for PairList {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match name {
            "Names" => Some(no_arguments(name, args).map(|()| self.pairs.names())),
            "Values" => Some(no_arguments(name, args).map(|()| self.pairs.values())),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        Some(self.pairs.to_string())
    }

    fn as_list(&self) -> Option<&[Value]> {
        Some(&self.items)
    }
}
