//! What this process counts of itself for `/metrics`: how long answers took, how long the cluster was without a leader, and
//! what its own units came to. Everything begins at nothing with the process, and nothing is kept on disk.
//!
//! What the cluster counts is in the replicated state and is not repeated here.

mod histogram;
mod reign;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pentora_raft::Raft;
use pentora_raft::state::Counts;
use tokio_util::sync::CancellationToken;

pub use self::histogram::Histogram;
use self::reign::Reign;

/// How often the leader's last word is noted; its own heartbeats are further apart in every profile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Kinds of requests told apart. Ours: there are some hundred routes, and a method or a status more for some of them.
const REQUESTS_MAX: usize = 1_024;

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKind {
    /// The method.
    pub method: &'static str,
    /// The route, with names in place of what stands for them (`/api/v1/jobs/{id}`); `other` where there is none.
    pub route: String,
}

/// What this process has counted. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: Mutex<BTreeMap<RequestKind, Answers>>,
    elections: Mutex<Takeovers>,
    probes_sent: AtomicU64,
    probes_received: AtomicU64,
    units: AtomicU64,
    targets: AtomicU64,
    result_bytes: AtomicU64,
}

/// The answers to requests of one kind.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// How long until they began, in seconds.
    pub seconds: Histogram,
    /// How many there were by status.
    pub by_status: BTreeMap<u16, u64>,
}

/// How leaders followed each other.
#[derive(Debug, Clone, Default)]
pub struct Takeovers {
    /// From the last word of a leader to the first of the next.
    pub failover_seconds: Histogram,
    /// From when a leader was missed, an election time-out after its last word, to the first word of the next.
    pub election_seconds: Histogram,
}

/// What this node's own units came to, as far as they were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Probes sent, those sent again included.
    pub probes_sent: u64,
    /// Answers that came.
    pub probes_received: u64,
    /// Units and parts of units.
    pub units: u64,
    /// Their targets.
    pub targets: u64,
    /// Their results, compressed.
    pub result_bytes: u64,
}

impl Meters {
    /// A request was answered, after `took`.
    pub fn answered(&self, kind: RequestKind, status: u16, took: Duration) {
        let mut requests = lock(&self.0.requests);
        let is_known = requests.contains_key(&kind);
        if !is_known && requests.len() >= REQUESTS_MAX {
            return;
        }
        let answers = requests.entry(kind).or_default();
        answers.seconds.observe(took);
        let count = answers.by_status.entry(status).or_default();
        *count = count.saturating_add(1);
    }

    /// Every kind of request that there was.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<RequestKind, Answers> {
        lock(&self.0.requests).clone()
    }

    /// A unit, or a part of one, of so many targets was counted; its results have so many bytes.
    pub fn unit_done(&self, targets: u64, counts: &Counts, result_bytes: u64) {
        let add = |counter: &AtomicU64, more: u64| counter.fetch_add(more, Ordering::Relaxed);
        add(&self.0.probes_sent, counts.probes_sent);
        add(&self.0.probes_received, counts.replies);
        add(&self.0.units, 1);
        add(&self.0.targets, targets);
        add(&self.0.result_bytes, result_bytes);
    }

    /// What units came to.
    #[must_use]
    pub fn work(&self) -> Work {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            probes_sent: read(&self.0.probes_sent),
            probes_received: read(&self.0.probes_received),
            units: read(&self.0.units),
            targets: read(&self.0.targets),
            result_bytes: read(&self.0.result_bytes),
        }
    }

    /// How leaders followed each other.
    #[must_use]
    pub fn takeovers(&self) -> Takeovers {
        lock(&self.0.elections).clone()
    }

    /// Notes how leaders follow each other, until `stop`.
    pub async fn watch_leaders(self, raft: Raft, stop: CancellationToken) {
        let mut reign = Reign::default();
        loop {
            let status = raft.status();
            if let Some(takeover) = reign.observe(status.leadership, status.term, status.election_max, Instant::now()) {
                let mut elections = lock(&self.0.elections);
                elections.failover_seconds.observe(takeover.failover);
                if let Some(election) = takeover.election {
                    elections.election_seconds.observe(election);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = raft.status_changed(LOOK_EVERY) => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(route: &str) -> RequestKind {
        RequestKind { method: "GET", route: route.to_owned() }
    }

    #[test]
    fn requests_are_counted_by_kind_and_status_and_their_kinds_have_a_bound() {
        let meters = Meters::default();
        for status in [200, 200, 404] {
            meters.clone().answered(kind("/a"), status, Duration::from_millis(7));
        }
        (0..2 * REQUESTS_MAX).for_each(|number| meters.answered(kind(&format!("/{number}")), 200, Duration::ZERO));
        let requests = meters.requests();
        assert_eq!(requests.len(), REQUESTS_MAX);
        assert_eq!(requests[&kind("/a")].by_status, BTreeMap::from([(200, 2), (404, 1)]));
        assert_eq!(requests[&kind("/a")].seconds.count(), 3);
    }

    #[test]
    fn what_units_come_to_is_added_up() {
        let meters = Meters::default();
        let counts = Counts { probes_sent: 100, replies: 40, ..Counts::default() };
        meters.unit_done(16, &counts, 512);
        meters.unit_done(4, &counts, 88);
        let sum = Work { probes_sent: 200, probes_received: 80, units: 2, targets: 20, result_bytes: 600 };
        assert_eq!(meters.work(), sum);
    }
}
