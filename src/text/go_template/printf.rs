//! Go's `fmt` verbs: what `print` and `printf` make of values.

use std::fmt::Write;

use super::value::Value;
use crate::text::quote::quote;

/// Widest padding and largest precision, so that `%999999999d` cannot eat memory. Go stops at a million.
const MAX_WIDTH: usize = 10_000;

/// Formats a float with Go's `e`, `f` or `g` (and `E`, `G`); without a precision in the shortest form that reads back
/// the same.
pub fn format_float(v: f64, verb: char, precision: Option<usize>) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match verb {
        'f' | 'F' => match precision {
            Some(p) => format!("{v:.p$}"),
            None => format!("{v}"),
        },
        'e' | 'E' => go_exponent(
            &match precision {
                Some(p) => format!("{v:.p$e}"),
                None => format!("{v:e}"),
            },
            verb,
        ),
        _ => general(v, verb, precision),
    }
}

/// `%g`: an exponent below 1e-4 and from the precision on (six digits' worth for the shortest form).
fn general(v: f64, verb: char, precision: Option<usize>) -> String {
    let scientific = match precision {
        Some(p) => format!("{v:.*e}", p.max(1) - 1),
        None => format!("{v:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0').len().max(1);
    let point = exponent + 1;
    let count = i32::try_from(digits).unwrap_or(i32::MAX);
    let limit = match precision {
        // The shortest form takes its exponent as if six digits were asked for.
        None => 6,
        Some(p) => {
            let p = i32::try_from(p.max(1)).unwrap_or(i32::MAX);
            if p > count && count >= point { count } else { p }
        }
    };
    if exponent < -4 || exponent >= limit {
        let text = match precision {
            Some(_) => format!("{v:.*e}", digits - 1),
            None => scientific,
        };
        go_exponent(&text, if verb == 'G' { 'E' } else { 'e' })
    } else {
        match precision {
            Some(_) => format!("{v:.*}", usize::try_from(count - point).unwrap_or(0)),
            None => format!("{v}"),
        }
    }
}

/// Gives an exponent its sign and two digits.
fn go_exponent(rust: &str, verb: char) -> String {
    let (mantissa, exponent) = rust.split_once('e').unwrap_or((rust, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(d) => ('-', d),
        None => ('+', exponent),
    };
    format!("{mantissa}{verb}{sign}{digits:0>2}")
}

/// `%v` of a value, the form that actions and `print` use.
pub fn format_value(value: &Value) -> String {
    let mut out = String::new();
    write_plain(&mut out, value, &Spec::new('v'));
    out
}

/// `fmt.Sprint`: a space between operands that are both no text.
pub(super) fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    let mut previous_text = true;
    for (i, arg) in args.iter().enumerate() {
        let text = arg.as_str().is_some();
        if i > 0 && !text && !previous_text {
            out.push(' ');
        }
        write_plain(&mut out, arg, &Spec::new('v'));
        previous_text = text;
    }
    out
}

/// `fmt.Sprintln`.
pub(super) fn sprintln(args: &[Value]) -> String {
    let mut out = args.iter().map(format_value).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// A verb with its flags.
#[derive(Clone, Default)]
struct Spec {
    verb: char,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    fn new(verb: char) -> Self {
        Spec { verb, ..Spec::default() }
    }
}

/// `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, args: &[Value]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars().peekable();
    let mut next_arg = 0;
    let mut reordered = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(&f) = chars.peek() {
            match f {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            chars.next();
        }
        let mut bad_index = false;
        index(&mut chars, &mut next_arg, args.len(), &mut reordered, &mut bad_index);
        if chars.peek() == Some(&'*') {
            chars.next();
            match take_int(args, &mut next_arg) {
                Some(w) => {
                    spec.minus |= w < 0;
                    spec.width = Some(usize::try_from(w.unsigned_abs()).unwrap_or(0).min(MAX_WIDTH));
                }
                None => out.push_str("%!(BADWIDTH)"),
            }
        } else {
            spec.width = digits(&mut chars);
        }
        if chars.peek() == Some(&'.') {
            chars.next();
            index(&mut chars, &mut next_arg, args.len(), &mut reordered, &mut bad_index);
            if chars.peek() == Some(&'*') {
                chars.next();
                match take_int(args, &mut next_arg).map(usize::try_from) {
                    Some(Ok(p)) => spec.precision = Some(p.min(MAX_WIDTH)),
                    _ => out.push_str("%!(BADPREC)"),
                }
            } else {
                spec.precision = Some(digits(&mut chars).unwrap_or(0));
            }
        }
        index(&mut chars, &mut next_arg, args.len(), &mut reordered, &mut bad_index);
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        spec.verb = verb;
        // Zeros pad on the left only.
        spec.zero &= !spec.minus;
        // `%+v` names the fields of structs; it is no sign.
        spec.plus &= verb != 'v';
        match (verb, args.get(next_arg)) {
            ('%', _) => out.push('%'),
            (v, _) if bad_index => {
                let _ok = write!(out, "%!{v}(BADINDEX)");
            }
            (v, None) => {
                let _ok = write!(out, "%!{v}(MISSING)");
            }
            (_, Some(arg)) => {
                next_arg += 1;
                write_arg(&mut out, arg, &spec);
            }
        }
    }
    if !reordered && next_arg < args.len() {
        out.push_str("%!(EXTRA ");
        for (i, arg) in args.iter().skip(next_arg).enumerate() {
            let _ok = write!(out, "{}{}={}", if i > 0 { ", " } else { "" }, arg.type_name(), format_value(arg));
        }
        out.push(')');
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads `[n]`, which chooses the next argument.
fn index(chars: &mut Chars<'_>, next_arg: &mut usize, count: usize, reordered: &mut bool, bad: &mut bool) {
    if chars.peek() != Some(&'[') {
        return;
    }
    chars.next();
    *reordered = true;
    let n = digits(chars);
    let closed = chars.next() == Some(']');
    match n {
        Some(n) if closed && n >= 1 && n <= count => *next_arg = n - 1,
        _ => *bad = true,
    }
}

fn digits(chars: &mut Chars<'_>) -> Option<usize> {
    let mut value = None;
    while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        value = Some((value.unwrap_or(0) * 10 + d as usize).min(MAX_WIDTH));
    }
    value
}

fn take_int(args: &[Value], next_arg: &mut usize) -> Option<i64> {
    let value = args.get(*next_arg);
    *next_arg += 1;
    match value {
        Some(Value::Int(i)) => Some(*i),
        _ => None,
    }
}

fn write_arg(out: &mut String, arg: &Value, spec: &Spec) {
    match spec.verb {
        'T' => pad(out, arg.type_name(), spec, false),
        _ => write_plain(out, arg, spec),
    }
}

/// Pads to the width, counted in characters.
fn pad(out: &mut String, text: &str, spec: &Spec, numeric: bool) {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        out.push_str(text);
    } else if spec.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if spec.zero && numeric {
        // Zeros go between the sign and the digits.
        let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
        out.push_str(text.get(..sign).unwrap_or(""));
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(text.get(sign..).unwrap_or(text));
    } else {
        let fill = if spec.zero { '0' } else { ' ' };
        out.extend(std::iter::repeat_n(fill, missing));
        out.push_str(text);
    }
}

/// `%!d(string=x)`.
fn bad_verb(out: &mut String, arg: &Value, verb: char) {
    if let Value::Nil = arg {
        let _ok = write!(out, "%!{verb}(<nil>)");
        return;
    }
    let _ok = write!(out, "%!{verb}({}={})", arg.type_name(), format_value(arg));
}

fn write_plain(out: &mut String, value: &Value, spec: &Spec) {
    match value {
        Value::Nil => match spec.verb {
            'v' => pad(out, "<nil>", spec, false),
            v => bad_verb(out, value, v),
        },
        Value::Bool(b) => match spec.verb {
            'v' | 't' => pad(out, if *b { "true" } else { "false" }, spec, false),
            v => bad_verb(out, value, v),
        },
        Value::Int(i) => integer(out, value, *i, spec),
        Value::Float(f) => float(out, value, *f, spec),
        Value::Str(s) | Value::Safe(_, s) => text(out, value, s, spec),
        Value::Duration(d) => match spec.verb {
            'v' | 's' | 'q' => text(out, value, &super::time::format_duration(*d), spec),
            _ => integer(out, value, *d, spec),
        },
        Value::Time(t) => text(out, value, &t.to_string(), spec),
        Value::Func(_) => pad(out, "func", spec, false),
        Value::List(_) | Value::Map(_) | Value::Object(_) => collection(out, value, spec),
    }
}

fn collection(out: &mut String, value: &Value, spec: &Spec) {
    if let Value::Object(o) = value
        && let Some(s) = o.text()
    {
        return text(out, value, &s, spec);
    }
    if let Some(items) = value.as_list() {
        out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            write_plain(out, item, spec);
        }
        out.push(']');
    } else if let Some(entries) = value.as_map() {
        out.push_str("map[");
        for (i, (k, v)) in entries.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            write_plain(out, &Value::str(k), spec);
            out.push(':');
            write_plain(out, v, spec);
        }
        out.push(']');
    } else {
        let _ok = write!(out, "{{{}}}", value.type_name());
    }
}

