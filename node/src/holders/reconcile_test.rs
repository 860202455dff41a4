//! The leader's step over states: what gets a copy, in which order, and what cannot have one.

use pentora_raft::command::{Command, NodeRole, PolicyChange};

use super::super::named::commands;
use super::super::state_test::Log;
use super::*;

const GRACE: Duration = Duration::from_secs(60);

/// A log and a reconciler whose copies all succeed, but to nodes that `refuse`.
struct World {
    log: Log,
    reconciler: Reconciler,
    now: Instant,
}

impl World {
    fn new(log: Log, copies: usize) -> Self {
        Self { log, reconciler: Reconciler::new(copies, GRACE), now: Instant::now() }
    }

    /// One round a second later; answers the copies it asked for.
    fn round(&mut self, outcome: impl Fn(&Copy) -> Result<(), NotKept>) -> Vec<Copy> {
        self.now += Duration::from_secs(1);
        let round = self.reconciler.step(&self.log.state, self.now);
        let mut updates = round.trimmed;
        for copy in &round.copies {
            match outcome(copy) {
                Ok(()) => updates.extend(self.reconciler.copied(&self.log.state, copy)),
                Err(why) => {
                    self.reconciler.not_copied(copy, why, self.now);
                }
            }
        }
        commands(updates).into_iter().for_each(|command| drop(self.log.apply(command)));
        round.copies
    }

    fn rounds(&mut self, count: usize, outcome: impl Fn(&Copy) -> Result<(), NotKept>) -> usize {
        (0..count).map(|_| self.round(&outcome).len()).sum()
    }

    /// How many chunks of units have so many holders.
    fn with_holders(&self, count: usize) -> usize {
        self.log.state.chunks().filter(|(_, chunk)| chunk.stored.holders.len() == count).count()
    }
}

fn fine(_: &Copy) -> Result<(), NotKept> {
    Ok(())
}

#[test]
fn everything_that_one_node_made_gets_a_second_holder_when_another_member_joins_and_none_by_a_scanner() {
    let mut log = Log::begun();
    log.job(&[(b"a", &[1]), (b"b", &[1])]);
    let waiting = log.job_with_spec(b"spec", &[1]);
    log.feed(b"feed", &[1]);
    log.join(None, NodeRole::Scanner);
    let mut world = World::new(log, 2);
    assert_eq!(world.rounds(3, fine), 0, "a scanner keeps no results");
    let member = world.log.join(None, NodeRole::Auto);
    assert_eq!(world.rounds(3, fine), 4);
    let state = &world.log.state;
    assert!(state.chunks().all(|(_, chunk)| chunk.stored.holders == [1, member]));
    assert_eq!(holders_of(state, Object::Spec(waiting)), Some(vec![1, member]));
    assert_eq!(state.feeds().next().unwrap().1.holders, [1, member]);
    assert_eq!((world.rounds(3, fine), world.reconciler.reasons().len()), (0, 0));
}

#[test]
fn chunks_that_cannot_be_copied_hold_up_no_other_and_are_told_with_their_reason() {
    let mut log = Log::begun();
    let other = log.join(None, NodeRole::Auto);
    let bytes: Vec<[u8; 2]> = (0u8..60).flat_map(|a| [[a, 0], [a, 1]]).collect();
    let holders = [1];
    let chunks: Vec<(&[u8], &[NodeId])> = bytes.iter().map(|bytes| (bytes.as_slice(), holders.as_slice())).collect();
    log.job(&chunks);
    let bad: BTreeSet<Digest> = bytes.iter().filter(|bytes| bytes[1] == 0).map(|bytes| Digest::of(bytes)).collect();
    let outcome = |copy: &Copy| {
        if bad.contains(&copy.digest) { Err(NotKept::Failed("node 1 has lost it".into())) } else { Ok(()) }
    };
    let mut world = World::new(log, 2);
    let most = (0..40).map(|_| world.round(outcome).len()).max();
    assert_eq!((world.with_holders(2), most), (60, Some(COPIES_MAX / 2)), "all the good ones, few at once");
    assert_eq!(world.reconciler.reasons(), BTreeMap::from([("node 1 has lost it".into(), 60)]));
    world.now += Duration::from_secs(600);
    world.rounds(40, fine);
    assert_eq!((world.with_holders(2), world.reconciler.reasons().len()), (120, 0), "they are tried again");
    world.log.apply(Command::WorkerFailed { node: 1 });
    world.log.apply(Command::WorkerFailed { node: other });
    world.rounds(2, fine);
    let name = |node: NodeId| world.log.state.node(node).unwrap().info.name.clone();
    let lost = format!("no holder is up: {}, {}", name(1), name(other));
    assert_eq!(world.reconciler.reasons(), BTreeMap::from([(lost, 120)]));
    let backwards = why_lost(&world.log.state, &[other, 1, 99]);
    assert_eq!(backwards, why_lost(&world.log.state, &[1, other]), "in whatever order");
    assert_eq!(why_lost(&world.log.state, &[98, 99]), "all holders are out of the cluster for good");
    world.log.apply(Command::WorkerBack { node: 1 });
    world.rounds(2, fine);
    assert_eq!(world.reconciler.reasons(), BTreeMap::new());
}

