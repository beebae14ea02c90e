//! The same data and the same questions to campanile and to a Prometheus: the answers must be equal.
//!
//! Questions are made by a small grammar from a fixed seed. Prometheus 2 counts the left end of a range and of the lookback in, version 3
//! and campanile do not; samples therefore lie a fraction of a second beside every border. What else differs between the versions (how
//! far a counter with gaps is extended to zero, names of functions, quantiles of native histograms) is not asked.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::harness::{Process, Server, eventually, free_port, now_ms};
use crate::prom_write::{Series, send};

const SEED: u64 = 0x5eed_ca3f_a917_e001;
const QUESTIONS: usize = 400;
const SAMPLES: i64 = 320;
const PACE_MS: i64 = 15_000;

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// Counters with resets, gauges with holes and staleness markers, classic histograms. The last sample lies at `end` or a little before.
fn data(r: &mut Random, end: i64) -> Vec<Series> {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let time = |k: i64| end - (SAMPLES - 1 - k) * PACE_MS - 3_137;
    let mut out = Vec::new();
    for (i, instance) in ["a", "b", "c", "d"].into_iter().enumerate() {
        for (j, code) in ["200", "404", "500"].into_iter().enumerate() {
            let mut v = 1e6 + r.unit() * 1e5;
            let reset_at = if j == 1 { 100 + 17 * i as i64 } else { -1 };
            let samples = (0..SAMPLES)
                .map(|k| {
                    v = if k == reset_at { (r.unit() * 10.0).floor() } else { v + (r.unit() * 300.0).floor() };
                    (time(k), v)
                })
                .collect();
            let job = if i < 2 { "web" } else { "api" };
            let pairs = [("__name__", "requests_total"), ("instance", instance), ("code", code), ("job", job)];
            out.push(Series { labels: labels(&pairs), samples });
        }
        let mut samples = Vec::new();
        let mut v = 50.0;
        for k in 0..SAMPLES {
            v += r.unit() * 8.0 - 4.0;
            match k % 80 {
                // A target that goes away and comes back.
                40 if i == 1 => samples.push((time(k), stale)),
                41..=60 if i == 1 => {}
                // One that is only slow now and then.
                30..=33 if i == 2 => {}
                _ => samples.push((time(k), (v * 1000.0).round() / 1000.0)),
            }
        }
        let zone = if i % 2 == 0 { "east" } else { "west" };
        out.push(Series {
            labels: labels(&[("__name__", "temperature"), ("instance", instance), ("zone", zone)]),
            samples,
        });
        let samples = (0..SAMPLES).map(|k| (time(k), 100.0 + 10.0 * i as f64)).collect();
        out.push(Series {
            labels: labels(&[("__name__", "capacity"), ("instance", instance), ("kind", "disk")]),
            samples,
        });
        // One that begins late.
        let samples = (SAMPLES - 60 * (i as i64 + 1)..SAMPLES).map(|k| (time(k), r.unit() * 1e3)).collect();
        out.push(Series { labels: labels(&[("__name__", "queue_length"), ("instance", instance)]), samples });
        let bounds = ["0.1", "0.5", "1", "5", "+Inf"];
        let mut counts = [1e5, 3e5, 5e5, 7e5, 8e5];
        let mut columns = vec![Vec::new(); bounds.len()];
        for k in 0..SAMPLES {
            let mut more = 0.0;
            for (count, column) in counts.iter_mut().zip(&mut columns) {
                more += (r.unit() * 20.0).floor();
                *count += more;
                column.push((time(k), *count));
            }
        }
        for (le, samples) in bounds.into_iter().zip(columns) {
            let pairs = [("__name__", "latency_seconds_bucket"), ("instance", instance), ("le", le)];
            out.push(Series { labels: labels(&pairs), samples });
        }
    }
    out
}

/// Makes questions; `depth` says how deep they are nested.
struct Grammar<'r> {
    r: &'r mut Random,
}

