//! Table tests: what Go matches, what it refuses and in which words.

use super::*;

#[test]
fn anchored_matches_as_go() {
    // (pattern, text, whether it matches)
    let cases: &[(&str, &str, bool)] = &[
        // Perl classes and word edges are ASCII.
        (r"\d+", "42", true),
        (r"\d+", "٤٢", false),
        (r"\w+", "aZ_9", true),
        (r"\w+", "é", false),
        (r"\W", "é", true),
        (r"\s", "\u{a0}", false),
        (r"\s", "\x0b", false),
        (r"[\s]", " ", true),
        (r"\S", "\u{a0}", true),
        (r"[\D]", "٤", true),
        (r"[^\W]", "é", false),
        (r"[^\W]", "e", true),
        (r".*\bé.*", "é", false),
        (r"a\bé", "aé", true),
        (r"é\Bé", "éé", true),
        // Operators of the crate that are literals in Go.
        (r"[a&&b]+", "a&b", true),
        (r"[!--b]", "#", true),
        (r"[+--]", ",", true),
        (r"[a~~b]+", "~ab", true),
        (r"[[a]+", "[a[", true),
        (r"[a[b]", "[", true),
        (r"[a[:b]", ":", true),
        (r"[\w-,]+", "a-,", true),
        (r"[]a]+", "]a", true),
        (r"[^]a]", "b", true),
        (r"[a-]+", "-a", true),
        (r"[#x ]+", "# x", true),
        // Braces that repeat nothing.
        ("/{id}", "/{id}", true),
        ("a{,2}", "a{,2}", true),
        ("a{02}", "a{02}", true),
        ("{", "{", true),
        ("}", "}", true),
        ("x{2,3}", "xxx", true),
        ("x{2,}", "x", false),
        ("(ab){0}", "", true),
        // Escapes.
        (r"\<a\>", "<a>", true),
        (r"\Qa.b*\E+", "a.b**", true),
        (r"\Qa.b", "a.b", true),
        (r"\Q\E", "", true),
        (r"\x41\x{1F514}\101\0", "A🔔A\0", true),
        (r"\/\-\_\#\ \%", "/-_# %", true),
        (r"\a\f\n\r\t\v", "\x07\x0c\n\r\t\x0b", true),
        (r"\x{D800}", "x", false),
        (r"[\x{D800}a]", "a", true),
        (r"[^\x{D800}]", "a", true),
        (r"\b{start}", "{start}", false),
        (r"\z", "", true),
        (r"a\z", "a", true),
        // Unicode and POSIX classes.
        (r"\pN", "٤", true),
        (r"\PN", "a", true),
        (r"\p{Greek}+", "αβ", true),
        (r"\p{^Greek}", "a", true),
        (r"\P{^Greek}", "α", true),
        (r"[\p{Lu}x]+", "ÉxA", true),
        (r"[[:alpha:]_]+", "ab_", true),
        (r"[[:^alpha:]]", "é", true),
        (r"[[:word:]]+", "a_1", true),
        // Groups and flags.
        (r"(?P<n>a)(?<m>b)(?P<1x>c)", "abc", true),
        (r"(?i)straße|K", "STRAßE", true),
        (r"(?i:a)b", "Ab", true),
        (r"(?i:a)b", "AB", false),
        (r"(?i)\w", "ſ", true),
        (r"(?-s).", "\n", false),
        (r"(?i-s:a.)", "A\n", false),
        (r"a.b", "a\nb", true),
        (r"(?m)a$\n^b", "a\nb", true),
        (r"a$\nb", "a\nb", false),
        (r"(?U)a+", "aa", true),
        (r"(?ii)A", "a", true),
        (r"^a$", "a", true),
        (r"^a|b$", "b", true),
        (r"^*a", "a", true),
        (r"||a", "", true),
        (r"()a", "a", true),
        ("größe.*", "größe und", true),
        ("", "", true),
        ("", "a", false),
    ];
    for (pattern, text, want) in cases {
        let re = GoRegex::anchored(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(re.is_match(text), *want, "{pattern} on {text:?}");
        assert_eq!(re.regex().is_match(text), *want, "automaton of {pattern} on {text:?}");
    }
}

#[test]
fn refusals_in_gos_words() {
    let cases: &[(&str, &str)] = &[
        ("(abc", "missing closing ): `(abc`"),
        ("a)|(b", "unexpected ): `a)|(b`"),
        ("x[a-z", "missing closing ]: `[a-z`"),
        ("[", "missing closing ]: `[`"),
        ("[]", "missing closing ]: `[]`"),
        ("[a--b]", "invalid character class range: `a--`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        (r"abc\", "trailing backslash at end of expression: ``"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a??+", "invalid nested repetition operator: `??+`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\xg0", r"invalid escape sequence: `\xg`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<a b>x)", "invalid named capture: `(?P<a b>`"),
        ("(?P<n>a)(?P<n>b)", "invalid named capture: `(?P<n>`"),
    ];
    for (pattern, want) in cases {
        for made in [GoRegex::anchored(pattern), GoRegex::unanchored(pattern)] {
            let e = made.err().unwrap_or_else(|| panic!("{pattern} is accepted"));
            assert_eq!(e.to_string(), format!("error parsing regexp: {want}"), "{pattern}");
        }
    }
    let deep = format!("{}a{}", "(".repeat(400), ")".repeat(400));
    let e = GoRegex::anchored(&deep).unwrap_err().to_string();
    assert!(e.starts_with("error parsing regexp: expression nests too deeply"), "{e}");
    let big = r"(?:[\pL\pN]{100}|[\pM\pS]{90}){9}".repeat(40);
    let e = GoRegex::anchored(&big).unwrap_err().to_string();
    assert!(e.starts_with("error parsing regexp: expression too large"), "{}", e.len());
}

#[test]
fn finds_exact_alternatives() {
    let cases: &[(&str, Option<&[&str]>)] = &[
        ("a|b|c", Some(&["a", "b", "c"])),
        ("foo|foobar|fob", Some(&["fob", "foo", "foobar"])),
        ("(a|b)c", Some(&["ac", "bc"])),
        ("web-[12]", Some(&["web-1", "web-2"])),
        ("(?:x|yz?)", Some(&["x", "y", "yz"])),
        ("^up$", Some(&["up"])),
        (r"10\.0\.0\.1:9100|h2", Some(&["10.0.0.1:9100", "h2"])),
        ("", Some(&[""])),
        ("a|", Some(&["", "a"])),
        ("(?i)a|b", None),
        ("a.*", None),
        ("[a-z]", None),
        (r"a\b", None),
        ("a{3}b|c+", None),
    ];
    for (pattern, want) in cases {
        let re = GoRegex::anchored(pattern).unwrap();
        let want = want.map(|w| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(re.exact_alternatives().map(<[String]>::to_vec), want, "{pattern}");
        assert_eq!(GoRegex::unanchored(pattern).unwrap().exact_alternatives(), None, "{pattern}");
    }
    let long = (0..3000).map(|i| format!("host-{i}")).collect::<Vec<_>>().join("|");
    let re = GoRegex::anchored(&long).unwrap();
    assert_eq!(re.exact_alternatives().map(<[String]>::len), Some(3000));
    assert!(re.is_match("host-2999") && !re.is_match("host-3000"));
}

#[test]
fn finds_prefixes_and_required_literals() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("web-.*", "web-", Some("web-")),
        (".*error.*at", "", Some("error")),
        ("(prod|prep)-x", "pr", Some("-x")),
        ("(ab)+c", "ab", Some("ab")),
        ("(?i)abc", "", None),
        ("^api/v1", "api/v1", Some("api/v1")),
        ("a?b", "", Some("b")),
    ];
    for (pattern, prefix, required) in cases {
        let re = GoRegex::anchored(pattern).unwrap();
        assert_eq!((re.literal_prefix(), re.required_literal()), (*prefix, *required), "{pattern}");
    }
    let re = GoRegex::unanchored("web-.*x").unwrap();
    assert_eq!((re.literal_prefix(), re.required_literal()), ("", Some("web-")));
    assert_eq!(GoRegex::unanchored("^web").unwrap().literal_prefix(), "web");
}

