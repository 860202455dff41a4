//! The cluster's own history: what happened to nodes and to the policy, beside the histories of jobs. As with those, each node
//! that has applied an entry has the same lines of it.

use super::{EventPlace, State};
use crate::command::NodeRole;
use crate::event::{ClusterEvent, ClusterEventKind, EventNode};
use crate::id::{JobId, NodeId};

/// How many lines are kept; the oldest go first. Ours: weeks of a cluster of a hundred nodes, in some 100 KB.
pub const CLUSTER_EVENTS_KEPT_MAX: u64 = 1_000;

/// What stands in the place of a job for an event of none.
pub const NO_JOB: JobId = JobId(0);

impl State {
    /// The lines behind a place, in the order of the log.
    pub(super) fn cluster_events_behind(&self, place: EventPlace) -> impl Iterator<Item = (EventPlace, &ClusterEvent)> {
        // Lines are numbered in the order of the log, so none before the first that is behind the place is.
        let behind = self.history.iter().rev().take_while(|(_, event)| place_of(event) > place);
        let first = behind.last().map_or(u64::MAX, |(number, _)| *number);
        self.history.range(first..).map(|(_, event)| (place_of(event), event))
    }

    /// The log index of the first line that is kept, where lines behind a place may be gone.
    #[must_use]
    pub fn cluster_events_gone(&self, place: EventPlace) -> Option<u64> {
        let (number, first) = self.history.iter().next()?;
        (*number > 1 && place < place_of(first)).then_some(first.index)
    }

    /// Adds a line about a node, which is there still.
    pub(super) fn tell_of_node(&mut self, index: u64, node: NodeId, what: ClusterEventKind) {
        let Some(name) = self.node(node).map(|record| record.info.name.clone()) else { return };
        self.tell(index, what, Some(EventNode { node, name }));
    }

    /// Adds a line where a node holds as something else than as `before`.
    pub(super) fn tell_of_role(&mut self, index: u64, node: NodeId, before: NodeRole) {
        let now = self.node(node).map(|record| record.info.role);
        if let Some(role) = now.filter(|role| *role != before) {
            self.tell_of_node(index, node, ClusterEventKind::NodeRole { role });
        }
    }

    /// Adds a line.
    pub(super) fn tell(&mut self, index: u64, what: ClusterEventKind, node: Option<EventNode>) {
        let last = self.history.iter().next_back().map(|(number, event)| (*number, event.index, event.sequence));
        let (number, sequence) = match last {
            Some((number, of, sequence)) if of == index => (number + 1, sequence + 1),
            Some((number, ..)) => (number + 1, 1),
            None => (1, 1),
        };
        let at_ms = self.now_ms();
        self.history.insert(number, ClusterEvent { index, sequence, at_ms, what, node });
        if let Some(old) = number.checked_sub(CLUSTER_EVENTS_KEPT_MAX) {
            self.history.remove(&old);
        }
    }
}

fn place_of(event: &ClusterEvent) -> EventPlace {
    EventPlace { index: event.index, job: NO_JOB, sequence: event.sequence }
}
