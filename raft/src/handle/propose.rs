//! The way of a command into the log.

use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;

use super::Raft;
use crate::codec;
use crate::command::{Command, ENTRY_BYTES_MAX, Proposal, Refusal, Response};
use crate::id::NodeId;

/// A command that is in the log and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its log index.
    pub index: u64,
    /// What applying it answered.
    pub response: Response,
}

/// Why a command was not applied, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads; ask it. Nothing changed.
    #[error("node {} leads, not this one", .leader.map_or_else(|| "?".to_owned(), |id| id.to_string()))]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum answered in time. It may or may not be applied later; ask again.
    #[error("no quorum of voters answered within {} ms", .after.as_millis())]
    TimedOut {
        /// The time that was given.
        after: Duration,
    },
    /// Consensus has stopped on this node; the process should end and start again.
    #[error("consensus has stopped on this node: {0}")]
    Stopped(String),
    /// Leadership can only be handed to another voter. Nothing changed.
    #[error("node {node} is no other voter, so it cannot take over")]
    NoOtherVoter {
        /// Who was to take over.
        node: NodeId,
    },
}

impl Raft {
    /// Whether the log takes a command, as far as this node has it: it is no larger than [`ENTRY_BYTES_MAX`], and of no later
    /// version than the log's. Asked before it becomes an entry, and before it is sent to a leader that may be of an earlier
    /// release and could not even read it. Applying asks for the version once more, because the log may have changed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn takes(&self, command: &Command) -> Result<(), Refusal> {
        let bytes = codec::encoded_len(command);
        if bytes > ENTRY_BYTES_MAX {
            let what = format!("it takes {bytes} bytes, an entry of the log at most {ENTRY_BYTES_MAX}");
            return Err(Refusal::Malformed { what });
        }
        self.read(|state| state.holds(command.kind()))
    }

    /// Puts a command into the log and waits until it is applied here. Only the leader can. One that the log does not take is
    /// refused without an entry, under the index of the last one applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; after `TimedOut` the command may still be applied later.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let term = self.core().map_or(0, |raft| raft.metrics().borrow_watched().current_term);
        self.propose_in(term, command).await
    }

    /// The same, in this term and in no other: one who tries again with whoever leads next knows that no copy of an earlier try
    /// comes behind what was decided since, should the same node lead once more.
    ///
    /// # Errors
    /// As [`Self::propose`]; [`ProposeError::NotLeader`] where another term has begun.
    pub async fn propose_in(&self, term: u64, command: Command) -> Result<Applied, ProposeError> {
        let Some(raft) = self.core() else { return Err(ProposeError::NotLeader { leader: self.status().leader }) };
        let after = self.config.propose_timeout;
        if let Err(refusal) = self.takes(&command) {
            let index = *self.watch_applied().borrow();
            return Ok(Applied { index, response: Response::Refused(refusal) });
        }
        let at_ms = self.clock().entry_ms(self.config.wall.now_ms(), Instant::now());
        let (responder, written) = ProgressResponder::complete_only();
        let writing = async {
            let writing = raft.write(Proposal { at_ms, command }).with_leader(term).responder(responder);
            writing.await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
            written.await.map_err(|_dropped| ProposeError::Stopped("it ended before it answered".into()))
        };
        match tokio::time::timeout(after, writing).await {
            Err(_elapsed) => Err(ProposeError::TimedOut { after }),
            Ok(Ok(Ok(written))) => Ok(Applied { index: written.log_id.index, response: written.data }),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id })
            }
            Ok(Ok(Err(other))) => Err(ProposeError::Stopped(other.to_string())),
            Ok(Err(stopped)) => Err(stopped),
        }
    }
}
