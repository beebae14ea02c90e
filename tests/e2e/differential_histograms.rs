//! Native histograms by remote write to campanile and to a Prometheus, and the same questions to both.
//!
//! The distribution's version 2.42 knows them behind a flag. What version 3 changed is not asked: quantiles and fractions (which are interpolated in
//! another way), the increase of a counter from zero, arithmetic that 2.42 does not have yet.

use std::fmt::Write;

use crate::differential::{Answer, Random, ask, difference, prometheus};
use crate::harness::{Server, now_ms};
use crate::prompb::{BucketSpan, Histogram, TimeSeries, WriteRequest, packed};

const SEED: u64 = 0x0b5e_55ed_b0c5_e7e5;
const QUESTIONS: usize = 150;
const SAMPLES: i64 = 240;
const PACE_MS: i64 = 15_000;

/// Counters of histograms: one is reset in the middle, one changes to a coarser schema, one gets a bucket in a gap, one has negative values.
fn data(r: &mut Random, end: i64) -> Vec<TimeSeries> {
    let time = |k: i64| end - (SAMPLES - 1 - k) * PACE_MS - 3_137;
    let mut out = Vec::new();
    for (i, instance) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let mut counts = [1000.0, 2500.0, 400.0, 70.0];
        let (mut zero, mut negative, mut sum) = (5000.0, 300.0, 1e6);
        let mut series =
            TimeSeries::of(&[("__name__", "latency"), ("instance", instance), ("job", ["web", "api"][i % 2])], []);
        for k in 0..SAMPLES {
            if i == 1 && k == SAMPLES / 2 {
                (counts, zero, negative, sum) = ([1.0, 2.0, 0.0, 0.0], 3.0, 1.0, 5.0);
            }
            for c in &mut counts {
                *c += (r.unit() * 20.0).floor();
            }
            zero += (r.unit() * 5.0).floor();
            negative += (r.unit() * 3.0).floor();
            sum += (r.unit() * 90.0).floor();
            let gap = if i == 2 && k > 100 { 1 } else { 3 };
            let negatives = if i == 3 { vec![negative] } else { Vec::new() };
            let span = |offset, length| BucketSpan { offset, length };
            series.histograms.push(Histogram {
                count_float: Some(counts.iter().sum::<f64>() + zero + negatives.iter().sum::<f64>()),
                sum,
                schema: if i == 0 && k > 150 { 1 } else { 2 },
                zero_threshold: 0.001,
                zero_count_float: Some(zero),
                negative_spans: if i == 3 { vec![span(2, 1)] } else { Vec::new() },
                negative_counts: negatives,
                positive_spans: vec![span(-1, 2), span(gap, 2)],
                positive_counts: counts.to_vec(),
                reset_hint: 0,
                timestamp: time(k),
            });
        }
        out.push(series);
    }
    out
}

fn question(r: &mut Random) -> String {
    let who =
        r.one_of(&["", "{instance=\"a\"}", "{instance=~\"b|c\"}", "{job=\"web\"}", "{instance=\"d\"}"]).to_owned();
    let shift = r.one_of(&["", "", " offset 4m", " @ end()"]).to_owned();
    let range = r.one_of(&["2m", "5m", "17m", "47s"]).to_owned();
    let plain = format!("latency{who}{shift}");
    let moved = format!("{}(latency{who}[{range}]{shift})", r.one_of(&["rate", "increase"]));
    let by = r.one_of(&["", " by (job)", " without (instance)", " by (instance)"]).to_owned();
    let inner = if r.below(2) == 0 { plain.clone() } else { moved.clone() };
    match r.below(9) {
        0 => plain,
        1 => moved,
        2 | 3 => format!("sum{by} ({moved})"),
        4 => format!("histogram_count({inner})"),
        5 => format!("histogram_sum(sum{by} ({moved}))"),
        6 => format!("count{by} ({inner})"),
        7 => format!("histogram_sum({inner}) / histogram_count({inner})"),
        _ => format!("count_over_time(latency{who}[{range}]{shift})"),
    }
}

#[tokio::test]
#[ignore = "needs Debian's prometheus"]
async fn native_histograms_are_those_of_prometheus() {
    let (_prometheus, peer, _dir) = prometheus(&["--enable-feature=native-histograms"]).await;
    let server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let ours = server.url("");
    let ours = ours.trim_end_matches('/');
    let mut r = Random(SEED);
    let end = (now_ms() / 60_000 - 2) * 60_000 + 7_000;
    let body = packed(&WriteRequest { timeseries: data(&mut r, end), metadata: Vec::new() });
    for base in [peer.as_str(), ours] {
        let request = server
            .http
            .post(format!("{base}/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0");
        let answer = request.body(body.clone()).send().await.unwrap();
        assert!(answer.status().is_success(), "{base}: {}", answer.text().await.unwrap());
    }
    let (mut wrong, mut count, mut points, mut histograms) = (String::new(), 0, 0, 0);
    for i in 0..QUESTIONS {
        let query = question(&mut r);
        let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
        let mut params = vec![("query", query)];
        let path = if i % 3 == 0 {
            params.push(("time", seconds(end - 60_000 * (i as i64 % 40))));
            "query"
        } else {
            let start = end - [50, 70][i % 2] * 60_000;
            params.extend([("start", seconds(start)), ("end", seconds(end)), ("step", ["60", "45"][i % 2].to_owned())]);
            "query_range"
        };
        let (mine, text) = ask(&server.http, ours, path, &params).await;
        let (theirs, their_text) = ask(&server.http, &peer, path, &params).await;
        points += values(&theirs).count();
        histograms += values(&theirs).filter(|v| v.contains(' ')).count();
        if let Some(what) = difference(&mine, &theirs) {
            count += 1;
            if count <= 10 {
                writeln!(wrong, "{params:?}\n   {what}\n   {text} {their_text}").unwrap();
            }
        }
    }
    println!(
        "{QUESTIONS} questions about native histograms: {points} points, {histograms} of them histograms, {count} differences"
    );
    assert!(count == 0, "{count} of {QUESTIONS} answers differ:\n{wrong}");
    assert!(histograms > 1000, "only {histograms} histograms were compared");
}

/// All values of an answer.
fn values(answer: &Answer) -> impl Iterator<Item = &String> {
    answer.iter().flat_map(|series| series.values()).flatten().map(|(_, v)| v)
}