fn integer(out: &mut String, value: &Value, i: i64, spec: &Spec) {
    let magnitude = i.unsigned_abs();
    let (prefix, body) = match spec.verb {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => (if spec.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
        'o' => (if spec.sharp { "0" } else { "" }, format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => (if spec.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
        'X' => (if spec.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
        'c' | 'q' | 'U' => return rune(out, i, spec),
        v => return bad_verb(out, value, v),
    };
    let sign = if i < 0 {
        "-"
    } else if spec.plus {
        "+"
    } else if spec.space {
        " "
    } else {
        ""
    };
    let body = match spec.precision {
        Some(0) if magnitude == 0 => String::new(),
        Some(p) => format!("{body:0>p$}"),
        None => body,
    };
    // A precision switches zero padding off.
    let spec = Spec { zero: spec.zero && spec.precision.is_none(), ..spec.clone() };
    pad(out, &format!("{sign}{prefix}{body}"), &spec, true);
}

fn rune(out: &mut String, i: i64, spec: &Spec) {
    let c = u32::try_from(i).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let shown = match spec.verb {
        'c' => c.to_string(),
        'q' if c == '\'' => r"'\''".to_owned(),
        'q' => {
            let quoted = quote(&c.to_string());
            format!("'{}'", quoted.trim_matches('"').replace("\\\"", "\""))
        }
        _ if spec.sharp => format!("U+{i:04X} '{c}'"),
        _ => format!("U+{i:04X}"),
    };
    pad(out, &shown, spec, false);
}

fn float(out: &mut String, value: &Value, f: f64, spec: &Spec) {
    let shown = match spec.verb {
        'v' => format_float(f, 'g', spec.precision),
        'e' | 'E' | 'f' | 'F' => format_float(f, spec.verb, Some(spec.precision.unwrap_or(6))),
        'g' | 'G' => format_float(f, spec.verb, spec.precision),
        v => return bad_verb(out, value, v),
    };
    let shown = match shown.strip_prefix('+') {
        // Infinity has its sign whenever it is no number to pad.
        Some(rest) if !f.is_infinite() => rest.to_owned(),
        _ => shown,
    };
    let signed = if shown.starts_with(['-', '+']) {
        shown
    } else if spec.plus {
        format!("+{shown}")
    } else if spec.space {
        format!(" {shown}")
    } else {
        shown
    };
    let spec = Spec { zero: spec.zero && f.is_finite(), ..spec.clone() };
    pad(out, &signed, &spec, true);
}

fn text(out: &mut String, value: &Value, s: &str, spec: &Spec) {
    let cut = match spec.precision {
        Some(p) => s.char_indices().nth(p).and_then(|(i, _)| s.get(..i)).unwrap_or(s),
        None => s,
    };
    match spec.verb {
        'v' if spec.sharp => pad(out, &quote(cut), spec, false),
        'v' | 's' => pad(out, cut, spec, false),
        'q' if spec.sharp && !cut.contains('`') => pad(out, &format!("`{cut}`"), spec, false),
        'q' => pad(out, &quote(cut), spec, false),
        'x' | 'X' => {
            let mut hex = String::with_capacity(s.len() * 3);
            let bytes = s.as_bytes();
            let bytes = bytes.get(..spec.precision.unwrap_or(bytes.len())).unwrap_or(bytes);
            for (i, b) in bytes.iter().enumerate() {
                if spec.sharp && (i == 0 || spec.space) {
                    hex.push_str(if i > 0 { " 0x" } else { "0x" });
                } else if spec.space && i > 0 {
                    hex.push(' ');
                }
                let _ok = if spec.verb == 'x' { write!(hex, "{b:02x}") } else { write!(hex, "{b:02X}") };
            }
            pad(out, &hex, spec, false);
        }
        v => bad_verb(out, value, v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_in_go() {
        for (v, verb, precision, want) in [
            (1e6, 'g', None, "1e+06"),
            (123_456.0, 'g', None, "123456"),
            (1_234_567.0, 'g', None, "1.234567e+06"),
            (1234.5678, 'g', None, "1234.5678"),
            (0.0001, 'g', None, "0.0001"),
            (0.00001, 'g', None, "1e-05"),
            (1.60000000025e9, 'g', None, "1.60000000025e+09"),
            (1000.0, 'g', Some(4), "1000"),
            (999.99, 'g', Some(4), "1000"),
            (9999.9, 'g', Some(4), "1e+04"),
            (1.5, 'g', Some(4), "1.5"),
            (1234.5, 'g', Some(3), "1.23e+03"),
            (100000.0, 'g', Some(10), "100000"),
            (0.0, 'g', Some(4), "0"),
            (-0.0, 'g', None, "-0"),
            (2.5, 'f', Some(0), "2"),
            (1234.5678, 'e', Some(6), "1.234568e+03"),
            (1e100, 'E', Some(1), "1.0E+100"),
            (f64::NEG_INFINITY, 'f', Some(2), "-Inf"),
        ] {
            assert_eq!(format_float(v, verb, precision), want, "{v} %{verb} {precision:?}");
        }
    }

    #[test]
    fn verbs_as_in_go() {
        let int = Value::Int;
        let cases: Vec<(&str, Vec<Value>, &str)> = vec![
            ("%5d|%-5d|%05d|%+d|% d", vec![int(42), int(42), int(-42), int(1), int(1)], "   42|42   |-0042|+1| 1"),
            (
                "%x %X %#x %o %#o %b %c %U %q",
                (0..9).map(|_| int(65)).collect(),
                "41 41 0x41 101 0101 1000001 A U+0041 'A'",
            ),
            ("%.3d|%8.3d|", vec![int(7), int(7)], "007|     007|"),
            (
                "%08.3f|%+.1f|%6.1f|%-8.1f|",
                [3.14259, 1.25, 2.0, 2.0].map(Value::Float).to_vec(),
                "0003.143|+1.2|   2.0|2.0     |",
            ),
            ("%6.1f|%06.1f", vec![Value::Float(f64::NAN), Value::Float(f64::NAN)], "   NaN|   NaN"),
            (
                "%s %q %x %X % x %10s|%-4s|%.2s",
                vec![
                    "a".into(),
                    "b\"\n".into(),
                    "hi".into(),
                    "hi".into(),
                    "hi".into(),
                    "é".into(),
                    "é".into(),
                    "größe".into(),
                ],
                "a \"b\\\"\\n\" 6869 6869 68 69          é|é   |gr",
            ),
            ("%v %t %T %T", vec![Value::Bool(true), Value::Bool(false), int(1), "s".into()], "true false int string"),
            ("%d %t %z %s", vec!["x".into(), int(1), int(1), int(3)], "%!d(string=x) %!t(int=1) %!z(int=1) %!s(int=3)"),
            ("%+v %+v", vec![int(1), Value::Float(2.5)], "1 2.5"),
            ("%d", vec![], "%!d(MISSING)"),
            ("%", vec![], "%!(NOVERB)"),
            ("%d%%", vec![int(1), int(2)], "1%%!(EXTRA int=2)"),
            ("%[2]d %[1]d", vec![int(1), int(2)], "2 1"),
            ("%[3]d", vec![int(1)], "%!d(BADINDEX)"),
            ("%*d|%-*d|", vec![int(4), int(7), int(4), int(7)], "   7|7   |"),
            ("%v %q", vec![Value::strings(["a", "b"]), Value::strings(["a"])], "[a b] [\"a\"]"),
            ("%v %d", vec![Value::map([("k", int(1))]), Value::list(vec![int(1), int(2)])], "map[k:1] [1 2]"),
            ("%v %s", vec![Value::Nil, Value::Nil], "<nil> %!s(<nil>)"),
        ];
        for (format, args, want) in cases {
            assert_eq!(sprintf(format, &args), want, "{format}");
        }
        assert!(sprintf("%99999999999d", &[int(1)]).len() <= MAX_WIDTH);
        assert_eq!(sprint(&["a".into(), int(1), int(2), "b".into(), int(3)]), "a1 2b3");
    }
}
