//! YAML text to a [`Node`] tree, on the events of `granit-parser` (the only file that knows that crate).

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::config::yaml::{Entry, Fault, Kind, MAX_FAULTS, Node, Path, Place, Step};

/// The largest file that is read: far above any real configuration, far below what hurts.
pub const MAX_BYTES: usize = 16 << 20;
/// Nodes of one tree, aliases counted each time they are used, so that a few lines cannot grow into gigabytes.
const MAX_NODES: usize = 1_000_000;
/// Levels of nesting, aliases included; the same number as in all parsers of campanile.
const MAX_DEPTH: usize = 128;

struct Key {
    text: String,
    place: Place,
    merge: bool,
}

enum Open {
    Seq { place: Place, anchor: usize, items: Vec<Node> },
    Map { place: Place, anchor: usize, entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    faults: Vec<Fault>,
}

/// Reads one YAML document. Faults that leave the rest readable (a key given twice) come together; a fault of syntax
/// ends the reading, and the tree is empty then. A second document is such a fault.
pub fn parse(text: &str) -> (Node, Vec<Fault>) {
    match parse_first(text) {
        (_, _, Some(place)) => {
            let message = "a second document begins here; one file holds one document".to_owned();
            (Node::null(), vec![Fault { place, path: Path::default(), message }])
        }
        (root, faults, None) => (root, faults),
    }
}

/// Reads the first YAML document, as Prometheus does with its files, and tells where a second one begins. What follows
/// there is not looked at.
pub fn parse_first(text: &str) -> (Node, Vec<Fault>, Option<Place>) {
    let fatal = |place, message: String| (Node::null(), vec![Fault { place, path: Path::default(), message }], None);
    if text.len() > MAX_BYTES {
        return fatal(Place::default(), format!("is larger than {} MiB", MAX_BYTES >> 20));
    }
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder { open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0, faults: Vec::new() };
    let mut documents = 0;
    let mut second = None;
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    second = Some(place_of(&span));
                    break;
                }
                Ok(())
            }
            Ok((event, span)) => builder.take(event, &span),
            Err(e) => {
                let m = e.marker();
                let place = Place { line: m.line(), column: m.col() + 1, offset: m.byte_offset().unwrap_or(0) };
                return fatal(place, format!("not valid YAML: {}", e.info()));
            }
        };
        if let Err(fault) = step {
            return (Node::null(), vec![fault], None);
        }
    }
    builder.faults.truncate(MAX_FAULTS);
    (builder.root.unwrap_or_else(Node::null), builder.faults, second)
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1, offset: span.start.byte_offset().unwrap_or(0) }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } | Kind::Pruned => 1,
        Kind::Seq(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } | Kind::Pruned => 1,
        Kind::Seq(items) => 1 + items.iter().map(count).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|e| count(&e.value)).sum::<usize>(),
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let place = place_of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                let plain = style == ScalarStyle::Plain;
                let as_text = tag.is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                if plain && !as_text && is_null(&text) && !self.wants_key() {
                    return self.put(Node { place, kind: Kind::Null }, anchor, false);
                }
                let merge = plain && !as_text && text == "<<";
                let kind = Kind::Scalar { text: text.into_owned(), plain: plain && !as_text, unexpanded: None };
                self.put(Node { place, kind }, anchor, merge)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                self.enter(Open::Seq { place, anchor, items: Vec::new() }, place)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                self.enter(Open::Map { place, anchor, entries: Vec::new(), key: None }, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return Err(self.fault(place, "the alias is used inside the very thing it names"));
                };
                if self.open.len() + depth(node) > MAX_DEPTH {
                    return Err(self.fault(place, "the alias nests too deep"));
                }
                self.nodes += count(node);
                let node = node.clone();
                self.put(node, 0, false)
            }
            // Documents are counted by the caller; comments and marks of the stream say nothing.
            _ => Ok(()),
        }
    }

    fn path(&self) -> Path {
        let mut steps = Vec::new();
        for open in &self.open {
            match open {
                Open::Seq { items, .. } => steps.push(Step::Index(items.len())),
                Open::Map { key: Some(k), .. } => steps.push(Step::Key(k.text.clone())),
                Open::Map { key: None, .. } => {}
            }
        }
        Path::new(steps)
    }

    fn fault(&self, place: Place, message: impl Into<String>) -> Fault {
        Fault { place, path: self.path(), message: message.into() }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, place: Place) {
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema()
        {
            self.faults.push(self.fault(place, format!("the tag {} is not known; leave it out", tag.original())));
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn enter(&mut self, open: Open, place: Place) -> Result<(), Fault> {
        if self.wants_key() {
            return Err(self.fault(place, "a key must be a plain text, not a list or a map"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.fault(place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let (node, anchor) = match self.open.pop() {
            Some(Open::Seq { place, anchor, items }) => (Node { place, kind: Kind::Seq(items) }, anchor),
            Some(Open::Map { place, anchor, entries, .. }) => {
                let entries = self.close_map(entries);
                (Node { place, kind: Kind::Map(entries) }, anchor)
            }
            None => return Ok(()),
        };
        self.put(node, anchor, false)
    }

    /// Puts a finished node where it belongs: as a key, a value, an element or the root.
    fn put(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.fault(node.place, format!("the file holds more than {MAX_NODES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let wants_key = self.wants_key();
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { key, .. }) if wants_key => {
                let Kind::Scalar { text, .. } = node.kind else {
                    return Err(self.fault(node.place, "a key must be a plain text, not a list or a map"));
                };
                *key = Some(Key { text, place: node.place, merge });
            }
            Some(Open::Map { key, entries, .. }) => {
                if let Some(k) = key.take() {
                    entries.push((k, node));
                }
            }
        }
        Ok(())
    }

    /// Refuses keys given twice and resolves merge keys: what the map says itself wins, then the first of those merged.
    fn close_map(&mut self, entries: Vec<(Key, Node)>) -> Vec<Entry> {
        let mut own: Vec<Entry> = Vec::with_capacity(entries.len());
        let mut first_line: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut merged = Vec::new();
        for (key, value) in entries {
            if key.merge {
                merged.push((key.place, value));
            } else if let Some(line) = first_line.get(&key.text) {
                let message = format!("the key is given twice, first in line {line}; remove one");
                let mut steps = self.path().steps().to_vec();
                steps.push(Step::Key(key.text));
                self.faults.push(Fault { place: key.place, path: Path::new(steps), message });
            } else {
                first_line.insert(key.text.clone(), key.place.line);
                own.push(Entry { key: key.text, key_place: key.place, value });
            }
        }
        for (place, value) in merged {
            let sources = match value.kind {
                Kind::Seq(items) => items,
                kind => vec![Node { place: value.place, kind }],
            };
            for source in sources {
                let Kind::Map(entries) = source.kind else {
                    self.faults.push(self.fault(place, "a merge key (<<) takes a map or a list of maps"));
                    continue;
                };
                for e in entries {
                    if !first_line.contains_key(&e.key) {
                        first_line.insert(e.key.clone(), e.key_place.line);
                        own.push(e);
                    }
                }
            }
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse(text)
            .1
            .into_iter()
            .map(|f| format!("{}:{}: {}: {}", f.place.line, f.place.column, f.path, f.message))
            .collect()
    }

    #[test]
    fn scalars_keep_their_text_and_place() {
        let (root, faults) = parse("a: 1.10\nb:\n  - 'x'\n  - ~\n");
        assert_eq!(faults, []);
        let a = root.get("a").unwrap();
        assert_eq!(a.kind, Kind::Scalar { text: "1.10".into(), plain: true, unexpanded: None });
        assert_eq!((a.place.line, a.place.column), (1, 4));
        let x = root.at(&Path::parse("b[0]")).unwrap();
        assert_eq!((x.place.line, x.place.column), (3, 5));
        assert_eq!(root.at(&Path::parse("b[1]")).unwrap().kind, Kind::Null);
        assert_eq!(parse("").0.kind, Kind::Null);
        assert_eq!(parse("# only a comment\n").0.kind, Kind::Null);
    }

    #[test]
    fn merge_keys_and_aliases() {
        let (root, faults) = parse("base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\nd: *b\n");
        assert_eq!(faults, []);
        let text = |path: &str| match &root.at(&Path::parse(path)).unwrap().kind {
            Kind::Scalar { text, .. } => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((text("c.x"), text("c.y"), text("d.x")), ("1".into(), "3".into(), "1".into()));
    }

    #[test]
    fn faults_have_places() {
        assert_eq!(faults("a:\n  b: 1\n  b: 2\n"), ["3:3: a.b: the key is given twice, first in line 2; remove one"]);
        assert_eq!(faults("a: 1\n---\nb: 2\n").len(), 1);
        assert_eq!(faults("? [x]\n: 1\n"), ["1:3: : a key must be a plain text, not a list or a map"]);
        assert_eq!(faults("a: !mine 1\n"), ["1:10: a: the tag !mine is not known; leave it out"]);
        assert!(faults("a: [1, 2\nb: 3\n").first().unwrap().contains("not valid YAML"));
        assert!(faults(&"[".repeat(1000)).len() == 1);
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let of = format!("*a{},", i - 1).repeat(10);
            text.push_str(&format!("a{i}: &a{i} [{}]\n", of.trim_end_matches(',')));
        }
        assert_eq!(faults(&text).len(), 1);
    }
}
