//! Results of queries as responses. Small ones are written at once, larger ones by all cores, and those that would take much memory
//! as text piece by piece, as fast as the client reads them.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rayon::prelude::*;

use crate::api::prom::json::{write_histogram, write_labels, write_point, write_str, write_time};
use crate::api::prom::query::json;
use crate::exec::cpu_pool;
use crate::promql::value::{MatrixSeries, QueryResult, QueryStats, SampleValue, Value, VectorSample};

/// Results whose text is about so long are written where the request is handled: about a millisecond of work.
const SMALL_BYTES: usize = 256 << 10;
/// Longer texts are never in memory as a whole.
const WHOLE_BYTES: usize = 32 << 20;
/// About how much text is written at a time, so that neither a thread nor the memory is taken for long.
const PIECE_BYTES: usize = 128 << 10;

/// The response to a query; of more than `limit` series the rest is left out with a warning.
pub(super) async fn answer(mut result: QueryResult, limit: Option<usize>, stats: bool) -> Response {
    if let Some(limit) = limit {
        let cut = match &mut result.value {
            Value::Vector(v) if v.len() > limit => {
                v.truncate(limit);
                true
            }
            Value::Matrix(m) if m.len() > limit => {
                m.truncate(limit);
                true
            }
            _ => false,
        };
        if cut {
            result.warnings.push("results truncated due to limit".to_owned());
        }
    }
    let result = Arc::new(result);
    let pieces = pieces(&result.value);
    let estimate: usize = pieces.iter().map(|p| p.bytes).sum();
    if estimate <= SMALL_BYTES {
        return json(write_all(&result, stats, estimate));
    }
    // The text counts as memory of the query as long as it is there.
    if estimate <= WHOLE_BYTES
        && let Some(held) = result.held.more(estimate as u64)
    {
        let shared = result.clone();
        // Not behind the queries that wait: this one has had its turn.
        let written = tokio::task::spawn_blocking(move || {
            let write = || pieces.par_iter().map(|p| Bytes::from(write_piece(&shared.value, p))).collect();
            let mut parts: Vec<Bytes> = cpu_pool::pool().install(write);
            parts.insert(0, Bytes::from(head(&shared.value)));
            parts.push(Bytes::from(tail(&shared, stats)));
            parts
        });
        return match written.await {
            Ok(parts) => {
                let length: usize = parts.iter().map(Bytes::len).sum();
                let parts = stream::iter(parts.into_iter().map(move |part| {
                    let _held = &held;
                    Ok::<_, Infallible>(part)
                }));
                let headers = [
                    (header::CONTENT_TYPE, "application/json".to_owned()),
                    (header::CONTENT_LENGTH, length.to_string()),
                ];
                (headers, Body::from_stream(parts)).into_response()
            }
            Err(lost) => crate::api::error::ApiError::internal(lost).into_response(),
        };
    }
    let begun = Bytes::from(head(&result.value));
    let rest = stream::unfold((result, pieces.into_iter(), false), move |(result, mut pieces, ended)| async move {
        if ended {
            return None;
        }
        let (text, ended) = match pieces.next() {
            Some(p) => (write_piece(&result.value, &p), false),
            None => (tail(&result, stats), true),
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), (result, pieces, ended)))
    });
    let all = futures_util::StreamExt::chain(stream::iter([Ok(begun)]), rest);
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(all)).into_response()
}

/// Some neighbouring elements of a result.
struct Piece {
    elements: Range<usize>,
    /// About how long their text is.
    bytes: usize,
}

