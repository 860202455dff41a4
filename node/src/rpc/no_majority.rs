//! The sentence for a node that knows no leader: whom it heard last, and how long ago.

use std::time::Duration;

use pentora_raft::{Leadership, NodeId, Raft, State};

use crate::clock::ago;

/// Why nothing can be decided through this node now; `None` while it knows a leader.
#[must_use]
pub fn no_majority(raft: &Raft) -> Option<String> {
    let leadership = raft.leadership();
    raft.read(|state| sentence(&leadership, raft.node(), |id| name_of(state, id)))
}

/// The name of a node, or its number where the state does not know it.
#[must_use]
pub fn name_of(state: &State, id: NodeId) -> String {
    state.node(id).map_or_else(|| format!("node {id}"), |record| record.info.name.clone())
}

fn sentence(leadership: &Leadership, own: NodeId, name: impl Fn(NodeId) -> String) -> Option<String> {
    let Leadership::Lost { last, since } = leadership else { return None };
    let age = |since: Duration| ago(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Some(match (last, since) {
        (Some(last), Some(since)) if *last == own => format!("no majority: {} led until {}", name(own), age(*since)),
        (Some(last), Some(since)) => format!("no majority: last heard from {} {}", name(*last), age(*since)),
        _ => "no majority: no leader was heard since this node started".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_who_was_heard_last_and_when_and_says_nothing_while_a_leader_is_known() {
        let name = |id| format!("n{id}");
        let lost = |last, seconds: Option<u64>| {
            sentence(&Leadership::Lost { last, since: seconds.map(Duration::from_secs) }, 3, name)
        };
        assert_eq!(lost(Some(1), Some(75)).unwrap(), "no majority: last heard from n1 1m 15s ago");
        assert_eq!(lost(Some(3), Some(12)).unwrap(), "no majority: n3 led until 12 s ago");
        assert_eq!(lost(None, None).unwrap(), "no majority: no leader was heard since this node started");
        let known = Leadership::Known { leader: 1, age: Duration::ZERO };
        assert_eq!(sentence(&known, 3, name), None);
    }
}
