//! Takes lines apart: the key of a skeleton, and the places of the variables. Nothing is lost: literals and variables one after
//! another are the line, whatever bytes it has.

use super::skeleton::{HOLE, Kind, VariableKind};
use super::{split_json, split_logfmt};
use crate::logs::tokens::{DIGIT, SEPARATOR, class};

/// More variables than this make a line not worth taking apart.
pub(super) const MAX_VARIABLES: usize = 256;

/// A variable's place in a text.
pub(super) type Span = (u32, u32);

/// A line taken apart; reused for many.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// See [`super::skeleton::Skeleton::from_key`].
    pub key: Vec<u8>,
    /// Start and end of each variable, from the start of the line.
    pub spans: Vec<Span>,
    /// Up to here the line is in `key` or `spans`.
    done: usize,
}

impl Split {
    pub fn begin(&mut self, kind: Kind) {
        self.key.clear();
        self.spans.clear();
        self.key.push(kind as u8);
        self.done = 0;
    }

    /// Everything before `start` that is not yet there is literal, then comes a variable.
    pub fn variable(&mut self, line: &[u8], start: usize, end: usize, kind: VariableKind) {
        self.key.extend_from_slice(line.get(self.done..start).unwrap_or_default());
        self.key.extend([HOLE, kind as u8]);
        self.spans.push((start as u32, end as u32));
        self.done = end;
    }

    /// The rest is literal.
    pub fn end(&mut self, line: &[u8]) {
        self.key.extend_from_slice(line.get(self.done..).unwrap_or_default());
        self.done = line.len();
    }
}

/// Takes a line apart in the way that suits it.
pub(super) fn split_line(line: &str, out: &mut Split) {
    let bytes = line.as_bytes();
    if bytes.trim_ascii_start().first() == Some(&b'{') && split_json::split(bytes, out) {
        return;
    }
    if split_logfmt::split(bytes, out) {
        return;
    }
    split_text(bytes, out);
}

/// Takes a line apart in the way that suits it, if that gives this key, which another line has; `false` if it gives another, and then
/// `out` holds nothing of use. Most lines are like one just before them, and comparing costs less than finding out.
pub(super) fn split_like(key: &[u8], line: &[u8], out: &mut Split) -> bool {
    let Some((kind, mut rest)) = key.split_first() else { return false };
    let kind = *kind;
    if kind == Kind::Raw as u8 {
        return false;
    }
    out.spans.clear();
    let mut at = 0;
    while let Some(hole) = memchr::memchr(HOLE, rest) {
        let (Some(literal), Some(variable)) = (rest.get(..hole), rest.get(hole + 1)) else { return false };
        if !line.get(at..).is_some_and(|l| l.starts_with(literal)) {
            return false;
        }
        at += literal.len();
        let end = VariableKind::from_byte(*variable).and_then(|variable| match variable {
            VariableKind::Token => end_of_token(line, at),
            VariableKind::JsonString | VariableKind::JsonNumber | VariableKind::JsonArray => {
                split_json::end_of(line, at, variable)
            }
            VariableKind::LogfmtBare | VariableKind::LogfmtQuoted => split_logfmt::end_of(line, at, variable),
            VariableKind::Line => None,
        });
        let Some(end) = end else { return false };
        out.spans.push((at as u32, end as u32));
        at = end;
        rest = rest.get(hole + 2..).unwrap_or_default();
    }
    // A text could be something better.
    line.get(at..) == Some(rest)
        && (kind != Kind::Text as u8 || line.trim_ascii_start().first() != Some(&b'{') && !split_logfmt::may_be(line))
}

/// Where the token with a digit ends that begins at `at`; `None` if there is none.
fn end_of_token(line: &[u8], at: usize) -> Option<usize> {
    let mut seen = 0;
    let mut end = at;
    for b in line.get(at..)? {
        let c = class(*b);
        if c == SEPARATOR {
            break;
        }
        seen |= c;
        end += 1;
    }
    (seen & DIGIT != 0).then_some(end)
}

/// Tokens with a digit are variables.
pub(super) fn split_text(line: &[u8], out: &mut Split) {
    out.begin(Kind::Text);
    let mut at = 0;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(skipped) = rest.iter().position(|b| class(*b) != SEPARATOR) else { break };
        let start = at + skipped;
        let mut seen = 0;
        at = start;
        for b in line.get(start..).unwrap_or_default() {
            let c = class(*b);
            if c == SEPARATOR {
                break;
            }
            seen |= c;
            at += 1;
        }
        if seen & DIGIT != 0 {
            if out.spans.len() == MAX_VARIABLES {
                return split_raw(line, out);
            }
            out.variable(line, start, at, VariableKind::Token);
        }
    }
    out.end(line);
}

