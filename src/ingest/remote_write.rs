//! Remote write 1.0 and 2.0 in: decode, append, one commit. Blocking: run it on the CPU pool or a blocking thread.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec};

use crate::model::labels::METRIC_NAME;
use crate::model::{Exemplar, Labels, Metadata, MetricType};
use crate::telemetry::metrics;
use crate::tsdb::{AppendError, Appender, Db, SeriesRef};
use crate::wire::remote_write::{
    DecodeError, Part, Parts, TimeSeries, WireMetadata, decompress, read_metadata, read_series, split_labels,
};
use crate::wire::remote_write_v2;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_ingest_remote_write_requests_total",
        "Remote write requests by status.",
        &["status"],
    )
});
static SAMPLES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_ingest_remote_write_samples_total", "Samples stored from remote write.")
});
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_ingest_remote_write_refused_total",
        "Samples, histograms and exemplars of remote write that were not stored, by reason.",
        &["reason"],
    )
});

/// The headers of a request that say what its body is; `None` where absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `Content-Encoding`: `snappy`.
    pub content_encoding: Option<&'a str>,
    /// `Content-Type`: `application/x-protobuf`.
    pub content_type: Option<&'a str>,
    /// `X-Prometheus-Remote-Write-Version`: `0.1.0` for 1.0, `2.0.0`.
    pub version: Option<&'a str>,
}

/// Bounds of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression.
    pub decompressed: usize,
    /// Labels of one series; Prometheus' agents send some tens.
    pub labels: usize,
}

impl Default for Limits {
    /// 32 MiB decompressed (what Prometheus' receiver takes) and 1024 labels (far beyond any sane series).
    fn default() -> Self {
        Limits { decompressed: 32 << 20, labels: 1024 }
    }
}

/// What was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// The answer when not all went well. With status 400 the good samples of the request are stored nevertheless, as Prometheus does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WriteError {
    /// 400 refused (do not send again), 415 wrong encoding or version, 503 the store cannot write (send again).
    pub status: u16,
    /// For the sender's log.
    pub message: String,
    /// What was stored of it.
    pub stats: WriteStats,
}

fn refuse(status: u16, message: impl Into<String>) -> WriteError {
    WriteError { status, message: message.into(), stats: WriteStats::default() }
}

/// Stores a request. The caller answers 204 to `Ok`, else [`WriteError::status`] with the message as plain text.
pub fn write(db: &Db, headers: Headers<'_>, body: &[u8], limits: Limits) -> Result<WriteStats, WriteError> {
    let result = check(headers).and_then(|version| store(db, version, body, limits));
    let status = result.as_ref().map_or_else(|e| e.status, |_| 204);
    REQUESTS.with_label_values(&[&status.to_string()]).inc();
    SAMPLES.inc_by(result.as_ref().map_or_else(|e| e.stats.samples, |s| s.samples));
    result
}

/// The message of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `prometheus.WriteRequest`.
    One,
    /// `io.prometheus.write.v2.Request`.
    Two,
}

/// What the request is. The content type decides; the header with the version is for people.
fn check(headers: Headers<'_>) -> Result<Version, WriteError> {
    if let Some(e) = headers.content_encoding.filter(|e| !e.eq_ignore_ascii_case("snappy")) {
        return Err(refuse(415, format!("content encoding {e:?} is not supported; send a snappy block")));
    }
    if let Some(t) = headers.content_type {
        let mut parts = t.split(';').map(str::trim);
        if !parts.next().is_some_and(|t| t.eq_ignore_ascii_case("application/x-protobuf")) {
            return Err(refuse(415, format!("content type {t:?} is not supported; send application/x-protobuf")));
        }
        let proto = parts.find_map(|p| p.strip_prefix("proto=")).unwrap_or("prometheus.WriteRequest");
        return match proto.trim_matches('"') {
            "prometheus.WriteRequest" => Ok(Version::One),
            "io.prometheus.write.v2.Request" => Ok(Version::Two),
            other => Err(refuse(
                415,
                format!(
                    "message {other:?} is not supported; send prometheus.WriteRequest or io.prometheus.write.v2.Request"
                ),
            )),
        };
    }
    if let Some(v) = headers.version.filter(|v| !v.starts_with("0.1") && !v.starts_with("1.")) {
        let text =
            format!("remote write version {v:?} needs a content type that names its message; without one use 0.1.0");
        return Err(refuse(415, text));
    }
    Ok(Version::One)
}

