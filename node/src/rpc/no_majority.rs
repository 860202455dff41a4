//! The sentence for a node that knows no leader: whom it heard last, and how long ago.

use std::time::Duration;

use pentora_raft::{Leadership, NodeId, Raft, State};

use crate::clock::ago;

/// Ages that differ by less are one: they were taken at two moments.
const SAME_AGE: Duration = Duration::from_secs(1);

/// Why nothing can be decided through this node now; `None` while it knows a leader.
#[must_use]
pub fn no_majority(raft: &Raft) -> Option<String> {
    no_majority_beside(raft, |_| None)
}

/// The same beside what else is said of nodes: `contact` is how long ago each was heard of at all. Whoever led and was heard of since
/// then is there, and no leader any more.
#[must_use]
pub fn no_majority_beside(raft: &Raft, contact: impl Fn(NodeId) -> Option<Duration>) -> Option<String> {
    let leadership = raft.leadership();
    let heard = match leadership {
        Leadership::Lost { last: Some(last), .. } => contact(last),
        _ => None,
    };
    raft.read(|state| sentence(&leadership, raft.node(), |id| name_of(state, id), heard))
}

/// The name of a node, or its number where the state does not know it.
#[must_use]
pub fn name_of(state: &State, id: NodeId) -> String {
    state.node(id).map_or_else(|| format!("node {id}"), |record| record.info.name.clone())
}

fn sentence(
    leadership: &Leadership,
    own: NodeId,
    name: impl Fn(NodeId) -> String,
    heard: Option<Duration>,
) -> Option<String> {
    let Leadership::Lost { last, since } = leadership else { return None };
    let age = |since: Duration| ago(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Some(match (last, since) {
        (Some(last), Some(since)) if *last == own || heard.is_some_and(|heard| heard + SAME_AGE < *since) => {
            format!("no majority: {} led until {}", name(*last), age(*since))
        }
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
            sentence(&Leadership::Lost { last, since: seconds.map(Duration::from_secs) }, 3, name, None)
        };
        assert_eq!(lost(Some(1), Some(75)).unwrap(), "no majority: last heard from n1 1m 15s ago");
        assert_eq!(lost(Some(3), Some(12)).unwrap(), "no majority: n3 led until 12 s ago");
        assert_eq!(lost(None, None).unwrap(), "no majority: no leader was heard since this node started");
        let known = Leadership::Known { leader: 1, age: Duration::ZERO };
        assert_eq!(sentence(&known, 3, name, None), None);
    }

    #[test]
    fn who_led_and_was_heard_of_since_then_is_not_said_to_be_heard_last_when_it_led() {
        let lost = Leadership::Lost { last: Some(1), since: Some(Duration::from_secs(75)) };
        let told = |heard| sentence(&lost, 3, |id| format!("n{id}"), Some(Duration::from_secs(heard))).unwrap();
        assert_eq!(told(4), "no majority: n1 led until 1m 15s ago");
        assert_eq!(told(75), "no majority: last heard from n1 1m 15s ago");
    }
}