/// The whole line is one variable.
pub(super) fn split_raw(line: &[u8], out: &mut Split) {
    out.begin(Kind::Raw);
    out.variable(line, 0, line.len(), VariableKind::Line);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::skeleton::Skeleton;
    use super::*;

    pub fn shown(line: &str) -> (Kind, String) {
        let mut split = Split::default();
        split_line(line, &mut split);
        let skeleton = Skeleton::from_key(&split.key).unwrap();
        assert_eq!(skeleton.variables().len(), split.spans.len());
        let mut back = String::new();
        skeleton
            .fill(&mut back, |i, out| {
                let (start, end) = split.spans[i];
                out.push_str(line.get(start as usize..end as usize).unwrap());
                Ok::<_, ()>(())
            })
            .unwrap();
        assert_eq!(back, line);
        let mut shape = String::new();
        skeleton
            .fill(&mut shape, |_, out| {
                out.push('#');
                Ok::<_, ()>(())
            })
            .unwrap();
        (skeleton.kind(), shape)
    }

    #[test]
    fn shapes() {
        for (line, kind, shape) in [
            ("", Kind::Text, ""),
            ("GET /a1?x=7 HTTP/1.1\" 200", Kind::Text, "GET /#?x=# HTTP/#.#\" #"),
            ("a1", Kind::Text, "#"),
            ("a1 ", Kind::Text, "# "),
            ("ünï7 x", Kind::Text, "# x"),
            ("x 7 b", Kind::Text, "x # b"),
            (
                r#"{"a":"x","b":-1.5e3, "c":[1,{"d":2}],"e":{"f":null,"g":true}}"#,
                Kind::Json,
                r##"{"a":"#","b":#, "c":#,"e":{"f":null,"g":true}}"##,
            ),
            (" {} \r\n", Kind::Json, " {} \r\n"),
            (r#"{"a":"\"\u00e4","":""}"#, Kind::Json, r##"{"a":"#","":"#"}"##),
            (r#"{"a":01}"#, Kind::Text, r##"{"a":#}"##),
            (r#"{"a":"x"} trailing"#, Kind::Text, r#"{"a":"x"} trailing"#),
            (r#"level=info msg="a b\"c" n= done x.y=1"#, Kind::Logfmt, r##"level=# msg="#" n=# done x.y=#"##),
            ("a=b c=\"d\"e", Kind::Text, "a=b c=\"d\"e"),
            ("x=1 [12]", Kind::Text, "x=# [#]"),
        ] {
            assert_eq!(shown(line), (kind, shape.to_owned()), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn nothing_is_lost(line in prop_oneof![
            "[a1 =\"\\\\{}:,\\[\\]ü\n.-]{0,40}",
            ".{0,60}",
            "\\{(\"[a-c1]\":([0-9.e-]{1,4}|\"[^\"\\\\]{0,5}\"|\\[[0-9,]{0,4}\\]|null),?){0,4}\\}",
            "([a-z1]{1,4}=([a-z0-9=]{0,4}|\"[^\"]{0,5}\") ?){0,4}",
        ]) {
            shown(&line);
        }

        #[test]
        fn lines_are_like_another_if_their_keys_are_the_same(a in kin(), b in kin()) {
            let (mut first, mut second, mut like) = (Split::default(), Split::default(), Split::default());
            split_line(&a, &mut first);
            split_line(&b, &mut second);
            let same = first.key == second.key;
            if split_like(&first.key, b.as_bytes(), &mut like) {
                prop_assert!(same, "{} {}", a, b);
                prop_assert_eq!(like.spans, second.spans);
            } else {
                prop_assert!(!same || first.key[0] == Kind::Text as u8, "{} {}", a, b);
            }
        }
    }

    /// Lines of few shapes, and some that nearly have one of them.
    fn kin() -> impl Strategy<Value = String> {
        let value = || {
            prop::sample::select(vec![
                "a",
                "a1",
                "1",
                "-1.5",
                "01",
                "x y",
                "\\\"q\\u00e4",
                "ü7",
                "[1,[2]]",
                "",
                "\\",
                "\"",
                "=",
            ])
        };
        let form = prop::sample::select(vec![
            "{\"a\":\"#\",\"b\":#}",
            "{\"a\": #} ",
            "a=# b=\"#\"",
            "a=#",
            "GET /# x=# #",
            "# #",
            "#",
        ]);
        (form, prop::collection::vec(value(), 3)).prop_map(|(form, values)| {
            let mut line = String::new();
            let mut parts = form.split('#');
            line.push_str(parts.next().unwrap_or_default());
            for (part, value) in parts.zip(values) {
                line.push_str(value);
                line.push_str(part);
            }
            line
        })
    }
}
