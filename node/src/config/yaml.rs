//! YAML text as a tree that keeps every scalar's own spelling and position.
//!
//! The parser is serde-saphyr's; its typed layer is not used because it stops at the first error, knows no keys that
//! are neighbours in spelling, and reads `1.10` as a number before we know that a name was wanted. Types are given to
//! scalars by the key table instead, so YAML's guesses (`no`, `on`, `012`) play no part. Anchors, aliases and tags are
//! refused: a configuration needs none, and without them a file cannot expand.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use super::issue::{ConfigIssue, Origin, Position};

/// Nesting allowed; the deepest key has four levels.
const MAX_DEPTH: usize = 16;
/// Nodes allowed, so that a wrong file given by mistake ends early.
const MAX_NODES: usize = 20_000;

/// One value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`: as if the key were not there.
    Null,
    /// Text as written, after YAML's own escapes.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the file's order.
    Map(Vec<Entry>),
}

/// A key of a mapping, where it stands, and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) node: Node,
}

/// Reads one document; an empty text is an empty mapping.
///
/// # Errors
/// The one syntax error with its position.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, ConfigIssue> {
    let mut reader = Reader { file, parser: Parser::new_from_str(text), nodes: 0 };
    let start = Position { file: file.to_owned(), line: 1, column: 1 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_some() => {
                return Err(reader.issue(&span, "a second document begins here: a configuration is one document"));
            }
            Event::DocumentStart(..) => {
                let (event, span) = reader.next()?;
                root = Some(reader.node(event, &span, 0)?);
            }
            _ => return Err(reader.issue(&span, "something stands outside the document")),
        }
    }
    Ok(root.unwrap_or(Node { position: start, value: Value::Null }))
}

/// Walks the parser's events.
struct Reader<'a> {
    file: &'a str,
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Span), ConfigIssue> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => {
                    let marker = error.marker();
                    let position = self.position(marker.line(), marker.col());
                    return Err(ConfigIssue {
                        origin: Origin::File(position),
                        key: None,
                        message: format!("not valid YAML: {}", error.kind()),
                    });
                }
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, ConfigIssue> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(self.issue(span, "too deep or too long for a configuration"));
        }
        let position = self.at(span);
        let value = match event {
            Event::Scalar(.., Some(_)) | Event::SequenceStart(.., Some(_)) | Event::MappingStart(.., Some(_)) => {
                return Err(self.issue(span, "YAML tags are not used in a configuration: remove the `!...`"));
            }
            Event::Alias(_) => {
                return Err(self.issue(span, "YAML aliases are not used in a configuration: write the value out"));
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => Value::Null,
            Event::Scalar(text, ..) => Value::Scalar(text.into_owned()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(self.issue(span, "a value is missing here")),
        };
        Ok(Node { position, value })
    }

    /// The rest of a sequence.
    fn list(&mut self, depth: usize) -> Result<Value, ConfigIssue> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    /// The rest of a mapping.
    fn map(&mut self, depth: usize) -> Result<Value, ConfigIssue> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(name, .., None) => {
                    let position = self.at(&span);
                    let (event, span) = self.next()?;
                    let node = self.node(event, &span, depth + 1)?;
                    entries.push(Entry { name: name.into_owned(), position, node });
                }
                _ => return Err(self.issue(&span, "a key must be a plain word")),
            }
        }
    }

    fn at(&self, span: &Span) -> Position {
        self.position(span.start.line(), span.start.col())
    }

    /// The parser counts lines from 1 and columns from 0.
    fn position(&self, line: usize, column: usize) -> Position {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position { file: self.file.to_owned(), line: narrow(line), column: narrow(column.saturating_add(1)) }
    }

    fn issue(&self, span: &Span, message: &str) -> ConfigIssue {
        ConfigIssue { origin: Origin::File(self.at(span)), key: None, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(issue: &ConfigIssue) -> String {
        issue.origin.to_string()
    }

    #[test]
    fn scalars_keep_their_spelling_and_every_node_its_place() {
        let root = parse("f.yaml", "# head\na:\n  b: 1.10\n  c: [x, \"no\"]\nd:\n").unwrap();
        let Value::Map(entries) = root.value else { panic!("a mapping") };
        let Entry { name, position, node } = &entries[0];
        assert_eq!((name.as_str(), position.to_string().as_str()), ("a", "f.yaml:2:1"));
        let Value::Map(inner) = &node.value else { panic!("a mapping") };
        assert_eq!(inner[0].node.value, Value::Scalar("1.10".into()));
        assert_eq!(inner[0].node.position.to_string(), "f.yaml:3:6");
        let Value::List(items) = &inner[1].node.value else { panic!("a list") };
        assert_eq!(items[1].value, Value::Scalar("no".into()));
        assert_eq!(items[1].position.to_string(), "f.yaml:4:10");
        assert_eq!(entries[1].node.value, Value::Null);
    }

    #[test]
    fn an_empty_file_and_one_of_comments_hold_nothing() {
        for text in ["", "\n", "# nothing\n", "---\n"] {
            assert_eq!(parse("f", text).unwrap().value, Value::Null, "{text:?}");
        }
    }

    #[test]
    fn what_a_configuration_does_not_need_is_refused_where_it_stands() {
        for (text, at, part) in [
            ("a: 1\n---\nb: 2\n", "f:2:1", "second document"),
            ("a: &x 1\nb: *x\n", "f:2:4", "aliases"),
            ("a: !!str 1\n", "f:1:", "tags"),
            ("a:\n  - b\n c: 1\n", "f:3:", "not valid YAML"),
            ("a: \"open\nb: 1\n", "f:", "not valid YAML"),
            ("? [a]\n: 1\n", "f:1:3", "plain word"),
        ] {
            let issue = parse("f", text).unwrap_err();
            assert!(place(&issue).starts_with(at) && issue.message.contains(part), "{text:?}: {issue}");
        }
    }

    #[test]
    fn a_file_nested_or_long_beyond_reason_ends_in_an_error_not_in_exhaustion() {
        let deep = "[".repeat(5000);
        assert!(parse("f", &deep).is_err());
        let long = "- a\n".repeat(MAX_NODES + 1);
        assert!(parse("f", &long).unwrap_err().message.contains("too long"));
    }
}
