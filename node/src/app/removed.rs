//! Notices that this node was removed from its cluster.
//!
//! Where its log still comes, the removal is an entry of it. Where members have cut it off before that, or it was away
//! meanwhile, it asks: everybody who holds the mesh's key may ask a member whether a node is in, a removed one too. It
//! asks when a member refuses it, and while it knows no leader.

use std::time::{Duration, Instant};

use pentora_p2p::{Mesh, PeerId};
use pentora_raft::version::SECOND;
use pentora_raft::{Leadership, Raft, RecoveryId, Role};

use crate::join::{self, Membership};
use crate::member_address::MemberAddress;

/// How often it is looked at whether there is reason to ask.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A member that a recovery elsewhere took out gives up after so long without a leader of its own: elections are over by then, and a
/// majority that has gone on is to be stopped by nobody else's recovery.
const GIVES_UP_AFTER: Duration = Duration::from_secs(20);
/// Members that are asked at one look; the next look asks the next ones.
const ASKED_AT_ONCE: usize = 2;

/// What a node learns of its own place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is out of the cluster.
    Removed,
    /// It only scans by now, though it follows the log; it was taken out of the group before its log said so.
    OnlyScans,
}

/// Returns once this node is known to be out of the cluster, or out of the log. `first` are the members known when it
/// joined; only members count that have applied the entry at `since`. Cancel-safe.
pub(super) async fn noticed(raft: Raft, mesh: Mesh, first: Vec<MemberAddress>, since: u64) -> Place {
    let mut applied = raft.watch_applied();
    let (mut was_in, mut refusals, mut turn) = (false, mesh.refusals(), 0);
    let begun = Instant::now();
    let mut asked: Option<Instant> = None;
    loop {
        let is_in = raft.read(|state| state.node(raft.node()).is_some());
        if was_in && !is_in {
            return Place::Removed;
        }
        was_in |= is_in;
        let may_ask = asked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if may_ask && (mesh.refusals() != refusals || knows_no_leader(&raft)) {
            (asked, refusals) = (Some(Instant::now()), mesh.refusals());
            let members = members(&raft, &mesh, &first);
            for _ in 0..ASKED_AT_ONCE.min(members.len()) {
                turn += 1;
                let Some(member) = members.get(turn % members.len()) else { break };
                match join::ask_membership(&mesh, *member, (raft.node(), since), own_recoveries(&raft)).await {
                    Ok(Membership::Removed) => return Place::Removed,
                    // One cluster's word about another's member: that one stays while its own has a majority.
                    Ok(Membership::TakenOut) if leaderless_for(&raft, begun) >= GIVES_UP_AFTER => {
                        return Place::Removed;
                    }
                    Ok(Membership::OnlyScans) if !raft.is_outside() => return Place::OnlyScans,
                    Ok(Membership::In | Membership::OnlyScans | Membership::Unknown | Membership::TakenOut) => {}
                    Err(reason) => tracing::debug!(%member, reason, "a member cannot be asked whether this node is in"),
                }
            }
        }
        // Either way it looks again.
        let _ = tokio::time::timeout(LOOK_EVERY, applied.changed()).await;
    }
}

/// The recoveries in this node's log, once every member reads the question that names them.
fn own_recoveries(raft: &Raft) -> Option<Vec<RecoveryId>> {
    raft.read(|state| (state.log_version() >= SECOND).then(|| join::recoveries(state)))
}

/// For how long this node has known no leader.
fn leaderless_for(raft: &Raft, begun: Instant) -> Duration {
    match raft.leadership() {
        Leadership::Known { .. } => Duration::ZERO,
        Leadership::Lost { since, .. } => since.unwrap_or_else(|| begun.elapsed()),
    }
}

fn knows_no_leader(raft: &Raft) -> bool {
    let status = raft.status();
    status.leader.is_none() || (status.role == Role::Outside && !raft.is_outside())
}

fn members(raft: &Raft, mesh: &Mesh, first: &[MemberAddress]) -> Vec<PeerId> {
    let own = mesh.peer_id();
    let mut peers: Vec<PeerId> = raft.read(|state| {
        let known = state.nodes().filter_map(|(_, record)| record.info.peer.parse().ok());
        known.chain(first.iter().filter_map(|member| member.peer.parse().ok())).filter(|peer| *peer != own).collect()
    });
    peers.sort_unstable();
    peers.dedup();
    peers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pentora_raft::command::{Command, Proposal};
    use pentora_raft::state::Recovery;
    use pentora_raft::view::{GatewayWord, Look, Rows, ViewFrame, changes};
    use pentora_raft::{Config, State};

    use super::*;

    #[test]
    fn a_node_that_only_scans_says_which_recoveries_it_goes_by_as_soon_as_it_was_shown_the_log() {
        let (raft, mut viewer) = Raft::outside(5, Config::default());
        assert_eq!(own_recoveries(&raft), None, "it may be asked of a member that does not read that");
        let id = RecoveryId([7; 16]);
        let recovery = Recovery { id, node: 1, taken_out: Vec::new() };
        let mut state = State::default();
        for (index, command) in (1..).zip([Command::RaiseLog { version: SECOND }, Command::Recover(Box::new(recovery))])
        {
            let _ = state.apply(index, &Proposal { at_ms: index, command });
        }
        let seen = Look::default().at(&state, &BTreeSet::from([5]));
        viewer.take(ViewFrame::Anew).unwrap();
        viewer.take(ViewFrame::Rows(changes(&Rows::new(), &seen.common))).unwrap();
        let word = GatewayWord { applied: 2, leader: None, term: 1, voter_sets: Vec::new(), now_ms: 1 };
        viewer.take(ViewFrame::Word(word)).unwrap();
        assert_eq!(own_recoveries(&raft), Some(vec![id]));
    }
}
