//! The records of one file: documents one after the other, or the elements of the list in one large document. One is
//! in memory at a time.

use std::io::{self, BufRead, BufReader, Read};

use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

use super::decoded::{Decoded, Faults, NoText};
use super::input::{Meter, Metered, at};
use super::pieces::{Bounds, Cut, Piece, Pieces};
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
    faults: Faults,
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
        let decoded = Decoded::new(Metered::new(reader, meter));
        let faults = decoded.faults();
        Self { kind, file, reader: BufReader::with_capacity(64 << 10, decoded), faults, meter, take }
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
        let odd = self.odd();
        let (mut pieces, mut piece) = (Pieces::new(&mut self.reader, self.meter.record_max()), Piece::default());
        let mut are_lines = true;
        loop {
            self.meter.begin_record();
            let Some(next) = pieces.peek()? else { return Ok(()) };
            let mut bounds = Bounds { in_strings: true, anywhere: *holds_more && are_lines, ..Bounds::OWN };
            if next == b'[' {
                pieces.take(b'[')?;
                // Some tools put all of them into a list.
                if matches!(pieces.peek()?, Some(b'{' | b']')) {
                    *holds_more = true;
                    let take = &mut *self.take;
                    each_element(&mut pieces, self.meter, true, |piece| take(odd.entry(piece, &mut entry)))?;
                    continue;
                }
                bounds.depth = 1;
            }
            match pieces.value(&mut piece, bounds)? {
                Cut::Whole => are_lines &= !piece.is_of_lines,
                Cut::Short => {}
                Cut::End => return Err(of_json(piece.unfinished())),
            }
            (self.take)(odd.entry(&piece, &mut entry))?;
            *holds_more = true;
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
        let (meter, take) = (self.meter, &mut *self.take);
        let (mut pieces, mut name) = (Pieces::new(&mut self.reader, self.meter.record_max()), Piece::default());
        if !pieces.take(b'{')? {
            return Err(Problem::Json(pieces.wrong(&format!("expected an object with a list `{list}`"))));
        }
        let mut is_found = false;
        while !pieces.take(b'}')? {
            let cut = pieces.value(&mut name, Bounds::OWN)?;
            if cut == Cut::End || !name.text.starts_with(b"\"") || !pieces.take(b':')? {
                return Err(Problem::Json(pieces.wrong("expected a name and its value, or the end of the object")));
            }
            let is_it = !is_found && name.read::<String>().is_ok_and(|(name, _)| name == list);
            if is_it && pieces.take(b'[')? {
                is_found = true;
                each_element(&mut pieces, meter, false, |piece| take(odd.entry(piece, &mut entry)))?;
            } else if is_it {
                return Err(Problem::Json(pieces.wrong(&format!("expected a list of records under `{list}`"))));
            } else if pieces.skip()? == Cut::End {
                return Err(Problem::Json(pieces.wrong("EOF while parsing a value")));
            }
            let has_more = pieces.take(b',')?;
            if !has_more && pieces.peek()? != Some(b'}') {
                return Err(Problem::Json(pieces.wrong("expected `,` or `}`")));
            }
        }
        match pieces.peek()? {
            Some(_) => Err(Problem::Json(pieces.wrong("trailing characters"))),
            None if !is_found => Err(self.wrong_kind(format!("it has no list `{list}`"))),
            None => Ok(()),
        }
    }

    /// Takes lines; `entry` gets each, and whether a line end follows it. It gives no record, one, or why that is odd.
    pub(super) fn lines(
        &mut self,
        mut entry: impl FnMut(Line<'_>) -> Result<Option<Result<Entry, String>>, String>,
    ) -> Result<(), Problem> {
        self.check_kind()?;
        let (kind, odd) = (self.kind, self.odd());
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            self.meter.begin_record();
            number += 1;
            let record_max = self.meter.record_max();
            let length = read_line(&mut self.reader, &mut line, record_max)?;
            if length == 0 {
                return Ok(());
            }
            let wrong = |why: String| Problem::WrongKind { expected: kind, why: format!("line {number}: {why}") };
            if length > record_max {
                (self.take)(
                    odd.of(wrong(format!("it has {length} bytes, more than the {record_max} that a row may have"))),
                )?;
                continue;
            }
            // A file is decoded before it is cut into lines.
            let text = String::from_utf8_lossy(&line);
            let read = entry(Line { text: text.trim_end(), is_ended: text.ends_with('\n') });
            if let Some(entry) = read.map_err(wrong)? {
                (self.take)(entry.unwrap_or_else(|why| odd.of(wrong(why))))?;
            }
        }
    }

    fn odd(&self) -> Odd<'a> {
        Odd { kind: self.kind, file: self.file, faults: self.faults.clone(), meter: self.meter }
    }
}

