//! Bugs that are planted, each of which the checks must find.

use pentora_raft::State;
use pentora_raft::command::{Command, Proposal};

use super::super::serve::StreamServices;

/// What is broken in the nodes of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A completion counts whatever its lease's epoch.
    FencingOff,
    /// A node that starts again applies once more what it had applied.
    AppliedTwice,
    /// A sync is answered and not done.
    SyncSkipped,
    /// A vote is answered and not written.
    VoteNotKept,
    /// A chunk is acknowledged before it is on the disk.
    ChunkNotStored,
    /// What a scanner proposes is not checked.
    ProposalNotChecked,
}

impl Bug {
    pub(super) const ALL: [Self; 6] = [
        Self::FencingOff,
        Self::AppliedTwice,
        Self::SyncSkipped,
        Self::VoteNotKept,
        Self::ChunkNotStored,
        Self::ProposalNotChecked,
    ];

    /// How it is named to the process that is to have it.
    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}

/// A completion under the epoch that stands, as it would count if epochs were not compared.
pub(super) fn unfenced(state: &State, proposal: &Proposal) -> Option<Proposal> {
    let Command::Complete { completions } = &proposal.command else { return None };
    let mut completions = completions.clone();
    for completion in &mut completions {
        let unit = completion.lease.unit;
        if let Some((_, lease)) = state.job_leases(unit.job).find(|(key, _)| *key == unit) {
            completion.lease.epoch = lease.epoch;
            completion.node = lease.node;
            completion.end = completion.end.min(lease.end);
        }
    }
    Some(Proposal { at_ms: proposal.at_ms, command: Command::Complete { completions } })
}

/// Has whatever comes be proposed.
pub(super) fn unchecked(services: StreamServices) -> StreamServices {
    StreamServices { judge: |_, _, command| Ok(command), ..services }
}
