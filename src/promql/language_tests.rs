//! Tests of the language as a whole: what is read, what is refused and with which words, and that printing loses nothing.

use proptest::prelude::*;

use crate::promql::ast::{DurationExpr, Expr, ExprKind, ValueType, VectorSelector};
use crate::promql::*;
use crate::text::span::Span;

/// Takes spans and the order of matchers out of a tree.
fn bare(expr: &Expr) -> Expr {
    fn duration(d: &mut DurationExpr) {
        use crate::promql::ast::DurationKind as K;
        d.span = Span::default();
        match &mut d.kind {
            K::Unary(_, a) | K::Paren(a) => duration(a),
            K::Binary(_, a, b) | K::MinOf(a, b) | K::MaxOf(a, b) => {
                duration(a);
                duration(b);
            }
            K::Millis(_) | K::Number(_) | K::Step | K::Range => {}
        }
    }
    fn selector(v: &mut VectorSelector) {
        v.matchers.sort_by_key(ToString::to_string);
        v.time.offset.iter_mut().for_each(duration);
    }
    fn strip(e: &mut Expr) {
        e.span = Span::default();
        match &mut e.kind {
            ExprKind::Number(n) if n.value.is_nan() => n.value = 12345.678,
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(v) => selector(v),
            ExprKind::Matrix(m) => {
                m.selector_span = Span::default();
                selector(&mut m.selector);
                duration(&mut m.range);
            }
            ExprKind::Subquery(s) => {
                strip(&mut s.expr);
                duration(&mut s.range);
                s.step.iter_mut().for_each(duration);
                s.time.offset.iter_mut().for_each(duration);
            }
            ExprKind::Call(c) => {
                c.name_span = Span::default();
                c.args.iter_mut().for_each(strip);
            }
            ExprKind::Aggregate(a) => {
                a.op_span = Span::default();
                a.param.iter_mut().for_each(strip);
                strip(&mut a.expr);
            }
            ExprKind::Binary(b) => {
                b.op_span = Span::default();
                strip(&mut b.lhs);
                strip(&mut b.rhs);
                if let Some(m) = &mut b.matching {
                    let nan = |f: &mut Option<f64>| *f = f.map(|v| if v.is_nan() { 12345.678 } else { v });
                    nan(&mut m.fill_left);
                    nan(&mut m.fill_right);
                }
            }
            ExprKind::Unary(_, e) | ExprKind::Paren(e) => strip(e),
        }
    }
    let mut expr = expr.clone();
    strip(&mut expr);
    expr
}

