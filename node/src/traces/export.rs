//! Sends spans to the collector: an edge, with a clock and a connection. OTLP over HTTP (opentelemetry.io/docs/specs/otlp,
//! "OTLP/HTTP"), several spans to a request.
//!
//! A collector that is away, or says that it is busy, is asked again for half a minute; then what it did not take is dropped and
//! counted, so that a collector that stays away costs one queue of spans and no more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Figures, Queue, Span, Teller, Traces, WAITING_MAX};
use crate::tls::{Fault, Trust, TrustError, fault_in, innermost, nobody};

/// Spans of one request at most. Ours: some 300 KiB, far below what collectors take (4 MiB and more).
const BATCH_MAX: usize = 512;
/// How long spans are gathered before they are sent. Ours: soon enough for whoever looks on.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector gets for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before a collector is asked again; twice as long after each try.
const RETRY: Duration = Duration::from_secs(1);
/// Tries of one request: pauses of 1, 2, 4, 8 and 16 seconds between them.
const TRIES: u32 = 6;
/// How long a node that stops waits for an answer, and once more for what is left. Ours: together below what it has for
/// everything.
const LAST_WITHIN: Duration = Duration::from_secs(1);
/// The longest answer that is read; one says at most how many spans were refused and why.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where collectors take spans, where the address names no path.
const DEFAULT_PATH: &str = "/v1/traces";

/// A collector, as the configuration names it.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Its address; without a path, that of the protocol is meant.
    pub url: String,
    /// The authorities to trust, where that are not the system's.
    pub ca_file: Option<PathBuf>,
    /// Headers that it wants.
    pub headers: HeaderMap,
}

/// Why a collector cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The client.
    #[error("no connection can be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// The way to a collector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Line {
    http: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

/// Sends what is told. Owned by its task.
#[derive(Debug)]
pub struct Exporter {
    line: Line,
    teller: Teller,
    spans: mpsc::Receiver<Span>,
    figures: Arc<Figures>,
    /// Whether the collector refused or was away last, so that each change is said once.
    is_away: bool,
}

/// What came of one request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// All but so many spans were taken.
    Taken { refused: usize },
    /// It may be asked again.
    Later(String),
    /// It never takes this.
    Never(String),
}

impl Line {
    /// The way to `collector`.
    ///
    /// # Errors
    /// [`Unusable`]. Nothing was sent.
    pub fn to(collector: &Collector) -> Result<Self, Unusable> {
        let tls = match collector.url.starts_with("https://") {
            true => Trust::said(collector.ca_file.as_deref(), None).config()?,
            false => nobody(),
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("pentora/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url: with_path(&collector.url), headers: collector.headers.clone() })
    }

    /// What sends there, and where spans are told for it.
    #[must_use]
    pub fn exporter(self, teller: Teller) -> (Exporter, Traces) {
        let (sender, spans) = mpsc::channel(WAITING_MAX);
        let figures = Arc::new(Figures::default());
        let traces = Traces(Some(Queue { spans: sender, figures: Arc::clone(&figures) }));
        (Exporter { line: self, teller, spans, figures, is_away: false }, traces)
    }
}

impl Exporter {
    /// Sends until `stop`, and then for a moment what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = self.spans.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return },
            }
            self.gather(&mut batch, &stop).await;
            self.send(&batch, &stop).await;
        }
        let _ = tokio::time::timeout(LAST_WITHIN, self.send_rest(&stop)).await;
        // What is told from here on finds the queue closed.
        self.spans.close();
        let mut left = 0;
        while self.spans.try_recv().is_ok() {
            left += 1;
        }
        Figures::add(&self.figures.dropped, left);
    }

    /// Fills a batch up for a moment.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let more = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if self.spans.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = tokio::time::timeout(GATHER, more) => {}
        }
    }

    async fn send_rest(&mut self, stop: &CancellationToken) {
        let mut batch = Vec::new();
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(&batch, stop).await;
            batch.clear();
        }
    }

    /// Sends a batch, again and again while that can help and the node does not stop.
    async fn send(&mut self, batch: &[Span], stop: &CancellationToken) {
        let body = self.teller.body(batch);
        let mut pause = RETRY;
        let mut why = String::new();
        for _ in 0..TRIES {
            let given_up = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_WITHIN).await;
            };
            let answer = tokio::select! {
                biased;
                answer = self.ask(body.clone()) => answer,
                () = given_up => Answer::Later("this node stops".to_owned()),
            };
            match answer {
                Answer::Taken { refused } => {
                    let refused = refused.min(batch.len());
                    Figures::add(&self.figures.sent, batch.len() - refused);
                    Figures::add(&self.figures.dropped, refused);
                    if std::mem::take(&mut self.is_away) {
                        tracing::info!(collector = self.line.url, "spans are taken again");
                    }
                    return;
                }
                Answer::Never(reason) => {
                    why = reason;
                    break;
                }
                Answer::Later(reason) => why = reason,
            }
            if stop.is_cancelled() {
                break;
            }
            tokio::select! {
                biased;
                // Once more, and no further.
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause *= 2;
        }
        Figures::add(&self.figures.dropped, batch.len());
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(collector = self.line.url, why, "spans are not taken, and are dropped until they are");
        }
    }

    async fn ask(&self, body: Vec<u8>) -> Answer {
        let Line { http, url, headers } = &self.line;
        let asked = http.post(url).headers(headers.clone()).header(CONTENT_TYPE, "application/json");
        let mut response = match asked.body(body).send().await {
            Ok(response) => response,
            Err(error) => return Answer::Later(why(&error)),
        };
        let status = response.status();
        let mut said = Vec::new();
        while let Ok(Some(part)) = response.chunk().await {
            if said.len() + part.len() > ANSWER_BYTES_MAX {
                break;
            }
            said.extend_from_slice(&part);
        }
        understood(status, &said)
    }
}

/// What a collector's answer means: "OTLP/HTTP Response" says which statuses may be asked again.
fn understood(status: StatusCode, said: &[u8]) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Taken { refused: refused(said) },
        429 | 502..=504 => Answer::Later(format!("the collector answers {status}")),
        _ => Answer::Never(format!("the collector answers {status}")),
    }
}

/// How many spans a collector refused of those that it was sent, by its own word: a number, or a number as a text.
fn refused(said: &[u8]) -> usize {
    let said: Value = serde_json::from_slice(said).unwrap_or_default();
    let count = said.pointer("/partialSuccess/rejectedSpans");
    let count = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The address with the protocol's path, where it has none of its own.
fn with_path(url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    if authority.contains('/') { url.to_owned() } else { format!("{url}{DEFAULT_PATH}") }
}

/// Why nothing was answered: what is wrong with the certificate, or else the last of a chain of causes, which names the fault.
fn why(error: &reqwest::Error) -> String {
    if let Some(Fault::Untrusted(reason) | Fault::Speech(reason)) = fault_in(error) {
        return reason;
    }
    innermost(error)
}
