//! Expands the templates of an alert.

use std::sync::Arc;

use crate::model::Labels;
use crate::rules::metrics;
use crate::rules::spec::AlertText;
use crate::text::go_template::{FuncMap, MissingKey, Object, Options, Value};

/// The dot of an alert's templates.
#[derive(Debug)]
struct AlertData {
    labels: Value,
    external_labels: Value,
    external_url: Value,
    value: f64,
}

impl Object for AlertData {
    fn type_name(&self) -> &str {
        "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Labels" => self.labels.clone(),
            "ExternalLabels" => self.external_labels.clone(),
            "ExternalURL" => self.external_url.clone(),
            "Value" => Value::Float(self.value),
            _ => return None,
        })
    }
}

/// Expands texts for one evaluation of one rule.
pub(super) struct Expander {
    pub funcs: FuncMap,
    pub external_labels: Value,
    pub external_url: String,
    pub alert: String,
}

impl Expander {
    /// What the templates see of one result.
    pub fn data(&self, labels: &Labels, value: f64) -> Value {
        Value::Object(Arc::new(AlertData {
            labels: Value::text_map(labels),
            external_labels: self.external_labels.clone(),
            external_url: Value::str(&self.external_url),
            value,
        }))
    }

    /// The text; a failure becomes the text, because an alert without its words is better than none.
    pub fn expand(&self, text: &AlertText, data: &Value) -> String {
        let Some(template) = &text.template else { return text.source.clone() };
        let options = Options { missing_key: MissingKey::Zero, ..Options::default() };
        match template.execute(data, &self.funcs, &options) {
            Ok(s) => s,
            Err(e) => {
                metrics::TEMPLATE_FAILURES.inc();
                let name = &self.alert;
                format!("<error expanding template: error executing template __alert_{name}: {e}>")
            }
        }
    }
}
