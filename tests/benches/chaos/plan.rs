//! What is to happen in a round, drawn by a seed: pure, so that a round that failed can be had again.
//!
//! A round has one disturbance or two that overlap. Two are never of one class, so that what the contract promises holds
//! through all of them: at most one member is stopped, cut off or full at a time, everything that is stopped comes back,
//! and the cluster itself refuses a change of its members that a majority would not survive.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::dice::Dice;

/// The nodes that follow the log, and those that only scan.
pub(crate) const MEMBERS: RangeInclusive<usize> = 1..=5;
pub(crate) const SCANNERS: RangeInclusive<usize> = 6..=9;
/// The member that is never emptied: the administrator's token is in its data directory, which is on no small disk.
pub(crate) const KEEPS_TOKEN: usize = 1;

/// Longest time that a node is stopped in time; half of those that are take at most [`SHORT_MS_MAX`].
const FROZEN_MS_MAX: u64 = 30_000;
/// Longest time of everything else. Voters are replaced after ten seconds of silence, workers lose their units after fifteen.
const LONG_MS_MAX: u64 = 17_000;
const SHORT_MS_MAX: u64 = 6_000;
/// From the job's submission to a disturbance: the scan takes some seven seconds where nothing disturbs it.
const EARLY_MS_MAX: u64 = 5_000;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL, and started again.
    Kill,
    /// SIGTERM, and started again.
    Stop,
    /// SIGSTOP, then SIGCONT.
    Freeze,
    /// Nothing passes, either way.
    Isolate,
    /// What the others send is lost.
    Deaf,
    /// What it sends to the others is lost.
    Mute,
    /// No byte is free where its data is.
    FullDisk,
    /// Leadership is handed over.
    Transfer,
    /// It is kept from voting, and is wanted among the voters again.
    Demote,
    /// It is removed from the cluster as it runs, and joins anew without anything, under its name.
    Rejoin,
    /// The same of one that was killed before.
    RejoinDead,
}

/// Those that hit a node, and those that change who is in the cluster and what for.
const HITS: [Fault; 7] =
    [Fault::Kill, Fault::Freeze, Fault::Isolate, Fault::Deaf, Fault::Mute, Fault::Stop, Fault::FullDisk];
const CHANGES: [Fault; 4] = [Fault::Transfer, Fault::Demote, Fault::Rejoin, Fault::RejoinDead];

/// Whom it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// This node.
    Node(usize),
    /// Whoever leads when it begins, or this node where that cannot be.
    Leader(usize),
}

/// Something that happens in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disturbance {
    pub(crate) fault: Fault,
    pub(crate) victim: Victim,
    /// From the job's submission on.
    pub(crate) after: Duration,
    /// Until it is undone.
    pub(crate) lasts: Duration,
}

/// What is to happen in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The node that takes the job.
    pub(crate) asked: usize,
    /// The node whose answers are held against the truth.
    pub(crate) reader: usize,
    /// In the order in which they begin.
    pub(crate) disturbances: Vec<Disturbance>,
    /// For the clients of the register.
    pub(crate) seed: u64,
}

impl Fault {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        HITS.into_iter().chain(CHANGES)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Isolate => "isolate",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::FullDisk => "full-disk",
            Self::Transfer => "transfer",
            Self::Demote => "demote",
            Self::Rejoin => "rejoin",
            Self::RejoinDead => "rejoin-dead",
        }
    }

    /// Those of a list of names with commas between.
    ///
    /// # Errors
    /// Where a name is none of them.
    pub(crate) fn list(names: &str) -> anyhow::Result<Vec<Self>> {
        let named = |name: &str| {
            let all = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
            Self::all().find(|fault| fault.name() == name).with_context(|| format!("no fault {name}: {}", all()))
        };
        names.split(',').map(|name| named(name.trim())).collect()
    }

    /// Whether it can happen to a node: scanners have no log, and the node with the token keeps its data.
    pub(crate) fn may_hit(self, node: usize) -> bool {
        match self {
            Self::FullDisk => MEMBERS.contains(&node) && node != KEEPS_TOKEN,
            Self::Transfer | Self::Demote => MEMBERS.contains(&node),
            Self::Rejoin | Self::RejoinDead => node != KEEPS_TOKEN,
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "is killed",
            Self::Stop => "is asked to end",
            Self::Freeze => "is frozen",
            Self::Isolate => "is isolated",
            Self::Deaf => "does not hear the others",
            Self::Mute => "is not heard by the others",
            Self::FullDisk => "has a full disk",
            Self::Transfer => "is given the leadership",
            Self::Demote => "is kept from voting",
            Self::Rejoin => "is removed, to join anew",
            Self::RejoinDead => "is killed and removed, to join anew",
        })
    }
}

