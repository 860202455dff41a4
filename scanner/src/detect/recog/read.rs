//! Reads one file of fingerprints. Attributes and elements that are not known are passed over: the format grows.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::RecogError;
use super::fingerprint::{Fingerprint, Param};
use crate::detect::rules::{Dialect, Flags, Pattern, PatternError};

/// Deepest nesting of elements that is followed.
const DEPTH_MAX: usize = 16;

/// A file's fingerprints.
#[derive(Debug)]
pub(super) struct Fingerprints {
    /// The file's name.
    pub(super) name: String,
    /// The kind of text that they match.
    pub(super) kind: String,
    /// How much they are to be preferred to another file's; higher goes first.
    pub(super) preference: f64,
    /// In their order.
    pub(super) entries: Vec<Entry>,
}

/// A fingerprint, with where it stands and, when asked for, its examples.
#[derive(Debug)]
pub(super) struct Entry {
    /// The line it begins in, from 1.
    pub(super) line: usize,
    /// Its pattern, or why it cannot be used.
    pub(super) pattern: Result<Pattern, PatternError>,
    pub(super) fingerprint: Fingerprint,
    pub(super) examples: Vec<Example>,
}

/// An example: a text and the parameters it must give.
#[derive(Debug, Default)]
pub(super) struct Example {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) is_base64: bool,
    /// A file that holds the text, in a directory named after the fingerprint file.
    pub(super) file_name: Option<String>,
    pub(super) expected: Vec<(String, String)>,
}

/// Reads a file's text; `None` when it is XML of another kind.
pub(super) fn read(path: &Path, text: &str, with_examples: bool) -> Result<Option<Fingerprints>, RecogError> {
    let reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let counted = Cell::new((0, 1));
    let mut state =
        State { path, text, reader, with_examples, names: HashSet::new(), file: None, open: None, depth: 0, counted };
    state.run()?;
    Ok(state.file.map(|(file, _)| file))
}

struct State<'a> {
    path: &'a Path,
    text: &'a str,
    reader: Reader<&'a [u8]>,
    with_examples: bool,
    /// Names and values that occur again and again are kept once.
    names: HashSet<Arc<str>>,
    file: Option<(Fingerprints, Option<Arc<str>>)>,
    open: Option<Open>,
    depth: usize,
    /// A place in the text and its line: lines are counted on from there, so that a file of many fingerprints is not
    /// counted through for each of them.
    counted: Cell<(usize, usize)>,
}

/// A fingerprint that has begun.
struct Open {
    entry: Entry,
    params: Vec<Param>,
    example: Option<Example>,
}

