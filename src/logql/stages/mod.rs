//! The stages of a log pipeline, compiled once and run on each line.
//!
//! A line is borrowed until a stage rewrites it; labels are noted on top of the stream's own (see [`crate::logql::labels`]).

pub mod decolorize;
pub mod ip;
pub mod json;
pub mod label_filter;
pub mod line_filter;
pub mod logfmt;
pub mod pattern;
pub mod unpack;
pub mod unwrap;

use crate::logql::ast::{Extraction, LabelFormat, LabelFormatSource, NamedMatcher, Stage, StageKind};
use crate::logql::hints::Wanted;
use crate::logql::labels::{Category, ERROR, ERROR_DETAILS, LineLabels};
use crate::logql::stages::json::{Step, Value};
use crate::logql::stages::label_filter::CompiledLabelFilter;
use crate::logql::stages::line_filter::CompiledLineFilter;
use crate::logql::stages::pattern::Pattern;
use crate::logql::storage::Entry;
use crate::logql::template::{Context, LineTemplate, label_map};
use crate::text::go_regex::GoRegex;

/// A stage ready to run.
#[derive(Clone, Debug)]
pub(in crate::logql) enum Compiled {
    Line(CompiledLineFilter),
    JsonAll,
    JsonPaths(Vec<(String, Vec<Step>)>),
    Logfmt { strict: bool, keep_empty: bool },
    LogfmtKeys { strict: bool, keys: Vec<Extraction> },
    Regexp(GoRegex, Vec<(usize, String)>),
    Pattern(Pattern),
    Unpack,
    Decolorize,
    Label(CompiledLabelFilter),
    LineFormat(LineTemplate),
    LabelFormat(Vec<(String, FormatSource)>),
    Drop(Vec<NamedMatcher>),
    Keep(Vec<NamedMatcher>),
}

/// Where `label_format` takes a value from.
#[derive(Clone, Debug)]
pub(in crate::logql) enum FormatSource {
    Rename(String),
    Template(LineTemplate),
}

/// A whole pipeline, ready to run. Shared between threads; what changes from line to line is in [`Line`].
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    pub(in crate::logql) stages: Vec<Compiled>,
}

/// A line on its way through a pipeline, with the buffers it needs. Reused from line to line.
#[derive(Debug, Default)]
pub struct Line {
    /// The labels so far.
    pub labels: LineLabels,
    /// The text, once a stage has rewritten it.
    rewritten: Option<String>,
    name: String,
    value: String,
    timestamp_ns: i64,
    /// Made when the first template runs.
    templates: Option<Context>,
}

impl Line {
    /// For queries that need only some of the labels which parsers find.
    pub fn wanting(wanted: Wanted) -> Self {
        Line { labels: LineLabels::wanting(wanted), ..Line::default() }
    }

    /// The text after the pipeline: as rewritten, else as it came.
    pub fn text<'a>(&'a self, original: &'a str) -> &'a str {
        self.rewritten.as_deref().unwrap_or(original)
    }
}