/// Expressions and how they are printed; `=` means as they stand.
const PRINTED: &[(&str, &str)] = &[
    ("1", "="),
    ("-1", "="),
    ("+1.5e3", "1500"),
    ("0x1F", "31"),
    ("0755", "493"),
    ("1_000", "1000"),
    (".5", "0.5"),
    ("5m", "="),
    ("-1h30m", "="),
    ("Inf", "+Inf"),
    ("-inF", "-Inf"),
    ("inf ^ 1 ^ inf", "Inf ^ 1 ^ +Inf"),
    ("NaN", "="),
    ("\"a\\\"b\\n\"", "="),
    ("'it\\'s'", "\"it's\""),
    ("`raw\\n`", "\"raw\\\\n\""),
    ("foo", "="),
    ("foo:bar:baz", "="),
    (":foo", "="),
    ("foo{}", "foo"),
    ("foo{b=\"2\", a!=\"1\",}", "foo{a!=\"1\",b=\"2\"}"),
    ("{__name__=~\"a.*\",x!~\"y|z\"}", "="),
    ("{\"my.metric\", \"a.b\"='x'}", "{\"a.b\"=\"x\",__name__=\"my.metric\"}"),
    ("foo{sum=\"x\", by=`y`}", "foo{by=\"y\",sum=\"x\"}"),
    ("foo[5m]", "="),
    ("foo [ 300 ]", "foo[5m]"),
    ("foo[1.5]", "foo[1s500ms]"),
    ("foo offset 5m", "="),
    ("foo offset -5m", "="),
    ("foo offset 300", "foo offset 5m"),
    ("foo offset 0", "foo"),
    ("foo[5m] offset 1h @ 10", "foo[5m] @ 10.000 offset 1h"),
    ("foo @ 1609746000.123", "="),
    ("foo @ -0.5", "foo @ -0.500"),
    ("foo @ start()", "="),
    ("foo @ END() offset 1s", "foo @ end() offset 1s"),
    ("foo[5m:]", "="),
    ("foo[5m:1m] @ end() offset 3m", "="),
    ("sum(foo)[1h:5m] offset 2m", "="),
    ("rate(foo[5m])[1h:][2h:1m]", "!"),
    ("rate(foo[5m])", "="),
    ("foo[5m+1s]", "foo[5m + 1s]"),
    ("foo[-5m+35m]", "foo[-5m + 35m]"),
    ("foo[step()]", "="),
    ("foo[RANGE() * 2]", "foo[range() * 2]"),
    ("foo[min_of(step(),1h):max_of(1, 2)]", "foo[min_of(step(), 1h):max_of(1, 2)]"),
    ("foo[(1h)]", "="),
    ("foo[2^3^2]", "foo[2 ^ 3 ^ 2]"),
    ("foo offset step() * 2", "foo offset step() * 2"),
    ("foo offset -(step() * 2)", "="),
    ("foo offset +min_of(1, 2)", "foo offset min_of(1, 2)"),
    ("foo[5m] anchored", "="),
    ("foo smoothed offset 1m", "="),
    ("rate(foo[5m] smoothed @ 5)", "rate(foo[5m] smoothed @ 5.000)"),
    ("sum by (a, b) (foo)", "sum by (a, b) (foo)"),
    ("sum(foo) by (a,)", "sum by (a) (foo)"),
    ("sum by () (foo)", "sum(foo)"),
    ("SUM without() (foo)", "sum without () (foo)"),
    ("sum by (\"a.b\", sum, bool, on) (foo)", "="),
    ("topk(5, foo)", "="),
    ("count_values by (x) (\"v\", foo)", "="),
    ("limit_ratio(-0.5, foo)", "="),
    ("a + b * c ^ d", "="),
    ("-a ^ 2", "="),
    ("-a * b", "="),
    ("--1", "1"),
    ("2 ^ -3 ^ 2", "="),
    ("a == bool 1", "="),
    ("1 < bool 2", "="),
    ("a and on (x) b or ignoring (y) c unless d", "a and on (x) b or ignoring (y) c unless d"),
    ("a / on() group_left b", "a / on () group_left () b"),
    ("a * ignoring(x,y) group_right(z) b", "a * ignoring (x, y) group_right (z) b"),
    ("a + fill(0) b", "a + fill (0) b"),
    ("a + on(x) fill_left(-1) fill_right(Inf) b", "a + on (x) fill_left (-1) fill_right (+Inf) b"),
    ("a != bool fill(NaN) b", "a != bool fill (NaN) b"),
    ("a </ 5", "="),
    ("a >/ -Inf", "="),
    ("a atan2 b % c", "="),
    ("fill + fill_left / fill_right", "="),
    ("min_of + max_of", "="),
    ("sum + count / avg{a=\"b\"}", "="),
    ("by offset 5m", "="),
    ("start{a=\"b\"} + end + step + range", "="),
    ("start() + end() - range() / STEP()", "start() + end() - range() / step()"),
    ("min_of(1, MAX_OF(2, time()))", "min_of(1, max_of(2, time()))"),
    ("start_timestamp(foo)", "="),
    ("offset", "="),
    ("and + or", "="),
    ("anchored + smoothed", "="),
    ("info(foo, {a=~\".*\"})", "="),
    ("label_replace(foo, \"a\", \"$1\", \"b\", \"(.*)\")", "="),
    ("foo # comment\n + # another\r\n bar", "foo + bar"),
    ("(foo)", "="),
    ("time()", "="),
    ("hour()", "="),
    ("round(foo, 0.1)", "="),
    ("foo{a=\"\\x41\\101\\u00e9\"}", "foo{a=\"AAé\"}"),
];

