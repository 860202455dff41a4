//! The leader's step towards the holders that each chunk should have: pure, from the log's state and the time to copies to
//! be made and holders to be named.
//!
//! A round looks at a bounded number of chunks and goes on behind them in the next; what is under way and what failed
//! lately is passed over, so that a chunk that cannot be had holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pentora_raft::command::UnitKey;
use pentora_raft::{Digest, NodeId, State};

use super::backoff::Backoff;
use super::named::{FIRST_UNIT, Named, Object, feeds_and_specs, holders_of, units_from};
use crate::results::NotKept;
use crate::results::choose::{Keeper, Verdict, judge, keepers, within};

/// Units' chunks that are looked at in one round. Ours: a millisecond under the state's lock.
const LOOKED_AT_MAX: usize = 4_096;
/// Copies that are under way at once. Ours: what a node's disk and the mesh take beside a scan.
const COPIES_MAX: usize = 16;
/// Holders that are named anew in one round, so that the entry stays small.
const TRIMMED_MAX: usize = 256;
/// How long a node that had no room is asked for nothing more.
const FULL_FOR: Duration = Duration::from_secs(60);

/// What the reconciler wants and remembers. A new leader begins with nothing but the log.
#[derive(Debug)]
pub(super) struct Reconciler {
    copies: usize,
    /// How long a chunk has had more holders than it needs before some are let go.
    grace: Duration,
    next_small: usize,
    next_unit: UnitKey,
    under_way: BTreeSet<Object>,
    /// Copies that were tried and not made.
    backoff: Backoff<Object>,
    /// Chunks of which no copy can be asked for, with the reason.
    stuck: BTreeMap<Object, String>,
    surplus_since: BTreeMap<Object, Instant>,
    full: BTreeMap<NodeId, Instant>,
}

/// A copy to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// Of what.
    pub(super) object: Object,
    /// Its chunk.
    pub(super) digest: Digest,
    /// Who is to hold it.
    pub(super) to: NodeId,
    /// Who has it.
    pub(super) from: Vec<NodeId>,
    /// Where the log names `to` already, and it is asked so that others may go: who suffices once it has it whole.
    pub(super) suffice: Option<Vec<NodeId>>,
}

/// What one round comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// To be made; each is answered by [`Reconciler::copied`] or [`Reconciler::not_copied`].
    pub(super) copies: Vec<Copy>,
    /// Chunks that get by with these holders.
    pub(super) trimmed: Vec<(Object, Vec<NodeId>)>,
    /// What cannot be done, where the reason is news.
    pub(super) cannot: Vec<(Object, String)>,
}

impl Reconciler {
    /// Wants `copies` of each chunk, and lets surplus ones go after `grace`.
    pub(super) fn new(copies: usize, grace: Duration) -> Self {
        Self {
            copies,
            grace,
            next_small: 0,
            next_unit: FIRST_UNIT,
            under_way: BTreeSet::new(),
            backoff: Backoff::default(),
            stuck: BTreeMap::new(),
            surplus_since: BTreeMap::new(),
            full: BTreeMap::new(),
        }
    }

    /// Looks at feeds and specs, and at the next units; each of the two has half of what may be under way.
    pub(super) fn step(&mut self, state: &State, now: Instant) -> Round {
        self.full.retain(|_, until| *until > now);
        self.forget_what_is_gone(state);
        let full: BTreeSet<NodeId> = self.full.keys().copied().collect();
        let keepers = keepers(state, &full);
        let mut round = Round::default();
        self.small_ones(state, &keepers, now, &mut round);
        self.units(state, &keepers, now, &mut round);
        round
    }

    fn small_ones(&mut self, state: &State, keepers: &[Keeper], now: Instant, round: &mut Round) {
        let all: Vec<Named<'_>> = feeds_and_specs(state).collect();
        let first = self.next_small.checked_rem(all.len()).unwrap_or(0);
        for (place, named) in all.iter().enumerate().cycle().skip(first).take(all.len()) {
            if !self.has_room(round, false) {
                self.next_small = place;
                return;
            }
            self.look(state, named, keepers, now, round);
        }
    }

    fn units(&mut self, state: &State, keepers: &[Keeper], now: Instant, round: &mut Round) {
        let mut in_region: BTreeMap<&str, Vec<Keeper>> = BTreeMap::new();
        for (looked_at, named) in units_from(state, self.next_unit).enumerate() {
            if let Object::Unit(unit) = named.object
                && (looked_at >= LOOKED_AT_MAX || !self.has_room(round, true))
            {
                self.next_unit = unit;
                return;
            }
            let region = if let Object::Unit(unit) = named.object { state.residency(unit.job) } else { None };
            let keepers = match region {
                Some(region) => &*in_region.entry(region).or_insert_with(|| within(keepers.to_vec(), Some(region))),
                None => keepers,
            };
            self.look(state, &named, keepers, now, round);
        }
        self.next_unit = FIRST_UNIT;
    }

    /// A copy that was asked for is there; the holders that the log is to name, unless the chunk is gone by now, or others were named
    /// meanwhile than were to suffice.
    pub(super) fn copied(&mut self, state: &State, copy: &Copy) -> Option<(Object, Vec<NodeId>)> {
        self.under_way.remove(&copy.object);
        self.backoff.done(&copy.object);
        let mut holders = holders_of(state, copy.object)?;
        if let Some(suffice) = &copy.suffice {
            let set = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<NodeId>>();
            if set(&holders) != set(&copy.from) {
                return None;
            }
            self.surplus_since.remove(&copy.object);
            return Some((copy.object, suffice.clone()));
        }
        if !holders.contains(&copy.to) {
            holders.push(copy.to);
        }
        Some((copy.object, holders))
    }

