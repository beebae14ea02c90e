//! Stream selectors and the stages behind them.

use super::{ParseError, Parser};
use crate::logql::ast::{
    CompareOp, Conversion, Extraction, LabelFilter, LabelFormat, LabelFormatSource, LineFilter, LineMatch, LineTerm,
    LogExpr, NamedMatcher, Stage, StageKind, Unwrap,
};
use crate::logql::lex::TokenKind;
use crate::model::{MatchOp, Matcher};
use crate::text::span::Span;

const LINE_OPS: [LineMatch; 6] = [
    LineMatch::Contains,
    LineMatch::NotContains,
    LineMatch::Regex,
    LineMatch::NotRegex,
    LineMatch::Pattern,
    LineMatch::NotPattern,
];

impl Parser<'_> {
    /// A selector with its pipeline, perhaps in parentheses.
    pub(super) fn log_expr(&mut self) -> Result<LogExpr, ParseError> {
        if self.take_symbol("(") {
            let inner = self.deeper(|p| p.log_expr())?;
            self.want_symbol(")")?;
            return Ok(inner);
        }
        let start = self.token().span.start;
        let matchers = self.selector()?;
        let mut stages = Vec::new();
        while self.begins_stage() {
            stages.push(self.stage()?);
        }
        Ok(LogExpr { span: Span::new(start, self.last_end()), matchers, stages })
    }

    pub(super) fn selector(&mut self) -> Result<Vec<Matcher>, ParseError> {
        self.want_symbol("{")?;
        let mut matchers = Vec::new();
        if self.take_symbol("}") {
            return Ok(matchers);
        }
        loop {
            matchers.push(self.matcher()?);
            if self.take_symbol("}") {
                return Ok(matchers);
            }
            if !self.take_symbol(",") {
                return Err(self.unexpected("} or ,"));
            }
            if self.take_symbol("}") {
                return Ok(matchers);
            }
        }
    }

    fn match_op(&self) -> Option<MatchOp> {
        match self.token().kind {
            TokenKind::Symbol("=") => Some(MatchOp::Equal),
            TokenKind::Symbol("!=") => Some(MatchOp::NotEqual),
            TokenKind::Symbol("=~") => Some(MatchOp::Regex),
            TokenKind::Symbol("!~") => Some(MatchOp::NotRegex),
            _ => None,
        }
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let start = self.token().span;
        let name = self.want_word()?;
        let op = self.match_op().ok_or_else(|| self.unexpected("=, !=, =~ or !~"))?;
        self.advance();
        let value = self.want_text()?;
        Matcher::new(name, op, value)
            .map_err(|e| ParseError::at(self.source, Span::new(start.start, self.last_end()), e.to_string()))
    }

    fn line_op(&self) -> Option<LineMatch> {
        match self.token().kind {
            TokenKind::Symbol(s) => LINE_OPS.into_iter().find(|op| op.as_str() == s),
            _ => None,
        }
    }

    /// Whether a pipeline stage follows (`| unwrap` included).
    pub(super) fn begins_stage(&self) -> bool {
        self.is_symbol("|") || self.line_op().is_some()
    }

    /// Whether `| unwrap` follows.
    pub(super) fn begins_unwrap(&self) -> bool {
        self.is_symbol("|") && matches!(self.ahead(1).kind, TokenKind::Word(w) if w.eq_ignore_ascii_case("unwrap"))
    }

    pub(super) fn stage(&mut self) -> Result<Stage, ParseError> {
        let start = self.token().span.start;
        let kind = match self.line_op() {
            Some(op) => {
                self.advance();
                StageKind::LineFilter(self.line_filter(op)?)
            }
            None => {
                self.want_symbol("|")?;
                self.piped_stage()?
            }
        };
        let span = Span::new(start, self.last_end());
        let stage = Stage { span, kind };
        crate::logql::check::stage(&stage)?;
        Ok(stage)
    }

    fn line_filter(&mut self, op: LineMatch) -> Result<LineFilter, ParseError> {
        let mut terms = vec![self.line_term()?];
        while self.take_word("or") {
            terms.push(self.line_term()?);
        }
        Ok(LineFilter { op, terms })
    }

    fn line_term(&mut self) -> Result<LineTerm, ParseError> {
        if self.is_word("ip") {
            self.advance();
            self.want_symbol("(")?;
            let text = self.want_text()?;
            self.want_symbol(")")?;
            return Ok(LineTerm { text, is_ip: true });
        }
        match self.token().kind.clone() {
            TokenKind::Text(text) => {
                self.advance();
                Ok(LineTerm { text, is_ip: false })
            }
            _ => Err(self.unexpected("STRING or ip")),
        }
    }

    fn piped_stage(&mut self) -> Result<StageKind, ParseError> {
        let TokenKind::Word(word) = self.token().kind else {
            return if self.is_symbol("(") {
                self.label_filter().map(StageKind::LabelFilter)
            } else {
                Err(self.unexpected(""))
            };
        };
        // A stage's name is a label's name when a comparison follows.
        let is_label =
            matches!(self.ahead(1).kind, TokenKind::Symbol("=" | "!=" | "=~" | "!~" | "==" | ">" | ">=" | "<" | "<="));
        if is_label {
            return self.label_filter().map(StageKind::LabelFilter);
        }
        let word = word.to_ascii_lowercase();
        let kind = match word.as_str() {
            "json" => {
                self.advance();
                StageKind::Json(self.extractions()?)
            }
            "logfmt" => {
                self.advance();
                let (mut strict, mut keep_empty) = (false, false);
                while let TokenKind::Flag(flag) = self.token().kind {
                    strict |= flag == "--strict";
                    keep_empty |= flag == "--keep-empty";
                    self.advance();
                }
                StageKind::Logfmt { strict, keep_empty, extractions: self.extractions()? }
            }
            "regexp" => {
                self.advance();
                StageKind::Regexp(self.want_text()?)
            }
            "pattern" => {
                self.advance();
                StageKind::Pattern(self.want_text()?)
            }
            "unpack" => {
                self.advance();
                StageKind::Unpack
            }
            "decolorize" => {
                self.advance();
                StageKind::Decolorize
            }
            "line_format" => {
                self.advance();
                StageKind::LineFormat(self.want_text()?)
            }
            "label_format" => {
                self.advance();
                StageKind::LabelFormat(self.label_formats()?)
            }
            "drop" => {
                self.advance();
                StageKind::Drop(self.named_matchers()?)
            }
            "keep" => {
                self.advance();
                StageKind::Keep(self.named_matchers()?)
            }
            "unwrap" => return Err(self.unexpected("")),
            _ => StageKind::LabelFilter(self.label_filter()?),
        };
        Ok(kind)
    }

    fn extractions(&mut self) -> Result<Vec<Extraction>, ParseError> {
        let mut found = Vec::new();
        while let TokenKind::Word(_) = self.token().kind {
            let label = self.want_word()?;
            let expression = if self.take_symbol("=") { self.want_text()? } else { label.clone() };
            found.push(Extraction { label, expression });
            if !self.take_symbol(",") {
                break;
            }
            if !matches!(self.token().kind, TokenKind::Word(_)) {
                return Err(self.unexpected("IDENTIFIER"));
            }
        }
        Ok(found)
    }

    fn label_formats(&mut self) -> Result<Vec<LabelFormat>, ParseError> {
        let mut found = Vec::new();
        loop {
            let label = self.want_word()?;
            self.want_symbol("=")?;
            let source = match self.token().kind.clone() {
                TokenKind::Text(t) => LabelFormatSource::Template(t),
                TokenKind::Word(w) => LabelFormatSource::Rename(w.to_owned()),
                _ => return Err(self.unexpected("IDENTIFIER or STRING")),
            };
            self.advance();
            found.push(LabelFormat { label, source });
            if !self.take_symbol(",") {
                return Ok(found);
            }
        }
    }

    fn named_matchers(&mut self) -> Result<Vec<NamedMatcher>, ParseError> {
        let mut found = Vec::new();
        loop {
            let has_op = matches!(self.ahead(1).kind, TokenKind::Symbol("=" | "!=" | "=~" | "!~"));
            found.push(if has_op {
                NamedMatcher::Matcher(self.matcher()?)
            } else {
                NamedMatcher::Name(self.want_word()?)
            });
            if !self.take_symbol(",") {
                return Ok(found);
            }
        }
    }

    /// `or` binds weaker than `and`, `,` and plain juxtaposition.
    pub(super) fn label_filter(&mut self) -> Result<LabelFilter, ParseError> {
        let mut left = self.label_filter_and()?;
        while self.take_word("or") {
            left = LabelFilter::Or(Box::new(left), Box::new(self.label_filter_and()?));
        }
        Ok(left)
    }

    fn label_filter_and(&mut self) -> Result<LabelFilter, ParseError> {
        let mut left = self.label_filter_one()?;
        loop {
            let explicit = self.take_word("and") || self.take_symbol(",");
            let beside = !self.is_word("or") && matches!(self.token().kind, TokenKind::Word(_)) || self.is_symbol("(");
            if !explicit && !beside {
                return Ok(left);
            }
            left = LabelFilter::And(Box::new(left), Box::new(self.label_filter_one()?));
        }
    }

    fn label_filter_one(&mut self) -> Result<LabelFilter, ParseError> {
        if self.take_symbol("(") {
            let inner = self.deeper(|p| p.label_filter())?;
            self.want_symbol(")")?;
            return Ok(inner);
        }
        if self.match_op_ahead() {
            let is_text = matches!(self.ahead(2).kind, TokenKind::Text(_));
            if is_text {
                return self.matcher().map(LabelFilter::Text);
            }
        }
        let label = self.want_word()?;
        if let TokenKind::Symbol(op @ ("=" | "!=")) = self.token().kind
            && matches!(self.ahead(1).kind, TokenKind::Word(w) if w.eq_ignore_ascii_case("ip"))
        {
            self.advance();
            self.advance();
            self.want_symbol("(")?;
            let pattern = self.want_text()?;
            self.want_symbol(")")?;
            return Ok(LabelFilter::Ip { label, negative: op == "!=", pattern });
        }
        let op = match self.token().kind {
            TokenKind::Symbol("=" | "==") => CompareOp::Equal,
            TokenKind::Symbol("!=") => CompareOp::NotEqual,
            TokenKind::Symbol(">") => CompareOp::Greater,
            TokenKind::Symbol(">=") => CompareOp::GreaterEqual,
            TokenKind::Symbol("<") => CompareOp::Less,
            TokenKind::Symbol("<=") => CompareOp::LessEqual,
            _ => return Err(self.unexpected("")),
        };
        self.advance();
        let negative = self.take_symbol("-");
        if !negative {
            self.take_symbol("+");
        }
        let filter = match self.token().kind.clone() {
            TokenKind::Number(n) => LabelFilter::Number { label, op, value: if negative { -n } else { n } },
            TokenKind::Duration(ns) => LabelFilter::Duration { label, op, nanos: if negative { -ns } else { ns } },
            TokenKind::Bytes(bytes) if !negative => LabelFilter::Bytes { label, op, bytes },
            _ => return Err(self.unexpected("NUMBER, DURATION, BYTES or STRING")),
        };
        self.advance();
        Ok(filter)
    }

    fn match_op_ahead(&self) -> bool {
        matches!(self.ahead(1).kind, TokenKind::Symbol("=" | "!=" | "=~" | "!~"))
    }

    /// `| unwrap x` or `| unwrap bytes(x)`, and label filters behind it.
    pub(super) fn unwrap(&mut self) -> Result<Unwrap, ParseError> {
        let start = self.token().span.start;
        self.want_symbol("|")?;
        self.advance();
        let word = self.want_word()?;
        let conversion = match word.to_ascii_lowercase().as_str() {
            "bytes" => Conversion::Bytes,
            "duration" => Conversion::Duration,
            "duration_seconds" => Conversion::DurationSeconds,
            _ => Conversion::None,
        };
        let (label, conversion) = if conversion != Conversion::None && self.take_symbol("(") {
            let label = self.want_word()?;
            self.want_symbol(")")?;
            (label, conversion)
        } else {
            (word, Conversion::None)
        };
        let mut filters = Vec::new();
        while self.take_symbol("|") {
            filters.push(self.label_filter()?);
        }
        Ok(Unwrap { span: Span::new(start, self.last_end()), label, conversion, filters })
    }
}
