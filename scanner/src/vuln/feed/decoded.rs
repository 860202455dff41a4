//! Text as programs save it, made UTF-8 with `\n` behind each line: byte order marks, UTF-16, carriage returns, and the
//! Ctrl-Z that ends files of old programs.
//!
//! Bytes that are no character are read as U+FFFD and told to whoever takes the record that they are in, with line and
//! column. Text of another encoding, or that ends within a character, is refused. Nothing is dropped but marks: a Ctrl-Z
//! with anything behind it is an error, not the end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// What ends a file of old programs.
const CTRL_Z: u8 = 0x1a;
/// The byte order mark in UTF-8.
const MARK: &str = "\u{feff}";
/// Stands where bytes are no character.
const LOST: &str = "\u{fffd}";
/// Most places of such that are remembered: a file in another encoding has them everywhere, and nobody reads more.
const FAULTS_MAX: usize = 1024;

/// Why bytes are no text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoText(String);

impl From<NoText> for io::Error {
    fn from(error: NoText) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { is_big: bool },
}

/// Where bytes were no character.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Rc<RefCell<VecDeque<(u64, String)>>>);

impl Faults {
    /// What was wrong first between these places of the text, and forgets all before the last.
    pub(super) fn take(&self, from: u64, to: u64) -> Option<String> {
        let mut all = self.0.borrow_mut();
        let behind = all.iter().take_while(|(at, _)| *at < to).count();
        all.drain(..behind).find(|(at, _)| *at >= from).map(|(_, why)| why)
    }
}