/// Reads a line with its end into `line`, and says how long it is. Of one that is longer than `bytes_max` nothing is kept.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: u64) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let shown = reader.fill_buf()?;
        let end = shown.iter().position(|byte| *byte == b'\n');
        let part = shown.get(..end.map_or(shown.len(), |end| end + 1)).unwrap_or(shown);
        let taken = part.len();
        length += taken as u64;
        if length <= bytes_max {
            line.extend_from_slice(part);
        } else {
            *line = Vec::new();
        }
        reader.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(length);
        }
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
    faults: Faults,
    meter: &'a Meter,
}

impl Odd<'_> {
    /// What a document says; one that does not fit is named and left out, because feeds have odd records, and one of them
    /// must not keep out all others. Characters that are lost are no harm where nothing is compared with them.
    fn entry<T: DeserializeOwned>(&self, piece: &Piece, read: &mut impl FnMut(T) -> Result<Entry, String>) -> Entry {
        let fault = self.faults.take(piece.from, piece.to);
        let named = |id: Option<String>, why: String| {
            let id = id.map(|id| format!("{id}: ")).unwrap_or_default();
            self.of(Problem::WrongKind { expected: self.kind, why: id + &why })
        };
        if piece.is_too_long {
            let why = format!("the record has more than the {} bytes that one may have", self.meter.record_max());
            return named(piece.id().map(|id| plain_text(&id).to_string()), why);
        }
        let (document, half) = match piece.read::<Value>() {
            Ok(read) => read,
            Err(error) => {
                let id = piece.id().map(|id| plain_text(&id).to_string());
                return match (fault, id) {
                    (Some(fault), id) => named(id, fault),
                    (None, Some(id)) => self.of(Problem::Json(serde_json::Error::custom(format!("{id}: {error}")))),
                    (None, None) => self.of(Problem::Json(error)),
                };
            }
        };
        let id = id_of(&document);
        if let Some(lost) = fault.or(half).filter(|_| is_damaged(&document, false)) {
            return named(id, lost);
        }
        let taken = serde_json::from_value::<T>(document).map_err(|error| error.to_string()).and_then(read);
        taken.unwrap_or_else(|why| named(id, why))
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

/// Takes what is left of a list whose bracket was taken, element by element.
fn each_element<R: BufRead>(
    pieces: &mut Pieces<R>,
    meter: &Meter,
    mut is_begun: bool,
    mut take: impl FnMut(&Piece) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut piece = Piece::default();
    loop {
        // What begins the list may have begun its first record.
        if !std::mem::take(&mut is_begun) {
            meter.begin_record();
        }
        if pieces.take(b']')? {
            return Ok(());
        }
        if pieces.value(&mut piece, Bounds::OWN)? == Cut::End {
            return Err(of_json(piece.unfinished()));
        }
        take(&piece)?;
        if !pieces.take(b',')? && pieces.peek()? != Some(b']') {
            return Err(Problem::Json(pieces.wrong("expected `,` or `]`")));
        }
    }
}

/// Whether characters are lost in what services are compared with, or records are known by.
fn is_damaged(value: &Value, is_compared: bool) -> bool {
    match value {
        Value::String(text) => is_compared && text.contains(char::REPLACEMENT_CHARACTER),
        Value::Array(all) => all.iter().any(|one| is_damaged(one, is_compared)),
        Value::Object(all) => all.iter().any(|(name, one)| is_damaged(one, is_compared || is_compared_by(name))),
        _ => false,
    }
}

/// Whether what stands under this name is more than prose, in any feed's form.
fn is_compared_by(name: &str) -> bool {
    match name {
        "id" | "cveId" | "cveID" | "aliases" | "upstream" | "dateAdded" => true,
        "vendor" | "product" | "packageName" | "collectionURL" | "package" => true,
        "versions" | "ranges" | "cpes" | "platforms" | "modules" | "criteria" => true,
        _ => name.starts_with("version"),
    }
}