fn store(db: &Db, version: Version, body: &[u8], limits: Limits) -> Result<WriteStats, WriteError> {
    let bad = |e: DecodeError| match e {
        DecodeError::TooLarge { .. } => refuse(413, e.to_string()),
        DecodeError::Snappy(_) | DecodeError::Protobuf(_) | DecodeError::Utf8(_) => refuse(400, e.to_string()),
    };
    let mut message = Vec::new();
    decompress(body, limits.decompressed, &mut message).map_err(bad)?;
    let mut batch = Batch { app: db.appender(), stats: WriteStats::default(), first_problem: None, problems: 0 };
    let mut series = TimeSeries::default();
    match version {
        Version::One => {
            let mut parts = Parts::new(&message);
            while let Some(part) = parts.next_part().map_err(bad)? {
                match part {
                    Part::Series(bytes) => {
                        let (labels, rest) = split_labels(bytes);
                        if let Some(reference) = batch.app.known(labels) {
                            read_series(rest, &mut series).map_err(bad)?;
                            if series.labels.is_empty() {
                                batch.content(reference, &series, || shown(bytes));
                                continue;
                            }
                        }
                        read_series(bytes, &mut series).map_err(bad)?;
                        if let Some(reference) = batch.series(&mut series, limits)
                            && !holds_labels(rest)
                        {
                            batch.app.remember(labels, reference);
                        }
                    }
                    Part::Metadata(bytes) => {
                        let m = read_metadata(bytes).map_err(bad)?;
                        batch.metadata(m.family, &m);
                    }
                }
            }
        }
        Version::Two => {
            let request = remote_write_v2::read_request(&message).map_err(bad)?;
            for bytes in &request.series {
                let about = remote_write_v2::read_series(bytes, &request.symbols, &mut series).map_err(bad)?;
                if let Some(m) = about {
                    let name = series.labels.iter().find(|(n, _)| *n == METRIC_NAME).map_or("", |(_, v)| v);
                    batch.metadata(family(name, m.metric_type), &m);
                }
                batch.series(&mut series, limits);
            }
        }
    }
    let Batch { app, stats, first_problem, problems } = batch;
    app.commit().map_err(|e| refuse(503, format!("the store cannot write: {e}")))?;
    match first_problem {
        None => Ok(stats),
        Some(first) => {
            let more = if problems > 1 { format!(" (and {} more)", problems - 1) } else { String::new() };
            Err(WriteError { status: 400, message: format!("{first}{more}"), stats })
        }
    }
}

struct Batch<'a> {
    app: Appender<'a>,
    stats: WriteStats,
    first_problem: Option<String>,
    problems: u64,
}

/// The family of a series of this name: classic histograms and summaries have several series.
fn family(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        MetricType::Counter | MetricType::Gauge | MetricType::Info | MetricType::StateSet | MetricType::Unknown => &[],
    };
    suffixes.iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name)
}

/// Why a series is refused before the store sees it.
fn check_labels(labels: &[(&str, &str)], limits: Limits) -> Option<&'static str> {
    if labels.len() > limits.labels {
        return Some("too many labels");
    }
    if labels.iter().any(|(n, _)| n.is_empty()) {
        return Some("empty label name");
    }
    if labels.windows(2).any(|w| matches!(w, [a, b] if a.0 == b.0)) {
        return Some("duplicate label name");
    }
    if !labels.iter().any(|(n, v)| *n == METRIC_NAME && !v.is_empty()) {
        return Some("missing metric name");
    }
    None
}