/// Shares a result out into pieces of about the same length.
fn pieces(value: &Value) -> Vec<Piece> {
    let float = 36;
    let histogram =
        |h: &Arc<crate::model::FloatHistogram>| 64 + 48 * (h.positive_buckets.len() + h.negative_buckets.len());
    let sizes: Vec<usize> = match value {
        Value::Scalar { .. } | Value::String { .. } => return Vec::new(),
        Value::Vector(all) => all
            .iter()
            .map(|s| {
                let value = match &s.value {
                    SampleValue::Float(_) => float,
                    SampleValue::Histogram(h) => histogram(h),
                };
                64 + 2 * s.labels.packed().len() + value
            })
            .collect(),
        Value::Matrix(all) => all
            .iter()
            .map(|s| {
                let histograms: usize = s.histograms.iter().map(|(_, h)| histogram(h)).sum();
                64 + 2 * s.labels.packed().len() + float * s.floats.len() + histograms
            })
            .collect(),
    };
    let mut out: Vec<Piece> = Vec::new();
    for (i, bytes) in sizes.into_iter().enumerate() {
        match out.last_mut() {
            Some(last) if last.bytes < PIECE_BYTES => {
                last.elements.end = i + 1;
                last.bytes += bytes;
            }
            _ => out.push(Piece { elements: i..i + 1, bytes }),
        }
    }
    out
}

/// What comes before the elements.
fn head(value: &Value) -> String {
    let kind = match value {
        Value::Scalar { .. } => "scalar\",\"result\":",
        Value::String { .. } => "string\",\"result\":",
        Value::Vector(_) => "vector\",\"result\":[",
        Value::Matrix(_) => "matrix\",\"result\":[",
    };
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}")
}

fn write_piece(value: &Value, piece: &Piece) -> String {
    let mut out = String::with_capacity(piece.bytes);
    write_elements(&mut out, value, piece.elements.clone());
    out
}

fn write_elements(out: &mut String, value: &Value, elements: Range<usize>) {
    match value {
        Value::Scalar { .. } | Value::String { .. } => {}
        Value::Vector(all) => {
            for (i, s) in all.iter().enumerate().take(elements.end).skip(elements.start) {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_vector_sample(out, s);
            }
        }
        Value::Matrix(all) => {
            for (i, s) in all.iter().enumerate().take(elements.end).skip(elements.start) {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                write_matrix_series(out, s);
            }
        }
    }
}

fn write_vector_sample(out: &mut String, s: &VectorSample) {
    write_labels(out, &s.labels);
    match &s.value {
        SampleValue::Float(v) => {
            out.push_str(",\"value\":");
            write_point(out, s.t, *v);
        }
        SampleValue::Histogram(h) => {
            out.push_str(",\"histogram\":[");
            write_time(out, s.t);
            out.push(',');
            write_histogram(out, h);
            out.push(']');
        }
    }
    out.push('}');
}

fn write_matrix_series(out: &mut String, s: &MatrixSeries) {
    write_labels(out, &s.labels);
    if !s.floats.is_empty() {
        for (j, (t, v)) in s.floats.iter().enumerate() {
            out.push_str(if j > 0 { "," } else { ",\"values\":[" });
            write_point(out, *t, *v);
        }
        out.push(']');
    }
    if !s.histograms.is_empty() {
        for (j, (t, h)) in s.histograms.iter().enumerate() {
            out.push_str(if j > 0 { ",[" } else { ",\"histograms\":[[" });
            write_time(out, *t);
            out.push(',');
            write_histogram(out, h);
            out.push(']');
        }
        out.push(']');
    }
    out.push('}');
}

/// What comes after the elements: the value of results that have none, statistics, warnings, infos.
fn tail(result: &QueryResult, stats: bool) -> String {
    let mut out = String::new();
    match &result.value {
        Value::Scalar { t, v } => write_point(&mut out, *t, *v),
        Value::String { t, v } => {
            out.push('[');
            write_time(&mut out, *t);
            out.push(',');
            write_str(&mut out, v);
            out.push(']');
        }
        Value::Vector(_) | Value::Matrix(_) => out.push(']'),
    }
    if stats {
        write_stats(&mut out, &result.stats);
    }
    out.push('}');
    for (key, notes) in [("warnings", &result.warnings), ("infos", &result.infos)] {
        for (i, note) in notes.iter().enumerate() {
            if i == 0 {
                out.push_str(",\"");
                out.push_str(key);
                out.push_str("\":[");
            } else {
                out.push(',');
            }
            write_str(&mut out, note);
        }
        if !notes.is_empty() {
            out.push(']');
        }
    }
    out.push('}');
    out
}

