//! Other clusters of one name: a majority was lost, and more than one survivor went on alone (`pentora-node recover`), or a member
//! goes on that a recovery took out. Each has the same cluster's id and the same key of the mesh, and neither knows what the other
//! decides. What tells them apart is the recoveries in their logs.
//!
//! None lets the other's nodes in: each has taken them out. What is here is how they find that out and what is said of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_p2p::{Class, Mesh, PeerAddress, PeerId};
use pentora_raft::id::is_node_name;
use pentora_raft::{ClusterId, Raft, RecoveryId, State};
use serde::{Deserialize, Serialize};

use super::{Question, Reply, ask};

/// For how long one that was met is told of: those that go on are met again within that.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Rivals that are told of at most. Ours: as many members as a cluster votes with, and more.
const RIVALS_MAX: usize = 16;
/// Recoveries that are read of another node; a log keeps no more.
const RECOVERIES_READ_MAX: usize = 16;

/// What a node says of the recoveries of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lineage {
    /// Its cluster.
    cluster: ClusterId,
    /// Its name.
    name: String,
    /// The recoveries in its log, the latest last.
    recoveries: Vec<RecoveryId>,
}

impl Lineage {
    /// That of this node; `None` before it has any log of its cluster.
    pub(crate) fn own(raft: &Raft) -> Option<Self> {
        raft.read(|state| {
            let name = state.node(raft.node())?.info.name.clone();
            Some(Self { cluster: state.cluster().id?, name, recoveries: recoveries(state) })
        })
    }
}

/// The recoveries in a log, the latest last.
pub(crate) fn recoveries(state: &State) -> Vec<RecoveryId> {
    state.recoveries().map(|record| record.recovery.id).collect()
}

/// How the log of another node stands to that of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// They are of one cluster.
    Same,
    /// It was taken out by a recovery of this one's cluster, and goes on.
    TakenOut,
    /// Its cluster is a recovery of this one's, by which this node was taken out.
    WentOn,
    /// Both are recoveries, and neither is of the other.
    Other,
}

/// How the recoveries of another stand to one's own.
pub(super) fn kin(own: &[RecoveryId], other: &[RecoveryId]) -> Kin {
    let has = |all: &[RecoveryId], of: &[RecoveryId]| of.last().is_none_or(|last| all.contains(last));
    match (has(own, other), has(other, own)) {
        (true, true) => Kin::Same,
        (true, false) => Kin::TakenOut,
        (false, true) => Kin::WentOn,
        (false, false) => Kin::Other,
    }
}

/// The other clusters of this one's name that were met lately. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Rivals(Arc<Mutex<BTreeMap<String, Rival>>>);

#[derive(Debug)]
struct Rival {
    told: String,
    met: Instant,
}

impl Rivals {
    /// What is said of each, in a sentence with what to do.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.retain(|_, rival| rival.met.elapsed() < TOLD_FOR);
        met.values().map(|rival| rival.told.clone()).collect()
    }

    /// Takes what a node said that was met at `place`, or nothing where it is of this one's cluster.
    pub(super) fn met(&self, own: &Lineage, other: &Lineage, peer: PeerId, place: &str) {
        let kin = if own.cluster == other.cluster { kin(&own.recoveries, &other.recoveries) } else { Kin::Same };
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.retain(|_, rival| rival.met.elapsed() < TOLD_FOR);
        let key = peer.to_string();
        let Some(told) = told(kin, other, place) else {
            met.remove(&key);
            return;
        };
        let is_news = !met.contains_key(&key);
        if is_news && met.len() >= RIVALS_MAX {
            return;
        }
        if is_news {
            tracing::warn!("{told}");
        }
        met.insert(key, Rival { told, met: Instant::now() });
    }
}

/// What is said of a node that goes on by itself under this cluster's name.
fn told(kin: Kin, other: &Lineage, place: &str) -> Option<String> {
    // It may say anything of itself.
    let name = if is_node_name(&other.name) { other.name.as_str() } else { "a node" };
    let id = other.recoveries.last().map(ToString::to_string).unwrap_or_default();
    let id = id.get(..8).unwrap_or_default();
    Some(match kin {
        Kin::Same => return None,
        Kin::Other => format!(
            "there are two clusters of this name: {name} at {place} went on alone from the same lost majority as well (recovery {id}); \
             keep one of them, stop all nodes of the other, and join these to it with tokens of it and empty data directories"
        ),
        Kin::TakenOut => format!(
            "there are two clusters of this name: {name} at {place} runs on, which a recovery of this cluster took out; stop it, and \
             join it here with a token and an empty data directory"
        ),
        Kin::WentOn => format!(
            "there are two clusters of this name: {name} at {place} went on alone by a recovery of this cluster (recovery {id}) that \
             took this node out; keep one of them: if this one has its majority, stop {name} and join it here with a token and an \
             empty data directory, otherwise stop this node and join it there so"
        ),
    })
}

