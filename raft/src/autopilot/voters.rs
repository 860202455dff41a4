//! Which set of voters is best now: the one that survives the most losses, changed as little as that takes.
//!
//! Sizes are odd. Among them the one wins whose voters that are there outnumber its majority by most; where two are equal,
//! the present size stays, so a voter that is lost and cannot be replaced keeps its seat until two are lost or an
//! operator removes it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Aim, View};
use crate::id::NodeId;

/// Whoever may have a seat.
struct Pool {
    /// Voters that stay and are not lost, the leader first.
    held: Vec<NodeId>,
    /// Learners that are ready.
    spares: Vec<NodeId>,
    /// Voters that stay and were silent for too long.
    lost: Vec<NodeId>,
}

impl Pool {
    fn of(view: &View, aim: &Aim) -> Self {
        let staying = view.voters.iter().copied().filter(|id| *id != view.leader && view.eligible.contains(id));
        let (lost, held): (Vec<NodeId>, Vec<NodeId>) = staying.partition(|id| view.silent_ms(*id) >= aim.lost_after_ms);
        let ready = view.learners.iter().copied();
        let spares = ready.filter(|id| view.eligible.contains(id) && view.is_ready(aim, *id)).collect();
        Self { held: [vec![view.leader], held].concat(), spares, lost }
    }

    /// How many could answer.
    fn there(&self) -> usize {
        self.held.len() + self.spares.len()
    }
}

/// The set of voters to have. The leader is in it, and its size is odd.
pub(super) fn choose(view: &View, aim: &Aim) -> BTreeSet<NodeId> {
    let pool = Pool::of(view, aim);
    let seats = size(&pool, view.voters.len(), aim.voters);
    let mut chosen = BTreeSet::from([view.leader]);
    for group in [&pool.held, &pool.spares, &pool.lost] {
        while chosen.len() < seats
            && let Some(next) = best(view, aim, group, &chosen)
        {
            chosen.insert(next);
        }
    }
    if pool.held.iter().all(|id| chosen.contains(id)) && chosen.iter().all(|id| view.voters.contains(id)) {
        return exchange(view, &pool, chosen);
    }
    chosen
}

/// Whether the change can be carried out and leaves a working cluster: it takes a majority of the present voters and of
/// the new ones.
pub(super) fn is_safe(view: &View, aim: &Aim, wanted: &BTreeSet<NodeId>) -> bool {
    let has_majority = |set: &BTreeSet<NodeId>| {
        let there = set.iter().filter(|id| view.is_there(aim, **id)).count();
        there > set.len() / 2
    };
    has_majority(&view.voters) && has_majority(wanted)
}

/// How many voters there should be.
fn size(pool: &Pool, now: usize, most: usize) -> usize {
    let seats_max = most.max(1).min(pool.there() + pool.lost.len());
    // Counted from the largest majority down, so that it is never below zero.
    let margin = |seats: usize| pool.there().min(seats) + seats_max - (seats / 2 + 1);
    (1..=seats_max).step_by(2).max_by_key(|seats| (margin(*seats), *seats == now, *seats)).unwrap_or(1)
}

/// The best of `group` beside `chosen`: one that answers, then one that is preferred, then one from where the fewest of the
/// chosen are, then the oldest.
fn best(view: &View, aim: &Aim, group: &[NodeId], chosen: &BTreeSet<NodeId>) -> Option<NodeId> {
    let beside = |id: &NodeId| match view.places.get(id) {
        Some(place) => chosen.iter().filter(|other| view.places.get(other) == Some(place)).count(),
        None => chosen.iter().filter(|other| !view.places.contains_key(other)).count(),
    };
    let free = group.iter().filter(|id| !chosen.contains(id));
    free.min_by_key(|id| (!view.is_there(aim, **id), !view.preferred.contains(id), beside(id), **id)).copied()
}

/// Where all is well, at most one voter gives its seat to a learner: for one that is preferred, or for one from a place
/// that has no voter. Each such exchange makes the set better, so they end.
fn exchange(view: &View, pool: &Pool, chosen: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let others = chosen.iter().filter(|id| **id != view.leader);
    let pairs = others.flat_map(|out| pool.spares.iter().map(move |spare| (*out, *spare)));
    let exchanged = pairs.map(|(out, spare)| {
        let mut set = chosen.clone();
        set.remove(&out);
        set.insert(spare);
        set
    });
    let better = exchanged.filter(|set| worth(view, set) > worth(view, &chosen));
    better.max_by_key(|set| worth(view, set)).unwrap_or(chosen)
}

/// What a set is worth: the preferred ones in it, then the places it is spread over.
fn worth(view: &View, set: &BTreeSet<NodeId>) -> (usize, usize) {
    let mut places: BTreeMap<Option<&String>, usize> = BTreeMap::new();
    for id in set {
        *places.entry(view.places.get(id)).or_default() += 1;
    }
    (set.intersection(&view.preferred).count(), places.len())
}
