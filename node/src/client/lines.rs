//! A job's results as a stream of lines, in bounded memory.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;

use super::ClientError;
use super::backend::BodyStream;

/// Longest line taken: a host with all 65,535 ports listed and a banner on each stays below it.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Host lines of a result stream, in the order of the node.
pub struct ResultLines {
    body: BodyStream,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
    searched: usize,
    ended: bool,
}

impl fmt::Debug for ResultLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultLines").field("buffered", &self.buffer.len()).field("ended", &self.ended).finish()
    }
}

impl ResultLines {
    pub(super) fn new(body: BodyStream) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, ended: false }
    }

    /// The next line without its end, or `None` after the last. Cancel-safe: no byte is lost.
    ///
    /// # Errors
    /// The stream broke, so the lines so far are not all; or a line is longer than any host can be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
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
    async fn a_broken_stream_is_an_error_and_not_an_end() {
        let broken = all(lines(vec![Ok("a\nb"), Err("reset")])).await;
        assert!(matches!(broken, Err(ClientError::Interrupted { .. })));
    }
}