/// Meets a node that was taken out, where it was, and exchanges with it which recoveries each goes by.
///
/// # Errors
/// A sentence where it is not met: nobody is there, or another.
pub(crate) async fn meet(
    mesh: &Mesh,
    rivals: &Rivals,
    own: Lineage,
    (peer, address): (PeerId, PeerAddress),
) -> Result<(), String> {
    let place = address.to_string();
    mesh.dial(address, Some(peer)).await.map_err(|error| error.to_string())?;
    let mut stream = mesh.open(peer, Class::Join).await.map_err(|error| error.to_string())?;
    match ask(&mut stream, Question::Lineage(own.clone())).await? {
        Reply::Lineage(other) => {
            rivals.met(&own, &readable(other), peer, &place);
            Ok(())
        }
        _ => Err("it answered something else".into()),
    }
}

/// As much of what another node says as is kept.
pub(super) fn readable(mut said: Lineage) -> Lineage {
    said.recoveries.truncate(RECOVERIES_READ_MAX);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_p2p::Identity;

    fn ids(list: &[u8]) -> Vec<RecoveryId> {
        list.iter().map(|byte| RecoveryId([*byte; 16])).collect()
    }

    fn lineage(name: &str, list: &[u8]) -> Lineage {
        Lineage { cluster: ClusterId([1; 16]), name: name.into(), recoveries: ids(list) }
    }

    #[test]
    fn logs_are_of_one_cluster_where_each_has_the_others_last_recovery() {
        for (own, other, expected) in [
            (&[][..], &[][..], Kin::Same),
            (&[1], &[1], Kin::Same),
            (&[1, 2], &[2], Kin::Same),
            (&[1], &[], Kin::TakenOut),
            (&[1, 2], &[1], Kin::TakenOut),
            (&[], &[1], Kin::WentOn),
            (&[1], &[1, 2], Kin::WentOn),
            (&[1], &[2], Kin::Other),
            (&[1, 2], &[1, 3], Kin::Other),
        ] {
            assert_eq!(kin(&ids(own), &ids(other)), expected, "{own:?} {other:?}");
        }
    }

    #[test]
    fn two_survivors_that_went_on_are_told_of_each_other_and_one_of_another_cluster_is_not() {
        let (rivals, peer) = (Rivals::default(), Identity::generate().peer_id());
        let own = lineage("n1", &[1]);
        rivals.met(&own, &lineage("n2", &[2]), peer, "10.0.0.2:7400");
        rivals.met(&own, &lineage("n2", &[2]), peer, "10.0.0.2:7400");
        let told = rivals.told();
        assert_eq!(told.len(), 1);
        for part in
            ["two clusters", "n2 at 10.0.0.2:7400 went on alone", "(recovery 02020202)", "stop all nodes of the other"]
        {
            assert!(told[0].contains(part), "{part}: {}", told[0]);
        }
        // It joined this one with an empty data directory, under its old key or another.
        rivals.met(&own, &lineage("n2", &[1]), peer, "10.0.0.2:7400");
        assert!(rivals.told().is_empty());
        let foreign = Lineage { cluster: ClusterId([2; 16]), ..lineage("n2", &[2]) };
        rivals.met(&own, &foreign, peer, "10.0.0.2:7400");
        assert!(rivals.told().is_empty());
    }

    #[test]
    fn what_strangers_say_is_a_word_and_they_are_few() {
        let rivals = Rivals::default();
        for _ in 0..2 * RIVALS_MAX {
            rivals.met(
                &lineage("n1", &[1]),
                &lineage("n2\u{1b}[2J", &[2]),
                Identity::generate().peer_id(),
                "10.0.0.2:1",
            );
        }
        let told = rivals.told();
        assert!(told.len() == RIVALS_MAX && told.iter().all(|told| told.contains("a node at 10.0.0.2:1")), "{told:?}");
    }
}
