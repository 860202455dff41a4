//! Puts commands into the log from any node: here where this node leads, through the leader otherwise.
//!
//! A proposal is retried through elections until its deadline, so it may be applied more than once; every command is
//! made so that this changes nothing more (`asking_again_changes_nothing_more` in `raft`'s `state/laws_test.rs`). What it answers the
//! second time may be another thing, where it takes something away: `was_done_before`.
//!
//! Each try is for one term, and is refused in any other: one that was held up on its way stands in the log before those that were
//! made with a later leader, or nowhere, and puts no old value over what somebody decided since.

use std::time::{Duration, Instant};

use pentora_p2p::PeerId;
use pentora_raft::command::Command;
use pentora_raft::{Applied, Leadership, NodeId, ProposeError, Raft, Refusal, Response};

use super::calls::{Answer, CallError, Calls, Request};
use super::no_majority::no_majority;

/// How long a proposal is tried while there may be an election. The contract is an answer within 2 s where there is no
/// quorum, at the command line too, which needs the rest.
const PROPOSE_WITHIN: Duration = Duration::from_millis(1_700);
/// How long it is tried where no leader was known for longer than that: several heartbeats of one that comes back.
const LOST_WITHIN: Duration = Duration::from_millis(500);
/// How long to wait before looking for a leader again; elections take longer, so this only smooths the end of one.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Puts commands into the log from any node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proposer {
    raft: Raft,
    calls: Option<Calls>,
}

/// Why a command is not known to be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No quorum answered.
    #[error("{reason}")]
    QuorumLost {
        /// What is known of why.
        reason: String,
        /// Whether somebody was asked to do it, so that it may be done all the same.
        may_be_done: bool,
    },
    /// The command was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This node may not have that proposed; nothing changed.
    #[error("{0}")]
    Denied(String),
    /// Consensus has stopped on this node.
    #[error("consensus has stopped on this node: {0}")]
    Stopped(String),
}

impl Proposer {
    /// Proposes through `raft`, and through `calls` where another node leads; an embedded node has nobody to call.
    #[must_use]
    pub fn new(raft: Raft, calls: Option<Calls>) -> Self {
        Self { raft, calls }
    }

