//! The records of one file: documents one after the other, or the elements of the list in one large document. One is
//! in memory at a time.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Value};

use super::decoded::{Decoded, NoText};
use super::input::{Meter, Metered, at};
use super::{Entry, FeedError, FeedKind, Problem};
use crate::finding::plain_text;
use crate::vuln::advisory::bounded;

/// How much of the front of a file is looked at to tell what kind it is.
const SNIFF_BYTES: usize = 600;

/// The records of one file, and where they go.
pub(super) struct Records<'a> {
    kind: FeedKind,
    file: &'a str,
    reader: BufReader<Decoded<Metered<'a>>>,
    meter: &'a Meter,
    take: &'a mut dyn FnMut(Entry) -> Result<(), Problem>,
}

impl<'a> Records<'a> {
    pub(super) fn new(
        kind: FeedKind,
        file: &'a str,
        reader: &'a mut dyn Read,
        meter: &'a Meter,
        take: &'a mut dyn FnMut(Entry) -> Result<(), Problem>,
    ) -> Self {
        let reader = BufReader::with_capacity(64 << 10, Decoded::new(Metered::new(reader, meter)));
        Self { kind, file, reader, meter, take }
    }

    /// The kind that the file begins like, where that is another than it should be.
    fn check_kind(&mut self) -> Result<(), Problem> {
        let front = self.reader.fill_buf()?;
        let front = String::from_utf8_lossy(front.get(..SNIFF_BYTES).unwrap_or(front));
        let marks = [
            ("\"CVE_RECORD\"", FeedKind::Cve),
            ("\"NVD_CVE\"", FeedKind::Nvd),
            ("\"catalogVersion\"", FeedKind::Kev),
            ("cve,epss,percentile", FeedKind::Epss),
        ];
        let found = marks.iter().find(|(mark, _)| front.contains(mark)).map(|(_, kind)| *kind);
        match found.filter(|found| *found != self.kind) {
            Some(found) => Err(self.wrong_kind(format!("it begins like one of kind {found}"))),
            None => Ok(()),
        }
    }

    pub(super) fn wrong_kind(&self, why: impl Into<String>) -> Problem {
        Problem::WrongKind { expected: self.kind, why: why.into() }
    }

    /// Takes documents one after the other, with nothing or line ends between them. A file of which not even the first is one is
    /// an odd record: there is a file for each where there are hundreds of thousands.
    pub(super) fn documents<T: DeserializeOwned>(
        &mut self,
        entry: impl FnMut(T) -> Result<Entry, String>,
    ) -> Result<(), Problem> {
        let mut holds_more = false;
        match self.each_document(entry, &mut holds_more) {
            Err(problem) if !holds_more && is_of_the_text(&problem) => {
                let odd = self.odd().of(problem);
                (self.take)(odd)
            }
            read => read,
        }
    }

    fn each_document<T: DeserializeOwned>(
        &mut self,
        mut entry: impl FnMut(T) -> Result<Entry, String>,
        holds_more: &mut bool,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        *holds_more = self.reader.fill_buf()?.trim_ascii_start().starts_with(b"[");
        let odd = self.odd();
        let mut documents = Deserializer::from_reader(&mut self.reader).into_iter::<Value>();
        loop {
            self.meter.begin_record();
            let Some(document) = documents.next() else { return Ok(()) };
            let document = document.map_err(of_json)?;
            *holds_more = true;
            match document {
                // Some tools put all of them into a list.
                Value::Array(all) if all.iter().all(Value::is_object) => {
                    for (at, one) in all.into_iter().enumerate() {
                        if at > 0 {
                            self.meter.begin_record();
                        }
                        (self.take)(odd.entry(one, &mut entry))?;
                    }
                }
                document => (self.take)(odd.entry(document, &mut entry))?,
            }
        }
    }

