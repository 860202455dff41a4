//! A job's results as a stream of lines, in bounded memory.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;

use super::ClientError;
use super::backend::BodyStream;
use crate::document::{Unreadable, UnreadableLine};

/// How the line of a unit begins whose results cannot be read. No host begins so.
const UNREADABLE: &[u8] = b"{\"unreadable\":";
/// Units that cannot be read and are kept to be told of. Ours: more are only counted by whoever reads the first ones.
const UNREADABLE_MAX: usize = 1_000;

/// Longest line taken: a host with all 65,535 ports listed and a banner on each stays below it.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Host lines of a result stream, in the order of the node.
pub struct ResultLines {
    body: BodyStream,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
    searched: usize,
    ended: bool,
    unreadable: Vec<Unreadable>,
}

impl fmt::Debug for ResultLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultLines").field("buffered", &self.buffer.len()).field("ended", &self.ended).finish()
    }
}

impl ResultLines {
    pub(super) fn new(body: BodyStream) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, ended: false, unreadable: Vec::new() }
    }

    /// The units whose results cannot be read: complete once the last host was read.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// The next host's line without its end, or `None` after the last. Cancel-safe: no byte is lost.
    ///
    /// # Errors
    /// The stream broke, so the lines so far are not all; or a line is longer than any host can be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.line().await? {
                Some(line) if line.starts_with(UNREADABLE) => {
                    let read: UnreadableLine = serde_json::from_slice(&line)
                        .map_err(|source| ClientError::NotUnderstood { what: "line of results", source })?;
                    if self.unreadable.len() < UNREADABLE_MAX {
                        self.unreadable.push(read.unreadable);
                    }
                }
                other => return Ok(other),
            }
        }
    }

    async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(found) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + found).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.ended {
                let line = std::mem::take(&mut self.buffer).freeze();
                self.searched = 0;
                return Ok((!line.is_empty()).then_some(line));
            }
            match self.body.next().await {
                None => self.ended = true,
                Some(Err(reason)) => return Err(ClientError::Interrupted { reason }),
                Some(Ok(bytes)) if self.buffer.len() + bytes.len() > LINE_BYTES_MAX => {
                    return Err(ClientError::TooLarge { limit_bytes: LINE_BYTES_MAX });
                }
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
            }
        }
    }
}

/// An answer of any size, as it comes.
pub struct Pieces(BodyStream);

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

impl Pieces {
    pub(super) fn new(body: BodyStream) -> Self {
        Self(body)
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// The stream broke, so the bytes so far are not all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.0.next().await.transpose().map_err(|reason| ClientError::Interrupted { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: Vec<Result<&'static str, &'static str>>) -> ResultLines {
        let parts =
            parts.into_iter().map(|part| part.map(|text| Bytes::from_static(text.as_bytes())).map_err(str::to_owned));
        ResultLines::new(futures::stream::iter(parts.collect::<Vec<_>>()).boxed())
    }

    async fn all(mut lines: ResultLines) -> Result<Vec<String>, ClientError> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().await? {
            found.push(String::from_utf8_lossy(&line).into_owned());
        }
        Ok(found)
    }

    #[tokio::test]
    async fn lines_are_whole_however_the_bytes_arrive() {
        let split = all(lines(vec![Ok("a"), Ok("b\n"), Ok("c\nd"), Ok(""), Ok("\n\ne")])).await;
        assert_eq!(split.unwrap(), ["ab", "c", "d", "e"]);
        assert_eq!(all(lines(vec![])).await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn units_that_cannot_be_read_are_no_hosts() {
        let missing = concat!(
            r#"{"unreadable":{"unit":"0:0-9","targets":9,"digest":"ab","tried":[{"node":"n2","why":"it has lost it"}]}}"#,
            "\n"
        );
        let mut lines = lines(vec![Ok("a\n"), Ok(missing)]);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(b"a".as_slice()));
        assert_eq!(lines.next().await.unwrap(), None);
        let told: Vec<String> = lines.unreadable().iter().map(Unreadable::told).collect();
        assert_eq!(told, ["the results of unit 0:0-9 (9 targets) cannot be read: chunk ab: n2: it has lost it"]);
    }

    #[tokio::test]
    async fn a_broken_stream_is_an_error_and_not_an_end() {
        let broken = all(lines(vec![Ok("a\nb"), Err("reset")])).await;
        assert!(matches!(broken, Err(ClientError::Interrupted { .. })));
    }
}