#[test]
fn a_node_without_room_is_passed_over_for_all_chunks_until_it_is_asked_again() {
    let mut log = Log::begun();
    let (full, other) = (log.join(None, NodeRole::Auto), log.join(None, NodeRole::Auto));
    let bytes: Vec<[u8; 1]> = (0u8..24).map(|number| [number]).collect();
    let holders = [1];
    let chunks: Vec<(&[u8], &[NodeId])> = bytes.iter().map(|bytes| (bytes.as_slice(), holders.as_slice())).collect();
    log.job(&chunks);
    let outcome = |copy: &Copy| if copy.to == full { Err(NotKept::Full("no room".into())) } else { Ok(()) };
    let mut world = World::new(log, 2);
    world.rounds(10, outcome);
    assert!(world.log.state.chunks().all(|(_, chunk)| chunk.stored.holders == [1, other]));
    let mut three = World { reconciler: Reconciler::new(3, GRACE), ..world };
    three.rounds(10, outcome);
    assert_eq!(three.reconciler.reasons(), BTreeMap::from([("no other node has room for results".into(), 24)]));
    three.now += FULL_FOR;
    three.rounds(10, fine);
    assert_eq!((three.with_holders(3), three.reconciler.reasons().len()), (24, 0));
}

#[test]
fn a_failed_holder_is_replaced_and_a_surplus_one_goes_after_its_grace_time() {
    let mut log = Log::begun();
    let (second, third) = (log.join(Some("eu"), NodeRole::Auto), log.join(Some("eu"), NodeRole::Auto));
    log.job(&[(b"a", &[1, second])]);
    log.apply(Command::WorkerFailed { node: second });
    let mut world = World::new(log, 2);
    let asked = world.round(fine);
    assert_eq!(asked.iter().map(|copy| (copy.to, copy.from.clone())).collect::<Vec<_>>(), [(third, vec![1, second])]);
    assert_eq!(world.with_holders(3), 1, "the failed one may still be the last that has it");
    world.log.apply(Command::WorkerBack { node: second });
    world.rounds(58, fine);
    assert_eq!(world.with_holders(3), 1);
    world.rounds(5, fine);
    assert_eq!(world.with_holders(2), 1);
    assert_eq!(world.rounds(100, fine), 0);
}

/// A chunk that 1 and another node hold, the second of which is to keep nothing.
fn held_by_one_that_keeps_nothing() -> (World, NodeId) {
    let mut log = Log::begun();
    let barred = log.join(None, NodeRole::Auto);
    log.job(&[(b"a", &[1, barred])]);
    let change = Box::new(PolicyChange { keeps_results: Some(false), ..PolicyChange::default() });
    log.apply(Command::SetPolicy { node: barred, change });
    (World::new(log, 2), barred)
}

#[test]
fn who_keeps_nothing_lets_a_chunk_go_only_once_a_holder_that_stays_has_it_whole() {
    let (mut world, barred) = held_by_one_that_keeps_nothing();
    let damaged = |_: &Copy| Err(NotKept::Failed("node 1 has it damaged".into()));
    assert_eq!(world.rounds(60, damaged), 0, "it is left alone for its grace time");
    let asked = world.round(damaged);
    assert_eq!(asked.iter().map(|copy| (copy.to, copy.from.clone())).collect::<Vec<_>>(), [(1, vec![1, barred])]);
    assert_eq!(world.reconciler.reasons(), BTreeMap::from([("node 1 has it damaged".into(), 1)]));
    let asked = world.rounds(10, |_: &Copy| Err(NotKept::Full("no room".into())));
    assert!((1..=3).contains(&asked), "{asked} times");
    assert_eq!(world.with_holders(2), 1, "it may be the last that has it");
    world.now += Duration::from_secs(600);
    assert_eq!(world.round(fine).len(), 1);
    assert!(world.log.state.chunks().all(|(_, chunk)| chunk.stored.holders == [1]));
    assert_eq!((world.rounds(100, fine), world.reconciler.reasons().len()), (0, 0));
}

#[test]
fn a_holder_that_is_named_while_another_was_asked_is_not_let_go_with_it() {
    let (mut world, barred) = held_by_one_that_keeps_nothing();
    world.rounds(60, fine);
    world.now += Duration::from_secs(1);
    let round = world.reconciler.step(&world.log.state, world.now);
    let more = world.log.join(None, NodeRole::Auto);
    let named = vec![(round.copies[0].object, vec![1, barred, more])];
    commands(named).into_iter().for_each(|command| drop(world.log.apply(command)));
    assert_eq!(world.reconciler.copied(&world.log.state, &round.copies[0]), None);
    world.rounds(100, fine);
    assert!(world.log.state.chunks().all(|(_, chunk)| chunk.stored.holders.iter().all(|node| *node != barred)));
    assert_eq!(world.with_holders(2), 1);
}

#[test]
fn a_chunk_that_is_gone_while_it_was_copied_is_forgotten() {
    let mut log = Log::begun();
    log.join(None, NodeRole::Auto);
    let job = log.job(&[(b"a", &[1])]);
    let mut world = World::new(log, 2);
    let round = world.reconciler.step(&world.log.state, world.now);
    world.log.apply(Command::DeleteJob { job });
    assert_eq!(world.reconciler.copied(&world.log.state, &round.copies[0]), None);
    assert_eq!((world.rounds(3, fine), world.reconciler.under_way.len()), (0, 0));
}
