//! Line filters: `|=`, `!=`, `|~`, `!~`, `|>`, `!>`, with alternatives and `ip(...)`.

use memchr::memmem::Finder;

use crate::logql::ast::{LineFilter, LineMatch};
use crate::logql::stages::ip::IpPattern;
use crate::logql::stages::pattern::Pattern;
use crate::text::go_regex::GoRegex;

#[derive(Clone, Debug)]
enum Term {
    Text(Box<Finder<'static>>),
    Regex(GoRegex),
    Pattern(Pattern),
    Ip(IpPattern),
}

/// A compiled line filter.
#[derive(Clone, Debug)]
pub struct CompiledLineFilter {
    negative: bool,
    terms: Vec<Term>,
}

impl CompiledLineFilter {
    /// Compiles; the error says which part is bad.
    pub fn compile(filter: &LineFilter) -> Result<Self, String> {
        let terms = filter
            .terms
            .iter()
            .map(|t| match filter.op {
                LineMatch::Contains | LineMatch::NotContains if t.is_ip => IpPattern::parse(&t.text).map(Term::Ip),
                _ if t.is_ip => Err("ip() goes with |= and != only".to_owned()),
                LineMatch::Contains | LineMatch::NotContains => {
                    Ok(Term::Text(Box::new(Finder::new(t.text.as_bytes()).into_owned())))
                }
                LineMatch::Regex | LineMatch::NotRegex => {
                    GoRegex::unanchored(&t.text).map(Term::Regex).map_err(|e| e.to_string())
                }
                LineMatch::Pattern | LineMatch::NotPattern => Pattern::filter(&t.text).map(Term::Pattern),
            })
            .collect::<Result<_, _>>()?;
        Ok(CompiledLineFilter { negative: filter.op.is_negative(), terms })
    }

    /// Whether the line passes.
    pub fn passes(&self, line: &str) -> bool {
        let any = self.terms.iter().any(|t| match t {
            Term::Text(f) => f.find(line.as_bytes()).is_some(),
            Term::Regex(r) => r.is_match(line),
            Term::Pattern(p) => p.is_match(line),
            Term::Ip(ip) => ip.found_in(line),
        });
        any != self.negative
    }
}