impl Batch<'_> {
    fn metadata(&mut self, family: &str, m: &WireMetadata<'_>) {
        if !family.is_empty() {
            let (help, unit) = (m.help.to_owned(), m.unit.to_owned());
            self.app.metadata(family, &Metadata { metric_type: m.metric_type, help, unit });
        }
    }

    fn problem(&mut self, reason: &str, count: u64, text: impl FnOnce() -> String) {
        REFUSED.with_label_values(&[reason]).inc_by(count);
        self.problems += count;
        self.first_problem.get_or_insert_with(text);
    }

    /// Stores a series; the reference if its labels are good.
    fn series(&mut self, s: &mut TimeSeries<'_>, limits: Limits) -> Option<SeriesRef> {
        // Senders must sort; one that does not is helped, it costs nothing when they are sorted.
        s.labels.sort_unstable();
        let count = (s.samples.len() + s.histograms.len()).max(1) as u64;
        if let Some(what) = check_labels(&s.labels, limits) {
            let shown = show(&s.labels);
            self.problem("invalid_labels", count, || format!("{what}: series {shown}"));
            return None;
        }
        let reference = match self.app.series_from_pairs(&s.labels) {
            Ok(r) => r,
            Err(e) => {
                let shown = show(&s.labels);
                self.problem(e.reason(), count, || format!("{e}: series {shown}"));
                return None;
            }
        };
        self.content(reference, s, || show(&s.labels));
        Some(reference)
    }

    /// Stores what a series brings; `name` shows its labels.
    fn content(&mut self, reference: SeriesRef, s: &TimeSeries<'_>, name: impl Fn() -> String) {
        for (t, v) in &s.samples {
            match self.app.float(reference, *t, *v, s.start) {
                Ok(()) => self.stats.samples += 1,
                Err(e) => self.refused(e, &name, *t),
            }
        }
        for (t, h) in &s.histograms {
            match self.app.histogram(reference, *t, h, s.start) {
                Ok(()) => self.stats.histograms += 1,
                Err(e) => self.refused(e, &name, *t),
            }
        }
        self.exemplars(reference, s);
    }

    fn refused(&mut self, e: AppendError, name: &impl Fn() -> String, t: i64) {
        self.problem(e.reason(), 1, || format!("{e}: series {} at {t}", name()));
    }

    /// Exemplars are extra: one that is refused is counted, but does not fail the request (as in Prometheus).
    fn exemplars(&mut self, reference: SeriesRef, s: &TimeSeries<'_>) {
        for e in &s.exemplars {
            let labels = Labels::from_pairs(e.labels.iter().copied());
            let timestamp = (e.timestamp != 0).then_some(e.timestamp);
            match self.app.exemplar(reference, &Exemplar { labels, value: e.value, timestamp }) {
                Ok(()) => self.stats.exemplars += 1,
                Err(_) => REFUSED.with_label_values(&["exemplar"]).inc(),
            }
        }
    }
}

/// The labels of a message that was not taken apart.
fn shown(message: &[u8]) -> String {
    let mut series = TimeSeries::default();
    read_series(message, &mut series).map_or_else(|e| e.to_string(), |()| show(&series.labels))
}

/// Whether there are labels in a part of a series.
fn holds_labels(part: &[u8]) -> bool {
    let mut series = TimeSeries::default();
    read_series(part, &mut series).is_err() || !series.labels.is_empty()
}

