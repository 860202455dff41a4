//! The leader's ends of the work sessions: who was heard when, what each works on, and the way back to it.
//!
//! A worker holds one session with the leader. Beats stay out of the log: they are folded here, and only what they mean
//! (a worker back, suspected, failed) is proposed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pentora_raft::clock::OtherClock;
use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::state::Lease;
use pentora_raft::{JobId, NodeId, Raft};
use tokio::sync::{mpsc, watch};

use super::copies::Copies;
use crate::clock::wall_ms;
use crate::work_protocol::{About, Figures, LeaderFrame, Link, WorkerFrame};

/// A lease that a worker leaves out of so many beats is sent to it again: the grant was lost, or the worker could not
/// hand it back. One beat may have crossed the grant on its way.
const BEATS_WITHOUT: u64 = 2;

/// A worker that beats again after so many of its beats is back: its status may say otherwise.
const BEATS_BACK: u32 = 2;

/// Two processes of one node count as alive at once while both were heard within so many beats: each loses its session to
/// the other and is back a beat later.
const COPY_BEATS: u32 = 3;
/// For how long a worker that hung up is looked for among the leases. Ours: what it held is taken back within a second.
const GONE_FOR: Duration = Duration::from_secs(60);
/// Why such a node takes no work.
const COPY: &str = "another process runs from a copy of its data directory; end one of the two and remove that copy";

/// What one worker said last.
#[derive(Debug)]
struct WorkSession {
    out: mpsc::Sender<LeaderFrame>,
    number: u64,
    leases: BTreeMap<LeaseRef, Figures>,
    beats: u64,
    /// Leases that were sent to it, with their ends; they may be revoked before a beat names them.
    sent: BTreeMap<LeaseRef, u64>,
    /// Leases that it holds by the log and does not name, with the beat since which.
    unnamed: BTreeMap<LeaseRef, u64>,
}

/// The leases that stand in the log.
pub type Standing<'a> = BTreeMap<LeaseRef, &'a Lease>;

/// What a worker is good for, as it said last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// Probes per second before a job was measured.
    pub engine_pps: f64,
    /// Targets per second by job.
    pub targets_per_second: BTreeMap<JobId, f64>,
}

#[derive(Debug, Default)]
struct Inner {
    open: bool,
    /// Since when this node leads.
    since: Option<Instant>,
    sessions: BTreeMap<NodeId, WorkSession>,
    heard: BTreeMap<NodeId, Instant>,
    rates: BTreeMap<NodeId, Rates>,
    abouts: BTreeMap<NodeId, (Instant, About)>,
    copies: Copies,
    /// Workers whose side ended the connection on which a session may have been, with when that was seen; until they say something.
    hung_up: BTreeMap<NodeId, Instant>,
    numbers: u64,
    /// How often workers beat and how long leases hold without word from a leader, in milliseconds.
    times_ms: (u64, u64),
    /// Targets per second of each job, as far as known.
    paces: BTreeMap<JobId, f64>,
    /// Jobs that are to stop, of which nothing is granted until then.
    closing: BTreeMap<JobId, Instant>,
}

/// All sessions of this node as the leader.
#[derive(Debug)]
pub struct WorkSessions {
    inner: Mutex<Inner>,
    opened: watch::Sender<bool>,
    woken: watch::Sender<u64>,
    /// Held while a node is kept from voting, or taken out.
    demotion: tokio::sync::Mutex<()>,
}

impl WorkSessions {
    /// None yet; workers are told to beat every `heartbeat_ms` and that leases hold for `lease_term_ms`.
    #[must_use]
    pub fn new(heartbeat_ms: u64, lease_term_ms: u64) -> Self {
        let (opened, woken) = (watch::Sender::new(false), watch::Sender::new(0));
        let inner = Inner { times_ms: (heartbeat_ms, lease_term_ms), ..Inner::default() };
        Self { inner: Mutex::new(inner), opened, woken, demotion: tokio::sync::Mutex::default() }
    }

