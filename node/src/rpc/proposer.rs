//! Puts commands into the log from any node: here where this node leads, through the leader otherwise.
//!
//! A proposal is retried through elections until its deadline, so it may be applied more than once; every command is
//! made so that this changes nothing more.

use std::time::{Duration, Instant};

use pentora_p2p::PeerId;
use pentora_raft::codec;
use pentora_raft::command::{Command, ENTRY_BYTES_MAX};
use pentora_raft::{Applied, NodeId, ProposeError, Raft, Refusal, Response};

use super::calls::{Answer, Calls, Request};

/// How long a proposal is tried. The contract is an answer within 2 s where there is no quorum.
const PROPOSE_WITHIN: Duration = Duration::from_millis(1_850);
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
    #[error("no quorum: {reason}")]
    QuorumLost {
        /// What is known of why.
        reason: String,
    },
    /// The command was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
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
        // Also held here, because a call that large would not fit a frame on its way to the leader.
        let bytes = codec::encoded_len(&command);
        if bytes > ENTRY_BYTES_MAX {
            let what = format!("it takes {bytes} bytes, an entry of the log at most {ENTRY_BYTES_MAX}");
            return Err(Refusal::Malformed { what }.into());
        }
        let end = Instant::now() + PROPOSE_WITHIN;
        let mut last = String::from("no leader is known");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unavailable::QuorumLost { reason: format!("{last}; {}", self.who_votes()) });
            }
            let tried = match self.raft.status().leader {
                None => Err("no leader is known".to_owned()),
                Some(leader) if leader == self.raft.node() => self.propose_here(&command, left).await?,
                Some(leader) => self.propose_through(leader, &command, left).await,
            };
            match tried {
                Ok(Applied { response: Response::Refused(refusal), .. }) => return Err(refusal.into()),
                Ok(applied) => return Ok(applied),
                Err(reason) => last = reason,
            }
            self.raft.status_changed(LOOK_AGAIN.min(left)).await;
        }
    }

    async fn propose_here(&self, command: &Command, left: Duration) -> Result<Result<Applied, String>, Unavailable> {
        match tokio::time::timeout(left, self.raft.propose(command.clone())).await {
            Err(_elapsed) => Ok(Err("the voters did not answer this leader".into())),
            Ok(Ok(applied)) => Ok(Ok(applied)),
            Ok(Err(ProposeError::Stopped(reason))) => Err(Unavailable::Stopped(reason)),
            Ok(Err(error)) => Ok(Err(error.to_string())),
        }
    }

    async fn propose_through(&self, leader: NodeId, command: &Command, left: Duration) -> Result<Applied, String> {
        let (calls, peer) = self.reach(leader)?;
        let request = Request::Propose(Box::new(command.clone()));
        let answer = tokio::select! {
            biased;
            answer = calls.ask(peer, &request, left) => answer,
            // A leader that is frozen or cut off does not hang up; its successor is asked as soon as there is one.
            () = self.succeeded(leader) => return Err(format!("node {leader} leads no longer")),
        };
        match answer {
            Ok(Answer::Applied { index, response }) => Ok(Applied { index, response }),
            Ok(Answer::NotLeader { .. }) => Err(format!("node {leader} leads no longer")),
            Ok(Answer::Unavailable(reason)) => Err(reason),
            Ok(_) => Err(format!("node {leader} gave an answer that does not fit")),
            Err(error) => Err(format!("the leader, node {leader}, cannot be reached: {error}")),
        }
    }

    /// Waits until another node than `leader` is known to lead. Cancel-safe.
    async fn succeeded(&self, leader: NodeId) {
        while self.raft.status().leader.is_none_or(|now| now == leader) {
            self.raft.status_changed(LOOK_AGAIN).await;
        }
    }

    /// Who leads, waiting through an election.
    ///
    /// # Errors
    /// [`Unavailable::QuorumLost`] where nobody does for as long as a proposal would be tried.
    pub async fn leader(&self) -> Result<NodeId, Unavailable> {
        let end = Instant::now() + PROPOSE_WITHIN;
        loop {
            if let Some(leader) = self.raft.status().leader {
                return Ok(leader);
            }
            if Instant::now() >= end {
                return Err(Unavailable::QuorumLost { reason: format!("no leader is known; {}", self.who_votes()) });
            }
            self.raft.status_changed(LOOK_AGAIN).await;
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

    fn who_votes(&self) -> String {
        let status = self.raft.status();
        let needed = status.voters.len() / 2 + 1;
        format!("{needed} of {} voters are needed", status.voters.len())
    }
}
