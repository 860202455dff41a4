//! After a recovery: whether one of those that it took out goes on, as a member of the cluster before it or by a recovery of its
//! own. They are looked for where they were, soon after a start and then at growing pauses. Nodes that only scan do so as well, which
//! may reach what the members do not; seldom, because there may be a thousand.

use std::time::Duration;

use pentora_p2p::{Backoff, Mesh, PeerAddress, PeerId};
use pentora_raft::{Raft, State};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::join::{Lineage, Rivals, meet};

/// When nobody was met: a node that is started later looks by itself, soon.
const LOOK_AGAIN: Backoff = Backoff { first: Duration::from_secs(5), max: Duration::from_secs(300) };
/// The same of a node outside the log.
const LOOK_AGAIN_OUTSIDE: Backoff = Backoff { first: Duration::from_secs(20), max: Duration::from_secs(3_600) };
/// The same once one was met, so that it is known to be there still.
const MEET_AGAIN: Duration = Duration::from_secs(15);
/// How often it is looked whether there was a recovery.
const LOOK: Duration = Duration::from_secs(5);

/// Looks for them until `stop`.
pub(super) async fn keep(raft: Raft, mesh: Mesh, rivals: Rivals, stop: CancellationToken) {
    let looking = async {
        let mut rounds = 0;
        loop {
            let taken_out = raft.read(taken_out);
            let own = Lineage::own(&raft);
            let Some(own) = own.filter(|_| !taken_out.is_empty()) else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let mut meeting = JoinSet::new();
            for (peer, addresses) in taken_out {
                let (mesh, rivals, own) = (mesh.clone(), rivals.clone(), own.clone());
                meeting.spawn(async move {
                    for address in addresses {
                        match meet(&mesh, &rivals, own.clone(), (peer, address)).await {
                            Ok(()) => return,
                            Err(reason) => tracing::debug!(%peer, reason, "a node that was taken out is not met"),
                        }
                    }
                });
            }
            while meeting.join_next().await.is_some() {}
            rounds += 1;
            let pause = match (rivals.told().is_empty(), raft.is_outside()) {
                (false, false) => MEET_AGAIN,
                (true, false) => LOOK_AGAIN.delay(rounds, rand::random()),
                (_, true) => LOOK_AGAIN_OUTSIDE.delay(rounds, rand::random()),
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = looking => {}
    }
}

/// Those that recoveries took out and that are not in again, with where they were.
fn taken_out(state: &State) -> Vec<(PeerId, Vec<PeerAddress>)> {
    let all = state.recoveries().flat_map(|record| &record.recovery.taken_out);
    let gone = all.filter(|it| state.node_of(&it.peer).is_none());
    let readable = gone.filter_map(|it| {
        let addresses = it.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Some((it.peer.parse().ok()?, addresses))
    });
    readable.collect()
}