impl Grammar<'_> {
    fn matchers(&mut self) -> &'static str {
        self.r.one_of(&[
            "",
            "",
            "{instance=\"a\"}",
            "{instance=~\"a|c\"}",
            "{instance!=\"b\"}",
            "{instance!~\"c.*\"}",
            "{instance=~\".+\"}",
            "{nothing=\"\"}",
            "{instance=\"missing\"}",
        ])
    }

    fn shift(&mut self) -> &'static str {
        self.r.one_of(&["", "", "", "", " offset 2m", " offset 17s", " @ end()", " @ start() offset 1m"])
    }

    fn range(&mut self) -> &'static str {
        self.r.one_of(&["1m", "5m", "10m", "47s", "23m", "1h"])
    }

    fn counter(&mut self) -> String {
        format!("requests_total{}", self.matchers())
    }

    fn gauge(&mut self) -> String {
        format!("{}{}", self.r.one_of(&["temperature", "capacity", "queue_length", "temperature"]), self.matchers())
    }

    fn range_vector(&mut self, depth: usize) -> String {
        if depth > 0 && self.r.below(5) == 0 {
            let inner = self.vector(depth - 1);
            let step = self.r.one_of(&["1m", "30s", "90s"]);
            return format!(
                "({inner})[{}:{step}]{}",
                self.r.one_of(&["5m", "20m"]),
                self.r.one_of(&["", " offset 3m"])
            );
        }
        format!("{}[{}]{}", self.gauge(), self.range(), self.shift())
    }

    fn number(&mut self) -> &'static str {
        self.r.one_of(&["2", "0.5", "100", "-3", "1e3", "time()", "scalar(temperature{instance=\"a\"})"])
    }

    fn grouping(&mut self) -> &'static str {
        self.r.one_of(&[
            "",
            " by (instance)",
            " without (instance)",
            " by (code, job)",
            " by (nothing)",
            " without (code)",
        ])
    }

    fn over_range(&mut self, depth: usize) -> String {
        match self.r.below(8) {
            0 | 1 => {
                let f = self.r.one_of(&["rate", "increase", "irate", "resets", "changes"]);
                format!("{f}({}[{}]{})", self.counter(), self.range(), self.shift())
            }
            2 => format!(
                "quantile_over_time({}, {})",
                self.r.one_of(&["0.3", "0.99", "0", "1"]),
                self.range_vector(depth)
            ),
            3 => format!("predict_linear({}[{}], 600)", self.gauge(), self.range()),
            4 => {
                let f = self.r.one_of(&["delta", "idelta", "deriv", "changes"]);
                format!("{f}({})", self.range_vector(depth))
            }
            _ => {
                let all = ["avg", "sum", "min", "max", "count", "stddev", "stdvar", "last", "present"];
                format!("{}_over_time({})", self.r.one_of(&all), self.range_vector(depth))
            }
        }
    }

    fn aggregation(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        let by = self.grouping();
        match self.r.below(6) {
            // Of equal values either may be chosen, so only different ones are asked about.
            0 => {
                let (f, k) = (self.r.one_of(&["topk", "bottomk"]), self.r.one_of(&["1", "2", "5"]));
                format!("{f}{by} ({k}, avg_over_time(queue_length[5m]))")
            }
            1 => format!("quantile{by} ({}, {inner})", self.r.one_of(&["0.25", "0.9", "1.5"])),
            2 => format!("count_values{by} (\"value\", round({inner}, 100))"),
            _ => {
                let all = ["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"];
                format!("{}{by} ({inner})", self.r.one_of(&all))
            }
        }
    }

    fn binary(&mut self, depth: usize) -> String {
        match self.r.below(6) {
            0 => {
                let op = self.r.one_of(&["+", "-", "*", "/", "%", "^", ">", "<=", "== bool", "> bool"]);
                let (v, n) = (self.vector(depth - 1), self.number());
                if self.r.below(2) == 0 { format!("({v}) {op} {n}") } else { format!("{n} {op} ({v})") }
            }
            1 => {
                let op = self.r.one_of(&["+", "-", "*", "/", "atan2", ">", "!= bool"]);
                format!(
                    "temperature {op} on (instance) {}{}",
                    self.r.one_of(&["capacity", "queue_length"]),
                    self.shift()
                )
            }
            2 => {
                let op = self.r.one_of(&["*", "/", "-", "<"]);
                let left = self.r.one_of(&["rate(requests_total[5m])", "requests_total"]);
                format!("{left} {op} on (instance) group_left (zone) temperature")
            }
            3 => {
                let op = self.r.one_of(&["and", "or", "unless"]);
                let on = self.r.one_of(&["", " on (instance)", " ignoring (code, zone, kind, job)"]);
                format!("({}) {op}{on} ({})", self.vector(depth - 1), self.vector(depth - 1))
            }
            4 => format!("temperature * ignoring (zone, kind) capacity{}", self.shift()),
            // Often an error, in both.
            _ => format!("({}) + on (instance) ({})", self.vector(depth - 1), self.vector(depth - 1)),
        }
    }

    fn function(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        match self.r.below(9) {
            0 => format!("clamp({inner}, 10, 1000)"),
            1 => format!("round({inner}, {})", self.r.one_of(&["1", "0.1", "50"])),
            2 => format!("label_replace({inner}, \"zone\", \"z-$1\", \"instance\", \"(a|b)\")"),
            3 => format!("label_join({inner}, \"both\", \"/\", \"instance\", \"code\")"),
            4 => {
                let by = self.r.one_of(&["", "sum by (le) ", "sum by (instance, le) "]);
                let q = self.r.one_of(&["0.5", "0.99", "0", "1"]);
                format!("histogram_quantile({q}, {by}(rate(latency_seconds_bucket[{}])))", self.range())
            }
            5 => format!("absent({inner})"),
            6 => format!("absent_over_time({}[{}])", self.gauge(), self.range()),
            7 => format!("-({inner})"),
            _ => {
                let all =
                    ["abs", "ceil", "floor", "sqrt", "ln", "exp", "sgn", "timestamp", "day_of_week", "hour", "sort"];
                format!("{}({inner})", self.r.one_of(&all))
            }
        }
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.r.below(4) {
                0 => format!("{}{}", self.counter(), self.shift()),
                1 => format!("{}{}", self.gauge(), self.shift()),
                2 => self.over_range(0),
                _ => format!("rate(requests_total[{}])", self.range()),
            };
        }
        match self.r.below(8) {
            0 | 1 => self.over_range(depth),
            2 | 3 => self.aggregation(depth),
            4 | 5 => self.binary(depth),
            6 => self.function(depth),
            _ => self.vector(0),
        }
    }
}

