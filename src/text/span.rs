//! Positions in source text, and how an error points at them.

/// A half-open range of bytes in a source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Line and column of a byte offset, both counted from 1; the column counts characters.
pub fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The line that holds the start of `span`, and below it carets under the spanned part.
pub fn render_caret(source: &str, span: Span) -> String {
    let start = span.start.min(source.len());
    let before = source.get(..start).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = source.get(line_start..).unwrap_or("").split('\n').next().unwrap_or("");
    let indent: String =
        before.get(line_start..).unwrap_or("").chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let in_line = source.get(start..span.end.min(line_start + line.len())).unwrap_or("");
    format!("{line}\n{indent}{}", "^".repeat(in_line.chars().count().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_span() {
        assert_eq!(render_caret("sum(foo", Span::new(4, 7)), "sum(foo\n    ^^^");
        assert_eq!(render_caret("a\n bé+", Span::new(6, 7)), " bé+\n   ^");
        assert_eq!(line_column("a\n bé+", 6), (2, 4));
        assert_eq!(render_caret("x", Span::new(9, 9)), "x\n ^");
    }
}
