use super::*;
use crate::disk::varint::{put_bytes, put_i64};
use crate::model::histogram::{CounterResetHint, Span};
use crate::wire::protobuf::{put_field_bytes, put_field_varint};

/// A message under construction.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(mut self, number: u64, text: &str) -> Self {
        put_field_bytes(&mut self.0, number, text.as_bytes());
        self
    }

    fn int(mut self, number: u64, v: u64) -> Self {
        put_field_varint(&mut self.0, number, v);
        self
    }

    /// A zigzag integer.
    fn sint(mut self, number: u64, v: i64) -> Self {
        crate::disk::varint::put_u64(&mut self.0, number << 3);
        put_i64(&mut self.0, v);
        self
    }

    fn double(mut self, number: u64, v: f64) -> Self {
        crate::disk::varint::put_u64(&mut self.0, number << 3 | 1);
        self.0.extend(v.to_le_bytes());
        self
    }

    fn sub(mut self, number: u64, message: Message) -> Self {
        put_field_bytes(&mut self.0, number, &message.0);
        self
    }

    /// Packed zigzag integers.
    fn deltas(self, number: u64, all: &[i64]) -> Self {
        let mut packed = Message::default();
        all.iter().for_each(|d| put_i64(&mut packed.0, *d));
        self.sub(number, packed)
    }
}

fn m() -> Message {
    Message::default()
}

fn label(name: &str, value: &str) -> Message {
    m().text(1, name).text(2, value)
}

fn body(families: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    families.iter().for_each(|f| put_bytes(&mut out, &f.0));
    out
}

fn time(ms: u64) -> Message {
    m().int(1, ms / 1000).int(2, ms % 1000 * 1_000_000)
}

/// Each series as one line: text, value or histogram, timestamp, start, exemplars.
fn lines(body: &[u8], histograms: Histograms) -> Vec<String> {
    let decoded = decode(body, histograms).unwrap();
    let mut entries = ProtobufEntries::new(&decoded);
    let mut out = Vec::new();
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    let shown = |e: &RawExemplar<'_>| format!(" # {} {} {:?}", text(e.labels), e.value, e.timestamp);
    while let Some(e) = entries.next_entry() {
        out.push(match e {
            Entry::Type(f, t) => format!("TYPE {} {}", text(f), t.as_str()),
            Entry::Help(f, h) => format!("HELP {} {h}", text(f)),
            Entry::Unit(f, u) => format!("UNIT {} {u}", text(f)),
            Entry::Series(s) => {
                let e: String = s.exemplar.iter().map(shown).collect();
                format!("{} {} {:?} {:?}{e}", text(s.raw), s.value, s.timestamp, s.start)
            }
            Entry::Histogram(h) => {
                let e: String = h.exemplars.iter().map(shown).collect();
                format!("{} count {} {:?} {:?}{e}", text(h.raw), h.histogram.count, h.timestamp, h.start)
            }
        });
    }
    out
}

#[test]
fn counters_gauges_summaries_and_names_of_any_kind() {
    let exemplar = m().sub(1, label("trace_id", "x\"y")).double(2, 0.5).sub(3, time(1500));
    let families = [
        m().text(1, "http_requests_total").text(2, "How many.").sub(
            4,
            m().sub(1, label("path", "a\\b\n\"c\""))
                .sub(3, m().double(1, 3.0).sub(2, exemplar).sub(3, time(1000)))
                .int(6, 7),
        ),
        m().text(1, "temp.celsius")
            .int(3, 1)
            .text(5, "celsius")
            .sub(4, m().sub(1, label("a.b", "1")).sub(2, m().double(1, -1.5))),
        m().text(1, "rpc").int(3, 2).sub(
            4,
            m().sub(
                4,
                m().int(1, 10)
                    .double(2, 2.5)
                    .sub(3, m().double(1, 0.5).double(2, 9.0))
                    .sub(3, m().double(1, 1.0).double(2, f64::NAN)),
            ),
        ),
        m().text(1, "odd").int(3, 3).sub(4, m().sub(5, m().double(1, 1.0))),
    ];
    assert_eq!(
        lines(&body(&families), Histograms::default()),
        [
            "HELP http_requests_total How many.",
            "TYPE http_requests_total counter",
            r#"http_requests_total{path="a\\b\n\"c\""} 3 Some(7) Some(1000) # {trace_id="x\"y"} 0.5 Some(1500)"#,
            "TYPE temp.celsius gauge",
            "UNIT temp.celsius celsius",
            r#"{"temp.celsius","a.b"="1"} -1.5 None None"#,
            "TYPE rpc summary",
            "rpc_count{} 10 None None",
            "rpc_sum{} 2.5 None None",
            r#"rpc{quantile="0.5"} 9 None None"#,
            r#"rpc{quantile="1.0"} NaN None None"#,
            "TYPE odd unknown",
            "odd{} 1 None None",
        ]
    );
}