    /// Puts `command` into the log and answers once it is applied on the leader.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn propose(&self, command: Command) -> Result<Applied, Unavailable> {
        let end = Instant::now() + patience(&self.raft.leadership());
        let (mut last, mut is_unsure) = (None, false);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.quorum_lost(last, is_unsure));
            }
            let tried = match self.raft.way_and_term() {
                None => Err(None),
                Some((way, term)) if way == self.raft.node() => {
                    self.propose_here(term, &command, left).await?.map_err(Some)
                }
                Some(way) => self.propose_through(way, &command, left).await?.map_err(Some),
            };
            match tried {
                Ok(Applied { index, response: Response::Refused(refusal) })
                    if is_unsure && was_done_before(&command, &refusal) =>
                {
                    return Ok(Applied { index, response: Response::Done });
                }
                Ok(Applied { response: Response::Refused(refusal), .. }) => return Err(refusal.into()),
                Ok(applied) => return Ok(applied),
                Err(None) => last = None,
                Err(Some(Lost { reason, may_come })) => (last, is_unsure) = (Some(reason), is_unsure || may_come),
            }
            self.raft.status_changed(LOOK_AGAIN.min(left)).await;
        }
    }

    async fn propose_here(
        &self,
        term: u64,
        command: &Command,
        left: Duration,
    ) -> Result<Result<Applied, Lost>, Unavailable> {
        match tokio::time::timeout(left, self.raft.propose_in(term, command.clone())).await {
            Err(_elapsed) => Ok(Err(Lost::that_may_come("the voters did not answer this leader"))),
            Ok(Ok(applied)) => Ok(Ok(applied)),
            Ok(Err(ProposeError::Stopped(reason))) => Err(Unavailable::Stopped(reason)),
            Ok(Err(error @ ProposeError::NotLeader { .. })) => Ok(Err(Lost::for_good(error.to_string()))),
            Ok(Err(error)) => Ok(Err(Lost::that_may_come(error.to_string()))),
        }
    }

    /// Through the leader, or from outside the log through a gateway.
    async fn propose_through(
        &self,
        (way, term): (NodeId, u64),
        command: &Command,
        left: Duration,
    ) -> Result<Result<Applied, Lost>, Unavailable> {
        let (calls, peer) = match self.reach(way) {
            Ok(reached) => reached,
            Err(reason) => return Ok(Err(Lost::for_good(reason))),
        };
        // What the log does not take may not fit a frame on its way, or be more than a leader of an earlier release reads.
        self.raft.takes(command)?;
        let what = if self.raft.is_outside() { "the gateway" } else { "the leader" };
        let request = Request::Propose { term, command: Box::new(command.clone()) };
        let answer = tokio::select! {
            biased;
            answer = calls.ask(peer, &request, left) => answer,
            // A leader that is frozen or cut off does not hang up; its successor is asked as soon as there is one.
            () = self.succeeded(way) => {
                return Ok(Err(Lost::that_may_come(format!("{what} is not node {way} any more"))));
            }
        };
        Ok(match answer {
            Ok(Answer::Applied { index, response }) => Ok(Applied { index, response }),
            Ok(Answer::Denied(why)) | Err(CallError::Denied(why)) => return Err(Unavailable::Denied(why)),
            Ok(Answer::NotLeader { .. }) => Err(Lost::for_good(format!("node {way} leads no longer"))),
            Ok(Answer::Unavailable(reason)) => Err(Lost::that_may_come(reason)),
            Ok(_) => Err(Lost::that_may_come(format!("node {way} gave an answer that does not fit"))),
            Err(error) => Err(Lost::that_may_come(format!("{what}, node {way}, cannot be reached: {error}"))),
        })
    }

    /// Waits until another node than `way` is the one to ask. Cancel-safe.
    pub async fn succeeded(&self, way: NodeId) {
        while self.raft.way().is_none_or(|now| now == way) {
            self.raft.status_changed(LOOK_AGAIN).await;
        }
    }

    /// Whom to ask for what the leader decides, waiting through an election: the leader, or from outside the log a gateway.
    ///
    /// # Errors
    /// [`Unavailable::QuorumLost`] where nobody leads for as long as a proposal would be tried.
    pub async fn way(&self) -> Result<NodeId, Unavailable> {
        let end = Instant::now() + patience(&self.raft.leadership());
        loop {
            if let Some(way) = self.raft.way() {
                return Ok(way);
            }
            if Instant::now() >= end {
                return Err(self.quorum_lost(None, false));
            }
            self.raft.status_changed(LOOK_AGAIN).await;
        }
    }

    /// Who leads, waiting through an election.
    ///
    /// # Errors
    /// [`Unavailable::QuorumLost`] where nobody does for as long as a proposal would be tried.
    pub async fn leader(&self) -> Result<NodeId, Unavailable> {
        let end = Instant::now() + patience(&self.raft.leadership());
        loop {
            if let Some(leader) = self.raft.status().leader {
                return Ok(leader);
            }
            if Instant::now() >= end {
                return Err(self.quorum_lost(None, false));
            }
            self.raft.status_changed(LOOK_AGAIN).await;
        }
    }

    /// The log index up to which everything is committed that was acknowledged before this call: by this node where it leads,
    /// which asks a majority whether it still does, otherwise by the leader.
    ///
    /// # Errors
    /// [`Unavailable`], within the time that a proposal would take.
    pub async fn read_index(&self) -> Result<u64, Unavailable> {
        let end = Instant::now() + patience(&self.raft.leadership());
        let mut last = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.quorum_lost(last, false));
            }
            if let Some(leader) = self.raft.status().leader {
                let asked = async {
                    if leader == self.raft.node() {
                        self.raft.ensure_linearizable().await.map_err(|error| error.to_string())?;
                        return Ok(*self.raft.watch_applied().borrow());
                    }
                    let (calls, peer) = self.reach(leader)?;
                    match calls.ask(peer, &Request::ReadIndex, left).await {
                        Ok(Answer::ReadIndex(index)) => Ok(index),
                        Ok(_) => Err(format!("node {leader} leads no longer")),
                        Err(error) => Err(format!("the leader, node {leader}, cannot be reached: {error}")),
                    }
                };
                let asked = tokio::select! {
                    biased;
                    asked = tokio::time::timeout(left, asked) => asked,
                    () = self.succeeded(leader) => continue,
                };
                match asked {
                    Ok(Ok(index)) => return Ok(index),
                    Ok(Err(reason)) => last = Some(reason),
                    Err(_elapsed) => last = Some("the voters did not answer the leader".to_owned()),
                }
            }
            self.raft.status_changed(LOOK_AGAIN.min(left)).await;
        }
    }

    /// How to call `node`.
    ///
    /// # Errors
    /// A sentence where it is not known.
    pub fn reach(&self, node: NodeId) -> Result<(&Calls, PeerId), String> {
        let calls = self.calls.as_ref().ok_or("this node has no mesh")?;
        let peer = self.raft.read(|state| state.node(node).map(|record| record.info.peer.clone()));
        let peer = peer.ok_or_else(|| format!("node {node} is not known here"))?;
        Ok((calls, peer.parse().map_err(|error| format!("node {node}: {error}"))?))
    }

    /// What is known of why there is no quorum: whom this node heard last, or what came of the `last` try.
    fn quorum_lost(&self, last: Option<String>, may_be_done: bool) -> Unavailable {
        let voters = self.raft.status().voters.len();
        let why = no_majority(&self.raft).or(last).unwrap_or_else(|| "no majority: a leader came and went".to_owned());
        let reason = match voters {
            1 => format!("{why}; the one voter is needed"),
            voters => format!("{why}; {} of {voters} voters are needed", voters / 2 + 1),
        };
        Unavailable::QuorumLost { reason, may_be_done }
    }
}

