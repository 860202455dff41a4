//! The encoding that an XML document declares (XML 1.0 section 4.3.3), and its bytes as UTF-8.
//!
//! What nmap writes is ASCII, but what is written behind it (stylesheets, editors, exporters of other programs) saves names
//! and comments in the encoding of its machine, and says so in the first line.

use std::io::{self, BufRead, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How much of a document is looked at for its declaration.
pub(super) const DECLARATION_BYTES_MAX: usize = 512;
/// How much is decoded at once: the most that its source shows, made three times as long at worst.
const CHUNK_BYTES: usize = 16 << 10;

/// The encoding that the front of a document declares; `None` for UTF-8, which also is what is declared by saying nothing.
///
/// # Errors
/// The name of one that is not known.
pub(super) fn encoding_of(front: &[u8]) -> Result<Option<&'static Encoding>, String> {
    let declaration = front
        .trim_ascii_start()
        .strip_prefix(b"<?xml")
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace));
    let Some(declaration) =
        declaration.and_then(|rest| rest.windows(2).position(|end| end == b"?>").and_then(|end| rest.get(..end)))
    else {
        return Ok(None);
    };
    let declaration = String::from_utf8_lossy(declaration);
    let Some(value) = declaration.split_once("encoding").and_then(|(_, rest)| rest.trim_start().strip_prefix('='))
    else {
        return Ok(None);
    };
    let value = value.trim_start();
    let label = value.get(1..).and_then(|rest| rest.split(['"', '\'']).next()).unwrap_or_default();
    match Encoding::for_label(label.as_bytes()) {
        // Whoever can read this is not reading UTF-16.
        Some(encoding) if [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding) => Ok(None),
        Some(encoding) => Ok(Some(encoding)),
        None => Err(label.to_owned()),
    }
}

/// UTF-16 without a byte order mark: the first sign of a document shows it.
pub(super) fn utf16_of(front: &[u8]) -> Option<&'static Encoding> {
    match front {
        [b'<', 0, 1..=u8::MAX, 0, ..] => Some(UTF_16LE),
        [0, b'<', 0, 1..=u8::MAX, ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// A reader of text in some encoding, as UTF-8. What is no character of it becomes U+FFFD.
pub(super) struct Decoding<R> {
    inner: R,
    decoder: Decoder,
    text: Vec<u8>,
    /// How much of `text` was handed out.
    taken: usize,
    is_at_end: bool,
}

impl<R: BufRead> Decoding<R> {
    pub(super) fn new(inner: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { inner, decoder, text: Vec::new(), taken: 0, is_at_end: false }
    }

    /// Decodes what comes next.
    fn fill(&mut self) -> io::Result<()> {
        while self.taken == self.text.len() && !self.is_at_end {
            let shown = self.inner.fill_buf()?;
            let is_last = shown.is_empty();
            self.text.resize(CHUNK_BYTES, 0);
            let (result, read, written, _) = self.decoder.decode_to_utf8(shown, &mut self.text, is_last);
            self.text.truncate(written);
            self.taken = 0;
            self.is_at_end = is_last && result == CoderResult::InputEmpty;
            self.inner.consume(read);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Decoding<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(self.text.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.text.len().min(self.taken + amount);
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1252};

    use super::*;

    #[test]
    fn a_declaration_names_its_encoding() {
        for (front, expected) in [
            (&b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>"[..], Ok(Some(WINDOWS_1252))),
            (b"\n<?xml version='1.0'\n encoding = 'Windows-1252' standalone='yes'?>", Ok(Some(WINDOWS_1252))),
            (b"<?xml version=\"1.0\" encoding=\"Shift_JIS\"?>", Ok(Some(SHIFT_JIS))),
            (b"<?xml version=\"1.0\" encoding=\"utf-8\"?>", Ok(None)),
            (b"<?xml version=\"1.0\" encoding=\"UTF-16\"?>", Ok(None)),
            (b"<?xml version=\"1.0\"?><!-- encoding=\"latin1\" -->", Ok(None)),
            (b"<?xml-stylesheet encoding=\"latin1\"?>", Ok(None)),
            (b"<?xml version=\"1.0\" encoding=\"latin1\"", Ok(None)),
            (b"<nmaprun/>", Ok(None)),
            (b"", Ok(None)),
            (b"<?xml version=\"1.0\" encoding=\"EBCDIC-X\"?>", Err("EBCDIC-X".to_owned())),
            (b"<?xml version=\"1.0\" encoding=?>", Err(String::new())),
        ] {
            assert_eq!(encoding_of(front), expected, "{}", front.escape_ascii());
        }
    }

    #[test]
    fn characters_are_whole_where_parts_meet() {
        for (encoding, bytes, text) in [
            (WINDOWS_1252, &b"caf\xe9 \x80"[..], "caf\u{e9} \u{20ac}"),
            (SHIFT_JIS, b"\x93\xfa\x96{x", "\u{65e5}\u{672c}x"),
        ] {
            for capacity in 1..5 {
                let mut found = String::new();
                let long = bytes.repeat(5_000);
                let parts = io::BufReader::with_capacity(capacity, long.as_slice());
                Decoding::new(parts, encoding).read_to_string(&mut found).unwrap();
                assert_eq!(found, text.repeat(5_000));
            }
        }
        let mut cut = String::new();
        Decoding::new(&b"x\x93"[..], SHIFT_JIS).read_to_string(&mut cut).unwrap();
        assert_eq!(cut, "x\u{fffd}");
    }
}
