//! A job that somebody pauses or cancels: before its leases are taken back, its workers hand in what is settled of them, as
//! when a window ends. They stop sending as soon as they hear of it; whoever has not handed in after [`HAND_IN`] goes without, so
//! that all sending has stopped within the two seconds in which it is promised to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pentora_raft::command::LeaseRef;
use pentora_raft::state::Job;
use pentora_raft::{JobId, Leadership, NodeId, Raft, Role, State};

use super::WorkSessions;

/// How long workers get to hand in what is settled: a chunk that two nodes write, and an entry of the log. Of the two seconds
/// it leaves some for the order itself.
pub const HAND_IN: Duration = Duration::from_millis(1_200);
/// For how long nothing is granted of the job: until the order is in the log, which whoever asked proposes next.
const CLOSED_FOR: Duration = Duration::from_millis(2_400);

/// How often it is looked whether this node still leads.
const LOOK: Duration = Duration::from_millis(100);

/// Has workers end what they do of a job, and waits until they have handed in what is settled of it, or [`HAND_IN`]. Does nothing
/// where another node leads.
pub async fn hand_in(raft: &Raft, sessions: &WorkSessions, job: JobId) {
    let is_at_work = |state: &State| state.job(job).is_some_and(Job::wants_work);
    if raft.status().role != Role::Leader || !raft.read(is_at_work) {
        return;
    }
    sessions.close_job(job, Instant::now() + CLOSED_FOR);
    let mut applied = raft.watch_applied();
    let mut told = BTreeSet::new();
    let handed_in = async {
        loop {
            let out: Vec<(NodeId, LeaseRef)> = raft.read(|state| {
                let leases = state.job_leases(job);
                leases.map(|(unit, lease)| (lease.node, LeaseRef { unit, epoch: lease.epoch })).collect()
            });
            let is_new = |(_, lease): &&(NodeId, LeaseRef)| !told.contains(lease);
            let new: Vec<(NodeId, LeaseRef)> = out.iter().filter(is_new).copied().collect();
            told.extend(new.iter().map(|(_, lease)| *lease));
            // One without a session hears of nothing.
            new.into_iter().for_each(|(node, lease)| sessions.end_early(node, lease));
            // Nor does anything come into the log that has no majority; then the order is refused, and soon.
            let is_led = matches!(raft.leadership(), Leadership::Known { .. });
            if !is_led || !out.iter().any(|(node, _)| sessions.is_there(*node)) {
                return;
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = raft.status_changed(LOOK) => {}
            }
        }
    };
    if tokio::time::timeout(HAND_IN, handed_in).await.is_err() {
        tracing::info!(%job, "not all that was settled of a job that is to stop was handed in in time");
    }
}

#[cfg(test)]
#[path = "closing_test.rs"]
mod tests;