    /// A copy that was asked for is not there. Answers whether the reason is news.
    pub(super) fn not_copied(&mut self, copy: &Copy, why: NotKept, now: Instant) -> bool {
        self.under_way.remove(&copy.object);
        match why {
            NotKept::Full(why) if copy.suffice.is_none() => {
                // The node is at fault and not the chunk, which goes elsewhere at once.
                self.full.insert(copy.to, now + FULL_FOR);
                tracing::debug!(node = copy.to, why, "has no room for more results");
                false
            }
            NotKept::Full(why) | NotKept::Failed(why) => self.backoff.failed(copy.object, now, why),
        }
    }

    /// How many chunks lack a holder for a reason, by reason.
    pub(super) fn reasons(&self) -> BTreeMap<String, u64> {
        let mut reasons = self.backoff.reasons();
        for why in self.stuck.values() {
            *reasons.entry(why.clone()).or_insert(0) += 1;
        }
        reasons
    }

    fn has_room(&self, round: &Round, of_units: bool) -> bool {
        let is_of_these = |object: &&Object| matches!(object, Object::Unit(_)) == of_units;
        self.under_way.iter().filter(is_of_these).count() < COPIES_MAX / 2 && round.trimmed.len() < TRIMMED_MAX
    }

    fn look(&mut self, state: &State, named: &Named<'_>, keepers: &[Keeper], now: Instant, round: &mut Round) {
        let object = named.object;
        if self.under_way.contains(&object) {
            return;
        }
        let verdict = judge(named.digest, named.holders, keepers, self.copies);
        if !matches!(verdict, Verdict::Trim(_)) {
            self.surplus_since.remove(&object);
        }
        if !matches!(verdict, Verdict::NobodyLeft | Verdict::Lost) {
            self.stuck.remove(&object);
        }
        match verdict {
            Verdict::Enough => self.backoff.done(&object),
            Verdict::Add(takers) => self.add(named, &takers, None, keepers, now, round),
            Verdict::NobodyLeft => self.is_stuck(object, "no other node has room for results".into(), round),
            Verdict::Lost => self.is_stuck(object, why_lost(state, named.holders), round),
            Verdict::Trim(kept) => self.trim(named, kept, keepers, now, round),
        }
    }

    /// Lets surplus holders go after the grace time. Where those that stay are fewer than wanted, or one alone, one of them is to have it
    /// whole first: by the log's word alone the last whole copy might go.
    fn trim(&mut self, named: &Named<'_>, kept: Vec<NodeId>, keepers: &[Keeper], now: Instant, round: &mut Round) {
        let object = named.object;
        let since = *self.surplus_since.entry(object).or_insert(now);
        if now.duration_since(since) < self.grace {
            self.backoff.done(&object);
            return;
        }
        let is_good = |node: &NodeId| keepers.iter().any(|keeper| keeper.node == *node && !keeper.is_leaving);
        let good: Vec<NodeId> = kept.iter().copied().filter(is_good).collect();
        if good.len() < self.copies.max(2) {
            self.add(named, &good, Some(kept), keepers, now, round);
            return;
        }
        self.backoff.done(&object);
        self.surplus_since.remove(&object);
        round.trimmed.push((object, kept));
    }

    fn add(
        &mut self,
        named: &Named<'_>,
        takers: &[NodeId],
        suffice: Option<Vec<NodeId>>,
        keepers: &[Keeper],
        now: Instant,
        round: &mut Round,
    ) {
        let object = named.object;
        if !self.backoff.is_ready(&object, now) {
            return;
        }
        // After a failure another node is asked, if there is one.
        let turn = self.backoff.times(&object) as usize % takers.len().max(1);
        let Some(to) = takers.get(turn).copied() else { return };
        let is_up = |node: &&NodeId| keepers.iter().any(|keeper| keeper.node == **node);
        let (up, down): (Vec<&NodeId>, Vec<&NodeId>) = named.holders.iter().partition(is_up);
        let from = up.into_iter().chain(down).copied().collect();
        self.under_way.insert(object);
        round.copies.push(Copy { object, digest: named.digest, to, from, suffice });
    }

    fn is_stuck(&mut self, object: Object, why: String, round: &mut Round) {
        self.backoff.done(&object);
        if self.stuck.insert(object, why.clone()).as_ref() != Some(&why) {
            round.cannot.push((object, why));
        }
    }

    /// Memory is of chunks that the log still names.
    fn forget_what_is_gone(&mut self, state: &State) {
        let is_named = |object: &Object| holders_of(state, *object).is_some();
        self.backoff.retain(is_named);
        self.stuck.retain(|object, _| is_named(object));
        self.surplus_since.retain(|object, _| is_named(object));
    }
}

/// Why no holder can be asked: the same text for the same holders, in whatever order they are named. Those that are out of the
/// cluster never come back to it.
fn why_lost(state: &State, holders: &[NodeId]) -> String {
    let mut there: Vec<&str> =
        holders.iter().filter_map(|node| state.node(*node)).map(|record| record.info.name.as_str()).collect();
    if there.is_empty() {
        return "all holders are out of the cluster for good".into();
    }
    there.sort_unstable();
    format!("no holder is up: {}", there.join(", "))
}

#[cfg(test)]
#[path = "reconcile_test.rs"]
mod tests;