impl Plan {
    /// Draws a round of these faults.
    ///
    /// # Errors
    /// Where there are none.
    pub(crate) fn draw(seed: u64, faults: &[Fault]) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let all: Vec<usize> = MEMBERS.chain(SCANNERS).collect();
        let (asked, reader) = dice.one_of(&all).zip(dice.one_of(&all)).context("a node")?;
        let of = |class: &[Fault]| class.iter().copied().filter(|fault| faults.contains(fault)).collect::<Vec<_>>();
        let (hits, changes) = (of(&HITS), of(&CHANGES));
        // A hit in three of four rounds, and a change in half of them; never neither.
        let (hit, change) = (dice.below(4) > 0, dice.below(2) == 0);
        let drawn = match (hit && !hits.is_empty(), change && !changes.is_empty()) {
            (false, false) => vec![dice.one_of(faults)],
            (is_hit, is_changed) => [(is_hit, &hits), (is_changed, &changes)]
                .into_iter()
                .filter(|(is_drawn, _)| *is_drawn)
                .map(|(_, class)| dice.one_of(class))
                .collect(),
        };
        let mut disturbances: Vec<Disturbance> = Vec::new();
        for fault in drawn {
            let taken: Vec<usize> = disturbances.iter().map(|other| other.victim.drawn()).collect();
            let fault = fault.context("no fault to draw from")?;
            disturbances.push(Disturbance::draw(&mut dice, fault, &taken)?);
        }
        disturbances.sort_by_key(|disturbance| disturbance.after);
        Ok(Self { asked, reader, disturbances, seed: dice.below(u64::MAX) })
    }
}

impl Disturbance {
    /// Draws when, how long, and whom, which is none of those `taken`.
    fn draw(dice: &mut Dice, fault: Fault, taken: &[usize]) -> anyhow::Result<Self> {
        // Members are hit twice as often as scanners: they hold the log.
        let class = if dice.below(3) == 0 { SCANNERS } else { MEMBERS };
        let can = |nodes: RangeInclusive<usize>| {
            nodes.filter(|node| fault.may_hit(*node) && !taken.contains(node)).collect::<Vec<_>>()
        };
        let of_class = can(class);
        let of_class = if of_class.is_empty() { can(MEMBERS) } else { of_class };
        let node = dice.one_of(&of_class).context("a node for it")?;
        let leads = MEMBERS.contains(&node) && fault != Fault::Transfer && dice.below(3) == 0;
        let longest = if fault == Fault::Freeze { FROZEN_MS_MAX } else { LONG_MS_MAX };
        let longest = if dice.below(2) == 0 { SHORT_MS_MAX } else { longest };
        Ok(Self {
            fault,
            victim: if leads { Victim::Leader(node) } else { Victim::Node(node) },
            after: Duration::from_millis(dice.below(EARLY_MS_MAX)),
            lasts: Duration::from_millis(500 + dice.below(longest - 500)),
        })
    }
}

impl Victim {
    /// The node that was drawn, whoever leads.
    pub(crate) fn drawn(self) -> usize {
        let (Self::Node(node) | Self::Leader(node)) = self;
        node
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plans() -> Vec<Plan> {
        let all: Vec<Fault> = Fault::all().collect();
        (0..2_000).map(|seed| Plan::draw(seed, &all).unwrap()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_round_each_time_and_every_fault_comes_to_members_and_where_it_can_to_scanners() {
        assert_eq!(plans(), plans());
        let mut seen = BTreeSet::new();
        for disturbance in plans().iter().flat_map(|plan| &plan.disturbances) {
            seen.insert((disturbance.fault, MEMBERS.contains(&disturbance.victim.drawn())));
        }
        let expected: BTreeSet<(Fault, bool)> = Fault::all()
            .flat_map(|fault| [(fault, true), (fault, false)])
            .filter(|(fault, is_member)| *is_member || fault.may_hit(*SCANNERS.end()))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn two_disturbances_of_a_round_are_of_two_classes_and_hit_two_nodes_that_they_may() {
        let mut pairs = 0;
        for plan in plans() {
            let all = &plan.disturbances;
            assert!((1..=2).contains(&all.len()), "{plan:?}");
            assert!(all.iter().all(|it| it.fault.may_hit(it.victim.drawn())), "{plan:?}");
            let longest = Duration::from_millis(FROZEN_MS_MAX);
            assert!(all.iter().all(|it| it.lasts >= Duration::from_millis(500) && it.lasts < longest), "{plan:?}");
            if let [one, other] = all[..] {
                pairs += 1;
                assert_ne!(HITS.contains(&one.fault), HITS.contains(&other.fault), "{plan:?}");
                assert_ne!(one.victim.drawn(), other.victim.drawn(), "{plan:?}");
            }
        }
        assert!(pairs > 500, "{pairs} pairs");
    }

    #[test]
    fn a_list_of_faults_limits_what_is_drawn_and_a_wrong_name_is_refused_with_all_of_them() {
        let faults = Fault::list("full-disk, transfer").unwrap();
        assert_eq!(faults, [Fault::FullDisk, Fault::Transfer]);
        let drawn = (0..100).flat_map(|seed| Plan::draw(seed, &faults).unwrap().disturbances);
        assert!(drawn.into_iter().all(|it| faults.contains(&it.fault)));
        let refused = Fault::list("melt").unwrap_err().to_string();
        assert!(refused.contains("melt") && refused.contains("rejoin-dead"), "{refused}");
    }
}
