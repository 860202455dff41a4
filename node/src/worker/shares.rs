//! What a unit sends of a budget, where that is less than its lease said at first. A unit whose scan is over, and which only asks what it
//! found what it is, gives back what it does not need of its share, for others to use meanwhile (decision 0078).
//!
//! A worker keeps to less before it says so; what it has given back stands in the log with the lease, and a share only becomes
//! smaller. A lease that a process finds from one before it is asked about first: that one may have given back some of it.

use std::time::Duration;

use pentora_raft::command::Command;
use pentora_scanner::unit::ScanError;

use super::Context;
use super::unit::RETRY;
use super::units::Begun;
use crate::rpc::proposer::Unavailable;

/// Connections per second that are kept for each port that is still asked what it is: it makes a few, two at a time, each of
/// which waits for a second or more where the port is silent, and it has eight seconds for all of them.
const PER_QUESTION_PPS: u64 = 4;
/// The part of what was granted that is kept in any case. How long a unit may take is told from its share (`coordinator/deadlines.rs`).
const PARTS_KEPT: u64 = 16;
/// How long this node's copy of the log gets to come to what the leader has applied.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

/// What a unit keeps of what it may send `now`, of `granted` at first, while so many ports are asked what they are; `None` where the
/// rest would not be worth an entry in the log.
fn kept(granted: u64, now: u64, still_asked: u64) -> Option<u64> {
    let kept = still_asked.saturating_mul(PER_QUESTION_PPS).max(granted.div_ceil(PARTS_KEPT)).max(1);
    (kept <= now / 2).then_some(kept)
}

/// Has a unit keep to what it needs of its share, and gives the rest back; `None` where there is nothing to give back now.
pub(super) fn give_back<'a>(
    context: &'a Context,
    begun: &Begun,
    still_asked: Option<u64>,
) -> Option<impl Future<Output = ()> + Send + use<'a>> {
    let (granted, now) = (begun.lease.share.rate_pps?, context.units.share(&begun.reference)?);
    let (lease, rate_pps) = (begun.reference, kept(granted, now, still_asked?)?);
    context.units.keep_to(&lease, rate_pps);
    Some(async move {
        tracing::debug!(job = %lease.unit.job, start = lease.unit.start, rate_pps, of = now, "a share is given back");
        while let Err(error) = context.proposer.propose(Command::YieldShare { lease, rate_pps }).await {
            if !matches!(error, Unavailable::QuorumLost { .. }) {
                tracing::debug!(job = %lease.unit.job, %error, "a share was not given back");
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    })
}

/// Asks what the share of a lease is by now, behind all that may still come into the log of whoever had it before, and lets its
/// unit send that.
///
/// # Errors
/// The lease is gone.
pub(super) async fn ask(context: &Context, begun: &Begun) -> Result<(), ScanError> {
    let (lease, told) = (begun.reference, begun.lease.share.rate_pps.unwrap_or_default());
    loop {
        // As much as was told changes nothing, and has its place in the log.
        match context.proposer.propose(Command::YieldShare { lease, rate_pps: told }).await {
            Ok(applied) if context.raft.wait_applied(applied.index, APPLIED_WITHIN).await => break,
            Ok(_) | Err(Unavailable::QuorumLost { .. }) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                tracing::debug!(job = %lease.unit.job, %error, "what its share is was not told");
                return Err(ScanError::Cancelled);
            }
        }
    }
    let share = context.raft.read(|state| {
        let standing = state.lease(&lease.unit).filter(|standing| standing.epoch == lease.epoch)?;
        standing.share.rate_pps
    });
    context.units.assure(&lease, share.ok_or(ScanError::Cancelled)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_keeps_what_its_questions_need_and_a_sixteenth_and_gives_nothing_back_for_little() {
        assert_eq!(kept(1_000, 1_000, 0), Some(63));
        assert_eq!(kept(1_000, 1_000, 100), Some(400));
        assert_eq!([kept(1_000, 1_000, 126), kept(1_000, 1_000, u64::MAX)], [None, None]);
        assert_eq!([kept(1_000, 400, 100), kept(1_000, 400, 20)], [None, Some(80)], "and again as they become fewer");
        assert_eq!([kept(1_000, 63, 0), kept(1, 1, 0), kept(0, 0, 0)], [None; 3]);
        assert_eq!(kept(3, 3, 0), Some(1));
    }
}