/// What an answer says: of each series its points (of a histogram all its numbers), or the kind of error.
pub type Answer = Result<BTreeMap<String, Vec<(String, String)>>, u16>;

pub async fn ask(http: &reqwest::Client, base: &str, path: &str, params: &[(&str, String)]) -> (Answer, String) {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let request =
        http.post(format!("{base}/api/v1/{path}")).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form).send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    if status != 200 {
        return (Err(status), text);
    }
    let body: Value = serde_json::from_str(&text).unwrap();
    let point = |p: &Value| (p[0].to_string(), numbers(&p[1]));
    let mut out = BTreeMap::new();
    let result = &body["data"]["result"];
    if body["data"]["resultType"] == "scalar" {
        out.insert("scalar".to_owned(), vec![point(result)]);
        return (Ok(out), String::new());
    }
    for s in result.as_array().unwrap() {
        // Objects of serde_json are sorted by key.
        let lists = ["values", "histograms"].iter().filter_map(|k| s.get(*k)?.as_array()).flatten();
        let single = ["value", "histogram"].iter().filter_map(|k| s.get(*k));
        let points = lists.chain(single).map(point).collect();
        assert!(out.insert(s["metric"].to_string(), points).is_none(), "{params:?}: two series of the same labels");
    }
    (Ok(out), String::new())
}

/// A value, or all numbers of a histogram: count, sum, and of each bucket its kind of borders, borders and count.
fn numbers(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Array(all) => all.iter().map(numbers).collect::<Vec<_>>().join(" "),
        Value::Object(o) => ["count", "sum", "buckets"].map(|k| o.get(k).map_or(String::new(), numbers)).join(" "),
        other => other.to_string(),
    }
}