    /// Waits until no other node is being kept from voting, or taken out, through this one. Cancel-safe.
    pub async fn demoting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.demotion.lock().await
    }

    /// Tells every worker to beat every `heartbeat_ms` and that leases hold for `lease_term_ms`, where that is new.
    pub fn set_times(&self, heartbeat_ms: u64, lease_term_ms: u64) {
        let mut inner = self.lock();
        if inner.times_ms == (heartbeat_ms, lease_term_ms) {
            return;
        }
        inner.times_ms = (heartbeat_ms, lease_term_ms);
        let nodes: Vec<NodeId> = inner.sessions.keys().copied().collect();
        for node in nodes {
            inner.send(node, LeaderFrame::Welcome { heartbeat_ms, lease_term_ms });
        }
    }

    /// Notes how fast jobs go on.
    pub fn set_paces(&self, paces: BTreeMap<JobId, f64>) {
        self.lock().paces = paces;
    }

    /// Targets per second of each job, as far as known.
    #[must_use]
    pub fn paces(&self) -> BTreeMap<JobId, f64> {
        self.lock().paces.clone()
    }

    /// Changes whenever a worker is there that was not. Beats of those that are there wake nobody: what they mean for planning is
    /// in the log, or is looked at with each round.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }

    /// Takes part in leading: sessions may be made.
    pub fn open(&self) {
        let mut inner = self.lock();
        let since = Some(Instant::now());
        *inner = Inner { open: true, since, numbers: inner.numbers, times_ms: inner.times_ms, ..Inner::default() };
        self.opened.send_replace(true);
    }

    /// Waits until sessions may be made: a node learns that it leads a moment before it opens them.
    pub async fn opened(&self) {
        // The sender lives in `self`.
        let _ = self.opened.subscribe().wait_for(|open| *open).await;
    }

    /// Leads no longer: every session ends, and its worker looks for the new leader.
    pub fn close(&self) {
        let mut inner = self.lock();
        *inner = Inner { open: false, numbers: inner.numbers, times_ms: inner.times_ms, ..Inner::default() };
        self.opened.send_replace(false);
    }

    /// Serves one session of `node` until it ends. `granted` reads the leases it holds by the log; it is asked once the
    /// session stands, so that a grant of this moment is either read or handed out. Answers whether this node leads at all. Cancel-safe: a cancelled session is one that broke.
    pub async fn serve(
        &self,
        node: NodeId,
        mut link: Link<LeaderFrame, WorkerFrame>,
        granted: impl FnOnce() -> Vec<(UnitKey, Lease)> + Send,
    ) -> bool {
        let Some(number) = self.begin(node, &link.out) else { return false };
        let granted = granted();
        let (heartbeat_ms, lease_term_ms) = self.lock().times_ms;
        let welcome = LeaderFrame::Welcome { heartbeat_ms, lease_term_ms };
        let mut is_heard = link.out.send(welcome).await.is_ok();
        self.note_sent(node, &granted);
        if is_heard && !granted.is_empty() {
            is_heard = link.out.send(LeaderFrame::Grant(granted)).await.is_ok();
        }
        while is_heard && let Some(frame) = link.from.recv().await {
            let Some(answer) = self.take(node, number, frame) else { break };
            if link.out.send(answer).await.is_err() {
                break;
            }
        }
        let mut inner = self.lock();
        if inner.sessions.get(&node).is_some_and(|session| session.number == number) {
            inner.sessions.remove(&node);
        }
        true
    }

    /// For how long this node has led; `None` where it does not.
    #[must_use]
    pub fn led(&self) -> Option<Duration> {
        self.lock().since.map(|since| since.elapsed())
    }

    /// When each worker was last heard.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<NodeId, Instant> {
        self.lock().heard.clone()
    }

    /// The last connection of this worker to a member was ended by its side: its process may be gone, which [`Self::gone`] tells.
    pub fn hung_up(&self, node: NodeId) {
        let mut inner = self.lock();
        if inner.open {
            inner.hung_up.insert(node, Instant::now());
            drop(inner);
            self.woken.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Whether a worker has a session.
    #[must_use]
    pub fn is_here(&self, node: NodeId) -> bool {
        self.lock().sessions.contains_key(&node)
    }

    /// The workers that hung up before so long, have no session since and were not heard; for a minute, in which what they held was
    /// taken back long since.
    #[must_use]
    pub fn gone(&self, before: Duration) -> Vec<NodeId> {
        let (mut inner, now) = (self.lock(), Instant::now());
        inner.hung_up.retain(|_, at| now.saturating_duration_since(*at) < GONE_FOR);
        let is_gone = |node: &NodeId, at: &Instant| {
            !inner.sessions.contains_key(node) && now.saturating_duration_since(*at) >= before
        };
        inner.hung_up.iter().filter(|(node, at)| is_gone(node, at)).map(|(node, _)| *node).collect()
    }

    /// Whoever hung up has from now on to come back: this leader stood still.
    pub fn wait_anew(&self) {
        let now = Instant::now();
        self.lock().hung_up.values_mut().for_each(|at| *at = now);
    }

    /// What each worker is good for that has a session and takes work.
    #[must_use]
    pub fn rates(&self) -> BTreeMap<NodeId, Rates> {
        let (inner, now) = (self.lock(), Instant::now());
        let rests = |node: &NodeId| {
            let about = inner.abouts.get(node);
            about.is_some_and(|(_, about)| about.rests.is_some() || Self::copy_reason(&inner, *node, now).is_some())
        };
        let with_session = inner.rates.iter().filter(|(node, _)| inner.sessions.contains_key(node) && !rests(node));
        with_session.map(|(node, rates)| (*node, rates.clone())).collect()
    }

    /// What each worker with a session said of itself, with the reason where this leader has it rest.
    #[must_use]
    pub fn abouts(&self) -> BTreeMap<NodeId, About> {
        let (inner, now) = (self.lock(), Instant::now());
        let with_session = inner.abouts.iter().filter(|(node, _)| inner.sessions.contains_key(node));
        let with_reason = with_session.map(|(node, (_, about))| {
            let rests = Self::copy_reason(&inner, *node, now).or_else(|| about.rests.clone());
            (*node, About { rests, ..about.clone() })
        });
        with_reason.collect()
    }

    /// The clocks of the workers other than `own` that are there, each with how far it is ahead where it said so. What a
    /// worker says with a beat it compared before the beat before it.
    #[must_use]
    pub fn clocks(&self, own: NodeId) -> Vec<Option<OtherClock>> {
        let (inner, now) = (self.lock(), Instant::now());
        let beat = Duration::from_millis(inner.times_ms.0);
        let is_there = |heard: &Instant| now.saturating_duration_since(*heard) < beat * COPY_BEATS;
        let there = inner.heard.iter().filter(|(node, heard)| **node != own && is_there(heard));
        let clock = |node: &NodeId| {
            let (said, about) = inner.abouts.get(node)?;
            Some(OtherClock { ahead_ms: about.skew_ms?, compared: said.checked_sub(beat * 2)? })
        };
        there.map(|(node, _)| clock(node)).collect()
    }

    /// How far the units are that are still out, by job.
    #[must_use]
    pub fn in_progress(&self) -> BTreeMap<JobId, Figures> {
        let mut done: BTreeMap<JobId, Figures> = BTreeMap::new();
        for session in self.lock().sessions.values() {
            for (lease, figures) in &session.leases {
                done.entry(lease.unit.job).or_default().add(figures);
            }
        }
        done
    }

    /// Sends leases to the workers that got them. One that is not connected gets them when it is again.
    pub fn hand_out(&self, leases: Vec<(UnitKey, Lease)>) {
        let mut by_node: BTreeMap<NodeId, Vec<(UnitKey, Lease)>> = BTreeMap::new();
        for (unit, lease) in leases {
            by_node.entry(lease.node).or_default().push((unit, lease));
        }
        by_node.iter().for_each(|(node, leases)| self.note_sent(*node, leases));
        let mut inner = self.lock();
        for (node, leases) in by_node {
            inner.send(node, LeaderFrame::Grant(leases));
        }
    }

    /// Sends a worker those of the `standing` leases again that it holds and does not work on. The cost is that of a look at
    /// each lease and at each session.
    pub fn remind(&self, standing: &Standing<'_>) {
        let mut inner = self.lock();
        for session in inner.sessions.values_mut() {
            let WorkSession { unnamed, leases, .. } = session;
            unnamed.retain(|lease, _| standing.contains_key(lease) && !leases.contains_key(lease));
        }
        let mut again: BTreeMap<NodeId, Vec<(UnitKey, Lease)>> = BTreeMap::new();
        for (reference, lease) in standing {
            let session = inner.sessions.get_mut(&lease.node);
            let Some(session) = session.filter(|session| !session.leases.contains_key(reference)) else { continue };
            let beats = session.beats;
            let since = session.unnamed.entry(*reference).or_insert(beats);
            if beats >= *since + BEATS_WITHOUT {
                *since = beats;
                session.sent.insert(*reference, lease.end);
                again.entry(lease.node).or_default().push((reference.unit, Lease::clone(lease)));
            }
        }
        for (node, leases) in again {
            tracing::info!(node, count = leases.len(), "leases that the worker does not work on are sent again");
            inner.send(node, LeaderFrame::Grant(leases));
        }
    }

    /// Tells every worker which of its leases are not in `standing` any more, but for those that `is_counted` to their ends as it
    /// handed them in, of which it hears as the answer to that.
    pub fn revoke_all_but(&self, standing: &Standing<'_>, is_counted: impl Fn(&LeaseRef, u64) -> bool) {
        let mut inner = self.lock();
        let gone_of = |session: &WorkSession| {
            let known = session.sent.keys().chain(session.leases.keys());
            let mut gone: Vec<LeaseRef> = known.filter(|lease| !standing.contains_key(lease)).copied().collect();
            gone.sort_unstable();
            gone.dedup();
            gone
        };
        let gone = inner.sessions.iter().map(|(node, session)| (*node, gone_of(session)));
        let gone: Vec<(NodeId, Vec<LeaseRef>)> = gone.filter(|(_, leases)| !leases.is_empty()).collect();
        for (node, mut leases) in gone {
            if let Some(session) = inner.sessions.get_mut(&node) {
                let WorkSession { sent, leases: named, .. } = session;
                named.retain(|lease, _| leases.binary_search(lease).is_err());
                let ends: Vec<Option<u64>> = leases.iter().map(|lease| sent.remove(lease)).collect();
                let mut ends = ends.into_iter();
                leases.retain(|lease| !ends.next().flatten().is_some_and(|end| is_counted(lease, end)));
            }
            if !leases.is_empty() {
                inner.send(node, LeaderFrame::Revoke(leases));
            }
        }
    }

    /// Nothing is to be granted of a job until an instant.
    pub(super) fn close_job(&self, job: JobId, until: Instant) {
        self.lock().closing.insert(job, until);
    }

    /// Whether nothing is to be granted of a job at `now`.
    pub(super) fn is_closing(&self, job: JobId, now: Instant) -> bool {
        let mut inner = self.lock();
        inner.closing.retain(|_, until| now < *until);
        inner.closing.contains_key(&job)
    }

    /// Has a worker hand in what is settled of a lease, and end it.
    pub(super) fn end_early(&self, node: NodeId, lease: LeaseRef) {
        self.lock().send(node, LeaderFrame::EndEarly(vec![lease]));
    }

    /// Whether a worker has a session.
    pub(super) fn is_there(&self, node: NodeId) -> bool {
        self.lock().sessions.contains_key(&node)
    }

    fn begin(&self, node: NodeId, out: &mpsc::Sender<LeaderFrame>) -> Option<u64> {
        let mut inner = self.lock();
        if !inner.open {
            return None;
        }
        inner.numbers += 1;
        let number = inner.numbers;
        let session = WorkSession {
            out: out.clone(),
            number,
            leases: BTreeMap::new(),
            beats: 0,
            sent: BTreeMap::new(),
            unnamed: BTreeMap::new(),
        };
        inner.sessions.insert(node, session);
        inner.hung_up.remove(&node);
        Some(number)
    }

    /// Remembers leases that go to a worker.
    fn note_sent(&self, node: NodeId, leases: &[(UnitKey, Lease)]) {
        if let Some(session) = self.lock().sessions.get_mut(&node) {
            let sent = |(unit, lease): &(UnitKey, Lease)| (LeaseRef { unit: *unit, epoch: lease.epoch }, lease.end);
            session.sent.extend(leases.iter().map(sent));
        }
    }

    /// Takes what a worker says and gives the answer to it; `None` where the session is not its latest.
    fn take(&self, node: NodeId, number: u64, frame: WorkerFrame) -> Option<LeaderFrame> {
        let now = Instant::now();
        let mut inner = self.lock();
        let session = inner.sessions.get_mut(&node).filter(|session| session.number == number)?;
        match frame {
            WorkerFrame::Beat { leases, rates, engine_pps } => {
                let is_first = session.beats == 0;
                session.leases = leases.into_iter().collect();
                session.beats += 1;
                let beat = Duration::from_millis(inner.times_ms.0);
                let before = inner.heard.insert(node, now);
                inner.hung_up.remove(&node);
                let is_back = before.is_none_or(|at| now.saturating_duration_since(at) > beat * BEATS_BACK);
                inner.rates.insert(node, Rates { engine_pps, targets_per_second: rates.into_iter().collect() });
                drop(inner);
                if is_first || is_back {
                    self.woken.send_modify(|count| *count = count.wrapping_add(1));
                }
                Some(LeaderFrame::Heard)
            }
            WorkerFrame::About(about) => {
                inner.copies.note(node, about.instance, now);
                let rest = Self::copy_reason(&inner, node, now);
                if rest.is_some() && inner.abouts.get(&node).is_none_or(|(_, before)| before.instance != about.instance)
                {
                    tracing::error!(node, "two processes run as one node, from copies of its data directory");
                }
                inner.abouts.insert(node, (now, about));
                Some(LeaderFrame::Noted { wall_ms: wall_ms(), rest })
            }
        }
    }

    /// Why a node takes no work, where the leader has it rest.
    fn copy_reason(inner: &Inner, node: NodeId, now: Instant) -> Option<String> {
        let within = Duration::from_millis(inner.times_ms.0) * COPY_BEATS;
        inner.copies.is_copied(node, now, within).then(|| COPY.to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Sends without waiting; a worker too slow for its queue loses its session and starts a new one.
    fn send(&mut self, node: NodeId, frame: LeaderFrame) {
        if self.sessions.get(&node).is_some_and(|session| session.out.try_send(frame).is_err()) {
            self.sessions.remove(&node);
        }
    }
}

/// The leases that a node holds by the log.
#[must_use]
pub fn granted(raft: &Raft, node: NodeId) -> Vec<(UnitKey, Lease)> {
    raft.read(|state| {
        let held = state.leases().filter(|(_, lease)| lease.node == node);
        held.map(|(unit, lease)| (unit, lease.clone())).collect()
    })
}

#[cfg(test)]
#[path = "work_sessions/work_sessions_test.rs"]
mod tests;
