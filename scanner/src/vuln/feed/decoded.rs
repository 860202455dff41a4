//! Text as programs save it, made UTF-8 with `\n` behind each line: byte order marks, UTF-16, carriage returns, and the
//! Ctrl-Z that ends files of old programs.
//!
//! What cannot be read as text is refused with line and column. Nothing is dropped but marks: a Ctrl-Z with anything
//! behind it is an error, not the end.

use std::io::{self, Read};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// What ends a file of old programs.
const CTRL_Z: u8 = 0x1a;
/// The byte order mark in UTF-8.
const MARK: &str = "\u{feff}";

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

/// A reader of text.
pub(super) struct Decoded<R> {
    inner: R,
    /// `None` before anything was read.
    encoding: Option<Encoding>,
    /// Bytes of a character that goes on in what comes next.
    rest: Vec<u8>,
    text: Vec<u8>,
    /// How much of `text` was handed out.
    taken: usize,
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
            encoding: None,
            rest: Vec::new(),
            text: Vec::new(),
            taken: 0,
            line: 1,
            column: 1,
            is_after_return: false,
            is_after_ctrl_z: false,
        }
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
        let error = match std::str::from_utf8(raw) {
            Ok(text) => return self.keep(text),
            Err(error) => error,
        };
        let (good, bad) = raw.split_at_checked(error.valid_up_to()).unwrap_or((raw, &[]));
        self.keep(std::str::from_utf8(good).unwrap_or_default())?;
        if error.error_len().is_none() && !is_end {
            self.rest = bad.to_vec();
            return Ok(());
        }
        let byte = bad.first().copied().unwrap_or_default();
        Err(self.broken(&format!("the byte {byte:02X} is no UTF-8: save the file as UTF-8")))
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
        let Ok(text) = String::from_utf16(&units) else {
            return Err(self.broken("half a character follows in the UTF-16 text: save the file as UTF-8"));
        };
        self.keep(&text)?;
        self.rest = raw.get(raw.len() - left..).unwrap_or_default().to_vec();
        Ok(())
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
        match text.rsplit_once('\n') {
            None => self.column += text.chars().count() as u64,
            Some((lines, last)) => {
                self.line += 1 + lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
                self.column = 1 + last.chars().count() as u64;
            }
        }
    }

    fn broken(&self, why: &str) -> io::Error {
        let text = format!("at line {} column {}: {why}", self.line, self.column);
        NoText(text).into()
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
    fn what_is_no_text_is_refused_with_its_place() {
        for (bytes, words) in [
            (&b"ab\ncaf\xe9 x"[..], "line 2 column 4: the byte E9 is no UTF-8"),
            (b"a\xc3", "line 1 column 2: the byte C3"),
            (b"a\r\n\x1amore", "line 2 column 1: more follows behind a Ctrl-Z"),
            (b"\xff\xfea\0b", "line 1 column 2: the UTF-16 text ends in the middle"),
            (b"\xff\xfea\0\0\xdcb\0", "line 1 column 1: half a character"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        ] {
            let found = decode(bytes).unwrap_err();
            assert!(found.contains(words), "{found}");
        }
    }
}