impl Pipeline {
    /// Compiles the stages; the error says which one is bad and why.
    pub fn compile(stages: &[Stage]) -> Result<Self, String> {
        Ok(Pipeline { stages: stages.iter().map(|s| compile(&s.kind)).collect::<Result<_, _>>()? })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Runs one line through. False if a filter drops it.
    pub fn run(&self, line: &mut Line, entry: &Entry<'_>) -> bool {
        let original = entry.line;
        line.labels.reset(entry.labels, entry.metadata);
        line.timestamp_ns = entry.timestamp;
        line.rewritten = None;
        self.stages.iter().all(|s| s.run(line, original))
    }
}

fn compile(kind: &StageKind) -> Result<Compiled, String> {
    Ok(match kind {
        StageKind::LineFilter(f) => Compiled::Line(CompiledLineFilter::compile(f)?),
        StageKind::Json(paths) if paths.is_empty() => Compiled::JsonAll,
        StageKind::Json(paths) => Compiled::JsonPaths(
            paths
                .iter()
                .map(|p| Ok((p.label.clone(), json::parse_path(&p.expression)?)))
                .collect::<Result<_, String>>()?,
        ),
        StageKind::Logfmt { strict, keep_empty, extractions } if extractions.is_empty() => {
            Compiled::Logfmt { strict: *strict, keep_empty: *keep_empty }
        }
        StageKind::Logfmt { strict, extractions, .. } => {
            for e in extractions {
                if e.expression.is_empty() || e.expression.contains(|c: char| c <= ' ' || c == '=' || c == '"') {
                    return Err(format!(
                        "cannot parse expression [{}]: a key has no blanks, quotes or =",
                        e.expression
                    ));
                }
            }
            Compiled::LogfmtKeys { strict: *strict, keys: extractions.clone() }
        }
        StageKind::Regexp(text) => {
            let regex = GoRegex::unanchored(text).map_err(|e| e.to_string())?;
            let names: Vec<(usize, String)> =
                regex.regex().capture_names().enumerate().filter_map(|(i, n)| n.map(|n| (i, n.to_owned()))).collect();
            if names.is_empty() {
                return Err("invalid regexp parser: at least one named capture must be supplied".to_owned());
            }
            Compiled::Regexp(regex, names)
        }
        StageKind::Pattern(text) => {
            Compiled::Pattern(Pattern::parser(text).map_err(|e| format!("invalid pattern parser: {e}"))?)
        }
        StageKind::Unpack => Compiled::Unpack,
        StageKind::Decolorize => Compiled::Decolorize,
        StageKind::LabelFilter(f) => Compiled::Label(CompiledLabelFilter::compile(f)?),
        StageKind::LineFormat(text) => Compiled::LineFormat(
            LineTemplate::compile("line", text).map_err(|e| format!("invalid line template: {e}"))?,
        ),
        StageKind::LabelFormat(formats) => Compiled::LabelFormat(label_formats(formats)?),
        StageKind::Drop(m) => Compiled::Drop(m.clone()),
        StageKind::Keep(m) => Compiled::Keep(m.clone()),
    })
}

impl Compiled {
    fn run(&self, line: &mut Line, original: &str) -> bool {
        let Line { labels, rewritten, name, value, .. } = line;
        let text = rewritten.as_deref().unwrap_or(original);
        match self {
            Compiled::Line(f) => return f.passes(text),
            Compiled::Label(f) => return f.passes(labels),
            // These do nothing but extract labels, and errors count as labels.
            Compiled::JsonAll
            | Compiled::JsonPaths(_)
            | Compiled::Logfmt { .. }
            | Compiled::LogfmtKeys { .. }
            | Compiled::Pattern(_)
                if labels.is_complete() => {}
            Compiled::JsonAll => json::extract_all(text, labels, name, value),
            Compiled::JsonPaths(paths) => json_paths(text, paths, labels, value),
            Compiled::Logfmt { strict, keep_empty } => {
                logfmt::extract_all(text, *strict, *keep_empty, labels, name, value)
            }
            Compiled::LogfmtKeys { strict, keys } => logfmt_keys(text, *strict, keys, labels, value),
            Compiled::Regexp(regex, names) => {
                if let Some(found) = regex.regex().captures(text) {
                    for (i, n) in names {
                        labels.extract(n, found.get(*i).map_or("", |m| m.as_str()));
                    }
                }
            }
            Compiled::Pattern(p) => p.captures(text, |n, v| {
                labels.extract(n, v);
            }),
            Compiled::Unpack => {
                if let Some(entry) = unpack::unpack(text, labels) {
                    *rewritten = Some(entry);
                }
            }
            Compiled::Decolorize => {
                if let Some(plain) = decolorize::strip(text) {
                    *rewritten = Some(plain);
                }
            }
            Compiled::LineFormat(template) => {
                let context = line.templates.get_or_insert_default();
                match template.execute(context, &label_map(labels), text, line.timestamp_ns) {
                    Ok(t) => *rewritten = Some(t),
                    Err(e) => labels.fail(TEMPLATE_FAILED, &e),
                }
            }
            Compiled::LabelFormat(formats) => {
                let context = line.templates.get_or_insert_default();
                format_labels(formats, context, labels, text, line.timestamp_ns);
            }
            Compiled::Drop(matchers) => {
                for m in matchers {
                    match m {
                        NamedMatcher::Name(n) => labels.delete(n),
                        NamedMatcher::Matcher(m) => {
                            if labels.get(m.name()).is_some_and(|v| m.matches(v)) {
                                labels.delete(m.name());
                            }
                        }
                    }
                }
            }
            Compiled::Keep(matchers) => {
                let mut gone = Vec::new();
                labels.for_each(|n, v, _| {
                    let special = n == ERROR || n == ERROR_DETAILS;
                    let kept = matchers.iter().any(|m| match m {
                        NamedMatcher::Name(k) => k == n,
                        NamedMatcher::Matcher(m) => m.name() == n && m.matches(v),
                    });
                    if !kept && !special {
                        gone.push(n.to_owned());
                    }
                });
                gone.iter().for_each(|n| labels.delete(n));
            }
        }
        true
    }
}

/// Whether a text that stood between quotes ends outside of an escape and holds no quote that would have ended it.
pub fn escapes_end(text: &str) -> bool {
    let mut escaped = false;
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}

const TEMPLATE_FAILED: &str = "TemplateFormatErr";

fn label_formats(formats: &[LabelFormat]) -> Result<Vec<(String, FormatSource)>, String> {
    let mut out: Vec<(String, FormatSource)> = Vec::new();
    for f in formats {
        if f.label == ERROR {
            return Err(format!("{ERROR} cannot be formatted"));
        }
        if out.iter().any(|(label, _)| *label == f.label) {
            return Err(format!("multiple label name '{}' not allowed in a single format operation", f.label));
        }
        let source = match &f.source {
            LabelFormatSource::Rename(from) => FormatSource::Rename(from.clone()),
            LabelFormatSource::Template(t) => FormatSource::Template(
                LineTemplate::compile("label", t)
                    .map_err(|e| format!("invalid template for label '{}': {e}", f.label))?,
            ),
        };
        out.push((f.label.clone(), source));
    }
    Ok(out)
}

/// Renames and templates in order; templates see the labels as they were before the stage.
fn format_labels(
    formats: &[(String, FormatSource)],
    context: &Context,
    labels: &mut LineLabels,
    text: &str,
    timestamp_ns: i64,
) {
    let mut before = None;
    for (label, source) in formats {
        match source {
            FormatSource::Rename(from) => {
                if let Some((value, category)) = labels.find(from).map(|(v, c)| (v.to_owned(), c)) {
                    before.get_or_insert_with(|| label_map(labels));
                    labels.set(category, label, &value);
                    labels.delete(from);
                }
            }
            FormatSource::Template(template) => {
                let data = before.get_or_insert_with(|| label_map(labels));
                match template.execute(context, data, text, timestamp_ns) {
                    Ok(value) => labels.set(Category::Parsed, label, &value),
                    Err(e) => labels.fail(TEMPLATE_FAILED, &e),
                }
            }
        }
    }
}

fn json_paths(text: &str, paths: &[(String, Vec<Step>)], labels: &mut LineLabels, value: &mut String) {
    match text.as_bytes().first() {
        None => return,
        Some(b'{' | b'[' | b'"') => {}
        Some(_) => {
            labels.fail("JSONParserErr", "the line is no JSON object");
            return;
        }
    }
    for (label, path) in paths {
        value.clear();
        match json::lookup(text, path) {
            Ok(Some(Value::String(raw))) => json::unescape(raw, value),
            Ok(Some(Value::Literal(t) | Value::Object(t) | Value::Array(t))) => value.push_str(t),
            Ok(Some(Value::Null) | None) | Err(_) => {}
        }
        labels.extract(label, value);
    }
}

fn logfmt_keys(text: &str, strict: bool, keys: &[Extraction], labels: &mut LineLabels, value: &mut String) {
    let mut seen = vec![false; keys.len()];
    logfmt::pairs(text, |found| {
        match found {
            Ok(pair) => {
                for (k, s) in keys.iter().zip(&mut seen).filter(|(k, s)| !**s && k.expression == pair.key) {
                    *s = true;
                    value.clear();
                    logfmt::push_value(&pair, value);
                    labels.extract(&k.label, value);
                }
            }
            Err(e) if strict => {
                labels.fail("LogfmtParserErr", e);
                return false;
            }
            Err(_) => {}
        }
        true
    });
    for (k, _) in keys.iter().zip(&seen).filter(|(_, s)| !**s) {
        labels.extract(&k.label, "");
    }
}
