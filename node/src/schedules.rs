//! Scans that begin by themselves: when a schedule's times are, and the leader's part in starting its jobs.
//!
//! The log keeps what is to be scanned when, and which of its times are over (`pentora_raft`, `state/schedules`). Whoever
//! leads works out the next one, and when it is due by the log's clock, checks the request as any other and puts the job into
//! the log together with the word that this time is over. So the instant is the key: a leader that dies before it has not
//! begun anything, one that dies behind it has begun the one job there is.

mod cron;
mod due;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::command::Command;
use pentora_raft::state::{Occurrence, PassReason, Settings};
use pentora_raft::{JobId, Raft, Refusal, Response, Role};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::cron::CronError;
pub use self::times::{Times, TimesError};

use self::due::{Step, Watched};
use crate::document::ScanRequest;
use crate::jobs::{self, RefusedRequest};
use crate::results::Exchange;
use crate::rpc::proposer::Proposer;

/// How often the leader looks whether something is due.
const ROUND: Duration = Duration::from_millis(250);
/// How long a node leads before it starts anything: the first leader after a start of all nodes goes by its own clock until
/// the others have told theirs, a second or so.
const LEADS_FOR: Duration = Duration::from_secs(2);
/// How many occurrences are prepared at once; the names among their targets may take long to be looked up.
const AT_ONCE_MAX: usize = 8;
/// How long an occurrence rests that could not be started for a reason that may pass.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long one is tried while the queue is full. As long as a time may be late without being missed.
const TRIED_FOR: Duration = Duration::from_secs(60);

/// The leader's care for schedules. Runs on every node and rests while another leads.
#[derive(Debug)]
pub struct Schedules {
    /// Consensus.
    pub raft: Raft,
    /// The way into the log.
    pub proposer: Proposer,
    /// Keeps specs that are too large for the log.
    pub exchange: Exchange,
    /// What holds for the work of all nodes where the log does not say.
    pub settings: Settings,
}

/// What is known while this node leads.
#[derive(Debug)]
struct Leading {
    since: Instant,
    watched: BTreeMap<String, Watched>,
    tries: BTreeMap<String, Try>,
}

/// An occurrence that is being started, or rests.
#[derive(Debug, Clone, Copy)]
struct Try {
    occurrence: Occurrence,
    first: Instant,
    /// `None` while it is being started.
    ended: Option<Instant>,
}

/// What came of starting an occurrence.
#[derive(Debug)]
enum Outcome {
    Started(JobId),
    /// Another has decided on it, or the log cannot be reached now: the next round looks again.
    Open,
    /// Refused for a reason that may pass.
    Later(String),
    Refused(String),
}

type Starts = JoinSet<(String, Outcome)>;