/// A reader of text.
pub(super) struct Decoded<R> {
    inner: R,
    faults: Faults,
    /// `None` before anything was read.
    encoding: Option<Encoding>,
    /// Bytes of a character that goes on in what comes next.
    rest: Vec<u8>,
    text: Vec<u8>,
    /// How much of `text` was handed out.
    taken: usize,
    /// How much text there was, in bytes.
    length: u64,
    line: u64,
    column: u64,
    /// The last byte was a carriage return, so that a line feed belongs to it.
    is_after_return: bool,
    is_after_ctrl_z: bool,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            faults: Faults::default(),
            encoding: None,
            rest: Vec::new(),
            text: Vec::new(),
            taken: 0,
            length: 0,
            line: 1,
            column: 1,
            is_after_return: false,
            is_after_ctrl_z: false,
        }
    }

    /// Where its bytes were no character, as it is read.
    pub(super) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Reads and decodes the next chunk; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut raw = std::mem::take(&mut self.rest);
        let before = raw.len();
        // The first bytes tell the encoding, so all of them are needed.
        let at_least = if self.encoding.is_none() { 4 } else { before + 1 };
        raw.resize(before + CHUNK_BYTES, 0);
        let mut length = before;
        while length < at_least {
            let count = match self.inner.read(raw.get_mut(length..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                break;
            }
            length += count;
        }
        raw.truncate(length);
        let is_end = length < at_least;
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => {
                let (encoding, mark) = encoding_of(&raw)?;
                raw.drain(..mark);
                *self.encoding.insert(encoding)
            }
        };
        (self.text, self.taken) = (Vec::with_capacity(raw.len()), 0);
        match encoding {
            Encoding::Utf8 => self.utf8(&raw, is_end)?,
            Encoding::Utf16 { is_big } => self.utf16(&raw, is_big, is_end)?,
        }
        Ok(!is_end)
    }

    fn utf8(&mut self, raw: &[u8], is_end: bool) -> io::Result<()> {
        if let Ok(text) = std::str::from_utf8(raw) {
            return self.keep(text);
        }
        let mut left = raw.len();
        for chunk in raw.utf8_chunks() {
            let bad = chunk.invalid();
            self.keep(chunk.valid())?;
            left -= chunk.valid().len() + bad.len();
            let Some(byte) = bad.first() else { continue };
            let why = format!("the byte {byte:02X} is no UTF-8: save the file as UTF-8");
            let is_front = std::str::from_utf8(bad).is_err_and(|error| error.error_len().is_none());
            match left == 0 && is_front {
                true if is_end => return Err(self.broken(&why)),
                true => self.rest = bad.to_vec(),
                false => self.lose(&why)?,
            }
        }
        Ok(())
    }

    fn utf16(&mut self, raw: &[u8], is_big: bool, is_end: bool) -> io::Result<()> {
        let unit = |pair: &[u8]| match *pair {
            [a, b] if is_big => u16::from_be_bytes([a, b]),
            [a, b] => u16::from_le_bytes([a, b]),
            _ => 0,
        };
        let mut units: Vec<u16> = raw.chunks_exact(2).map(unit).collect();
        // Half a unit, or the first of a pair, goes on in the next chunk.
        let mut left = raw.len() % 2;
        if !is_end && units.pop_if(|last| (0xd800..0xdc00).contains(last)).is_some() {
            left += 2;
        }
        if is_end && left > 0 {
            self.keep(&String::from_utf16_lossy(&units))?;
            return Err(self.broken("the UTF-16 text ends in the middle of a character"));
        }
        if let Ok(text) = String::from_utf16(&units) {
            self.keep(&text)?;
        } else {
            for decoded in char::decode_utf16(units) {
                match decoded {
                    Ok(c) => self.keep(c.encode_utf8(&mut [0; 4]))?,
                    Err(half) => self.lose(&format!("\\u{:04x} is half a character", half.unpaired_surrogate()))?,
                }
            }
        }
        self.rest = raw.get(raw.len() - left..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Takes note of a character that is lost here.
    fn lose(&mut self, why: &str) -> io::Result<()> {
        let fault = (self.length, self.at(why));
        let mut faults = self.faults.0.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push_back(fault);
        }
        drop(faults);
        self.keep(LOST)
    }

    /// Takes text over, without marks at the front of lines, and with plain line ends.
    fn keep(&mut self, text: &str) -> io::Result<()> {
        let is_odd = |byte: u8| byte == b'\r' || byte == CTRL_Z || byte == 0xef;
        if !self.is_after_return && !self.is_after_ctrl_z && !text.bytes().any(is_odd) {
            self.count(text);
            self.text.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for c in text.chars() {
            if self.is_after_ctrl_z {
                if !matches!(c, '\u{1a}' | '\0' | ' ' | '\t' | '\r' | '\n') {
                    return Err(self.broken("more follows behind a Ctrl-Z, which ends a file"));
                }
                continue;
            }
            let is_after_return = std::mem::replace(&mut self.is_after_return, c == '\r');
            match c {
                '\u{1a}' => self.is_after_ctrl_z = true,
                '\n' if is_after_return => {}
                '\r' => self.push("\n"),
                '\u{feff}' if self.column == 1 => {}
                c => self.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(())
    }

    fn push(&mut self, text: &str) {
        self.count(text);
        self.text.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, text: &str) {
        self.length += text.len() as u64;
        match text.rsplit_once('\n') {
            None => self.column += text.chars().count() as u64,
            Some((lines, last)) => {
                self.line += 1 + lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
                self.column = 1 + last.chars().count() as u64;
            }
        }
    }

    fn at(&self, why: &str) -> String {
        format!("at line {} column {}: {why}", self.line, self.column)
    }

    fn broken(&self, why: &str) -> io::Error {
        NoText(self.at(why)).into()
    }
}

/// The encoding that a text begins like, and how long its mark is.
fn encoding_of(front: &[u8]) -> io::Result<(Encoding, usize)> {
    Ok(match front {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err(NoText("it is UTF-32, which is not read: save the file as UTF-8".to_owned()).into());
        }
        [0xff, 0xfe, ..] => (Encoding::Utf16 { is_big: false }, 2),
        [0xfe, 0xff, ..] => (Encoding::Utf16 { is_big: true }, 2),
        // Without a mark, characters of ASCII show it.
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => (Encoding::Utf16 { is_big: false }, 0),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => (Encoding::Utf16 { is_big: true }, 0),
        _ if front.starts_with(MARK.as_bytes()) => (Encoding::Utf8, MARK.len()),
        _ => (Encoding::Utf8, 0),
    })
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() {
            // What is left may be empty before the end: a chunk of marks.
            if !self.fill()? && self.text.is_empty() {
                return Ok(0);
            }
        }
        let left = self.text.get(self.taken..).unwrap_or_default();
        let count = left.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), left.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<String, String> {
        let mut text = String::new();
        Decoded::new(bytes).read_to_string(&mut text).map(|_| text).map_err(|error| error.to_string())
    }

    fn utf16(text: &str, is_big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn text_of_any_program_is_the_same_text() {
        let text = "{\"a\": \"\u{e9} \u{1f600}\"}\nb\n";
        let with_returns = text.replace('\n', "\r\n");
        for bytes in [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            with_returns.clone().into_bytes(),
            text.replace('\n', "\r").into_bytes(),
            format!("{text}\u{1a}").into_bytes(),
            format!("{with_returns}\u{1a}\0\0\r\n").into_bytes(),
            utf16(&format!("\u{feff}{text}"), false),
            utf16(&format!("\u{feff}{text}"), true),
            utf16(&with_returns, false),
            utf16(&with_returns, true),
            text.replace("\nb", "\n\u{feff}b").into_bytes(),
        ] {
            assert_eq!(decode(&bytes).unwrap(), text, "{bytes:?}");
        }
        assert_eq!(decode(b"").unwrap(), "");
        assert_eq!(decode("a\u{feff}b".as_bytes()).unwrap(), "a\u{feff}b", "within a line it is a character");
    }

    #[test]
    fn characters_are_whole_where_chunks_meet() {
        let text = "\u{1f600}\u{20ac}\r\n".repeat(30_000);
        let plain = text.replace("\r\n", "\n");
        for shift in 0..4 {
            let front = "x".repeat(shift);
            assert_eq!(decode(format!("{front}{text}").as_bytes()).unwrap(), format!("{front}{plain}"));
            assert_eq!(decode(&utf16(&format!("\u{feff}{front}{text}"), false)).unwrap(), format!("{front}{plain}"));
        }
    }

    #[test]
    fn what_is_no_character_is_lost_and_its_place_is_told() {
        let told = |bytes: &[u8], from: u64, to: u64| {
            let (mut text, mut decoded) = (String::new(), Decoded::new(bytes));
            decoded.read_to_string(&mut text).unwrap();
            let faults = decoded.faults();
            (text, faults.take(from, to).unwrap_or_default(), faults.take(0, u64::MAX).is_some())
        };
        let (text, why, has_more) = told(b"ab\ncaf\xe9 x\xff", 3, 10);
        assert_eq!((text.as_str(), has_more), ("ab\ncaf\u{fffd} x\u{fffd}", true));
        assert_eq!(why, "at line 2 column 4: the byte E9 is no UTF-8: save the file as UTF-8");
        assert_eq!(told(b"\xe2\x82x\xe9y", 3, 4).1, "", "the record between them is well");
        let (text, why, _) = told(b"\xff\xfea\0\0\xdcb\0", 0, 9);
        assert_eq!((text.as_str(), why.as_str()), ("a\u{fffd}b", "at line 1 column 2: \\udc00 is half a character"));
        let (text, ..) = told(&[b'\xff'; 3 * FAULTS_MAX], 0, 9);
        assert_eq!(text.chars().count(), 3 * FAULTS_MAX, "not all of them are told");
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        for (bytes, words) in [
            (&b"a\xc3"[..], "line 1 column 2: the byte C3"),
            (b"a\r\n\x1amore", "line 2 column 1: more follows behind a Ctrl-Z"),
            (b"\xff\xfea\0b", "line 1 column 2: the UTF-16 text ends in the middle"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        ] {
            let found = decode(bytes).unwrap_err();
            assert!(found.contains(words), "{found}");
        }
    }
}
