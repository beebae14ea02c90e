//! Table tests of the language; the functions of Prometheus and Alertmanager have recorded cases of their own.

use std::sync::Arc;
use std::time::Duration;

use super::*;

fn data() -> Value {
    Value::map([
        ("s", Value::str("web")),
        ("i", Value::Int(7)),
        ("f", Value::Float(1.5)),
        ("list", Value::strings(["a", "b", "c"])),
        ("labels", Value::text_map([("job", "x"), ("inst", "h1")])),
        ("nested", Value::map([("t", Value::Time(GoTime::from_unix(1_600_000_000, 0)))])),
        ("nil", Value::Nil),
    ])
}

fn run(text: &str, options: &Options) -> Result<String, TemplateError> {
    let mut funcs = FuncMap::new();
    funcs.insert("up".to_owned(), Func::new(|a| Ok(a[0].as_str().unwrap_or("?").to_uppercase().into())));
    funcs.insert("fail".to_owned(), Func::new(|_| Err("broken".to_owned())));
    funcs.insert("safe".to_owned(), Func::new(|a| Ok(Value::Safe(Safe::Html, Arc::from(a[0].as_str().unwrap_or(""))))));
    Template::parse("t", text, &funcs)?.execute(&data(), &funcs, options)
}

#[test]
fn executes_as_go() {
    let zero = Options { missing_key: MissingKey::Zero, ..Options::default() };
    for (text, want) in [
        ("plain { } }} text", "plain { } }} text"),
        ("{{.s}} {{ .i }} {{ .f }} {{ .list }} {{ .labels }}", "web 7 1.5 [a b c] map[inst:h1 job:x]"),
        ("a {{- .i -}} b", "a7b"),
        ("a{{/* c */}}b{{- /* d */ -}} c", "abc"),
        ("{{ .labels.job }}[{{ .labels.zz }}]{{ .nope }}", "x[]<no value>"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }}", "2"),
        ("{{ range $i, $e := .list }}{{ $i }}{{ $e }}{{ . }},{{ end }}", "0aa,1bb,2cc,"),
        ("{{ range $k, $v := .labels }}{{ $k }}={{ $v }};{{ end }}", "inst=h1;job=x;"),
        ("{{ range .list }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
        ("{{ range .list }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ range 3 }}{{ . }}{{ end }}{{ range .nil }}x{{ else }}none{{ end }}", "012none"),
        ("{{ $c := 0 }}{{ range $c = .list }}{{ end }}{{ $c }}", "c"),
        ("{{ if .nil }}a{{ else if .i }}b{{ else }}c{{ end }}", "b"),
        ("{{ with .nil }}a{{ else with .s }}{{ . }}{{ end }}{{ with $v := .i }}{{ $v }}{{ end }}", "web7"),
        ("{{ define \"d\" }}<{{ . }}>{{ end }}{{ template \"d\" .s }}{{ template \"d\" }}", "<web><<no value>>"),
        ("{{ block \"b\" .i }}[{{ . }}]{{ end }}", "[7]"),
        ("{{ .s | up | printf \"%s-%s\" .labels.job }}", "x-WEB"),
        ("{{ (index .list 1) }} {{ index .labels \"job\" }} {{ slice .s 1 }} {{ len .list }}", "b x eb 3"),
        ("{{ and 1 0 2 }} {{ or 0 \"\" \"d\" }} {{ not .nil }} {{ and .nil (fail) }}", "0 d true <no value>"),
        ("{{ eq .i 1 7 }} {{ ne .s \"web\" }} {{ lt 1 2 }} {{ ge 2.5 2.5 }}", "true false true true"),
        ("{{ .nested.t.Year }} {{ (.nested.t).Format \"2006\" }} {{ (.nested.t.Sub .nested.t).Hours }}", "2020 2020 0"),
        (
            "{{ print 1 2 \"x\" 3 }}|{{ println \"a\" 1 }}|{{ 'x' }} {{ 0x1F }} {{ 1_0 }} {{ 017 }}",
            "1 2x3|a 1\n|120 31 10 15",
        ),
        ("{{ html \"<a&b>\" }} {{ js \"it's\" }} {{ urlquery \"a b&\" }}", "&lt;a&amp;b&gt; it\\'s a+b%26"),
        ("{{ \"a\\tb\" }}{{ `c\\n` }}", "a\tbc\\n"),
        ("{{ true }}{{\n.i\n}}", "true7"),
        ("{{ $.s }}{{ range .list }}{{ $.i }}{{ end }}", "web777"),
    ] {
        assert_eq!(run(text, &zero).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn refuses_and_fails_in_gos_words() {
    for (text, want) in [
        ("a\n{{ nope }}", "template: t:2: function \"nope\" not defined"),
        ("{{ if }}{{ end }}", "template: t:1: missing value for if"),
        ("{{ if 1 }}", "template: t:1: unexpected EOF"),
        ("{{ end }}", "template: t:1: unexpected {{end}}"),
        ("{{ else }}", "template: t:1: unexpected {{else}}"),
        ("{{ \"x }}", "template: t:1: unterminated quoted string"),
        ("{{ `x }}", "template: t:1: unterminated raw quoted string"),
        ("{{ | up }}", "template: t:1: unexpected \"|\" in command"),
        ("{{ 1 | 2 }}", "template: t:1: non executable command in pipeline stage 2"),
        ("{{ template }}", "template: t:1: unexpected \"}}\" in template clause"),
        ("{{ (1 }}", "template: t:1: unclosed left paren"),
        ("{{ 1) }}", "template: t:1: unexpected right paren"),
        ("{{ break }}", "template: t:1: {{break}} outside {{range}}"),
        ("{{/* x", "template: t:1: unclosed comment"),
        ("{{ .1a }}", "template: t:1: bad number syntax: \".1a\""),
        ("{{ 08 }}", "template: t:1: integer overflow: \"08\""),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "template: t:1: expected end; found {{else}}"),
        ("{{ @ }}", "template: t:1: unexpected \"@\" in command"),
        ("{{ .s", "template: t:1: unclosed action"),
        ("{{ $x }}", "template: t:1: undefined variable \"$x\""),
        (
            "{{ define \"a\" }}x{{ end }}{{ define \"a\" }}y{{ end }}",
            "template: t:1: template: multiple definition of template \"a\"",
        ),
        ("a\nbc{{ .s.x }}", "template: t:2:5: executing \"t\" at <.s.x>: can't evaluate field x in type string"),
        ("{{ nil }}", "template: t:1:3: executing \"t\" at <nil>: nil is not a command"),
        ("{{ fail 1 }}", "template: t:1:3: executing \"t\" at <fail 1>: error calling fail: broken"),
        (
            "{{ index .list 9 }}",
            "template: t:1:3: executing \"t\" at <index .list 9>: error calling index: index out of range: 9",
        ),
        (
            "{{ eq .f 1 }}",
            "template: t:1:3: executing \"t\" at <eq .f 1>: error calling eq: incompatible types for comparison: float64 and int",
        ),
        (
            "{{ template \"x\" .s }}",
            "template: t:1:3: executing \"t\" at <{{template \"x\" .s}}>: template \"x\" not defined",
        ),
        ("{{ range .f }}{{ end }}", "template: t:1:9: executing \"t\" at <.f>: range can't iterate over 1.5"),
        ("{{ .s 1 }}", "template: t:1:3: executing \"t\" at <.s>: s has arguments but cannot be invoked as function"),
        ("{{ 1 2 }}", "template: t:1:3: executing \"t\" at <1>: can't give argument to non-function 1"),
    ] {
        assert_eq!(run(text, &Options::default()).map_err(|e| e.to_string()), Err(want.to_owned()), "{text}");
    }
    let strict = Options { missing_key: MissingKey::Error, ..Options::default() };
    assert!(run("{{ .zz }}", &strict).unwrap_err().message.ends_with("map has no entry for key \"zz\""));
}

#[test]
fn is_bounded() {
    let limits = Limits { steps: 5000, output_bytes: 1000, time: Duration::from_secs(5) };
    let options = Options { limits, ..Options::default() };
    for (text, want) in [
        (
            "{{ range 100 }}{{ range 100 }}{{ end }}{{ $x := 1 }}{{ range 1000 }}{{ $x = 2 }}{{ end }}{{ end }}",
            "more than 5000 steps",
        ),
        ("{{ range 1000 }}0123456789{{ end }}", "output over 1000 bytes"),
        ("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}", "exceeded maximum template depth"),
    ] {
        let e = run(text, &options).unwrap_err().to_string();
        assert!(e.contains(want), "{text}: {e}");
    }
    for deep in [
        format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500)),
        format!("{}{}", "{{ if 1 }}".repeat(500), "{{ end }}".repeat(500)),
        format!("{{{{ if 1 }}}}{}{{{{ end }}}}", "{{ else if 1 }}".repeat(500)),
    ] {
        assert!(run(&deep, &options).unwrap_err().message.contains("nested deeper than 128"));
    }
    let nested = format!("{}{}", "{{ if 1 }}".repeat(100), "{{ end }}".repeat(100));
    let recursive = format!(
        "{{{{ define \"r\" }}}}{nested}{{{{ template \"r\" }}}}{{{{ end }}}}{}{{{{ template \"r\" }}}}{}",
        "{{ if 1 }}".repeat(100),
        "{{ end }}".repeat(100)
    );
    assert!(run(&recursive, &Options::default()).is_err());
}

