//! Writes LogQL answers as Loki's JSON. The order of the keys is part of the contract: Grafana reads it as a stream, so
//! `encodingFlags` must come before `result` and `stream` before `values`.

use std::collections::HashMap;
use std::fmt::Write;

use crate::api::prom::json::{write_labels, write_object, write_point, write_str};
use crate::logql::engine::{LabelPairs, Output, ResultEntry, Stats};
use crate::logql::storage::Plan;

pub(super) fn write_pairs<'a>(out: &mut String, pairs: impl IntoIterator<Item = &'a (String, String)>) {
    write_object(out, pairs.into_iter().map(|(n, v)| (n.as_str(), v.as_str())));
}

/// The whole body of a success. With `categorize`, labels are told apart by where they come from.
pub(super) fn render(output: &Output, stats: &Stats, categorize: bool) -> String {
    let mut out = String::with_capacity(4096);
    let kind = match output {
        Output::Lines(_) => "streams",
        Output::Matrix(_) => "matrix",
        Output::Vector(_) => "vector",
        Output::Scalar(..) => "scalar",
    };
    out.push_str("{\"status\":\"success\",\"data\":{\"resultType\":\"");
    out.push_str(kind);
    out.push('"');
    if categorize {
        out.push_str(",\"encodingFlags\":[\"categorize-labels\"]");
    }
    out.push_str(",\"result\":");
    match output {
        Output::Lines(entries) => write_streams(&mut out, entries, categorize),
        Output::Matrix(series) => {
            out.push('[');
            for (i, s) in series.iter().enumerate() {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_labels(&mut out, &s.labels);
                out.push_str(",\"values\":[");
                for (j, (t, v)) in s.points.iter().enumerate() {
                    if j > 0 {
                        out.push(',');
                    }
                    write_point(&mut out, *t, *v);
                }
                out.push_str("]}");
            }
            out.push(']');
        }
        Output::Vector(series) => {
            out.push('[');
            let points = series.iter().filter_map(|s| s.points.first().map(|p| (&s.labels, p)));
            for (i, (labels, (t, v))) in points.enumerate() {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_labels(&mut out, labels);
                out.push_str(",\"value\":");
                write_point(&mut out, *t, *v);
                out.push('}');
            }
            out.push(']');
        }
        Output::Scalar(t, v) => write_point(&mut out, *t, *v),
    }
    let seconds = stats.seconds.max(1e-9);
    let processed = stats.lines + stats.rows;
    // Writing to a String cannot fail. `linesRead` is not Loki's: the lines that had to be looked at themselves.
    let _ok = write!(
        out,
        ",\"stats\":{{\"summary\":{{\"bytesProcessedPerSecond\":{},\"linesProcessedPerSecond\":{},\"totalBytesProcessed\":{},\
         \"totalLinesProcessed\":{},\"linesRead\":{},\"execTime\":{}}}",
        (stats.bytes as f64 / seconds) as u64,
        (processed as f64 / seconds) as u64,
        stats.bytes,
        processed,
        stats.lines,
        stats.seconds
    );
    if !stats.plans.is_empty() {
        let plans: Vec<_> = stats.plans.iter().map(plan).collect();
        let _ok = write!(out, ",\"plan\":{}", serde_json::Value::Array(plans));
    }
    out.push_str("}}}");
    out
}

/// What a selector of the query took, for people.
fn plan((selector, p): &(String, Plan)) -> serde_json::Value {
    let terms: Vec<_> = p.terms.iter().map(|t| serde_json::json!({"term": t.text, "blocks": t.blocks})).collect();
    serde_json::json!({
        "selector": selector,
        "partitions": p.partitions,
        "streams": p.streams,
        "segments": p.segments,
        "rowGroups": p.blocks,
        "rowGroupsRuledOut": p.blocks_ruled_out,
        "rows": p.rows,
        "rowsToRead": p.rows_to_read,
        "rowsLineByLine": p.rows_line_by_line,
        "terms": terms,
    })
}

/// The labels under which an entry is shown.
fn stream_of(e: &ResultEntry, categorize: bool) -> LabelPairs {
    let mut all = e.stream.clone();
    if !categorize {
        all.extend(e.metadata.iter().chain(&e.parsed).cloned());
        all.sort();
    }
    all
}

/// The entries as streams, in the order in which each comes first.
pub(super) fn write_streams(out: &mut String, entries: &[ResultEntry], categorize: bool) {
    let mut index: HashMap<LabelPairs, usize> = HashMap::new();
    let mut streams: Vec<(LabelPairs, Vec<&ResultEntry>)> = Vec::new();
    for e in entries {
        let key = stream_of(e, categorize);
        let at = *index.entry(key).or_insert_with_key(|key| {
            streams.push((key.clone(), Vec::new()));
            streams.len() - 1
        });
        if let Some(s) = streams.get_mut(at) {
            s.1.push(e);
        }
    }
    out.push('[');
    for (i, (labels, entries)) in streams.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"stream\":" } else { "{\"stream\":" });
        write_pairs(out, labels);
        out.push_str(",\"values\":[");
        for (j, e) in entries.iter().enumerate() {
            let _ok = write!(out, "{}[\"{}\",", if j > 0 { "," } else { "" }, e.timestamp);
            write_str(out, &e.line);
            if categorize {
                out.push_str(",{");
                for (k, (name, pairs)) in [("structuredMetadata", &e.metadata), ("parsed", &e.parsed)]
                    .iter()
                    .filter(|(_, p)| !p.is_empty())
                    .enumerate()
                {
                    let _ok = write!(out, "{}\"{name}\":", if k > 0 { "," } else { "" });
                    write_pairs(out, *pairs);
                }
                out.push('}');
            }
            out.push(']');
        }
        out.push_str("]}");
    }
    out.push(']');
}