    /// Takes the elements of the list under `list` in one document.
    pub(super) fn elements<T: DeserializeOwned>(
        &mut self,
        list: &'static str,
        mut entry: impl FnMut(T) -> Result<Entry, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let odd = self.odd();
        let (mut problem, mut is_found) = (None, false);
        let (meter, take) = (self.meter, &mut self.take);
        let mut on_element =
            |element: Value| take(odd.entry(element, &mut entry)).map_err(|error| problem = Some(error)).is_ok();
        let mut deserializer = Deserializer::from_reader(&mut self.reader);
        let document =
            Document { list, is_found: &mut is_found, begin: &|| meter.begin_record(), on_element: &mut on_element };
        let read = deserializer.deserialize_map(document).and_then(|()| deserializer.end());
        match (problem, read) {
            (Some(problem), _) => Err(problem),
            (None, Err(error)) => Err(of_json(error)),
            (None, Ok(())) if !is_found => Err(self.wrong_kind(format!("it has no list `{list}`"))),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Takes lines; `entry` gets each, and whether a line end follows it. It gives no record, one, or why that is odd.
    pub(super) fn lines(
        &mut self,
        mut entry: impl FnMut(Line<'_>) -> Result<Option<Result<Entry, String>>, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let (kind, odd) = (self.kind, self.odd());
        let mut line = String::new();
        let mut number = 0;
        loop {
            line.clear();
            self.meter.begin_record();
            number += 1;
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let read = entry(Line { text: line.trim_end(), is_ended: line.ends_with('\n') });
            let wrong = |why: String| Problem::WrongKind { expected: kind, why: format!("line {number}: {why}") };
            if let Some(entry) = read.map_err(wrong)? {
                (self.take)(entry.unwrap_or_else(|why| odd.of(wrong(why))))?;
            }
        }
    }

    fn odd(&self) -> Odd<'a> {
        Odd { kind: self.kind, file: self.file, meter: self.meter }
    }
}

/// One line of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// Whether the file goes on behind it, if only with the line's end.
    pub(super) is_ended: bool,
}

/// What a record that does not fit is reported with.
struct Odd<'a> {
    kind: FeedKind,
    file: &'a str,
    meter: &'a Meter,
}

impl Odd<'_> {
    /// What a document says; one that does not fit is named and left out, because feeds have odd records, and one of them
    /// must not keep out all others.
    fn entry<T: DeserializeOwned>(&self, document: Value, read: &mut impl FnMut(T) -> Result<Entry, String>) -> Entry {
        let id = id_of(&document);
        let taken = serde_json::from_value::<T>(document).map_err(|error| error.to_string()).and_then(read);
        taken.unwrap_or_else(|why| {
            let why = id.map_or(why.clone(), |id| format!("{id}: {why}"));
            self.of(Problem::WrongKind { expected: self.kind, why })
        })
    }

    /// The record that is read now, with what is wrong with it.
    fn of(&self, problem: Problem) -> Entry {
        Entry::Odd(Box::new(FeedError { record: self.meter.record(), ..at(self.file, problem) }))
    }
}

/// The id that a record gives itself, in any feed's form.
fn id_of(document: &Value) -> Option<String> {
    let paths = ["/cveMetadata/cveId", "/id", "/cve/id", "/cveID"];
    let id = paths.into_iter().find_map(|path| document.pointer(path)?.as_str())?;
    Some(plain_text(&bounded(id)).to_string())
}

/// What cannot be read is told by its own words, without those of JSON.
fn of_json(error: serde_json::Error) -> Problem {
    if error.is_io() { Problem::Read(error.into()) } else { Problem::Json(error) }
}

/// Whether what was read is not as it should be, and not that it could not be read.
fn is_of_the_text(problem: &Problem) -> bool {
    match problem {
        Problem::Json(_) => true,
        Problem::Read(error) => error.get_ref().is_some_and(|error| error.is::<NoText>()),
        _ => false,
    }
}

/// The document around the list: everything else in it is passed over.
struct Document<'a> {
    list: &'static str,
    is_found: &'a mut bool,
    begin: &'a dyn Fn(),
    on_element: &'a mut dyn FnMut(Value) -> bool,
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a list `{}`", self.list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.list && !*self.is_found {
                *self.is_found = true;
                map.next_value_seed(List { begin: self.begin, on_element: &mut *self.on_element })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct List<'a> {
    begin: &'a dyn Fn(),
    on_element: &'a mut dyn FnMut(Value) -> bool,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            (self.begin)();
            match list.next_element::<Value>()? {
                None => return Ok(()),
                Some(element) => {
                    if !(self.on_element)(element) {
                        return Err(A::Error::custom("a record was not taken"));
                    }
                }
            }
        }
    }
}
