//! JSON cut into its values without reading them: where one begins, and where its last bracket closes.
//!
//! A parser that meets a number out of range, half a character or too deep a nest stops for good, and so would the feed.
//! Cut out first, what is wrong with one record stays in it. Only strings and brackets are looked at, nothing is kept but
//! the value at hand, and nesting is a number.

use std::io::{self, BufRead};

use serde::de::{DeserializeOwned, Error as _};

/// How much is kept of a value that is longer than may be: its id stands at its front. Ours.
const FRONT_BYTES: usize = 64 << 10;

/// A stream of values and what stands between them.
pub(super) struct Pieces<R> {
    reader: R,
    /// How long a value may be that is taken.
    value_bytes_max: u64,
    /// Of the next byte, from 1.
    line: u64,
    column: u64,
    /// How many bytes are behind.
    offset: u64,
}

/// One value, and where it stood.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    line: u64,
    column: u64,
    /// Of the stream's bytes.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether it has more lines than one.
    pub(super) is_of_lines: bool,
    /// Whether it is longer than a value may be, and `text` only its front.
    pub(super) is_too_long: bool,
}

/// How a value ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// As it should.
    Whole,
    /// Another one begins on the next line, and this one has no end.
    Short,
    /// The stream ends in it.
    End,
}

/// What ends a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many brackets of lists were taken of it already.
    pub(super) depth: u64,
    /// Whether an object that begins a line within a string ends what was before it: no string has line ends.
    pub(super) in_strings: bool,
    /// Whether one does that anywhere, since each value has been on a line of its own.
    pub(super) anywhere: bool,
}

impl Bounds {
    /// Its own end alone.
    pub(super) const OWN: Self = Self { depth: 0, in_strings: false, anywhere: false };
}

impl<R: BufRead> Pieces<R> {
    pub(super) fn new(reader: R, value_bytes_max: u64) -> Self {
        Self { reader, value_bytes_max, line: 1, column: 1, offset: 0 }
    }

    /// The next byte that is no white space, which is still to come; `None` at the end.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let shown = self.reader.fill_buf()?;
            if shown.is_empty() {
                return Ok(None);
            }
            let blank = shown.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = shown.get(blank).copied();
            self.consume(blank)?;
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Takes the next byte that is no white space, if it is this one.
    pub(super) fn take(&mut self, wanted: u8) -> io::Result<bool> {
        let is_it = self.peek()? == Some(wanted);
        if is_it {
            self.consume(1)?;
        }
        Ok(is_it)
    }

    /// Takes the next value into `piece`; of one that is too long its front, and the rest is passed over.
    pub(super) fn value(&mut self, piece: &mut Piece, bounds: Bounds) -> io::Result<Cut> {
        self.peek()?;
        piece.text.clear();
        (piece.line, piece.column, piece.from) = (self.line, self.column, self.offset);
        for _ in 0..bounds.depth {
            piece.text.push(b'[');
            piece.column = piece.column.saturating_sub(1).max(1);
        }
        piece.is_too_long = false;
        let bytes_max = usize::try_from(self.value_bytes_max).unwrap_or(usize::MAX);
        let cut = self.each_part(bounds, |part| {
            piece.is_too_long |= part.len() > bytes_max.saturating_sub(piece.text.len());
            if !piece.is_too_long {
                piece.text.extend_from_slice(part);
            } else if piece.text.len() < FRONT_BYTES {
                let room = FRONT_BYTES - piece.text.len();
                piece.text.extend_from_slice(part.get(..room).unwrap_or(part));
            } else {
                // What came before it was known to be too long.
                piece.text.truncate(FRONT_BYTES);
                piece.text.shrink_to_fit();
            }
        })?;
        piece.to = self.offset;
        piece.is_of_lines = self.line > piece.line;
        Ok(cut)
    }

    /// Passes over the next value.
    pub(super) fn skip(&mut self) -> io::Result<Cut> {
        self.peek()?;
        self.each_part(Bounds::OWN, |_| {})
    }