impl State<'_> {
    fn run(&mut self) -> Result<(), RecogError> {
        loop {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let at = usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX);
                    return Err(self.malformed_at(at, error.to_string()));
                }
            };
            match event {
                Event::Start(element) => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(self.malformed(format!("more than {DEPTH_MAX} elements inside each other")));
                    }
                    self.begin(&element)?;
                }
                Event::Empty(element) => {
                    self.begin(&element)?;
                    self.end(element.name().as_ref());
                }
                Event::End(element) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.end(element.name().as_ref());
                }
                Event::Text(text) => self.say(&text.xml10_content()),
                Event::CData(text) => self.say(&text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let text = self.resolve(&reference)?;
                    self.say(&text);
                }
                Event::Eof if self.depth > 0 => return Err(self.malformed("the file ends inside an element")),
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), RecogError> {
        let attributes = self.attributes(element)?;
        let of = |name: &str| attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match element.name().as_ref() {
            "fingerprints" if self.file.is_none() => {
                let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let preference =
                    of("preference").and_then(|text| text.trim().parse().ok()).filter(|p: &f64| p.is_finite());
                let protocol = of("protocol").map(|name| self.keep(name));
                let file = Fingerprints {
                    name: self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                    kind: of("matches").map_or(stem, str::to_owned),
                    preference: preference.unwrap_or(0.5),
                    entries: Vec::new(),
                };
                self.file = Some((file, protocol));
            }
            "fingerprint" if self.file.is_some() => {
                let Some(pattern) = of("pattern") else {
                    return Err(self.malformed("a <fingerprint> without a pattern"));
                };
                let pattern = Pattern::new(pattern.as_bytes(), flags(of("flags").unwrap_or_default()));
                let protocol = self.file.as_ref().and_then(|(_, protocol)| protocol.clone());
                let fingerprint = Fingerprint { params: Box::default(), protocol };
                let entry = Entry { line: self.line(), pattern, fingerprint, examples: Vec::new() };
                self.open = Some(Open { entry, params: Vec::new(), example: None });
            }
            "param" if self.open.is_some() => {
                let param = self.param(of("pos"), of("name"), of("value"))?;
                if let Some(open) = &mut self.open {
                    open.params.extend(param);
                }
            }
            "example" if self.with_examples => {
                let mut example = Example { line: self.line(), ..Example::default() };
                for (name, value) in attributes {
                    match name.as_str() {
                        "_encoding" => example.is_base64 = value == "base64",
                        "_filename" => example.file_name = Some(value),
                        _ => example.expected.push((name, value)),
                    }
                }
                if let Some(open) = &mut self.open {
                    open.example = Some(example);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) {
        match name {
            "example" => {
                if let Some(open) = &mut self.open {
                    open.entry.examples.extend(open.example.take());
                }
            }
            "fingerprint" => {
                if let (Some(mut open), Some((file, _))) = (self.open.take(), &mut self.file) {
                    open.entry.fingerprint.params = open.params.into();
                    file.entries.push(open.entry);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(example) = self.open.as_mut().and_then(|open| open.example.as_mut()) {
            example.text.push_str(text);
        }
    }

    fn param(
        &mut self,
        pos: Option<&str>,
        name: Option<&str>,
        value: Option<&str>,
    ) -> Result<Option<Param>, RecogError> {
        let Some(name) = name else {
            return Err(self.malformed("a <param> without a name"));
        };
        let Some(Ok(pos)) = pos.map(|pos| pos.trim().parse::<usize>()) else {
            return Err(self.malformed(format!("the pos of <param> {name:?} is not a number")));
        };
        let name = self.keep(name);
        Ok(match (pos, value) {
            (0, Some(value)) => Some(Param::Value(name, self.keep(value))),
            (0, None) => None,
            _ => Some(Param::Capture(name, pos)),
        })
    }

    fn keep(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.names.insert(text.clone());
        text
    }

    fn attributes(&self, element: &BytesStart<'_>) -> Result<Vec<(String, String)>, RecogError> {
        let mut all = Vec::new();
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| self.malformed(error.to_string()))?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| self.malformed(error.to_string()))?;
            all.push((attribute.key.as_ref().to_owned(), value.into_owned()));
        }
        Ok(all)
    }

    fn resolve(&self, reference: &BytesRef<'_>) -> Result<String, RecogError> {
        if let Some(c) = reference.resolve_char_ref().map_err(|error| self.malformed(error.to_string()))? {
            return Ok(c.to_string());
        }
        // Entities that a file defines itself are not followed: they can grow without bound.
        quick_xml::escape::resolve_predefined_entity(reference)
            .map(str::to_owned)
            .ok_or_else(|| self.malformed(format!("&{}; is not one of XML's five entities", &**reference)))
    }

    fn line(&self) -> usize {
        self.line_at(usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX))
    }

    fn line_at(&self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let at = at.min(bytes.len());
        let (from, line) = Some(self.counted.get()).filter(|(from, _)| *from <= at).unwrap_or((0, 1));
        let line = line + bytes.get(from..at).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
        self.counted.set((at, line));
        line
    }

    fn malformed(&self, problem: impl Into<String>) -> RecogError {
        RecogError::Malformed { path: self.path.into(), line: self.line(), problem: problem.into() }
    }

    fn malformed_at(&self, at: usize, problem: String) -> RecogError {
        RecogError::Malformed { path: self.path.into(), line: self.line_at(at), problem }
    }
}

/// A fingerprint's `flags`, by the names that recog's readers know. Ruby has no flag for line anchors, since its
/// anchors are always those, so that a "multi-line" pattern is one whose dot matches newlines.
fn flags(text: &str) -> Flags {
    let mut flags = Flags { dialect: Dialect::Ruby, is_caseless: false, is_dot_newline: false, is_multi_line: true };
    for name in text.split([',', '|', ' ']) {
        match name.trim() {
            "REG_ICASE" | "IGNORECASE" => flags.is_caseless = true,
            "REG_DOT_NEWLINE" | "REG_MULTILINE" | "REG_LINE_ANY_CRLF" | "MULTILINE" => flags.is_dot_newline = true,
            _ => {}
        }
    }
    flags
}
