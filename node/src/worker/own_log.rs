//! Stops units that are over by this node's own copy of the log: cancelled, held, taken back, or for others than this node has become.
//! None sends more than its share there.
//!
//! The leader says so too, over the work session; a worker whose session is slow or broken learns it here.

use std::sync::Arc;

use pentora_raft::command::LeaseRef;
use pentora_raft::{NodeId, State};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::coordinator::placement;

/// Looks after every entry that is applied, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let mut applied = context.raft.watch_applied();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
        let index = *applied.borrow_and_update();
        let running = context.units.running();
        let (over, shares) = context.raft.read(|state| {
            context.units.forget_all_but(|lease| lease.epoch > index || stands(state, lease));
            let mut over = over(state, index, &running);
            // A grant may be here before what made this node one that may have it.
            let known = running.iter().filter(|lease| lease.epoch <= index);
            over.extend(known.filter(|lease| is_outgrown(state, lease, context.node)));
            (over, shares(state, &running))
        });
        context.units.revoke(&over);
        shares.iter().for_each(|(lease, rate_pps)| context.units.limit(lease, *rate_pps));
    }
}

fn stands(state: &State, lease: &LeaseRef) -> bool {
    state.lease(&lease.unit).is_some_and(|standing| standing.epoch == lease.epoch)
}

/// Whether a unit is not for this node any more, as the log has it now. The leader takes its lease back.
pub(super) fn is_outgrown(state: &State, lease: &LeaseRef, own: NodeId) -> bool {
    let why = placement::outgrown(state, &lease.unit, own);
    if let Some(why) = &why {
        tracing::info!(job = %lease.unit.job, start = lease.unit.start, why, "a unit ends: it is not for this node any more");
    }
    why.is_some()
}

/// The shares of those of the leases that stand and have one.
fn shares(state: &State, running: &[LeaseRef]) -> Vec<(LeaseRef, u64)> {
    let share = |lease: &LeaseRef| {
        let standing = state.lease(&lease.unit).filter(|standing| standing.epoch == lease.epoch)?;
        Some((*lease, standing.share.rate_pps?))
    };
    running.iter().filter_map(share).collect()
}

/// Those of the leases that do not stand in a state that is at `applied` at least. A grant that is not applied here yet
/// says nothing.
fn over(state: &State, applied: u64, running: &[LeaseRef]) -> Vec<LeaseRef> {
    running.iter().filter(|lease| lease.epoch <= applied && !stands(state, lease)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::JobId;
    use pentora_raft::command::UnitKey;

    #[test]
    fn a_lease_is_over_when_it_does_not_stand_and_not_before_its_grant_is_applied_here() {
        let lease = LeaseRef { unit: UnitKey { job: JobId(3), partition: 0, start: 0 }, epoch: 9 };
        assert!(over(&State::default(), 8, &[lease]).is_empty());
        assert_eq!(over(&State::default(), 9, &[lease]), [lease]);
    }
}
