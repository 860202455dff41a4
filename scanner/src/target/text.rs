//! The bytes of a target file as text, and the lines of that text.
//!
//! Lists come from spreadsheets, old exporters and mail, and a line that is overlooked in a list of exclusions is a host
//! that is scanned against its owner's word. So every line end in use ends a line, and what could be read in two ways
//! is refused with its place. The standard library suffices: UTF-16 has its byte order mark, UTF-8 is valid, and anything
//! else is Windows-1252 wherever it is not valid UTF-8. A general decoder would replace or guess where this refuses.

use std::fmt;

/// Bytes that are no text, or text of which it cannot be told where its lines end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}:{column}: {problem}")]
pub struct TextError {
    /// Where the bytes came from, as given by the caller.
    pub origin: String,
    /// Line of the first byte that is refused, from 1.
    pub line: usize,
    /// Its column, from 1, counted in characters.
    pub column: usize,
    /// What is wrong with it.
    pub problem: TextProblem,
}

/// What is wrong with the bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextProblem {
    /// A zero byte or character, which no list holds.
    Zero,
    /// The byte order mark of UTF-32.
    Utf32,
    /// Half a surrogate pair, or half a unit at the end.
    Utf16,
    /// The byte 0x85 outside UTF-8: a line end in ISO 8859-1, an ellipsis in Windows-1252, a letter elsewhere.
    NextLine,
}

impl fmt::Display for TextProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "a zero character: this is no text, or UTF-16 without a byte order mark; save it as UTF-8",
            Self::Utf32 => "this is UTF-32: save it as UTF-8",
            Self::Utf16 => "this is UTF-16 and damaged: half a character stands here",
            Self::NextLine => {
                "the byte 0x85 ends a line in ISO 8859-1 and is a character (...) in Windows-1252: save the file as UTF-8"
            }
        })
    }
}

/// Reads UTF-8, UTF-16 and Windows-1252, whichever the bytes are, without a byte order mark. `origin` names them in
/// errors.
///
/// ```
/// use pentora_scanner::target::decode_text;
/// assert_eq!(decode_text(b"10.0.0.5 # Geb\xe4ude 7".to_vec(), "x").as_deref(), Ok("10.0.0.5 # Geb\u{e4}ude 7"));
/// assert_eq!(decode_text(b"\xff\xfe1\x002\x00".to_vec(), "x").as_deref(), Ok("12"));
/// ```
///
/// # Errors
/// The first place that cannot be read or could be read in two ways.
pub fn decode_text(mut bytes: Vec<u8>, origin: &str) -> Result<String, TextError> {
    let refused = |problem, before: &str| {
        let (line, column) = place_after(before);
        TextError { origin: origin.to_owned(), line, column, problem }
    };
    let text = match form_of(&bytes) {
        Form::Utf32 => return Err(refused(TextProblem::Utf32, "")),
        Form::Utf16 { is_big } => from_utf16(bytes.get(2..).unwrap_or_default(), is_big),
        Form::Bytes { mark } => {
            bytes.drain(..mark);
            String::from_utf8(bytes).or_else(|error| from_mixed(error.as_bytes()))
        }
    };
    let mut text = text.map_err(|(problem, before)| refused(problem, &before))?;
    // Where DOS and its heirs mark the end of a text, nothing follows.
    if text.ends_with('\u{1a}') {
        text.pop();
    }
    match text.split_once('\0') {
        Some((before, _)) => Err(refused(TextProblem::Zero, before)),
        None => Ok(text),
    }
}

/// What the first bytes say of the rest.
pub(crate) enum Form {
    Utf32,
    /// Behind a mark of two bytes; whether the high byte of each character comes first.
    Utf16 {
        is_big: bool,
    },
    /// UTF-8 or one byte per character, behind a mark of this length.
    Bytes {
        mark: usize,
    },
}

/// How many bytes [`form_of`] looks at.
pub(crate) const MARK_BYTES_MAX: usize = 4;

pub(crate) fn form_of(bytes: &[u8]) -> Form {
    match *bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Form::Utf32,
        [0xff, 0xfe, ..] => Form::Utf16 { is_big: false },
        [0xfe, 0xff, ..] => Form::Utf16 { is_big: true },
        [0xef, 0xbb, 0xbf, ..] => Form::Bytes { mark: 3 },
        _ => Form::Bytes { mark: 0 },
    }
}

/// What is wrong, and the text before it.
type Refused = (TextProblem, String);

fn from_utf16(bytes: &[u8], is_big: bool) -> Result<String, Refused> {
    let units = bytes.as_chunks::<2>();
    let unit = |pair: &[u8; 2]| if is_big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let mut text = String::with_capacity(bytes.len() / 2);
    for decoded in char::decode_utf16(units.0.iter().map(unit)) {
        match decoded {
            Ok(character) => text.push(character),
            Err(_lone) => return Err((TextProblem::Utf16, text)),
        }
    }
    if units.1.is_empty() { Ok(text) } else { Err((TextProblem::Utf16, text)) }
}

/// Text of which a part is not UTF-8: that part byte by byte. The rest stays UTF-8, so that no line end in it is lost.
fn from_mixed(bytes: &[u8]) -> Result<String, Refused> {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            if *byte == 0x85 {
                return Err((TextProblem::NextLine, text));
            }
            text.push(windows_1252(*byte));
        }
    }
    Ok(text)
}

/// The character of a byte of 0x80 and above, as the Encoding Standard has it (index windows-1252).
fn windows_1252(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let known = byte.checked_sub(0x80).and_then(|at| FROM_80.get(usize::from(at)));
    known.copied().unwrap_or(char::from(byte))
}

/// Line and column, each from 1, of what follows `before`.
fn place_after(before: &str) -> (usize, usize) {
    let (mut line, mut rest) = (1, before);
    while let Some((at, length)) = line_end(rest) {
        line += 1;
        rest = rest.get(at + length..).unwrap_or_default();
    }
    (line, rest.chars().count() + 1)
}

/// The lines of a text without their ends. As Unicode has it (UAX #14 class BK, CR, LF, NL, and the separators that UAX #9
/// calls B), so that nobody's line is a part of another's comment: LF, CR, CR LF, vertical tab, form feed, the three
/// separators from U+001C, NEL, U+2028 and U+2029.
#[must_use]
pub fn lines(text: &str) -> Lines<'_> {
    Lines { rest: text }
}

/// See [`lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match line_end(self.rest) {
            Some((at, length)) => (self.rest.get(..at)?, self.rest.get(at + length..)?),
            None => (self.rest, ""),
        };
        self.rest = rest;
        Some(line)
    }
}

/// Where the first line end is, and how many bytes it has.
fn line_end(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let candidate = |byte: &u8| matches!(byte, 0x0a..=0x0d | 0x1c..=0x1e | 0xc2 | 0xe2);
        let at = from + bytes.get(from..)?.iter().position(candidate)?;
        let length = match bytes.get(at..)? {
            [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => 2,
            [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
            [0xc2 | 0xe2, ..] => 0,
            _ => 1,
        };
        if length > 0 {
            return Some((at, length));
        }
        from = at + 1;
    }
}

#[cfg(test)]
#[path = "text_test.rs"]
mod tests;