fn show(labels: &[(&str, &str)]) -> String {
    Labels::from_pairs(labels.iter().copied()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::varint::{put_bytes, put_u64};
    use crate::model::{MatchOp, Matcher};
    use crate::tsdb::{Column, Options};

    fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
        put_u64(out, number << 3 | 2);
        put_bytes(out, bytes);
    }

    type SeriesCase<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

    fn body(series: &[SeriesCase<'_>]) -> Vec<u8> {
        let mut request = Vec::new();
        for (labels, samples) in series {
            let mut one = Vec::new();
            for (n, v) in *labels {
                let mut label = Vec::new();
                field(&mut label, 1, n.as_bytes());
                field(&mut label, 2, v.as_bytes());
                field(&mut one, 1, &label);
            }
            for (t, v) in *samples {
                let mut sample = vec![1 << 3 | 1];
                sample.extend_from_slice(&v.to_le_bytes());
                put_u64(&mut sample, 2 << 3);
                put_u64(&mut sample, *t as u64);
                field(&mut one, 2, &sample);
            }
            field(&mut request, 1, &one);
        }
        snap::raw::Encoder::new().compress_vec(&request).unwrap()
    }

    #[test]
    fn good_samples_are_kept_beside_bad_ones() {
        let dir = tempfile::tempdir().unwrap();
        let t = 1_767_225_600_000;
        let clock = std::sync::Arc::new(crate::exec::clock::ManualClock::at_ms(t));
        let db = Db::open(dir.path(), Options { clock, ..Options::default() }).unwrap();
        let good = body(&[(&[("__name__", "a"), ("x", "1")], &[(t, 1.0), (t + 1000, 2.0)])]);
        let headers = Headers { content_encoding: Some("snappy"), ..Headers::default() };
        let stats = write(&db, headers, &good, Limits::default()).unwrap();
        assert_eq!(stats.samples, 2);
        let mixed = body(&[
            (&[("x", "1")], &[(t, 1.0)]),
            (&[("__name__", "a"), ("a", "1"), ("a", "2")], &[(t, 1.0)]),
            // Unsorted and with an empty value: stored as {__name__="b", x="1"}.
            (&[("x", "1"), ("y", ""), ("__name__", "b")], &[(t, 3.0)]),
        ]);
        let e = write(&db, headers, &mixed, Limits::default()).unwrap_err();
        assert_eq!((e.status, e.stats.samples), (400, 1));
        assert_eq!(e.message, "missing metric name: series {x=\"1\"} (and 1 more)");
        let found = db.select(&[Matcher::new("x", MatchOp::Equal, "1").unwrap()], i64::MIN, i64::MAX).unwrap();
        let mut c = Column::default();
        assert_eq!(found.labels(1).to_string(), "{__name__=\"b\", x=\"1\"}");
        found.read(1, i64::MIN, i64::MAX, &mut c).unwrap();
        assert_eq!(c.v, [3.0]);
    }

    #[test]
    fn labels_that_were_seen_before_are_known_by_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let t = 1_767_225_600_000;
        let clock = std::sync::Arc::new(crate::exec::clock::ManualClock::at_ms(t));
        let db = Db::open(dir.path(), Options { clock, ..Options::default() }).unwrap();
        let send = |b: &[u8]| write(&db, Headers::default(), b, Limits::default());
        let (a, b) = ([("__name__", "a"), ("x", "1")], [("__name__", "a"), ("x", "2")]);
        for i in 0..5 {
            let samples = [(t + i * 1000, i as f64)];
            assert_eq!(send(&body(&[(&a, &samples), (&b, &samples)])).unwrap().samples, 2);
        }
        let e = send(&body(&[(&a, &[(t + 1000, 9.0)]), (&b, &[(t + 9000, 9.0)])])).unwrap_err();
        assert_eq!((e.status, e.stats.samples), (400, 1));
        assert!(e.message.contains("series {__name__=\"a\", x=\"1\"} at 1767225601000"), "{}", e.message);
        // Labels that do not all come first: what comes first is that of another series.
        let mut split = Vec::new();
        for (n, v) in [a[0], a[1]] {
            let mut label = Vec::new();
            field(&mut label, 1, n.as_bytes());
            field(&mut label, 2, v.as_bytes());
            field(&mut split, 1, &label);
        }
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&7f64.to_le_bytes());
        put_u64(&mut sample, 2 << 3);
        put_u64(&mut sample, (t + 20_000) as u64);
        field(&mut split, 2, &sample);
        let mut label = Vec::new();
        field(&mut label, 1, b"y");
        field(&mut label, 2, b"3");
        field(&mut split, 1, &label);
        let mut request = Vec::new();
        field(&mut request, 1, &split);
        let request = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        for _ in 0..2 {
            send(&request).unwrap();
        }
        let found = db.select(&[Matcher::new("__name__", MatchOp::Equal, "a").unwrap()], i64::MIN, i64::MAX).unwrap();
        let samples = |i: usize| {
            let mut c = Column::default();
            found.read(i, i64::MIN, i64::MAX, &mut c).unwrap();
            (found.labels(i).to_string(), c.v)
        };
        let mut all: Vec<_> = (0..found.len()).map(samples).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let five = vec![0.0, 1.0, 2.0, 3.0, 4.0];
        let want = [
            ("{__name__=\"a\", x=\"1\", y=\"3\"}", vec![7.0]),
            ("{__name__=\"a\", x=\"1\"}", five.clone()),
            ("{__name__=\"a\", x=\"2\"}", [five, vec![9.0]].concat()),
        ];
        assert_eq!(all, want.map(|(l, v)| (l.to_owned(), v)));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), Options::default()).unwrap();
        let good = body(&[(&[("__name__", "a")], &[(1, 1.0)])]);
        let none = Headers::default();
        let status = |h, b: &[u8], l| write(&db, h, b, l).map_or_else(|e| e.status, |_| 204);
        assert_eq!(status(Headers { content_encoding: Some("gzip"), ..none }, &good, Limits::default()), 415);
        assert_eq!(status(Headers { version: Some("2.0.0"), ..none }, &good, Limits::default()), 415);
        let v3 = Some("application/x-protobuf;proto=io.prometheus.write.v3.Request");
        assert_eq!(status(Headers { content_type: v3, ..none }, &good, Limits::default()), 415);
        // A message of the other version has no series in it, as the specification intends.
        let v2 = Some("application/x-protobuf;proto=io.prometheus.write.v2.Request");
        assert_eq!(status(Headers { content_type: v2, ..none }, &good, Limits::default()), 204);
        assert_eq!(status(none, b"not snappy", Limits::default()), 400);
        assert_eq!(status(none, &good, Limits { decompressed: 5, labels: 9 }), 413);
    }
}