fn both_kinds() -> Message {
    let bucket =
        |count: u64, le: f64| m().int(1, count).double(2, le).sub(3, m().double(2, le).sub(3, time(2000 + count)));
    let histogram = m()
        .int(1, 7)
        .double(2, 12.5)
        .sub(3, bucket(2, 0.5))
        .sub(3, bucket(6, 10.0))
        .sint(5, 3)
        .double(6, 0.001)
        .int(7, 1)
        .sub(9, m().sint(1, -2).int(2, 1))
        .deltas(10, &[1])
        .sub(12, m().sint(1, 0).int(2, 2))
        .sub(12, m().sint(1, 3).int(2, 1))
        .deltas(13, &[2, -1, 1])
        .sub(15, time(900));
    m().text(1, "latency").int(3, 4).sub(4, m().sub(7, histogram))
}

#[test]
fn histograms_come_as_what_is_asked_for() {
    let classic = [
        "TYPE latency histogram",
        "latency_count{} 7 None Some(900)",
        "latency_sum{} 12.5 None Some(900)",
        r#"latency_bucket{le="0.5"} 2 None Some(900) # {} 0.5 Some(2002)"#,
        r#"latency_bucket{le="10.0"} 6 None Some(900) # {} 10 Some(2006)"#,
        r#"latency_bucket{le="+Inf"} 7 None Some(900)"#,
    ];
    let native = "latency{} count 7 None Some(900) # {} 0.5 Some(2002) # {} 10 Some(2006)";
    let body = body(&[both_kinds()]);
    assert_eq!(lines(&body, Histograms::default()), classic);
    assert_eq!(lines(&body, Histograms { native: true, classic: false }), [classic[0], native]);
    let mut both = vec![classic[0], native];
    both.extend(&classic[1..]);
    assert_eq!(lines(&body, Histograms { native: true, classic: true }), both);

    let decoded = decode(&body, Histograms { native: true, classic: false }).unwrap();
    let Some(Item::Histogram { histogram, .. }) = decoded.items.get(1) else { panic!("{decoded:?}") };
    let want = FloatHistogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: 12.5,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 3, length: 1 }],
        negative_spans: vec![Span { offset: -2, length: 1 }],
        positive_buckets: vec![2.0, 1.0, 2.0],
        negative_buckets: vec![1.0],
        custom_values: vec![],
    };
    assert_eq!(**histogram, want);
}

#[test]
fn float_histograms_and_gauge_histograms() {
    let h = m().double(4, 4.5).double(2, 1.0).double(8, 0.5).sub(12, m().int(2, 1)).double(14, 4.0);
    let family = m().text(1, "g").int(3, 5).sub(4, m().sub(7, h));
    let decoded = decode(&body(&[family]), Histograms { native: true, classic: false }).unwrap();
    let Some(Item::Histogram { histogram: h, .. }) = decoded.items.get(1) else { panic!("{decoded:?}") };
    assert_eq!((h.count, h.zero_count, &*h.positive_buckets), (4.5, 0.5, &[4.0][..]));
    assert_eq!(h.counter_reset_hint, CounterResetHint::Gauge);
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let whole = body(&[both_kinds(), both_kinds()]);
    let all = Histograms { native: true, classic: true };
    let one = whole.len() / 2;
    for cut in 1..whole.len() {
        assert_eq!(decode(&whole[..cut], all).is_ok(), cut == one, "{cut}");
    }
    for (what, h) in [
        ("too few buckets", m().int(1, 1).sub(12, m().int(2, 2)).deltas(13, &[1])),
        ("a negative count", m().int(1, 1).sub(12, m().int(2, 1)).deltas(13, &[-1])),
        ("an unknown schema", m().int(1, 1).sint(5, 9).sub(12, m().int(2, 1)).deltas(13, &[1])),
        ("a gap back", m().int(1, 1).sub(12, m().int(2, 1)).sub(12, m().sint(1, -1).int(2, 1)).deltas(13, &[1, 0])),
    ] {
        let family = m().text(1, "h").int(3, 4).sub(4, m().sub(7, h));
        assert!(decode(&body(std::slice::from_ref(&family)), all).is_err(), "{what}");
        assert!(decode(&body(&[family]), Histograms::default()).is_ok(), "{what}: not read without native histograms");
    }
}
