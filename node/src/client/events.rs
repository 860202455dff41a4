//! Histories as they come: the events of a job or of all jobs, read from a stream that is taken up again on whatever node
//! answers where it broke off.

use std::fmt;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::{Buf, BytesMut};
use futures::StreamExt;

use super::backend::BodyStream;
use super::{Client, ClientError, url_safe};
use crate::document::JobEvent;

/// Longest line of a stream; an event has less than a kilobyte.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Connections in a row on which nothing came before that is told.
const EMPTY_MAX: u32 = 3;
/// How long after a stream broke off it is taken up again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Events as they come.
pub struct Events<'a> {
    client: &'a Client,
    path: String,
    /// The id that was read last; empty before the first.
    last: String,
    body: Option<BodyStream>,
    buffer: BytesMut,
    /// Of the event that is being read: its id and its document.
    id: Option<String>,
    data: String,
    empty: u32,
}

impl fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("path", &self.path).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Client {
    /// The history of all jobs behind a cursor (`GET /events`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_events(&self, after: Option<String>) -> Result<Vec<JobEvent>, ClientError> {
        self.pages(&self.fresh("/api/v1/events"), after).await
    }

    /// A job's history as it comes, from its beginning to its end; or that of all jobs, from now on or behind the log index
    /// `after` (`GET /jobs/{id}/events`, `/events`). Nothing is asked yet.
    #[must_use]
    pub fn follow(&self, job: Option<&str>, after: Option<u64>) -> Events<'_> {
        let path = job.map_or_else(|| "/api/v1/events".to_owned(), |job| format!("/api/v1/jobs/{job}/events"));
        Events {
            client: self,
            path: self.fresh(&path),
            last: after.map(|index| index.to_string()).unwrap_or_default(),
            body: None,
            buffer: BytesMut::new(),
            id: None,
            data: String::new(),
            empty: 0,
        }
    }
}

impl Events<'_> {
    /// The next event; `None` where there will be none, because the job is over.
    ///
    /// # Errors
    /// No node answers, or it refuses. Asking again goes on where this was.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, ClientError> {
        loop {
            if self.body.is_none() && !self.connect().await? {
                return Ok(None);
            }
            while let Some(line) = self.line() {
                if let Some(event) = self.read(&line)? {
                    return Ok(Some(event));
                }
            }
            let Some(body) = &mut self.body else { continue };
            match body.next().await {
                Some(Ok(piece)) if self.buffer.len() + piece.len() <= LINE_BYTES_MAX => {
                    self.empty = 0;
                    self.buffer.extend_from_slice(&piece);
                }
                Some(Ok(_)) => return Err(ClientError::TooLarge { limit_bytes: LINE_BYTES_MAX }),
                broken => {
                    self.body = None;
                    self.empty += 1;
                    if self.empty >= EMPTY_MAX {
                        self.empty = 0;
                        let reason = broken.and_then(Result::err).unwrap_or_else(|| "it ends at once".to_owned());
                        return Err(ClientError::Interrupted { reason });
                    }
                    self.client.pause(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Takes the stream up behind what was read; `false` where there is nothing more.
    async fn connect(&mut self) -> Result<bool, ClientError> {
        url_safe(&self.last)?;
        let mut call = self.client.call(Method::GET, &self.path, None);
        call.follow = Some(self.last.clone());
        let reply = self.client.send(&call).await?;
        if reply.status == StatusCode::NO_CONTENT {
            return Ok(false);
        }
        self.buffer.clear();
        self.data.clear();
        self.id = None;
        self.body = Some(self.client.good(reply).await?.body);
        Ok(true)
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line = self.buffer.split_to(end);
        self.buffer.advance(1);
        Some(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
    }

    /// What a line comes to: fields gather until an empty one ends them.
    fn read(&mut self, line: &str) -> Result<Option<JobEvent>, ClientError> {
        if let Some(id) = line.strip_prefix("id: ") {
            self.id = Some(id.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            self.data.push_str(data);
        } else if line.is_empty() {
            self.last = self.id.take().unwrap_or_else(|| std::mem::take(&mut self.last));
            let data = std::mem::take(&mut self.data);
            if !data.is_empty() {
                let understood = serde_json::from_str(&data);
                return understood.map_err(|source| ClientError::NotUnderstood { what: "event", source });
            }
        }
        Ok(None)
    }
}
