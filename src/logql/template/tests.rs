use super::*;
use crate::model::Labels;

fn format(template: &str) -> Result<String, String> {
    let mut labels = LineLabels::default();
    labels.reset(&Labels::from_pairs([("job", "edge"), ("level", "error")]), &Labels::empty());
    let compiled = LineTemplate::compile("line", template)?;
    compiled.execute(&Context::default(), &label_map(&labels), "edge v=2", 1_768_471_200_000_000_001)
}

#[test]
fn functions_give_what_lokis_give() {
    for (template, want) in [
        ("{{.job}}-{{.nosuch}}|{{__line__}}|{{__timestamp__ | unixEpochNanos}}", "edge-|edge v=2|1768471200000000001"),
        (r#"{{ToUpper "abc ß"}} {{title "hello wide world"}}"#, "ABC ß Hello Wide World"),
        (r#"{{Replace "a-b-c-d" "-" "+" 2}} {{"x y z" | replace " " "_"}}"#, "a+b+c-d x_y_z"),
        (
            r#"{{trunc -5 "hello world"}}|{{substr -1 4 "hello"}}|{{substr 2 -1 "hello"}}|{{substr 1 99 "hello"}}"#,
            "world|hell|llo|ello",
        ),
        (
            r#"{{round 123.555555 3}} {{round 123.88571428571 5 .2}} {{round -2.5 0}} {{ceil -1.5}}"#,
            "123.556 123.88572 -3 -1",
        ),
        (
            r#"{{int "3.9"}} {{int "x"}} {{add "5" "6"}} {{mul "2" 3.7}} {{add "x" 1}} {{divf 1 3}}"#,
            "3 0 11 6 1 0.3333333333333333",
        ),
        (
            r#"{{duration "1h2m3s"}} {{b64dec "aGVsbG8"}} {{urldecode "a+b%26c"}} {{count "o" "foo"}}"#,
            "3723 hello a b&c 2",
        ),
        (r#"{{toDateInZone "2006-01-02 15:04" "Europe/Berlin" "2021-07-02 12:00" | unixEpoch}}"#, "1625220000"),
        (r#"{{toDateInZone "2006-01-02" "UTC" "garbage" | unixEpoch}}"#, "-62135596800"),
        (r#"{{unixToTime "1768471200" | date "15:04:05"}} {{index (fromJson "[7,8]") 1}}"#, "10:00:00 8"),
        (r#"[{{alignLeft 6 "abc"}}|{{alignRight 2 "abc"}}]"#, "[abc   |bc]"),
        (
            r#"{{if fromJson "{"}}yes{{else}}no{{end}} {{range fromJson "x"}}never{{end}}{{(fromJson "{\"a\":[2]}").a}}"#,
            "no [2]",
        ),
        (
            r#"{{addf 3.5 2 5}} {{subf 5.5 1.5 1.5}} {{mulf 5.5 2 2.5}} {{divf 10 2 4}} {{max 1 9 3}} {{minf 1.5 "7"}} {{mod 7 4}} {{floor 1.9}}"#,
            "10.5 2.5 27.5 1.25 9 1.5 3 1",
        ),
        (
            r#"{{regexReplaceAll "(a) (.*)" "a b" "$2-$1"}} {{regexReplaceAllLiteral "a" "ab" "${1}"}} {{bytes "5.5MiB"}}"#,
            "b-a ${1}b 5.767168e+06",
        ),
        (
            r#"{{trimAll "$" "$5.00"}} {{trimPrefix "-" "-x"}} {{TrimSuffix "x-" "-"}} {{repeat 2 "ab"}}{{nindent 2 "c"}}"#,
            "5.00 x x abab\n  c",
        ),
    ] {
        assert_eq!(format(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn mistakes_are_errors() {
    assert!(format("{{.job").is_err() && format("{{nosuch .job}}").is_err());
    let error = format(r#"{{duration "oops"}}"#).unwrap_err();
    assert!(error.contains("error calling duration: time: invalid duration \"oops\""), "{error}");
    assert!(format(r#"{{repeat 99999999 "x"}}"#).is_err() && format("{{div 1 0}}").is_err());
}
