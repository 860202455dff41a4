//! The chunks that the log names: units' results, specs and bundles of feeds, all seen as one kind of thing.

use std::collections::BTreeSet;

use pentora_raft::command::{Command, SpecRef, UnitKey};
use pentora_raft::{Digest, JobId, NodeId, State};

/// What a chunk is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Object {
    /// The bundle of a feed.
    Feed(Digest),
    /// A job's spec.
    Spec(JobId),
    /// A unit's results.
    Unit(UnitKey),
}

/// A chunk, by what the log names it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) object: Object,
    pub(super) digest: Digest,
    pub(super) holders: &'a [NodeId],
}

/// The bundles of feeds and the specs that are chunks; there are few of them.
pub(super) fn feeds_and_specs(state: &State) -> impl Iterator<Item = Named<'_>> {
    let feeds = state.feeds().map(|(_, feed)| Named {
        object: Object::Feed(feed.digest),
        digest: feed.digest,
        holders: &feed.holders,
    });
    let specs = state.jobs().filter_map(|(job, _)| match state.spec(job) {
        Some(SpecRef::Chunk { digest, holders }) => Some(Named { object: Object::Spec(job), digest: *digest, holders }),
        _ => None,
    });
    feeds.chain(specs)
}

/// Units' results from `first` on.
pub(super) fn units_from(state: &State, first: UnitKey) -> impl Iterator<Item = Named<'_>> {
    state.chunks_from(first).map(|(unit, chunk)| Named {
        object: Object::Unit(unit),
        digest: chunk.stored.digest,
        holders: &chunk.stored.holders,
    })
}

/// Every chunk that the log names `node` a holder of, with who else is.
pub(super) fn held_by(state: &State, node: NodeId) -> Vec<(Digest, Vec<NodeId>)> {
    let all = feeds_and_specs(state).chain(units_from(state, FIRST_UNIT));
    all.filter(|named| named.holders.contains(&node)).map(|named| (named.digest, named.holders.to_vec())).collect()
}

/// The smallest name of a unit.
pub(super) const FIRST_UNIT: UnitKey = UnitKey { job: JobId(0), partition: 0, start: 0 };

/// The holders that the log names for `object` now; `None` where it is gone.
pub(super) fn holders_of(state: &State, object: Object) -> Option<Vec<NodeId>> {
    match object {
        Object::Unit(unit) => {
            let (found, chunk) = state.chunks_from(unit).next()?;
            (found == unit).then(|| chunk.stored.holders.clone())
        }
        Object::Spec(job) => match state.spec(job) {
            Some(SpecRef::Chunk { holders, .. }) => Some(holders.clone()),
            _ => None,
        },
        Object::Feed(digest) => {
            state.feeds().find(|(_, feed)| feed.digest == digest).map(|(_, feed)| feed.holders.clone())
        }
    }
}

/// The commands that tell the log who holds these chunks now; units and specs of one round in one entry each.
pub(super) fn commands(updates: Vec<(Object, Vec<NodeId>)>) -> Vec<Command> {
    let (mut units, mut specs, mut commands) = (Vec::new(), Vec::new(), Vec::new());
    let mut feeds = BTreeSet::new();
    for (object, holders) in updates {
        match object {
            Object::Unit(unit) => units.push((unit, holders)),
            Object::Spec(job) => specs.push((job, holders)),
            Object::Feed(digest) if feeds.insert(digest) => commands.push(Command::SetFeedHolders { digest, holders }),
            Object::Feed(_) => {}
        }
    }
    if !units.is_empty() {
        commands.push(Command::SetHolders { updates: units });
    }
    if !specs.is_empty() {
        commands.push(Command::SetSpecHolders { updates: specs });
    }
    commands
}