#[test]
fn fast_paths_agree_with_the_automaton() {
    let patterns = [
        ".*",
        ".+",
        "",
        "a",
        "a|b|ab",
        "a.*",
        "a.+",
        ".*a",
        ".+a",
        ".*a.*",
        "a.*a",
        "a.+a",
        ".*(a|b)",
        "(?-s)a.*",
        "(?-s).*",
        "^a",
        "a$",
        "^a$",
        "^",
        "$",
        "(a)",
        "(.*)",
        ".*?b",
        "(?i)a.*",
        "ab.*ab",
        "a\nb|.*\n",
        "a{2}.*",
    ];
    let texts =
        ["", "a", "b", "ab", "aa", "aab", "ba", "xax", "A", "a\n", "\na", "a\nb", "\n", "aba", "abab", "é", "ébé"];
    for pattern in patterns {
        for re in [GoRegex::anchored(pattern).unwrap(), GoRegex::unanchored(pattern).unwrap()] {
            for text in texts {
                assert_eq!(re.is_match(text), re.regex().is_match(text), "{pattern} on {text:?}: {re:?}");
            }
        }
    }
}

#[test]
fn keeps_the_users_capture_names() {
    let re = GoRegex::unanchored(r"(?P<ip>\S+) (x) (?<9n>\d+)").unwrap();
    assert_eq!(re.capture_names(), [Some("ip".to_owned()), None, Some("9n".to_owned())]);
    let c = re.regex().captures("h x 7").unwrap();
    assert_eq!((&c[1], &c[3], &c["ip"]), ("h", "7", "h"));
}

#[test]
fn finds_texts_that_an_unanchored_regex_looks_for() {
    let texts = |t: &[&str]| Some(t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    for (pattern, want) in [
        ("HTTP/1.1\" 50[0-2]".replace("1.1", "1\\.1"), texts(&["HTTP/1.1\" 500", "HTTP/1.1\" 501", "HTTP/1.1\" 502"])),
        ("error|warn".to_owned(), texts(&["error", "warn"])),
        ("(a|b)c?d".to_owned(), texts(&["acd", "ad", "bcd", "bd"])),
        ("a?".to_owned(), None),
        ("^a".to_owned(), None),
        ("a.b".to_owned(), None),
        ("(?i)ab".to_owned(), None),
        ("[0-9][0-9]".to_owned(), None),
        (r"\bfoo".to_owned(), None),
    ] {
        let found = GoRegex::unanchored(&pattern).unwrap().contained_alternatives().map(|f| {
            let mut f = f.to_vec();
            f.sort();
            f
        });
        assert_eq!(found, want, "{pattern}");
        assert_eq!(GoRegex::anchored(&pattern).unwrap().contained_alternatives(), None, "{pattern}");
    }
}
