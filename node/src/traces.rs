//! A job as one trace across nodes, for a collector that speaks OTLP (`telemetry.otlp`): who took the request, when the leader
//! planned it, who held which lease, what was done with it, where its results were copied.
//!
//! Nothing of a trace travels between nodes. What it is called and what its spans are called follow from the log's own names of
//! jobs, leases and chunks ([`Place`]), so each node tells its own part and the collector joins them: docs/decisions/0072.
//! A node that is told of no collector makes no span. One that is never waits for it: spans go into a queue with a bound, and what
//! does not fit is counted and left out.

mod export;
mod headers;
mod otlp;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pentora_raft::JobId;
use tokio::sync::mpsc;

pub use self::export::{Collector, Exporter, Line, Unusable};
pub use self::headers::read as read_headers;
pub use self::otlp::Teller;
pub use self::place::Place;
use crate::clock::wall_ns;

/// Spans that wait for the collector. Ours: a busy worker makes some ten in a second, so this is minutes of them in less than
/// two megabytes.
const WAITING_MAX: usize = 4_096;

/// What is known of a span besides its name and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A text.
    Text(String),
    /// A number.
    Count(u64),
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

/// A part of a job's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Whose way.
    pub job: JobId,
    /// Which part.
    pub place: Place,
    /// When it began, unix nanoseconds.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// What else is known of it, under the names that the log's lines have (docs/STYLE.md).
    pub facts: Vec<(&'static str, Fact)>,
    /// Why it came to nothing, if it did.
    pub fault: Option<String>,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Spans that a collector took.
    pub sent: u64,
    /// Spans that none did: it was away for too long, or refused them.
    pub dropped: u64,
}

/// Where spans are told. Cheap to clone; the default tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Queue>);

#[derive(Debug, Clone)]
struct Queue {
    spans: mpsc::Sender<Span>,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Figures {
    fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl Traces {
    /// Whether anybody is told.
    #[must_use]
    pub fn are_told(&self) -> bool {
        self.0.is_some()
    }

    /// When a span begins: now, or nothing where nobody is told.
    #[must_use]
    pub fn begin(&self) -> u64 {
        if self.are_told() { wall_ns() } else { 0 }
    }

    /// Tells of what began then and ends now. Never waits.
    pub fn tell<F: FnOnce() -> Vec<(&'static str, Fact)>>(
        &self,
        job: JobId,
        place: Place,
        began_ns: u64,
        facts: F,
        fault: Option<String>,
    ) {
        if self.are_told() {
            self.tell_of(Span { job, place, began_ns, ended_ns: wall_ns(), facts: facts(), fault });
        }
    }

    /// Tells of a span. Never waits: where the queue is full, it is left out and counted.
    pub fn tell_of(&self, span: Span) {
        if let Some(Queue { spans, figures }) = &self.0
            && spans.try_send(span).is_err()
        {
            Figures::add(&figures.dropped, 1);
        }
    }

    /// What became of them.
    #[must_use]
    pub fn told(&self) -> Told {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.0.as_ref().map_or_else(Told::default, |queue| Told {
            sent: read(&queue.figures.sent),
            dropped: read(&queue.figures.dropped),
        })
    }
}

#[cfg(test)]
#[path = "traces/traces_test.rs"]
mod tests;
