use super::*;
use crate::logql::ast::*;

fn metric(text: &str) -> MetricExpr {
    match parse(text) {
        Ok(Expr::Metric(m)) => m,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn accepts() {
    for text in [
        r#"{app="a"}"#,
        r#"({app="a", b!~"c|d",})"#,
        r#"{app="a"} |= "x" or "y" != `z` |~ "a.*" !> "<_> b" |> "c <_>""#,
        r#"{app="a"} | json | logfmt --strict --keep-empty a, b="c" | json x="y.z[0]", w"#,
        r#"{app="a"} | level="error" and (status >= 500 or duration > 1.5s, size<20MB) method=~"GET|POST""#,
        r#"{app="a"} | addr = ip("10.0.0.0/8") | addr != ip("::1")"#,
        r#"{app="a"} |= ip("1.2.3.4") | regexp "(?P<x>.)" | pattern "<a> <_>" | unpack | decolorize"#,
        r#"{app="a"} | line_format "{{.x}}" | label_format a=b,c="{{.d}}" | drop a, b="c" | keep x, y=~"z""#,
        r#"{app="a"} | json="x""#,
        r#"sum by (a) (count_over_time({app="a"} |= "x" [5m]))"#,
        r#"sum(rate({app="a"}[5m] |= "x" | json)) without (b)"#,
        r#"quantile_over_time(0.99, {app="a"} | json | unwrap duration(d) | __error__="" [1m]) by (p)"#,
        r#"avg_over_time({app="a"} | unwrap x [5m] offset 1h) by ()"#,
        r#"topk(5, sum by (a) (rate({app="a"}[5m] offset -5m))) / on (a) group_left (b) vector(2)"#,
        r#"2 ^ 3 ^ 2 > bool -1"#,
        r#"label_replace(rate(({app="a"} |= "x")[1m]), "a", "$1", "b", "(.*)")"#,
        "# comment\n{a=\"b\"} # more",
        r#"absent_over_time({a="b"}[5m]) or vector(0) unless on () vector(1)"#,
    ] {
        if let Err(e) = parse(text) {
            panic!("{text}: {e}\n{}", e.caret);
        }
    }
}

#[test]
fn refuses_with_a_place() {
    for (text, part) in [
        ("", "unexpected $end"),
        (r#"{job="edge""#, "col 12: syntax error: unexpected $end, expecting } or ,"),
        (r#"{job="edge"} |"#, "col 15: syntax error: unexpected $end"),
        (r#"{job="edge"} |="#, "expecting STRING or ip"),
        (r#"{job="edge"} |~ "[""#, "error parsing regexp"),
        (r#"{job="edge"} | json | | logfmt"#, "col 23"),
        (r#"{job="edge"} | unwrap x"#, "unexpected unwrap"),
        (r#"nosuchfunc({job="edge"}[5m])"#, "col 1: syntax error: unexpected IDENTIFIER"),
        (r#"topk(count_over_time({job="edge"}[5m]))"#, "parameter required for operation topk"),
        (r#"sum_over_time({job="edge"}[5m])"#, "without unwrap"),
        (r#"sum_over_time({job="edge"} | unwrap v [5m]) by (job)"#, "grouping not allowed for sum_over_time"),
        (r#"count_over_time({job="edge"}[5m]) offset 5m"#, "col 35: syntax error: unexpected offset"),
        (
            r#"count_over_time({job="edge"}[5m]) + {job="edge"}"#,
            "unexpected type for right leg of binary operation (+)",
        ),
        (r#"vector("1")"#, "expecting NUMBER"),
        (r#"count_over_time({job="edge"}[5m]))"#, "col 34: syntax error: unexpected )"),
        (r#"{job=~".*"}"#, "at least one regexp or equality matcher"),
        (r#"count_over_time({job="edge"})"#, "expecting RANGE"),
        (r#"1 and vector(1)"#, "unexpected literal for left leg"),
    ] {
        match parse(text) {
            Ok(e) => panic!("{text} was accepted: {e:?}"),
            Err(e) => assert!(e.to_string().starts_with("parse error") && e.to_string().contains(part), "{text}: {e}"),
        }
    }
}

#[test]
fn powers_bind_to_the_right_and_or_weakest() {
    let MetricKind::Binary(b) = metric("2 ^ 3 ^ 2").kind else { panic!() };
    assert!(matches!(b.rhs.kind, MetricKind::Binary(_)));
    let MetricKind::Binary(b) = metric("vector(1) or vector(2) + vector(3) * vector(4)").kind else { panic!() };
    assert_eq!(b.op, crate::promql::ast::BinaryOp::Or);
}

#[test]
fn depth_is_bounded() {
    for text in ["(".repeat(100_000), format!("{}1", "sum(".repeat(10_000)), "1^".repeat(10_000) + "1"] {
        assert!(parse(&text).is_err());
    }
    let nested = format!("{{a=\"b\"}} | {}x=1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(&nested).unwrap_err().to_string().contains("128"));
}

#[test]
fn stream_labels_take_equality_only() {
    assert_eq!(parse_stream_labels(r#"{a="b", c="d"}"#).unwrap().to_string(), r#"{a="b", c="d"}"#);
    assert!(parse_stream_labels(r#"{a=~"b"}"#).is_err() && parse_selector(r#"{a="b"} |= "x""#, true).is_err());
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,80}") {
        // Whether it parses does not matter here.
        drop(parse(&text));
    }

    #[test]
    fn never_panics_on_token_soup(words in proptest::collection::vec(proptest::sample::select(vec![
        "{", "}", "a", "=", "\"x\"", "|", "|=", "json", "(", ")", "[5m]", "rate", "sum", "by", "unwrap", "5", "5m", "or", "-", "^", ",",
    ]), 0..30)) {
        drop(parse(&words.join(" ")));
    }
}