    fn each_part(&mut self, bounds: Bounds, mut take: impl FnMut(&[u8])) -> io::Result<Cut> {
        let mut extent = Extent { depth: bounds.depth, ..Extent::default() };
        loop {
            let shown = self.reader.fill_buf()?;
            if shown.is_empty() {
                let is_whole = extent.is_begun && extent.depth == 0 && !extent.in_string;
                return Ok(if is_whole { Cut::Whole } else { Cut::End });
            }
            let (length, cut) = extent.scan(shown, bounds);
            take(shown.get(..length).unwrap_or_default());
            self.consume(length)?;
            if let Some(cut) = cut {
                return Ok(cut);
            }
        }
    }

    fn consume(&mut self, amount: usize) -> io::Result<()> {
        let shown = self.reader.fill_buf()?.get(..amount).unwrap_or_default();
        let ends = shown.iter().filter(|byte| **byte == b'\n').count() as u64;
        let last = shown.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().len() as u64;
        self.column = if ends == 0 { self.column + last } else { last + 1 };
        self.line += ends;
        self.offset += amount as u64;
        self.reader.consume(amount);
        Ok(())
    }

    /// What is wrong here, with the place.
    pub(super) fn wrong(&self, what: &str) -> serde_json::Error {
        serde_json::Error::custom(format!("{what} at line {} column {}", self.line, self.column))
    }
}

/// How far a value has come.
#[derive(Debug, Default)]
struct Extent {
    depth: u64,
    is_begun: bool,
    in_string: bool,
    is_escaped: bool,
    /// Whether a line has just ended.
    is_at_line: bool,
}

impl Extent {
    /// How many of these bytes are the value's, and how it ends where it ends with them.
    fn scan(&mut self, bytes: &[u8], bounds: Bounds) -> (usize, Option<Cut>) {
        for (at, &byte) in bytes.iter().enumerate() {
            let is_at_line = std::mem::replace(&mut self.is_at_line, byte == b'\n');
            let may_begin = bounds.anywhere || bounds.in_strings && self.in_string;
            if is_at_line && byte == b'{' && may_begin && self.is_begun {
                return (at, Some(Cut::Short));
            }
            if self.in_string {
                let is_escaped = std::mem::take(&mut self.is_escaped);
                match byte {
                    b'\\' => self.is_escaped = !is_escaped,
                    b'"' if !is_escaped => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return (at + 1, Some(Cut::Whole));
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                // A number or a word ends before these.
                b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\t' | b'\r' if self.depth == 0 && self.is_begun => {
                    return (at, Some(Cut::Whole));
                }
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return (at + 1, Some(Cut::Whole));
                    }
                }
                _ => {}
            }
            self.is_begun = true;
        }
        (bytes.len(), None)
    }
}

impl Piece {
    /// Reads the value. Half characters in its strings (`\ud83d` alone) are read as U+FFFD, and then told: whoever wrote them cut a
    /// text in the middle.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<(T, Option<String>), serde_json::Error> {
        let error = match serde_json::from_slice(&self.text) {
            Ok(value) => return Ok((value, None)),
            Err(error) => error,
        };
        match mended(&self.text) {
            Some((text, half)) => match serde_json::from_slice(&text) {
                Ok(value) => Ok((value, Some(format!("\\u{half} is half a character")))),
                Err(error) => Err(self.placed(&error)),
            },
            None => Err(self.placed(&error)),
        }
    }

    /// What is wrong with a value that the stream ended in.
    pub(super) fn unfinished(&self) -> serde_json::Error {
        let error = serde_json::from_slice::<serde_json::Value>(&self.text).err();
        error.map_or_else(|| serde_json::Error::custom("EOF while parsing a value"), |error| self.placed(&error))
    }

    /// The error with its place in the file.
    fn placed(&self, error: &serde_json::Error) -> serde_json::Error {
        let (line, column) = (error.line() as u64, error.column() as u64);
        if line == 0 {
            return serde_json::Error::custom(error);
        }
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let column = if line == 1 { self.column + column - 1 } else { column };
        serde_json::Error::custom(format!("{what} at line {} column {column}", self.line + line - 1))
    }

    /// What it calls itself, where it cannot be read.
    pub(super) fn id(&self) -> Option<String> {
        /// Longest id that is told.
        const ID_BYTES_MAX: usize = 64;
        let text = self.text.as_slice();
        let names: [&[u8]; 3] = [b"\"cveId\"", b"\"cveID\"", b"\"id\""];
        let value = names.into_iter().find_map(|name| {
            let at = text.windows(name.len()).position(|window| window == name)?;
            let rest = text.get(at + name.len()..)?.trim_ascii_start().strip_prefix(b":")?;
            rest.trim_ascii_start().strip_prefix(b"\"")
        })?;
        let end = value.iter().take(ID_BYTES_MAX).position(|byte| matches!(byte, b'"' | b'\\'))?;
        Some(String::from_utf8_lossy(value.get(..end)?).into_owned())
    }
}

