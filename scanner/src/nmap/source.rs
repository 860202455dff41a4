//! A stream that knows where it is and gives no piece above a limit.

use std::io::{self, BufRead, Read};

use super::NmapError;

/// Most bytes of one element or line: a host with all its ports on a line of the grepable form takes 4 MiB.
pub(super) const PIECE_BYTES_MAX: usize = 8 << 20;

/// Bytes with their place.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    /// Of the next byte, from 1.
    line: u64,
    column: u64,
    /// Place of the first byte of the present piece.
    begun: (u64, u64),
    /// Bytes of the present piece.
    taken: usize,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, line: 1, column: 1, begun: (1, 1), taken: 0 }
    }

    /// Begins the next piece.
    pub(super) fn begin(&mut self) {
        (self.begun, self.taken) = ((self.line, self.column), 0);
    }

    /// Where the present piece began.
    pub(super) fn begun(&self) -> (u64, u64) {
        self.begun
    }

    /// The first byte that is no white space, which is passed over; `None` at the end.
    pub(super) fn first_visible(&mut self) -> io::Result<Option<u8>> {
        loop {
            self.begin();
            let available = self.fill_buf()?;
            if available.is_empty() {
                return Ok(None);
            }
            let blank = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let first = available.get(blank).copied();
            self.consume(blank);
            if first.is_some() {
                return Ok(first);
            }
        }
    }

    /// The error of a failed read: a piece that is too long at its place, or the system's own.
    pub(super) fn failed(&self, error: io::Error, origin: &str) -> NmapError {
        if self.taken < PIECE_BYTES_MAX {
            return NmapError::Unreadable { origin: origin.to_owned(), error };
        }
        NmapError::malformed(origin, self.begun, &error.to_string())
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= PIECE_BYTES_MAX {
            return Err(io::Error::other("an element or line that begins here has more than 8 MiB"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was shown, so it is in the buffer and nothing is read.
        let shown = self.inner.fill_buf().ok().and_then(|shown| shown.get(..amount)).unwrap_or_default();
        let ends = shown.iter().filter(|byte| **byte == b'\n').count();
        let last = shown.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        // Every byte of UTF-8 but the later ones of a character.
        let characters = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
        self.column = if ends == 0 { self.column + characters } else { characters + 1 };
        self.line += ends as u64;
        self.taken += amount;
        self.inner.consume(amount);
    }
}
