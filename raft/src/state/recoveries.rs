//! The recoveries of the cluster: each time one node went on alone because the majority was lost for good.
//!
//! Two survivors that both do so begin with one log and one cluster's id. The id of the recovery tells them apart: each has one
//! that the other's log does not have. Whom a recovery took out is kept with it, because that is where another one may run.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response};
use crate::id::{NodeId, RecoveryId};

/// Recoveries that are kept, the latest ones. Ours: whoever needs more of them has other troubles.
const RECOVERIES_MAX: usize = 16;
/// Nodes that are kept of one recovery: members, of which a cluster has a few.
pub const TAKEN_OUT_MAX: usize = 64;

/// A node goes on alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Drawn at random.
    pub id: RecoveryId,
    /// Which node.
    pub node: NodeId,
    /// The members that it took out.
    pub taken_out: Vec<TakenOut>,
}

/// A member that a recovery took out of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOut {
    /// What it was called.
    pub name: String,
    /// Its key on the mesh.
    pub peer: String,
    /// Where it was.
    pub addresses: Vec<String>,
}

/// A recovery as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// When, unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// What was done.
    pub recovery: Recovery,
}

impl State {
    /// The recoveries, the latest last.
    pub fn recoveries(&self) -> impl DoubleEndedIterator<Item = &RecoveryRecord> {
        self.recoveries.iter().map(|(_, record)| record)
    }

    /// Those of another cluster are none of the one that begins with its state.
    pub(super) fn forget_recoveries(&mut self) {
        let all: Vec<u64> = self.recoveries.iter().map(|(index, _)| *index).collect();
        all.iter().for_each(|index| drop(self.recoveries.remove(index)));
    }

    pub(super) fn recover(&mut self, index: u64, recovery: &Recovery) -> Result<Response, Refusal> {
        if recovery.taken_out.len() > TAKEN_OUT_MAX {
            return Err(Refusal::Malformed { what: format!("a recovery names at most {TAKEN_OUT_MAX} nodes") });
        }
        if self.recoveries().any(|record| record.recovery.id == recovery.id) {
            return Ok(Response::Done);
        }
        self.recoveries.insert(index, RecoveryRecord { at_ms: self.now_ms(), recovery: recovery.clone() });
        while self.recoveries.len() > RECOVERIES_MAX {
            let Some(oldest) = self.recoveries.iter().next().map(|(index, _)| *index) else { break };
            self.recoveries.remove(&oldest);
        }
        Ok(Response::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Proposal};
    use crate::version::SECOND;

    fn recover(state: &mut State, index: u64, nodes: usize) -> Response {
        let taken_out = TakenOut { name: "n2".into(), peer: "p2".into(), addresses: vec!["10.0.0.2:7400".into()] };
        let id = RecoveryId([u8::try_from(index).unwrap(); 16]);
        let recovery = Box::new(Recovery { id, node: 1, taken_out: vec![taken_out; nodes] });
        state.apply(index, &Proposal { at_ms: index, command: Command::Recover(recovery) })
    }

    #[test]
    fn each_recovery_is_kept_with_whom_it_took_out_and_the_oldest_go() {
        let mut state = State::default();
        assert!(matches!(recover(&mut state, 1, 1), Response::Refused(Refusal::NewerThanLog { .. })));
        state.apply(2, &Proposal { at_ms: 2, command: Command::RaiseLog { version: SECOND } });
        assert!(matches!(recover(&mut state, 3, TAKEN_OUT_MAX + 1), Response::Refused(Refusal::Malformed { .. })));
        for index in 10..10 + 2 * u64::try_from(RECOVERIES_MAX).unwrap() {
            assert_eq!(recover(&mut state, index, 1), Response::Done);
        }
        let ids: Vec<u8> = state.recoveries().map(|record| record.recovery.id.0[0]).collect();
        assert_eq!((ids.len(), ids[0], ids[RECOVERIES_MAX - 1]), (RECOVERIES_MAX, 26, 41));
        assert_eq!(state.recoveries().next_back().map(|record| record.at_ms), Some(41));
    }
}