impl Schedules {
    /// Works until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (mut leading, mut starts): (Option<Leading>, Starts) = (None, Starts::new());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
            if this.raft.status().role != Role::Leader {
                if leading.take().is_some() {
                    starts = Starts::new();
                }
                continue;
            }
            let now = Instant::now();
            let leading =
                leading.get_or_insert_with(|| Leading { since: now, watched: BTreeMap::new(), tries: BTreeMap::new() });
            if now.duration_since(leading.since) >= LEADS_FOR {
                this.round(leading, &mut starts).await;
            }
        }
    }

    async fn round(self: &Arc<Self>, leading: &mut Leading, starts: &mut Starts) {
        while let Some(ended) = starts.try_join_next() {
            let Ok((name, outcome)) = ended else { continue };
            self.take_in(leading, &name, outcome).await;
        }
        let now_ms = self.raft.now_ms();
        let steps = self.raft.read(|state| due::steps(state, &mut leading.watched, now_ms));
        leading.tries.retain(|name, _| steps.iter().any(|(of, _)| of == name));
        for (name, step) in steps {
            match step {
                Step::Pass(occurrence, why) => self.pass(&name, occurrence, why).await,
                Step::Start(occurrence, request) if may_start(leading, &name, occurrence, starts.len()) => {
                    let this = Arc::clone(self);
                    starts.spawn(async move {
                        let outcome = this.start(&name, occurrence, &request).await;
                        (name, outcome)
                    });
                }
                Step::Start(..) => {}
            }
        }
    }

    /// What came of a start, told to the log where it was refused for good.
    async fn take_in(&self, leading: &mut Leading, name: &str, outcome: Outcome) {
        let now = Instant::now();
        let Some(tried) = leading.tries.get_mut(name) else { return };
        tried.ended = Some(now);
        let refused = match outcome {
            Outcome::Started(job) => {
                tracing::info!(schedule = name, %job, "a schedule's job begins");
                None
            }
            Outcome::Open => None,
            Outcome::Later(why) if now.duration_since(tried.first) < TRIED_FOR => {
                tracing::info!(schedule = name, why, "a schedule's job is not accepted yet");
                None
            }
            Outcome::Later(why) | Outcome::Refused(why) => Some(why),
        };
        if let Some(reason) = refused {
            tracing::warn!(schedule = name, reason, "a schedule's job is refused");
            let occurrence = tried.occurrence;
            self.pass(name, occurrence, PassReason::Refused { reason }).await;
        }
    }

    async fn pass(&self, name: &str, occurrence: Occurrence, why: PassReason) {
        tracing::info!(schedule = name, ?why, "a schedule's time passes without a job");
        let command = Command::PassOccurrence { schedule: name.into(), occurrence, why };
        if let Err(error) = self.raft.propose(command).await {
            tracing::debug!(schedule = name, %error, "not in the log yet; the next round looks again");
        }
    }

    /// Checks the request as any other, and puts its job into the log.
    async fn start(&self, name: &str, occurrence: Occurrence, request: &[u8]) -> Outcome {
        let request: ScanRequest = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(format!("this release does not understand the request: {error}")),
        };
        // Two may have been made at once, through two nodes.
        if let Some(other) = self.raft.read(|state| jobs::schedule_of_order(state, &request, name)) {
            return Outcome::Refused(format!("the order is that of schedule `{other}`, and for that one alone"));
        }
        let raft = self.raft.clone();
        // It runs as whoever asked for it, with what that token may scan now. What nobody is known for may do what all may.
        let author = self.raft.read(|state| state.schedule_author(name).cloned()).unwrap_or_default();
        let (request, learned) = match jobs::learn(request, &raft, &self.exchange).await {
            Ok(learned) => learned,
            Err(refused) => return refusal(&refused),
        };
        let prepared = match tokio::task::spawn_blocking(move || jobs::prepare(request, author, &raft)).await {
            Ok(Ok(prepared)) => prepared.with_note(learned),
            Ok(Err(refused)) => return refusal(&refused),
            Err(error) => return Outcome::Later(error.to_string()),
        };
        let settings = self.raft.read(|state| state.settings().cloned());
        let tries = settings.map_or(self.settings.max_attempts, |settings| settings.max_attempts);
        let node = self.raft.node();
        let mut submission = match jobs::submission(prepared, None, &self.proposer, &self.exchange, node, tries).await {
            Ok(submission) => submission,
            Err(refused) => return refusal(&refused),
        };
        submission.title = format!("{} [{name}]", submission.title);
        let command = Command::StartOccurrence { schedule: name.into(), occurrence, submission: Box::new(submission) };
        match self.raft.propose(command).await.map(|applied| applied.response) {
            Ok(Response::Submitted { job, .. }) => Outcome::Started(job),
            Ok(Response::Refused(
                refusal @ (Refusal::QueueFull { .. }
                | Refusal::QueueDeep { .. }
                | Refusal::TokenJobs { .. }
                | Refusal::QueueShare { .. }),
            )) => Outcome::Later(refusal.to_string()),
            Ok(Response::Refused(refusal @ Refusal::TokenTargets { .. })) => Outcome::Refused(refusal.to_string()),
            Ok(Response::Refused(refusal @ Refusal::Malformed { .. })) => Outcome::Refused(refusal.to_string()),
            Ok(_) | Err(_) => Outcome::Open,
        }
    }
}

/// Whether an occurrence is to be started now; notes that it is.
fn may_start(leading: &mut Leading, name: &str, occurrence: Occurrence, running: usize) -> bool {
    let now = Instant::now();
    let before = leading.tries.get(name);
    if before.is_some_and(|tried| tried.ended.is_none_or(|ended| now.duration_since(ended) < AGAIN_AFTER)) {
        return false;
    }
    if running >= AT_ONCE_MAX {
        return false;
    }
    let first = before.map_or(now, |tried| tried.first);
    leading.tries.insert(name.to_owned(), Try { occurrence, first, ended: None });
    true
}

fn refusal(refused: &RefusedRequest) -> Outcome {
    match refused {
        RefusedRequest::Unavailable(_) | RefusedRequest::NotDurable { .. } => Outcome::Later(refused.to_string()),
        refused => Outcome::Refused(refused.with_reasons()),
    }
}