fn same_value(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split_whitespace(), b.split_whitespace());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) if same_number(x, y) => {}
            _ => return false,
        }
    }
}

fn same_number(a: &str, b: &str) -> bool {
    let (x, y): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
    // Sums in another order, so that differences of nearly equal numbers and deviations near zero differ by what was rounded away.
    a == b || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1e-3)
}

/// Where two answers differ.
pub fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Err(a), Err(b)) => return (a != b).then(|| format!("status {a}, not {b}")),
        (Ok(a), Ok(b)) => (a, b),
        _ => return Some("only one of the two is an error".to_owned()),
    };
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("series {:?}\n   not {:?}", ours.keys(), theirs.keys()));
    }
    for ((series, a), b) in ours.iter().zip(theirs.values()) {
        if !a.iter().map(|p| &p.0).eq(b.iter().map(|p| &p.0)) {
            return Some(format!("{series}: {} points, not {}", a.len(), b.len()));
        }
        if let Some((p, q)) = a.iter().zip(b).find(|(p, q)| !same_value(&p.1, &q.1)) {
            return Some(format!("{series}: {p:?}, not {q:?}"));
        }
    }
    None
}

/// Starts a Prometheus that takes remote write; gives its address, and its folder to be kept.
pub async fn prometheus(more: &[&str]) -> (Process, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").unwrap();
    let peer = format!("http://127.0.0.1:{port}");
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.path().join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--web.enable-remote-write-receiver".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let process = Process::start("prometheus", &args, &dir.path().join("prometheus.log"));
    let http = reqwest::Client::new();
    eventually("Prometheus is ready", 30, async || {
        let r = http.get(format!("{peer}/-/ready")).send().await.ok()?;
        r.status().is_success().then_some(())
    })
    .await;
    (process, peer, dir)
}

#[tokio::test]
#[ignore = "needs Debian's prometheus"]
async fn answers_are_those_of_prometheus() {
    let (_prometheus, peer, _dir) = prometheus(&[]).await;
    let server = Server::start("").await;

    let mut r = Random(SEED);
    // Seven seconds past a minute: subqueries step on multiples of half a minute, and their ranges must not end on one.
    let end = (now_ms() / 60_000 - 2) * 60_000 + 7_000;
    let series = data(&mut r, end);
    for base in [&peer, &server.url("")] {
        send(&server.http, &format!("{}/api/v1/write", base.trim_end_matches('/')), &series).await;
    }

    let ours = server.url("");
    let ours = ours.trim_end_matches('/');
    let (mut wrong, mut count) = (String::new(), 0);
    let (mut empty, mut errors) = (0, 0);
    for i in 0..QUESTIONS {
        let query = Grammar { r: &mut r }.vector(1 + i % 3);
        let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
        let params = if i % 4 == 0 {
            vec![("query", query.clone()), ("time", seconds(end - 60_000 * (i as i64 % 50)))]
        } else {
            let step = [15, 60, 45, 120][i % 4];
            // With and without windows that reach over the begin of the data.
            let start = end - [70, 85, 20][i % 3] * 60_000;
            vec![("query", query.clone()), ("start", seconds(start)), ("end", seconds(end)), ("step", step.to_string())]
        };
        let path = if i % 4 == 0 { "query" } else { "query_range" };
        let (mine, text) = ask(&server.http, ours, path, &params).await;
        let (theirs, their_text) = ask(&server.http, &peer, path, &params).await;
        match &theirs {
            Ok(all) if all.is_empty() => empty += 1,
            Ok(_) => {}
            Err(_) => errors += 1,
        }
        if let Some(what) = difference(&mine, &theirs) {
            count += 1;
            if count <= 10 {
                writeln!(wrong, "{params:?}\n   {what}\n   {text} {their_text}").unwrap();
            }
        }
    }
    println!("{QUESTIONS} questions: {empty} answers empty, {errors} errors, {count} differences");
    assert!(count == 0, "{count} of {QUESTIONS} answers differ:\n{wrong}");
    // A grammar that asks for nothing would find no difference either.
    assert!(empty + errors < QUESTIONS / 3, "{empty} of {QUESTIONS} answers are empty, {errors} are errors");
}
