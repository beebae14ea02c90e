use super::protobuf::{DecodedBody, Histograms};
use super::*;

fn series(body: &str, format: Format) -> Result<Vec<(String, f64, Option<i64>)>, ParseError> {
    let mut decoded = DecodedBody::default();
    let mut p = Parser::new(body.as_bytes(), format, Histograms::default(), &mut decoded)?;
    let mut out = Vec::new();
    while let Some(e) = p.next_entry()? {
        if let Entry::Series(s) = e {
            out.push((String::from_utf8_lossy(s.raw).into_owned(), s.value, s.timestamp));
        }
    }
    Ok(out)
}

#[test]
fn raw_text_ends_at_the_brace() {
    assert_eq!(
        series("a 1\nb{x=\"}\"}2 7\n c {y=\"z\" , } 3\n{\"d.e\"} 4", Format::PrometheusText),
        Ok(vec![
            ("a".into(), 1.0, None),
            ("b{x=\"}\"}".into(), 2.0, Some(7)),
            ("c {y=\"z\" , }".into(), 3.0, None),
            ("{\"d.e\"}".into(), 4.0, None)
        ])
    );
}

#[test]
fn labels_are_sorted_unescaped_and_canonical() {
    let mut out = Vec::new();
    labels::parse(br#"h_bucket {le="1" z="a\"\\\n\t", "q.r"="",}"#, MetricType::Histogram, &mut out).unwrap();
    let out: Vec<_> = out.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
    assert_eq!(out, [("__name__", "h_bucket"), ("le", "1.0"), ("q.r", ""), ("z", "a\"\\\n\\t")]);
}

#[test]
fn labels_that_cannot_be_stored() {
    let mut out = Vec::new();
    for (raw, want) in [
        (r#"a{b="1",b="1"}"#, "label name \"b\" is not unique: invalid sample"),
        (r#"a{__name__="b"}"#, "label name \"__name__\" is not unique: invalid sample"),
        (r#"{"",b="1"}"#, "invalid metric name or label names: {b=\"1\"}"),
        ("a{\"\"=\"1\"}", "invalid metric name or label names: {\"\"=\"1\", __name__=\"a\"}"),
    ] {
        assert_eq!(labels::parse(raw.as_bytes(), MetricType::Unknown, &mut out).unwrap_err().to_string(), want);
    }
    assert!(labels::parse(b"a{b=\"\xff\"}", MetricType::Unknown, &mut out).is_err());
}

#[test]
fn exemplars_over_the_limit_are_told_apart() {
    let long = format!("{{a=\"{}\"}}", "é".repeat(127));
    assert!(labels::parse_exemplar(long.as_bytes()).unwrap().is_some());
    let long = format!("{{a=\"{}\"}}", "é".repeat(128));
    assert_eq!(labels::parse_exemplar(long.as_bytes()), Ok(None));
}

proptest::proptest! {
    #[test]
    fn any_bytes_end_without_a_panic(body: Vec<u8>, format in 0usize..3) {
        let format = [Format::OpenMetrics, Format::PrometheusText, Format::Protobuf][format];
        let mut decoded = DecodedBody::default();
        let all = Histograms { native: true, classic: true };
        let Ok(mut p) = Parser::new(&body, format, all, &mut decoded) else { return Ok(()) };
        let mut out = Vec::new();
        while let Ok(Some(e)) = p.next_entry() {
            if let Entry::Series(s) = e {
                labels::parse(s.raw, s.last_type, &mut out).ok();
            }
        }
    }

    #[test]
    fn near_text_ends_without_a_panic(body in "[a{}\"=,\\\\ \\n#1.e+NHELPTY]{0,60}") {
        let mut p = Parser::Text(PrometheusTextParser::new(body.as_bytes()));
        let mut out = Vec::new();
        while let Ok(Some(e)) = p.next_entry() {
            if let Entry::Series(s) = e {
                let parsed = labels::parse(s.raw, s.last_type, &mut out);
                proptest::prop_assert!(!matches!(parsed, Err(labels::LabelError::Malformed(_))), "{:?}", parsed);
            }
        }
    }

    #[test]
    fn what_is_expected_changes_nothing(lines in proptest::collection::vec("[ab]{1,2}(\\{|\\{a=\"[ab}{ ]{0,2}\"\\}|)( |\t|)( |)[1-3{ ]{1,3}\n", 1..6), turn in 0usize..4) {
        let body = lines.concat();
        let read = |hints: &[Vec<u8>]| {
            let mut p = Parser::Text(PrometheusTextParser::new(body.as_bytes()));
            let (mut found, mut raws) = (Vec::new(), Vec::new());
            loop {
                let hint = hints.get(raws.len()).map_or(&[][..], |h| h);
                let entry = p.next_entry_expecting(hint);
                if let Ok(Some(Entry::Series(s))) = &entry {
                    raws.push(s.raw.to_vec());
                }
                found.push(format!("{entry:?}"));
                if !matches!(entry, Ok(Some(_))) {
                    return (found, raws);
                }
            }
        };
        let (plain, mut raws) = read(&[]);
        // Right ones, or those of other lines.
        let turn = turn.min(raws.len());
        raws.rotate_left(turn);
        proptest::prop_assert_eq!(plain, read(&raws).0);
    }
}