#[test]
fn prints_as_prometheus() {
    for (input, want) in PRINTED {
        if *want == "!" {
            assert!(parse(input).is_err(), "{input}");
            continue;
        }
        let expr = parse(input).unwrap_or_else(|e| panic!("{input}: {e}\n{}", e.caret()));
        let printed = format(&expr);
        assert_eq!(printed, if *want == "=" { *input } else { *want }, "{input}");
        let again = parse(&printed).unwrap_or_else(|e| panic!("{input} -> {printed}: {e}"));
        assert_eq!(bare(&again), bare(&expr), "{input} -> {printed}");
        let pretty = format_pretty(&expr);
        let again = parse(&pretty).unwrap_or_else(|e| panic!("{input} -> {pretty}: {e}"));
        assert_eq!(bare(&again), bare(&expr), "{input} -> {pretty}");
        assert!(to_json(&expr).is_object());
    }
}

/// Expressions that are wrong, and how that is said.
const REFUSED: &[(&str, &str)] = &[
    ("", "unknown position: parse error: no expression found in input"),
    ("# just a comment", "1:1: parse error: no expression found in input"),
    ("1+", "1:3: parse error: unexpected end of input"),
    (".", "1:1: parse error: unexpected character: '.'"),
    ("2.5.", "1:1: parse error: bad number or duration syntax: \"2.5.\""),
    ("100..4", "1:1: parse error: bad number or duration syntax: \"100..\""),
    ("0deadbeef", "1:1: parse error: bad number or duration syntax: \"0de\""),
    ("1 /", "1:4: parse error: unexpected end of input"),
    ("*1", "1:1: parse error: unexpected <op:*>"),
    ("(1))", "1:4: parse error: unexpected right parenthesis ')'"),
    ("((1)", "1:5: parse error: unclosed left parenthesis"),
    ("(", "1:2: parse error: unclosed left parenthesis"),
    ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
    ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("1 + bool 1", "1:3: parse error: bool modifier can only be used on comparison operators"),
    (
        "-\"x\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    ),
    ("*test", "1:1: parse error: unexpected <op:*>"),
    (
        "1 offset 1d",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    ("foo offset 1s offset 2s", "1:1: parse error: offset may not be set multiple times"),
    ("a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"),
    (
        "foo offset",
        "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    ("foo @ ", "1:7: parse error: unexpected end of input in @, expected timestamp"),
    ("foo @ 5 @ 6", "1:1: parse error: @ <timestamp> may not be set multiple times"),
    ("foo @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: inf"),
    ("foo or on(bar) group_left(baz) bar", "1:1: parse error: no grouping allowed for \"or\" operation"),
    (
        "foo == on(bar) group_right(bar) baz",
        "1:5: parse error: label \"bar\" must not occur in ON and GROUP clause at once",
    ),
    ("foo + on(bar) 10", "1:1: parse error: vector matching only allowed between instant vectors"),
    ("foo + fill(0) 10", "1:1: parse error: filling in missing series only allowed between instant vectors"),
    ("foo or fill(0) bar", "1:1: parse error: filling in missing series not allowed for set operators"),
    ("foo{", "1:5: parse error: unexpected end of input inside braces"),
    ("foo{a>\"b\"}", "1:6: parse error: unexpected character inside braces: '>'"),
    ("foo{a=b}", "1:7: parse error: unexpected identifier \"b\" in label matching, expected string"),
    ("foo{a}", "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator"),
    ("foo{,}", "1:5: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
    (
        "foo{a=\"b\" c=\"d\"}",
        "1:11: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
    ),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("{x=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("{x=~\".*\"}[5m]", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
    ("foo{\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
    ("foo[5m", "1:7: parse error: unclosed left bracket"),
    ("foo[", "1:5: parse error: unexpected end of input in duration expression"),
    (
        "foo[]",
        "1:5: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    ("foo[0]", "1:5: parse error: duration must be greater than 0"),
    ("foo[-5m]", "1:5: parse error: duration must be greater than 0"),
    ("foo[5mm]", "1:5: parse error: bad number or duration syntax: \"5mm\""),
    ("foo[5m1]", "1:5: parse error: bad number or duration syntax: \"5m1\""),
    ("foo[\"5m\"]", "1:5: parse error: unexpected character in duration expression: '\"'"),
    ("foo[5m] offset 1h30", "1:16: parse error: bad number or duration syntax: \"1h30\""),
    ("(foo + bar)[5m]", "1:12: parse error: ranges only allowed for vector selectors"),
    ("foo offset 5m [5m]", "1:15: parse error: no offset modifiers allowed before range"),
    ("foo @ 5 [5m]", "1:9: parse error: no @ modifiers allowed before range"),
    ("foo[5m][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"),
    ("sum some_metric by (test)", "1:5: parse error: unexpected identifier \"some_metric\""),
    ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
    (
        "sum(foo, bar)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
    ),
    ("topk(foo)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
    ("topk(foo, bar)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
    ("count_values(5, bar)", "1:14: parse error: expected type string in aggregation parameter, got scalar"),
    ("sum by foo (bar)", "1:8: parse error: unexpected identifier \"foo\" in grouping opts, expected \"(\""),
    ("sum by (a b) (bar)", "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\""),
    ("sum by (1) (bar)", "1:9: parse error: unexpected number \"1\" in grouping opts, expected label"),
    ("sum(foo[5m])", "1:5: parse error: expected type instant vector in aggregation expression, got range vector"),
    ("rate(foo)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
    ("abs(foo[1m])", "1:5: parse error: expected type instant vector in call to function \"abs\", got range vector"),
    ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
    ("floor(a, b)", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 2"),
    ("label_join(a, \"b\")", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"),
    ("hour(a, b, c)", "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 3"),
    ("foo(bar)", "1:1: parse error: unknown function with name \"foo\""),
    ("floor(a,)", "1:8: parse error: trailing commas not allowed in function call args"),
    ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
    ("info(a, 5)", "1:9: parse error: expected type instant vector in call to function \"info\", got scalar"),
    ("foo + foo[5m]", "1:7: parse error: binary expression must contain only scalar and instant vector types"),
    ("foo foo", "1:5: parse error: unexpected identifier \"foo\""),
    ("foo\n  bar", "2:3: parse error: unexpected identifier \"bar\""),
    ("\"abc", "1:1: parse error: unterminated quoted string"),
    ("`abc", "1:1: parse error: unterminated raw string"),
    ("foo !~ bar", "1:5: parse error: unexpected character after '!': '~'"),
    ("foo =~ bar", "1:5: parse error: unexpected character after '=': '~'"),
    ("foo = bar", "1:5: parse error: unexpected \"=\""),
    ("é", "1:1: parse error: unexpected character: 'é'"),
    ("foo[5m] smoothed anchored", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
    ("foo[5m:] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
    ("a + fill(x) b", "1:10: parse error: unexpected identifier \"x\" in fill modifier, expected number"),
    ("a + group_left b", "1:5: parse error: unexpected <group_left>"),
    ("foo{a=\"\\q\"}", "1:7: parse error: unknown escape sequence U+0071 'q'"),
    ("'\\xg'", "1:1: parse error: illegal character U+0067 'g' in escape sequence"),
    ("'\\777'", "1:1: parse error: escape sequence is an invalid Unicode code point"),
    ("'\\ud800'", "1:1: parse error: escape sequence is an invalid Unicode code point"),
    ("'\\", "1:1: parse error: escape sequence not terminated"),
    ("foo[5s x 5s]", "1:8: parse error: unexpected character: 'x', expected ':'"),
    ("1[5m] smoothed", "1:2: parse error: ranges only allowed for vector selectors"),
    ("foo[9.5e10]", "1:5: parse error: duration out of range"),
    ("++-++-+-+-<", "1:11: parse error: unexpected <op:<>"),
    ("`\\``", "1:4: parse error: unterminated raw string"),
    ("foo[1x]", "1:5: parse error: bad number or duration syntax: \"1\""),
    ("sum by (a) y", "1:12: parse error: unexpected identifier \"y\" in aggregation"),
    ("bool", "1:1: parse error: unexpected <bool>"),
];

#[test]
fn refuses_in_prometheus_words() {
    for (input, want) in REFUSED {
        match parse(input) {
            Ok(e) => panic!("{input} was read as {e}"),
            Err(e) => {
                assert_eq!(e.to_string(), *want, "{input}");
                assert!(e.caret().contains('^'), "{input}");
            }
        }
    }
    let e = parse("foo{a=~\"(\"}").unwrap_err();
    assert!(e.to_string().starts_with("1:5: parse error: error parsing regexp: "), "{e}");
}

#[test]
fn every_type_error_is_reported() {
    let e = parse("rate(a) + abs(b[5m]) + 5 or 6").unwrap_err();
    assert_eq!(e.errors.len(), 3, "{e:?}");
}

#[test]
fn features_can_be_off() {
    let off = ParseOptions {
        experimental_functions: false,
        duration_expressions: false,
        extended_range_selectors: false,
        fill_modifiers: false,
    };
    for input in [
        "limitk(5, foo)",
        "sort_by_label(foo, \"a\")",
        "foo[5m+1s]",
        "foo offset step()",
        "rate(foo[5m] smoothed)",
        "foo + fill(0) bar",
    ] {
        assert!(parse(input).is_ok(), "{input}");
        let e = parse_with(input, off).unwrap_err();
        assert!(e.to_string().contains("enable"), "{input}: {e}");
    }
    for input in ["rate(foo[5m] offset -5m)", "topk(5, foo @ end())", "foo[300]"] {
        assert!(parse_with(input, off).is_ok(), "{input}");
    }
}

#[test]
fn selectors_and_metrics() {
    let names = |s: &str| parse_selector(s).map(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>().join(";"));
    assert_eq!(names("up{a=\"b\"}").as_deref(), Ok("a=\"b\";__name__=\"up\""));
    assert_eq!(names("{}").as_deref(), Ok(""));
    assert!(names("up[5m]").is_err() && names("up offset 5m").is_err() && names("").is_err() && names("1").is_err());
    assert!(parse_selector_non_empty("{a=\"\"}").is_err() && parse_selector_non_empty("{a=\"b\"}").is_ok());
    let labels = |s: &str| parse_metric(s).map(|l| l.to_string());
    assert_eq!(labels("sum{b=\"2\", a='1',}").as_deref(), Ok("{__name__=\"sum\", a=\"1\", b=\"2\"}"));
    assert_eq!(labels("{\"a.b\", \"c d\"=\"e\"}").as_deref(), Ok("{__name__=\"a.b\", \"c d\"=\"e\"}"));
    assert_eq!(labels("").as_deref(), Ok("{}"));
    let e = parse_metric("{\"http.requests\"xx}").unwrap_err();
    assert_eq!(e.message(), "unexpected identifier \"xx\" in label set, expected \",\" or \"}\"");
    assert!(labels("a{b!=\"c\"}").is_err() && labels("a{b").is_err() && labels("a b").is_err());
}

#[test]
fn types_and_spans() {
    for (input, want) in [
        ("1 + 2", ValueType::Scalar),
        ("(foo) > 1", ValueType::Vector),
        ("foo[5m]", ValueType::Matrix),
        ("foo[5m:1m]", ValueType::Matrix),
        ("-(time())", ValueType::Scalar),
        ("\"x\"", ValueType::String),
    ] {
        assert_eq!(parse(input).unwrap().value_type(), want, "{input}");
    }
    let input = " sum by (a) ( rate(foo{x=\"y\"}[5m] offset 1m) ) ";
    let expr = parse(input).unwrap();
    assert_eq!(input.get(expr.span.start..expr.span.end).unwrap(), input.trim());
    let ExprKind::Aggregate(a) = &expr.kind else { panic!() };
    let ExprKind::Call(c) = &a.expr.kind else { panic!() };
    let arg = c.args.first().unwrap();
    assert_eq!(input.get(arg.span.start..arg.span.end).unwrap(), "foo{x=\"y\"}[5m] offset 1m");
    let ExprKind::Matrix(m) = &arg.kind else { panic!() };
    assert_eq!(input.get(m.selector_span.start..m.selector_span.end).unwrap(), "foo{x=\"y\"}");
    let ExprKind::Binary(b) = parse("a  >= bool b").unwrap().kind else { panic!() };
    assert_eq!((b.op_span.start, b.op_span.end), (3, 5));
}

#[test]
fn long_expressions_are_broken() {
    let input = "sum by (job) (rate(http_requests_total{job=\"api-server\", status=~\"5..\"}[5m])) / \
                 sum by (job) (rate(http_requests_total{job=\"api-server\"}[5m]))";
    let want = "  sum by (job) (rate(http_requests_total{job=\"api-server\",status=~\"5..\"}[5m]))\n/\n  \
                sum by (job) (rate(http_requests_total{job=\"api-server\"}[5m]))";
    assert_eq!(format_pretty(&parse(input).unwrap()), want);
    let long = format!("inf ^ (foo{{a=\"{}\"}})", "x".repeat(120));
    assert!(format_pretty(&parse(&long).unwrap()).starts_with("  Inf\n^\n  (\n    foo{"));
}

#[test]
fn tree_as_json() {
    let json = to_json(&parse("rate(foo{a=\"b\"}[5m] offset 1m) > bool on(x) group_left(y) bar @ end()").unwrap());
    assert_eq!(json["type"], "binaryExpr");
    assert_eq!(json["bool"], true);
    assert_eq!(json["matching"]["card"], "many-to-one");
    assert_eq!(json["lhs"]["func"]["argTypes"][0], "matrix");
    assert_eq!(json["lhs"]["args"][0]["range"], 300_000);
    assert_eq!(json["lhs"]["args"][0]["offset"], 60_000);
    assert_eq!(json["lhs"]["args"][0]["matchers"][0]["type"], "=");
    assert_eq!(json["rhs"]["startOrEnd"], "end");
    assert_eq!(json["rhs"]["timestamp"], serde_json::Value::Null);
}

#[test]
fn durations_resolve() {
    use crate::promql::duration_expr::{DurationContext, resolve, resolve_positive};
    let context = DurationContext { step_ms: 5000, range_ms: 10_000 };
    let range = |s: &str| {
        let ExprKind::Matrix(m) = parse(&format!("foo[{s}]")).unwrap().kind else { panic!() };
        resolve_positive(&m.range, context).map_err(|e| e.message)
    };
    for (text, want) in [
        ("5m", Ok(300_000)),
        ("1h/2", Ok(1_800_000)),
        ("1h30m % 1h", Ok(1_800_000)),
        ("step()+1ms", Ok(5001)),
        ("step()+1", Ok(6000)),
        ("min_of(range(), 8s)", Ok(8000)),
        ("0.1+0.2", Ok(300)),
        ("2^3^2", Ok(512_000)),
        ("step()-10", Err("duration must be greater than 0")),
        ("1/0", Err("division by zero in duration expression")),
        ("2^1000", Err("duration is out of range")),
    ] {
        assert_eq!(range(text), want, "{text}");
    }
    let ExprKind::Vector(v) = parse("foo offset -(step()^2)").unwrap().kind else { panic!() };
    assert_eq!(resolve(v.time.offset.as_ref().unwrap(), context), Ok(-25_000));
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("(", ")"), ("-", ""), ("abs(", ")"), ("sum(", ")")] {
        let deep = |n: usize| format!("{}foo{}", open.repeat(n), close.repeat(n));
        assert!(parse(&deep(100)).is_ok(), "{open}");
        let e = parse(&deep(100_000)).unwrap_err();
        assert!(e.message().contains("too deeply"), "{open}: {e}");
    }
    let chain = |n: usize, op: &str| vec!["foo"; n].join(op);
    assert!(parse(&chain(100, " + ")).is_ok() && parse(&chain(100, " ^ ")).is_ok());
    for op in [" + ", " ^ ", " or "] {
        assert!(parse(&chain(50_000, op)).unwrap_err().message().contains("too deeply"));
    }
    assert!(parse(&format!("foo{}", "[5m:]".repeat(50_000))).is_err());
    assert!(parse(&format!("foo[{}5{}]", "(".repeat(50_000), ")".repeat(50_000))).is_err());
    assert!(parse(&format!("foo[{}]", vec!["1"; 50_000].join("+"))).is_err());
}

/// Words, signs and literals of the language.
fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "foo",
        "bar:baz",
        "sum",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "max_of",
        "fill",
        "fill_left",
        "anchored",
        "smoothed",
        "and",
        "or",
        "unless",
        "atan2",
        "rate",
        "topk",
        "label_join",
        "info",
        "time",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "=",
        "==",
        "!=",
        "=~",
        "!~",
        "<",
        "<=",
        "</",
        ">",
        ">=",
        ">/",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "@",
        "1",
        "0x1f",
        "1.5e3",
        "5m",
        "1h30m",
        "inf",
        "nan",
        "\"a\"",
        "'b'",
        "`c`",
        "\"\\",
        "# x\n",
        "é",
        "a=\"b\"",
        "()",
        "[5m]",
    ]);
    prop::collection::vec((token, prop::bool::ANY), 0..24).prop_map(|parts| {
        parts.into_iter().map(|(t, space)| if space { format!("{t} ") } else { t.to_owned() }).collect()
    })
}

/// Well-formed instant vectors.
fn vector() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec![
        "foo",
        "foo{a=\"b\"}",
        "{\"x.y\"}",
        "foo offset 5m",
        "foo @ 5 offset -1h",
        "rate(foo[5m])",
        "rate(foo[step() * 2 + 1m] anchored)",
        "sum",
        "(time() * bar)",
    ]);
    selector.prop_map(str::to_owned).prop_recursive(5, 40, 3, |inner| {
        let op = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "atan2",
            "== bool",
            ">",
            "</",
            "and",
            "or",
            "unless",
            "+ on (a)",
            "* ignoring (a) group_left (b)",
            "- fill (0)",
            "/ on () group_right fill_left (1) fill_right (NaN)",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("sum by (x, \"y.z\") ({a})")),
            inner.clone().prop_map(|a| format!("topk without () (3, {a})")),
            inner.clone().prop_map(|a| format!("({a} + 5m)")),
            inner.clone().prop_map(|a| format!("max_over_time(({a})[1h:5m] @ end() offset 1m)")),
            inner.prop_map(|a| format!("label_replace({a}, \"a\", \"$1\", \"b\", \"(.*)\")")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_survived(text in "\\PC*") {
        let _outcome = (parse(&text).map(|e| format(&e)), parse_selector(&text), parse_metric(&text));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _outcome = parse(&String::from_utf8_lossy(&bytes)).map_err(|e| (e.to_string(), e.caret()));
    }

    #[test]
    fn soups_are_survived_and_what_is_read_is_printed(text in soup()) {
        match parse(&text) {
            Err(e) => {
                prop_assert!(!e.message().is_empty() && e.span().start <= text.len() && e.span().end <= text.len());
            }
            Ok(expr) => {
                let printed = format(&expr);
                let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{text} -> {printed}: {e}")))?;
                prop_assert_eq!(bare(&again), bare(&expr), "{} -> {}", text, printed);
            }
        }
    }

    #[test]
    fn printing_loses_nothing(text in vector()) {
        let expr = parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        for printed in [format(&expr), format_pretty(&expr)] {
            let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{text} -> {printed}: {e}")))?;
            prop_assert_eq!(bare(&again), bare(&expr), "{} -> {}", text, printed);
        }
    }
}
