//! Metric families, collected in any order and written sorted.

use std::collections::BTreeMap;

use crate::model::sample::write_value;

/// Families by name.
#[derive(Default)]
pub struct Families {
    by_name: BTreeMap<String, Family>,
}

struct Family {
    help: String,
    kind: &'static str,
    /// Rendered lines behind the name: labels, a space, the value.
    samples: Vec<String>,
}

impl Families {
    /// Adds a sample of a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add("counter", name, help, labels, value);
    }

    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add("gauge", name, help, labels, value);
    }

    /// Adds a sample of a metric whose type the kernel does not tell.
    pub fn untyped(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add("untyped", name, help, labels, value);
    }

    fn add(&mut self, kind: &'static str, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut line = String::with_capacity(64);
        for (i, (n, v)) in labels.iter().enumerate() {
            line.push(if i == 0 { '{' } else { ',' });
            line.push_str(n);
            line.push_str("=\"");
            for c in v.chars() {
                match c {
                    '\\' => line.push_str("\\\\"),
                    '"' => line.push_str("\\\""),
                    '\n' => line.push_str("\\n"),
                    c => line.push(c),
                }
            }
            line.push('"');
        }
        if !labels.is_empty() {
            line.push('}');
        }
        line.push(' ');
        write_value(&mut line, value);
        match self.by_name.get_mut(name) {
            Some(family) => family.samples.push(line),
            None => {
                let family = Family { help: help.to_owned(), kind, samples: vec![line] };
                self.by_name.insert(name.to_owned(), family);
            }
        }
    }

    /// Writes all families in the text format.
    pub fn write(&self, out: &mut String) {
        for (name, family) in &self.by_name {
            for part in ["# HELP ", name, " ", &family.help, "\n# TYPE ", name, " ", family.kind, "\n"] {
                out.push_str(part);
            }
            for sample in &family.samples {
                out.push_str(name);
                out.push_str(sample);
                out.push('\n');
            }
        }
    }
}