/// The text with U+FFFD for each half of a surrogate pair that stands alone, and the first of them; `None` where there is none.
fn mended(text: &[u8]) -> Option<(Vec<u8>, String)> {
    const UNIT: usize = r"\uXXXX".len();
    let unit = |at: usize| {
        let digits = text.get(at..at + UNIT)?.strip_prefix(br"\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut first, mut at) = (Vec::new(), None, 0);
    let mut kept = 0;
    while let Some(&byte) = text.get(at) {
        at += match (byte, unit(at)) {
            (b'\\', Some(0xd800..=0xdbff)) if matches!(unit(at + UNIT), Some(0xdc00..=0xdfff)) => 2 * UNIT,
            (b'\\', Some(half @ 0xd800..=0xdfff)) => {
                out.extend_from_slice(text.get(kept..at)?);
                out.extend_from_slice(br"\ufffd");
                kept = at + UNIT;
                first.get_or_insert_with(|| format!("{half:04x}"));
                UNIT
            }
            // Whatever is behind a backslash is not the beginning of another escape.
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    out.extend_from_slice(text.get(kept..)?);
    Some((out, first?))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn cut(text: &str, bounds: Bounds) -> Vec<(String, Cut)> {
        // A buffer of few bytes, so that every place is once the last of a part.
        let mut pieces = Pieces::new(io::BufReader::with_capacity(3, text.as_bytes()), u64::MAX);
        let mut all = Vec::new();
        while pieces.peek().unwrap().is_some() {
            let mut piece = Piece::default();
            let cut = pieces.value(&mut piece, bounds).unwrap();
            assert!(!piece.text.is_empty() || cut == Cut::End, "it goes on");
            all.push((String::from_utf8(piece.text).unwrap(), cut));
            if cut == Cut::End {
                break;
            }
            let _ = pieces.take(b',').unwrap() || pieces.take(b':').unwrap();
        }
        all
    }

    #[test]
    fn values_are_cut_where_they_end() {
        let whole = |texts: &[&str]| texts.iter().map(|text| ((*text).to_owned(), Cut::Whole)).collect::<Vec<_>>();
        for (text, expected) in [
            (r#"{"a": ["}", "\"]"]} {"b":1}"#, &[r#"{"a": ["}", "\"]"]}"#, r#"{"b":1}"#][..]),
            ("1,true, \"x\\\\\",[ ]", &["1", "true", "\"x\\\\\"", "[ ]"]),
            ("\"a\": -1.5e9\n", &["\"a\"", "-1.5e9"]),
            ("{\"a\": \"\u{e9}\n\"}", &["{\"a\": \"\u{e9}\n\"}"]),
            ("{}{}", &["{}", "{}"]),
        ] {
            assert_eq!(cut(text, Bounds::OWN), whole(expected), "{text}");
        }
        assert_eq!(cut("{\"a\": [1, ", Bounds::OWN), [("{\"a\": [1, ".to_owned(), Cut::End)]);
        assert_eq!(cut("\"a", Bounds::OWN), [("\"a".to_owned(), Cut::End)]);
    }

    #[test]
    fn a_value_that_is_too_long_is_passed_over_to_its_end_and_its_front_is_kept() {
        let (long, next) = (format!("{{\"id\": \"a\", \"b\": [\"}}{}\"]}}", "x".repeat(300_000)), "{\"c\": 1}");
        let text = format!("{long}{next}");
        for at_once in [3, 1 << 20] {
            let mut pieces = Pieces::new(io::BufReader::with_capacity(at_once, text.as_bytes()), 200_000);
            let mut piece = Piece::default();
            assert_eq!(pieces.value(&mut piece, Bounds::OWN).unwrap(), Cut::Whole);
            assert!(piece.is_too_long && piece.text.capacity() <= 4 * FRONT_BYTES, "{}", piece.text.capacity());
            assert_eq!((piece.id().as_deref(), piece.to), (Some("a"), long.len() as u64));
            assert_eq!(pieces.value(&mut piece, Bounds::OWN).unwrap(), Cut::Whole);
            assert!(!piece.is_too_long && piece.text == next.as_bytes());
        }
    }

    #[test]
    fn what_is_cut_short_ends_where_the_next_line_begins() {
        let short = |bounds| cut("{\"a\": \"x\n{\"b\": [1\n{\"c\": 1}", bounds);
        let in_strings = Bounds { in_strings: true, ..Bounds::OWN };
        assert_eq!(short(in_strings)[0], ("{\"a\": \"x\n".to_owned(), Cut::Short));
        assert_eq!(short(in_strings)[1].1, Cut::End, "braces may begin lines within a list");
        let all = short(Bounds { anywhere: true, ..in_strings });
        assert_eq!(all.iter().map(|(_, cut)| *cut).collect::<Vec<_>>(), [Cut::Short, Cut::Short, Cut::Whole]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "{\"a\":\n 1}  {\"b\": 1e999, \"cveId\" : \"CVE-1999-900001\"}\n{\"c\":\n x}";
        let mut pieces = Pieces::new(text.as_bytes(), u64::MAX);
        let mut piece = Piece::default();
        let mut next = || {
            pieces.value(&mut piece, Bounds::OWN).unwrap();
            (piece.read::<Value>().map_err(|error| error.to_string()), piece.id(), piece.from, piece.is_of_lines)
        };
        assert_eq!(next().2, 0);
        let (read, id, from, is_of_lines) = next();
        assert_eq!(read.unwrap_err(), "number out of range at line 2 column 16");
        assert_eq!((id.as_deref(), from, is_of_lines), (Some("CVE-1999-900001"), 11, false));
        let (read, id, ..) = next();
        assert_eq!((read.unwrap_err().as_str(), id), ("expected value at line 4 column 2", None));
    }

    #[test]
    fn half_a_character_is_read_as_one_that_is_lost() {
        for (text, expected, half) in [
            (r#""a\ud83d""#, "a\u{fffd}", Some("d83d")),
            (r#""\ude00\ud83d\ude00\uD83Dx""#, "\u{fffd}\u{1f600}\u{fffd}x", Some("de00")),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}", Some("d83d")),
            (r#""\ud83d\n""#, "\u{fffd}\n", Some("d83d")),
            (r#""\\ud83d""#, "\\ud83d", None),
            (r#""\ud83d\ude00""#, "\u{1f600}", None),
        ] {
            let piece = Piece { text: text.as_bytes().to_vec(), ..Piece::default() };
            let (read, told) = piece.read::<String>().unwrap();
            assert_eq!((read.as_str(), told.is_some()), (expected, half.is_some()), "{text}");
            assert!(half.is_none_or(|half| told.unwrap().contains(half)), "{text}");
        }
        let broken = Piece { text: br#"{"a": "\ud83d", "b": }"#.to_vec(), line: 1, column: 1, ..Piece::default() };
        assert!(broken.read::<Value>().unwrap_err().to_string().contains("expected value at line 1 column 22"));
    }
}
