//! The printer of LogQL, in the spelling of Loki's own: a query that fits a line stays in one, a longer one is broken up.

use crate::logql::ast::{
    Binary, Conversion, Expr, Extraction, Grouping, LabelFilter, LabelFormatSource, LineFilter, LogExpr, MetricExpr,
    MetricKind, NamedMatcher, RangeAggregation, Stage, StageKind, Unwrap, Variants, VectorOp,
};
use crate::model::Matcher;
use crate::model::sample::format_value;
use crate::promql::ast::Cardinality;
use crate::promql::lex::operator_text;
use crate::text::duration::format_ms;
use crate::text::go_template::time::format_duration;
use crate::text::quote::quote;

/// Longer expressions are broken up.
const MAX_LINE_CHARS: usize = 100;

/// Prints a query, broken into lines where it is long.
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(l) => pretty_log(l, 0),
        Expr::Metric(m) => pretty_metric(m, 0),
    }
}

/// Prints a query in one line.
pub fn one_line(expr: &Expr) -> String {
    match expr {
        Expr::Log(l) => log(l),
        Expr::Metric(m) => metric(m),
    }
}

fn join<T>(items: &[T], separator: &str, text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(separator)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn matcher(m: &Matcher) -> String {
    format!("{}{}{}", m.name(), m.op().as_str(), quote(m.value()))
}

fn selector(l: &LogExpr) -> String {
    format!("{{{}}}", join(&l.matchers, ", ", matcher))
}

fn log(l: &LogExpr) -> String {
    let mut out = selector(l);
    for s in &l.stages {
        out.push(' ');
        out.push_str(&stage(s));
    }
    out
}

fn extractions(list: &[Extraction]) -> String {
    if list.is_empty() {
        return String::new();
    }
    format!(" {}", join(list, ",", |e| format!("{}={}", e.label, quote(&e.expression))))
}

fn named(list: &[NamedMatcher]) -> String {
    join(list, ",", |m| match m {
        NamedMatcher::Name(n) => n.clone(),
        NamedMatcher::Matcher(m) => matcher(m),
    })
}

fn line_filter(f: &LineFilter) -> String {
    let terms = join(&f.terms, " or ", |t| if t.is_ip { format!("ip({})", quote(&t.text)) } else { quote(&t.text) });
    format!("{} {terms}", f.op.as_str())
}

fn stage(s: &Stage) -> String {
    match &s.kind {
        StageKind::LineFilter(f) => line_filter(f),
        StageKind::Json(e) => format!("| json{}", extractions(e)),
        StageKind::Logfmt { strict, keep_empty, extractions: e } => format!(
            "| logfmt{}{}{}",
            if *strict { " --strict" } else { "" },
            if *keep_empty { " --keep-empty" } else { "" },
            extractions(e)
        ),
        StageKind::Regexp(text) => format!("| regexp {}", quote(text)),
        StageKind::Pattern(text) => format!("| pattern {}", quote(text)),
        StageKind::Unpack => "| unpack".to_owned(),
        StageKind::Decolorize => "| decolorize".to_owned(),
        StageKind::LabelFilter(f) => format!("| {}", label_filter(f)),
        StageKind::LineFormat(text) => format!("| line_format {}", quote(text)),
        StageKind::LabelFormat(list) => format!(
            "| label_format {}",
            join(list, ",", |f| match &f.source {
                LabelFormatSource::Rename(from) => format!("{}={from}", f.label),
                LabelFormatSource::Template(t) => format!("{}={}", f.label, quote(t)),
            })
        ),
        StageKind::Drop(list) => format!("| drop {}", named(list)),
        StageKind::Keep(list) => format!("| keep {}", named(list)),
    }
}

fn label_filter(f: &LabelFilter) -> String {
    match f {
        LabelFilter::And(a, b) => format!("( {} , {} )", label_filter(a), label_filter(b)),
        LabelFilter::Or(a, b) => format!("( {} or {} )", label_filter(a), label_filter(b)),
        LabelFilter::Text(m) => matcher(m),
        LabelFilter::Number { label, op, value } => format!("{label}{}{}", op.as_str(), format_value(*value)),
        LabelFilter::Duration { label, op, nanos } => format!("{label}{}{}", op.as_str(), format_duration(*nanos)),
        LabelFilter::Bytes { label, op, bytes } => format!("{label}{}{}", op.as_str(), size(*bytes)),
        LabelFilter::Ip { label, negative, pattern } => {
            format!("{label}{}ip({})", if *negative { "!=" } else { "=" }, quote(pattern))
        }
    }
}

/// A size in the largest unit of thousands that leaves at least one, with one decimal below ten. Sizes that this would round
/// are written in bytes, so that the filter keeps its meaning.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut unit, mut factor) = (0, 1u64);
    while unit + 1 < UNITS.len() && bytes / factor >= 1000 {
        factor *= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    let (whole, rest) = (bytes / factor, bytes % factor);
    let exact_tenths = rest.checked_mul(10).is_some_and(|t| t % factor == 0);
    match rest {
        0 if unit > 0 && whole < 10 => format!("{whole}.0{name}"),
        0 => format!("{whole}{name}"),
        _ if exact_tenths && whole < 10 => format!("{whole}.{}{name}", rest * 10 / factor),
        _ => format!("{bytes}B"),
    }
}

fn unwrap(u: &Unwrap) -> String {
    let function = match u.conversion {
        Conversion::None => None,
        Conversion::Bytes => Some("bytes"),
        Conversion::Duration => Some("duration"),
        Conversion::DurationSeconds => Some("duration_seconds"),
    };
    match function {
        None => format!("| unwrap {}", u.label),
        Some(f) => format!("| unwrap {f}({})", u.label),
    }
}

fn range_text(range_ns: i64) -> String {
    format!("[{}]", format_ms(range_ns / 1_000_000))
}

/// The range with its offset.
fn place_text(range_ns: i64, offset_ns: i64) -> String {
    match offset_ns {
        0 => range_text(range_ns),
        _ => format!("{} offset {}", range_text(range_ns), format_duration(offset_ns)),
    }
}

fn grouping(g: &Grouping, separator: &str) -> String {
    let word = match (g.without, g.labels.is_empty()) {
        (true, _) => " without ",
        (false, false) => " by ",
        // The same as none.
        (false, true) => return String::new(),
    };
    format!("{word}({})", g.labels.join(separator))
}

/// Behind a range function `by ()` is not the same as nothing: it makes one series of all.
fn range_grouping(r: &RangeAggregation, separator: &str) -> String {
    match &r.grouping {
        None => String::new(),
        Some(g) if g.labels.is_empty() && !g.without => " by ()".to_owned(),
        Some(g) => grouping(g, separator),
    }
}

fn range(r: &RangeAggregation) -> String {
    let mut out = format!("{}(", r.op.as_str());
    if let Some(p) = r.param {
        out.push_str(&format!("{},", format_value(p)));
    }
    out.push_str(&log(&r.log));
    if let Some(u) = &r.unwrap {
        out.push(' ');
        out.push_str(&unwrap(u));
        for f in &u.filters {
            out.push_str(&format!(" | {}", label_filter(f)));
        }
    }
    out.push_str(&place_text(r.range_ns, r.offset_ns));
    out.push(')');
    out.push_str(&range_grouping(r, ","));
    out
}

fn operator(b: &Binary, separator: &str) -> String {
    let mut out = operator_text(b.op).to_owned();
    if b.return_bool {
        out.push_str(" bool");
    }
    let m = &b.matching;
    if !m.on && m.labels.is_empty() {
        return out;
    }
    out.push_str(&format!(" {} ({})", if m.on { "on" } else { "ignoring" }, m.labels.join(separator)));
    match m.card {
        Cardinality::ManyToOne => out.push_str(" group_left"),
        Cardinality::OneToMany => out.push_str(" group_right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => {}
    }
    if !m.include.is_empty() {
        out.push_str(&format!(" ({})", m.include.join(separator)));
    }
    // The place of the side's modifier is kept where there is none.
    if matches!(m.card, Cardinality::OneToOne | Cardinality::ManyToMany) {
        out.push(' ');
    }
    out
}

fn vector_head(op: VectorOp, by: Option<&Grouping>, separator: &str) -> String {
    format!("{}{}(", op.as_str(), by.map_or_else(String::new, |g| grouping(g, separator)))
}

fn metric(m: &MetricExpr) -> String {
    match &m.kind {
        MetricKind::Range(r) => range(r),
        MetricKind::Vector { op, param, grouping, expr } => {
            let param = param.map_or_else(String::new, |p| format!("{},", format_value(p)));
            format!("{}{param}{})", vector_head(*op, grouping.as_ref(), ","), metric(expr))
        }
        MetricKind::Binary(b) => format!("({} {} {})", metric(&b.lhs), operator(b, ","), metric(&b.rhs)),
        MetricKind::Literal(n) => format_value(*n),
        MetricKind::VectorLiteral(n) => format!("vector({n:.6})"),
        MetricKind::LabelReplace { expr, dst, replacement, src, regex } => {
            let texts = [dst, replacement, src, regex].map(|t| quote(t)).join(",");
            format!("label_replace({},{texts})", metric(expr))
        }
        MetricKind::Variants(v) => format!("variants({}) {}", join(&v.list, ", ", metric), common_part(v)),
    }
}

fn common_part(v: &Variants) -> String {
    format!("of ({}{})", log(&v.of), place_text(v.range_ns, v.offset_ns))
}

fn pretty_log(l: &LogExpr, level: usize) -> String {
    let line = log(l);
    if line.len() <= MAX_LINE_CHARS {
        return indent(level) + &line;
    }
    let mut out = indent(level) + &selector(l);
    for s in &l.stages {
        out.push('\n');
        // One stage ignores the level, there as here.
        if !matches!(s.kind, StageKind::Decolorize) {
            out.push_str(&indent(level + 1));
        }
        out.push_str(&stage(s));
    }
    out
}

fn pretty_range(r: &RangeAggregation, level: usize) -> String {
    let mut out = format!("{}{}(\n", indent(level), r.op.as_str());
    if let Some(p) = r.param {
        out.push_str(&format!("{}{},\n", indent(level + 1), format_value(p)));
    }
    out.push_str(&pretty_log(&r.log, level + 1));
    if let Some(u) = &r.unwrap {
        out.push_str(&format!("\n{}{}", indent(level + 2), unwrap(u)));
        for f in &u.filters {
            out.push_str(&format!("\n{}| {}", indent(level + 2), label_filter(f)));
        }
    }
    out.push_str(&format!(" {}", range_text(r.range_ns)));
    if r.offset_ns != 0 {
        let sign = if r.offset_ns < 0 { "-" } else { "" };
        let ms = i64::try_from(r.offset_ns.unsigned_abs() / 1_000_000).unwrap_or(i64::MAX);
        out.push_str(&format!(" offset {sign}{}", format_ms(ms)));
    }
    out.push_str(&format!("\n{})", indent(level)));
    out.push_str(&range_grouping(r, ", "));
    out
}

fn pretty_metric(m: &MetricExpr, level: usize) -> String {
    let line = metric(m);
    if line.len() <= MAX_LINE_CHARS {
        return indent(level) + &line;
    }
    let inner = indent(level + 1);
    match &m.kind {
        MetricKind::Range(r) => pretty_range(r, level),
        MetricKind::Vector { op, param, grouping, expr } => {
            let param = param.map_or_else(String::new, |p| format!("{inner}{},\n", format_value(p)));
            let head = vector_head(*op, grouping.as_ref(), ", ");
            format!("{}{head}\n{param}{}\n{})", indent(level), pretty_metric(expr, level + 1), indent(level))
        }
        MetricKind::Binary(b) => format!(
            "{}\n{}{}\n{}",
            pretty_metric(&b.lhs, level + 1),
            indent(level),
            operator(b, ", "),
            pretty_metric(&b.rhs, level + 1)
        ),
        MetricKind::Literal(_) | MetricKind::VectorLiteral(_) => indent(level) + &line,
        MetricKind::LabelReplace { expr, dst, replacement, src, regex } => {
            let texts = [dst, replacement, src, regex].map(|t| format!("{inner}{}", quote(t))).join(",\n");
            format!("{}label_replace(\n{},\n{texts}\n{})", indent(level), pretty_metric(expr, level + 1), indent(level))
        }
        MetricKind::Variants(v) => {
            let list = join(&v.list, ",\n", |variant| pretty_metric(variant, level + 1));
            format!("{}variants(\n{list}\n{}) {}", indent(level), indent(level), common_part(v))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::parse;

    #[test]
    fn short_queries_stay_in_one_line() {
        for (query, want) in [
            (r#"{a="b",c=~"d"}"#, r#"{a="b", c=~"d"}"#),
            (r#"{a="b"}|= "x" or "y"!~`z`"#, r#"{a="b"} |= "x" or "y" !~ "z""#),
            (r#"{a="b"}|ip="x" or b>5m , c<=1.5kB"#, r#"{a="b"} | ( ip="x" or ( b>5m0s , c<=1.5kB ) )"#),
            (r#"sum(rate({a="b"}[5m]))by(x,y)"#, r#"sum by (x,y)(rate({a="b"}[5m]))"#),
            (
                r#"quantile_over_time(.9,{a="b"}|unwrap duration(d)|__error__=""[1h] offset 1m)by(x)"#,
                r#"quantile_over_time(0.9,{a="b"} | unwrap duration(d) | __error__=""[1h] offset 1m0s) by (x)"#,
            ),
            (r#"sum without()(rate({a="b"}[1m]))"#, r#"sum without ()(rate({a="b"}[1m]))"#),
            (r#"max_over_time({a="b"}|unwrap x[1m])by()"#, r#"max_over_time({a="b"} | unwrap x[1m]) by ()"#),
            (r#"topk(3,rate({a="b"}[1m]))>bool 1"#, r#"(topk(3,rate({a="b"}[1m])) > bool 1)"#),
        ] {
            let printed = pretty(&parse(query).unwrap());
            assert_eq!(printed, want);
            assert_eq!(pretty(&parse(&printed).unwrap()), want);
        }
    }

    #[test]
    fn long_queries_are_broken_up() {
        let query = r#"sum by (host) (count_over_time({job="a-rather-long-name",env="production"} |= "some error" | json | status >= 500 [5m])) / 2"#;
        let want = "  sum by (host)(\n    count_over_time(\n      {job=\"a-rather-long-name\", env=\"production\"} |= \"some error\" | json | status>=500 [5m]\n    )\n  )\n/\n  2";
        assert_eq!(pretty(&parse(query).unwrap()), want);
    }

    #[test]
    fn sizes_keep_their_meaning() {
        for (bytes, want) in [(5, "5B"), (1500, "1.5kB"), (1000, "1.0kB"), (20_000_000, "20MB"), (1536, "1536B")] {
            assert_eq!(size(bytes), want);
            assert_eq!(crate::logql::lex::parse_bytes(want), Some(bytes));
        }
    }
}
