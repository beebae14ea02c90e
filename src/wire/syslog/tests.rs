use super::framing::Framer;
use super::*;

/// 2026-01-15 13:00:00 UTC.
const NOW: TimestampNs = 1_768_482_000_000_000_000;

fn ns(time: &str) -> TimestampNs {
    crate::model::time::parse_rfc3339_ns(time).unwrap()
}

fn read(text: &str) -> Message<'_> {
    parse(text, NOW, Tz::UTC)
}

#[test]
fn rfc5424() {
    let m = read(
        r#"<165>1 2026-01-15T12:59:58.003Z db1.example.org postgres 812 ID47 [meta@32473 user="ana \"q\" \] \\ \n" n="1"][empty] the text"#,
    );
    assert_eq!((m.form, m.facility(), m.severity()), (Form::Rfc5424, "local4", "notice"));
    assert_eq!(m.time, Some(MessageTime { ns: ns("2026-01-15T12:59:58.003Z"), whole_seconds: false }));
    assert_eq!((m.hostname, m.app_name, m.proc_id, m.msg_id), ("db1.example.org", "postgres", "812", "ID47"));
    let data: Vec<String> = m.structured_data.iter().map(|(e, n, v)| format!("{e}.{n}={v}")).collect();
    assert_eq!(data, [r#"meta@32473.user=ana "q" ] \ \n"#, "meta@32473.n=1"]);
    assert_eq!(m.text, "the text");
    let bare = read("<34>1 - - - - - -");
    assert_eq!((bare.form, bare.time, bare.hostname, bare.text), (Form::Rfc5424, None, "", ""));
    let marked = read("<34>1 - h a - - - \u{feff}с меткой\r\n");
    assert_eq!((marked.hostname, marked.text), ("h", "с меткой"));
}

#[test]
fn rfc3164() {
    for (text, time, parts, message) in [
        (
            "<34>Jan  5 22:14:15 mymachine su[7]: 'su root' failed",
            "2026-01-05T22:14:15Z",
            ["mymachine", "su", "7"],
            "'su root' failed",
        ),
        ("<34>Dec 31 23:59:59 h a: x", "2025-12-31T23:59:59Z", ["h", "a", ""], "x"),
        ("<13>Feb 01 01:02:03 h no tag here", "2025-02-01T01:02:03Z", ["h", "", ""], "no tag here"),
        ("<13>2026-01-15T12:00:00.5+01:00 h a[b]: x", "2026-01-15T11:00:00.5Z", ["h", "a", "b"], "x"),
        ("<13>Jan 15 12:00:00 systemd[1]: started", "2026-01-15T12:00:00Z", ["", "systemd", "1"], "started"),
        ("<189>Jan 15 12:00:00 sw1 %LINK-3-UPDOWN: up", "2026-01-15T12:00:00Z", ["sw1", "%LINK-3-UPDOWN", ""], "up"),
    ] {
        let m = read(text);
        assert_eq!(m.form, Form::Rfc3164, "{text}");
        assert_eq!(m.time.map(|t| t.ns), Some(ns(time)), "{text}");
        assert_eq!(([m.hostname, m.app_name, m.proc_id], m.text), (parts, message), "{text}");
    }
    let local = read("<13>myapp: hello");
    assert_eq!((local.time, local.app_name, local.text), (None, "myapp", "hello"));
    let odd = read("<13>Jan 99 12:00:00 h a: x");
    assert_eq!((odd.time, odd.text), (None, "Jan 99 12:00:00 h a: x"));
    let berlin = parse("<13>Jan 15 13:30:00 h a: x", NOW, Tz::Europe__Berlin);
    assert_eq!(berlin.time.map(|t| t.ns), Some(ns("2026-01-15T12:30:00Z")));
}

#[test]
fn anything_is_a_message() {
    for text in ["no priority", "<999>x", "<>x", "< 1>x", "", "<13"] {
        let m = read(text);
        assert_eq!((m.form, m.text, m.facility(), m.severity()), (Form::Plain, text, "user", "notice"), "{text}");
    }
    // A header of RFC 5424 that is not one is read as the older form.
    assert_eq!(read("<13>1 yesterday h a - - - x").form, Form::Rfc3164);
    for cut in 0..80 {
        let text = r#"<165>1 2026-01-15T12:59:58.003Z h p 8 I [m u="ana \"q\""] ü text"#;
        if let Some(prefix) = text.get(..cut) {
            read(prefix);
        }
    }
}

#[test]
fn frames() {
    let stream = "<1>one\n7 <2>two\n3 abc<3>three\r\n\n12 <4>four five<5>six\0";
    let expected = ["<1>one", "<2>two\n", "abc", "<3>three\r", "<4>four five", "<5>six"];
    for step in 1..stream.len() {
        let mut framer = Framer::new(100);
        let mut found = Vec::new();
        for piece in stream.as_bytes().chunks(step) {
            framer.push(piece, |m, cut| {
                assert!(!cut);
                found.push(String::from_utf8_lossy(m).into_owned());
            });
        }
        assert_eq!(found, expected, "{step}");
    }
}

#[test]
fn long_frames_are_cut_and_the_rest_is_passed_over() {
    let stream = "20 0123456789abcdefghij5 <1>xy<2>0123456789\n<3>z\n42 not a count";
    for step in 1..stream.len() {
        let mut framer = Framer::new(8);
        let mut found = Vec::new();
        for piece in stream.as_bytes().chunks(step) {
            framer.push(piece, |m, cut| found.push((String::from_utf8_lossy(m).into_owned(), cut)));
        }
        framer.finish(|m, cut| found.push((String::from_utf8_lossy(m).into_owned(), cut)));
        let expected = [("01234567", true), ("<1>xy", false), ("<2>01234", true), ("<3>z", false), ("not a co", true)];
        // The last one says it has 42 octets, of which the first eight are there.
        assert_eq!(found.iter().map(|(m, c)| (m.as_str(), *c)).collect::<Vec<_>>(), expected, "{step}");
    }
    let mut framer = Framer::new(100);
    let mut rest = Vec::new();
    framer.push(b"<1>a\n<2>without an end", |_, _| {});
    framer.finish(|m, _| rest.push(m.to_vec()));
    assert_eq!(rest, [b"<2>without an end"]);
}