/// Writes `,"stats":{...}` with all keys that Prometheus has. Sorting and preparation are part of the evaluation here.
fn write_stats(out: &mut String, s: &QueryStats) {
    let (eval, queue) = (s.eval_time.as_secs_f64(), s.queued.as_secs_f64());
    let total = eval + queue;
    out.push_str(&format!(
        ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{eval},\"resultSortTime\":0,\"queryPreparationTime\":0,\"innerEvalTime\":{eval},\
         \"execQueueTime\":{queue},\"execTotalTime\":{total}}},\"samples\":{{"
    ));
    if !s.samples_per_step.is_empty() {
        for (i, (t, n)) in s.samples_per_step.iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "\"totalQueryableSamplesPerStep\":[[" });
            write_time(out, *t);
            out.push_str(&format!(",{n}]"));
        }
        out.push_str("],");
    }
    out.push_str(&format!(
        "\"totalQueryableSamples\":{},\"peakSamples\":{}}}}}",
        s.total_queryable_samples, s.peak_samples
    ));
}

/// The whole body at once.
fn write_all(result: &QueryResult, stats: bool, estimate: usize) -> String {
    let mut out = String::with_capacity(estimate + 256);
    out.push_str(&head(&result.value));
    write_elements(&mut out, &result.value, 0..usize::MAX);
    out.push_str(&tail(result, stats));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::promql::{Engine, MemoryStorage, QueryOptions};

    fn series(count: usize, points: i64) -> MemoryStorage {
        let mut s = MemoryStorage::new();
        for i in 0..count {
            let labels = Labels::from_pairs([("__name__", "m".to_owned()), ("i", i.to_string())]);
            for k in 0..points {
                s.add_float(&labels, k * 1000, k as f64 / 3.0, 0);
            }
        }
        s
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn all_ways_give_the_same_text() {
        let s = series(700, 50);
        let engine = Engine::default();
        let ask = || engine.range(&s, "m or vector(1)", 0, 49_000, 1000, QueryOptions::default()).unwrap();
        let want = write_all(&ask(), false, 0);
        assert!(want.len() > SMALL_BYTES);
        let parsed: serde_json::Value = serde_json::from_str(&want).unwrap();
        assert_eq!(parsed["data"]["result"].as_array().unwrap().len(), 701);
        let response = answer(ask(), None, false).await;
        assert_eq!(response.headers()["content-length"].to_str().unwrap(), want.len().to_string());
        assert_eq!(body(response).await, want.as_bytes());
        // No room for the whole text: piece by piece.
        let result = ask();
        let taken = result.held.more(engine.budget().for_one() - result.value.size_bytes()).unwrap();
        let response = answer(result, None, false).await;
        assert!(response.headers().get("content-length").is_none());
        assert_eq!(body(response).await, want.as_bytes());
        drop(taken);
        assert_eq!(engine.budget().used_bytes(), 0);
    }

    #[tokio::test]
    async fn the_limit_is_told() {
        let s = series(3, 1);
        let result = Engine::default().instant(&s, "m", 0, QueryOptions::default()).unwrap();
        let text = String::from_utf8(body(answer(result, Some(2), true).await).await).unwrap();
        assert!(text.contains("\"i\":\"1\"") && !text.contains("\"i\":\"2\""), "{text}");
        assert!(text.ends_with(",\"warnings\":[\"results truncated due to limit\"]}"), "{text}");
        assert!(text.contains("\"totalQueryableSamples\":3"), "{text}");
    }
}