#[test]
fn escapes_html_by_context() {
    let options = Options { html: true, ..Options::default() };
    for (text, want) in [
        ("<p>{{ \"a<b>&+'\" }}</p>", "<p>a&lt;b&gt;&amp;&#43;&#39;</p>"),
        ("<p>{{ safe \"<b>x</b>\" }}</p>{{ .nil }}", "<p><b>x</b></p>"),
        ("<i title=\"{{ \"a\\\"b\" }}\">", "<i title=\"a&#34;b\">"),
        ("<a href=\"{{ \"https://x/?a=1&b=<2>\" }}\">", "<a href=\"https://x/?a=1&amp;b=%3c2%3e\">"),
        ("<a href=\"/q?x={{ \"a/b&c\" }}\">", "<a href=\"/q?x=a%2fb%26c\">"),
        ("<a href='{{ \"javascript:alert(1)\" }}'>", "<a href='#ZgotmplZ'>"),
        ("<a class={{ \"a b\" }}>", "<a class=a&#32;b>"),
        (
            "<script>var a = {{ \"</script>\" }}, b = {{ 1 }}, c = '{{ \"it's\" }}';</script>{{ \"<\" }}",
            "<script>var a = \"\\u003c/script\\u003e\", b =  1 , c = 'it\\u0027s';</script>&lt;",
        ),
        ("<p style=\"color: {{ \"red\" }}; x: {{ \"expression(1)\" }}\">", "<p style=\"color: red; x: ZgotmplZ\">"),
        ("a<!-- {{ \"hidden\" }} -->b < {{ \"c\" }}", "ab < c"),
        ("<div onclick=\"f({{ \"x'\" }})\">{{ \"<\" }}", "<div onclick=\"f(&#34;x&#39;&#34;)\">&lt;"),
        ("<{{ \"b\" }}>", "<b>"),
    ] {
        assert_eq!(run(text, &options).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn files_of_a_set_override_and_add() {
    let funcs = FuncMap::new();
    let mut set = Template::empty("");
    set.add("a.tmpl", "{{ define \"x\" }}one{{ end }}{{ define \"y\" }}{{ template \"x\" }}!{{ end }}", &funcs)
        .unwrap();
    set.add("b.tmpl", "{{ define \"x\" }}two{{ end }}{{ define \"y\" }}  {{ end }}", &funcs).unwrap();
    let mut copy = set.clone();
    copy.add("", "{{ template \"y\" }}", &funcs).unwrap();
    assert_eq!(copy.execute(&Value::Nil, &funcs, &Options::default()).as_deref(), Ok("two!"));
    assert!(set.defines("x") && set.execute_named("x", &Value::Nil, &funcs, &Options::default()).is_ok());
    assert!(set.execute(&Value::Nil, &funcs, &Options::default()).is_err());
}