/// A try that was not answered.
#[derive(Debug)]
struct Lost {
    reason: String,
    /// Whether it may be in the log all the same.
    may_come: bool,
}

impl Lost {
    fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), may_come: false }
    }

    fn that_may_come(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), may_come: true }
    }
}

/// Whether a command that takes something away is refused because it is gone: after a try that was not answered, that one was it,
/// or there never was such a thing, and either way what was asked for is so.
fn was_done_before(command: &Command, refusal: &Refusal) -> bool {
    matches!(
        (command, refusal),
        (Command::DeleteJob { .. }, Refusal::JobUnknown { .. })
            | (Command::RemoveRule { .. }, Refusal::RuleUnknown { .. })
            | (Command::RemoveSchedule { .. }, Refusal::ScheduleUnknown { .. })
            | (Command::RemoveKeep { .. }, Refusal::KeepUnknown { .. })
            | (Command::RevokeToken { .. }, Refusal::TokenUnknown)
            | (Command::RemoveNode { .. } | Command::Retire { .. }, Refusal::NodeUnknown { .. })
    )
}

/// How long to try: through an election where one may go on, shortly where there was no leader for longer.
fn patience(leadership: &Leadership) -> Duration {
    match leadership {
        Leadership::Lost { since: Some(since), .. } if *since > PROPOSE_WITHIN => LOST_WITHIN,
        _ => PROPOSE_WITHIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_something_away_and_finds_it_gone_after_a_try_without_an_answer_was_done() {
        let (job, name) = (pentora_raft::JobId(3), "x".to_owned());
        let (gone, schedule) = (Refusal::JobUnknown { job }, Refusal::ScheduleUnknown { name: name.clone() });
        assert!(was_done_before(&Command::DeleteJob { job }, &gone));
        assert!(was_done_before(&Command::RemoveSchedule { name: name.clone() }, &schedule));
        assert!(!was_done_before(&Command::DeleteJob { job }, &Refusal::JobOpen { job }), "it was not");
        let pause = Command::PauseJob { job, paused: true, reason: String::new() };
        assert!(!was_done_before(&pause, &gone), "nothing is held that is gone");
        assert!(!was_done_before(&Command::PauseSchedule { name, paused: true }, &schedule));
    }

    #[test]
    fn an_election_is_waited_out_and_a_majority_that_is_long_gone_is_not() {
        let lost = |ms| Leadership::Lost { last: Some(1), since: Some(Duration::from_millis(ms)) };
        assert_eq!(patience(&Leadership::Known { leader: 1, age: Duration::ZERO }), PROPOSE_WITHIN);
        assert_eq!(patience(&lost(900)), PROPOSE_WITHIN);
        assert_eq!(patience(&lost(75_000)), LOST_WITHIN);
        assert_eq!(patience(&Leadership::Lost { last: None, since: None }), PROPOSE_WITHIN, "a node that just started");
    }
}
