//! `| unwrap x`: reads a label as the number that a range function works on.

use crate::logql::ast::{Conversion, Unwrap};
use crate::logql::labels::LineLabels;
use crate::logql::lex::{parse_bytes, parse_go_duration_ns};
use crate::logql::stages::label_filter::{CompiledLabelFilter, parse_float};

/// A compiled `unwrap`.
#[derive(Clone, Debug)]
pub struct CompiledUnwrap {
    label: String,
    conversion: Conversion,
    filters: Vec<CompiledLabelFilter>,
}

impl CompiledUnwrap {
    /// Compiles; the error says which filter is bad.
    pub fn compile(unwrap: &Unwrap) -> Result<Self, String> {
        Ok(CompiledUnwrap {
            label: unwrap.label.clone(),
            conversion: unwrap.conversion,
            filters: unwrap.filters.iter().map(CompiledLabelFilter::compile).collect::<Result<_, _>>()?,
        })
    }

    /// The label that holds the number; it is no label of the resulting series.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Conditions behind the conversion.
    pub fn filters(&self) -> &[CompiledLabelFilter] {
        &self.filters
    }

    /// Whether numbers are read as they stand.
    pub fn is_plain(&self) -> bool {
        self.conversion == Conversion::None
    }

    /// The number that a text is; the error says why it is none.
    pub fn convert(&self, text: &str) -> Result<f64, String> {
        match self.conversion {
            Conversion::None => parse_float(text),
            Conversion::Bytes => {
                parse_bytes(text).map(|b| b as f64).ok_or_else(|| format!("unhandled size name: {text}"))
            }
            Conversion::Duration | Conversion::DurationSeconds => parse_go_duration_ns(text)
                .map(|ns| ns as f64 / 1e9)
                .ok_or_else(|| format!("time: invalid duration {text:?}")),
        }
    }

    /// The line's number, or `None` where the line does not count. A value that cannot be read counts as 0 and marks the line.
    pub fn value(&self, labels: &mut LineLabels) -> Option<f64> {
        let text = labels.get(&self.label).filter(|t| !t.is_empty())?;
        let value = self.convert(text).unwrap_or_else(|details| {
            labels.fail("SampleExtractionErr", &details);
            0.0
        });
        self.filters.iter().all(|f| f.passes(labels)).then_some(value)
    }
}
