//! The records of one file: documents one after the other, or the elements of the list in one large document. One is
//! in memory at a time.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::marker::PhantomData;

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

use super::input::{Meter, Metered};
use super::{Entry, FeedKind, Problem};

/// How much of the front of a file is looked at to tell what kind it is.
const SNIFF_BYTES: usize = 600;

/// The records of one file, and where they go.
pub(super) struct Records<'a> {
    kind: FeedKind,
    reader: BufReader<Metered<'a>>,
    meter: &'a Meter,
    take: &'a mut dyn FnMut(Entry) -> Result<(), Problem>,
}

impl<'a> Records<'a> {
    pub(super) fn new(
        kind: FeedKind,
        reader: &'a mut dyn Read,
        meter: &'a Meter,
        take: &'a mut dyn FnMut(Entry) -> Result<(), Problem>,
    ) -> Self {
        Self { kind, reader: BufReader::with_capacity(64 << 10, Metered::new(reader, meter)), meter, take }
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

    /// Takes documents one after the other, with nothing or line ends between them.
    pub(super) fn documents<T: DeserializeOwned>(
        &mut self,
        mut entry: impl FnMut(T) -> Result<Entry, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let kind = self.kind;
        let mut documents = Deserializer::from_reader(&mut self.reader).into_iter::<T>();
        loop {
            self.meter.begin_record();
            let Some(document) = documents.next() else { return Ok(()) };
            (self.take)(entry(document?).map_err(|why| Problem::WrongKind { expected: kind, why })?)?;
        }
    }

    /// Takes the elements of the list under `list` in one document.
    pub(super) fn elements<T: DeserializeOwned>(
        &mut self,
        list: &'static str,
        mut entry: impl FnMut(T) -> Result<Entry, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let kind = self.kind;
        let (mut problem, mut is_found) = (None, false);
        let (meter, take) = (self.meter, &mut self.take);
        let mut on_element = |element: T| {
            let taken = entry(element).map_err(|why| Problem::WrongKind { expected: kind, why }).and_then(&mut **take);
            taken.map_err(|error| problem = Some(error)).is_ok()
        };
        let mut deserializer = Deserializer::from_reader(&mut self.reader);
        let document = Document {
            list,
            is_found: &mut is_found,
            begin: &|| meter.begin_record(),
            on_element: &mut on_element,
            of: PhantomData,
        };
        let read = deserializer.deserialize_map(document).and_then(|()| deserializer.end());
        match (problem, read) {
            (Some(problem), _) => Err(problem),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) if !is_found => Err(self.wrong_kind(format!("it has no list `{list}`"))),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Takes lines; `entry` gets each with its number, counted from 1.
    pub(super) fn lines(
        &mut self,
        mut entry: impl FnMut(u64, &str) -> Result<Option<Entry>, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let kind = self.kind;
        let mut line = String::new();
        let mut number = 0;
        loop {
            line.clear();
            self.meter.begin_record();
            number += 1;
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if !line.ends_with('\n') {
                return Err(self.wrong_kind("it ends in the middle of a line"));
            }
            if let Some(entry) =
                entry(number, line.trim_end()).map_err(|why| Problem::WrongKind { expected: kind, why })?
            {
                (self.take)(entry)?;
            }
        }
    }
}

/// The document around the list: everything else in it is passed over.
struct Document<'a, T> {
    list: &'static str,
    is_found: &'a mut bool,
    begin: &'a dyn Fn(),
    on_element: &'a mut dyn FnMut(T) -> bool,
    of: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Document<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a list `{}`", self.list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.list && !*self.is_found {
                *self.is_found = true;
                map.next_value_seed(List { begin: self.begin, on_element: &mut *self.on_element, of: PhantomData })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct List<'a, T> {
    begin: &'a dyn Fn(),
    on_element: &'a mut dyn FnMut(T) -> bool,
    of: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for List<'_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for List<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            (self.begin)();
            match list.next_element::<T>()? {
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
