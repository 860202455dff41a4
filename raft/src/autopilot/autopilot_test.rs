//! The autopilot on views of small clusters, and its laws on random ones: what it aims at is odd, works, and comes to an
//! end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn set(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().collect()
}

/// A healthy cluster whose node 1 has led for a minute.
fn view(voters: &[u64], learners: &[u64], eligible: &[u64]) -> View {
    let members: Vec<u64> = voters.iter().chain(learners).copied().collect();
    View {
        leader: 1,
        led_ms: 60_000,
        last_index: 1_000,
        voters: set(voters),
        learners: set(learners),
        eligible: set(eligible),
        matched: members.iter().map(|id| (*id, 1_000)).collect(),
        heard_ms: members.iter().map(|id| (*id, 100)).collect(),
        ..View::default()
    }
}

fn lose(view: &mut View, ids: &[u64], silent_ms: u64) {
    view.heard_ms.extend(ids.iter().map(|id| (*id, silent_ms)));
}

fn voters(ids: &[u64]) -> Option<Step> {
    Some(Step::SetVoters(set(ids)))
}

fn aim(voters: usize) -> Aim {
    Aim { voters, ..Aim::default() }
}

#[test]
fn one_votes_until_three_are_ready_and_then_three_do_at_once() {
    let aim = Aim::default();
    assert_eq!(next_step(&view(&[1], &[], &[1, 5]), &aim), Some(Step::AddLearner(5)));
    assert_eq!(next_step(&view(&[1], &[5], &[1, 5]), &aim), None, "two voters survive no more than one");
    assert_eq!(next_step(&view(&[1], &[5, 6], &[1, 5, 6]), &aim), voters(&[1, 5, 6]));
    let mut behind = view(&[1], &[5, 6], &[1, 5, 6]);
    behind.matched.insert(6, 700);
    assert_eq!(next_step(&behind, &aim), None, "one that trails is not ready");
    let mut silent = view(&[1], &[5, 6], &[1, 5, 6]);
    lose(&mut silent, &[6], 9_000);
    assert_eq!(next_step(&silent, &aim), None, "nor is one that is silent");
}

#[test]
fn an_even_number_that_an_earlier_release_left_is_made_odd() {
    assert_eq!(next_step(&view(&[1, 2], &[], &[1, 2]), &aim(3)), voters(&[1]));
    assert_eq!(next_step(&view(&[1, 2], &[3], &[1, 2, 3]), &aim(3)), voters(&[1, 2, 3]));
    assert_eq!(next_step(&view(&[1, 2, 3, 4], &[], &[1, 2, 3, 4]), &aim(5)), voters(&[1, 2, 3]));
    let mut one_down = view(&[1, 2], &[], &[1, 2]);
    lose(&mut one_down, &[2], 60_000);
    assert_eq!(next_step(&one_down, &aim(3)), None, "without a majority nothing can be changed");
}

#[test]
fn voters_stop_at_what_is_aimed_at_and_others_stand_by() {
    let all = [1, 2, 3, 4, 5, 6];
    assert_eq!(next_step(&view(&[1, 2, 3], &[4], &all), &aim(3)), Some(Step::AddLearner(5)));
    assert_eq!(next_step(&view(&[1, 2, 3], &[4, 5], &all), &aim(3)), None);
    assert_eq!(next_step(&view(&[1, 2, 3], &[4, 5], &all), &aim(5)), voters(&[1, 2, 3, 4, 5]));
    assert_eq!(next_step(&view(&[1, 2, 3], &[4], &[1, 2, 3, 4]), &aim(5)), None, "never four");
}

#[test]
fn a_voter_that_is_silent_for_the_stabilisation_time_is_replaced_and_not_before() {
    let mut lost = view(&[1, 2, 3], &[4], &[1, 2, 3, 4]);
    lose(&mut lost, &[3], STABILISATION_MS - 1);
    assert_eq!(next_step(&lost, &aim(3)), None);
    lose(&mut lost, &[3], STABILISATION_MS);
    assert_eq!(next_step(&lost, &aim(3)), voters(&[1, 2, 4]));
    let new_leader = View { led_ms: 9_000, ..lost };
    assert_eq!(next_step(&new_leader, &aim(3)), None, "nobody is blamed for silence before this leader led");
}

#[test]
fn a_lost_voter_without_a_standby_keeps_its_seat_and_two_of_five_give_theirs_up() {
    let mut three = view(&[1, 2, 3], &[], &[1, 2, 3]);
    lose(&mut three, &[3], 60_000);
    assert_eq!(next_step(&three, &aim(3)), None, "two of three work; one of one would survive no more");
    let mut five = view(&[1, 2, 3, 4, 5], &[], &[1, 2, 3, 4, 5]);
    lose(&mut five, &[5], 60_000);
    assert_eq!(next_step(&five, &aim(5)), None);
    lose(&mut five, &[4], 60_000);
    assert_eq!(next_step(&five, &aim(5)), voters(&[1, 2, 3]), "three of three survive a loss, three of five none");
}

#[test]
fn a_node_that_leaves_gives_up_its_seat_and_the_number_stays_odd() {
    let mut leaving = view(&[1, 2, 3], &[4], &[1, 2, 4]);
    leaving.followers = set(&[3]);
    leaving.leaving = set(&[3]);
    assert_eq!(next_step(&leaving, &aim(3)), voters(&[1, 2, 4]));
    leaving.learners.clear();
    leaving.eligible = set(&[1, 2]);
    assert_eq!(next_step(&leaving, &aim(3)), voters(&[1]), "from three to one, never to two");
    lose(&mut leaving, &[3], 60_000);
    assert_eq!(next_step(&leaving, &aim(3)), voters(&[1]), "dead or alive");
}

#[test]
fn a_leader_that_is_not_to_vote_hands_over_first() {
    let mut leaving = view(&[1, 2, 3], &[], &[2, 3]);
    leaving.followers = set(&[1]);
    leaving.matched.insert(2, 990);
    assert_eq!(next_step(&leaving, &aim(3)), Some(Step::HandOver(3)), "to the most caught-up voter");
    lose(&mut leaving, &[3], 3_000);
    assert_eq!(next_step(&leaving, &aim(3)), Some(Step::HandOver(2)), "that answers");
}

#[test]
fn voters_are_spread_over_places_and_preferred_ones_come_first() {
    let mut spread = view(&[1], &[2, 3, 4], &[1, 2, 3, 4]);
    spread.places = [(1, "a"), (2, "a"), (3, "b"), (4, "c")].map(|(id, place)| (id, place.to_owned())).into();
    assert_eq!(next_step(&spread, &aim(3)), voters(&[1, 3, 4]));
    let mut near = view(&[1, 2, 3], &[4], &[1, 2, 3, 4]);
    near.places = spread.places.clone();
    assert_eq!(next_step(&near, &aim(3)), voters(&[1, 3, 4]), "one exchange to reach another place");
    near.preferred = set(&[2]);
    assert_eq!(next_step(&near, &aim(3)), None, "a preferred one keeps its seat");
    near.preferred = set(&[2, 4]);
    assert_eq!(next_step(&near, &aim(3)), voters(&[1, 2, 4]), "another comes in for one that is not");
}

#[test]
fn a_removed_node_leaves_and_a_half_done_change_is_finished_first() {
    assert_eq!(next_step(&view(&[1], &[9], &[1]), &aim(3)), Some(Step::Remove(9)));
    let joint = View { becoming: Some(set(&[1, 2, 4])), ..view(&[1, 2, 3, 4], &[9], &[1, 2, 3, 4]) };
    assert_eq!(next_step(&joint, &aim(3)), voters(&[1, 2, 4]));
}

#[test]
fn a_removal_is_looked_at_before_it_is_done() {
    let aim = aim(3);
    let three = view(&[1, 2, 3], &[4], &[1, 2, 3, 4]);
    let after = |view: &View, node| removal(view, &aim, node).map(|plan| (plan.hands_over_to, plan.voters_after));
    assert_eq!(after(&three, 2), Ok((None, set(&[1, 3, 4]))));
    assert_eq!(after(&three, 4), Ok((None, set(&[1, 2, 3]))));
    assert_eq!(after(&three, 1), Ok((Some(2), set(&[2, 3, 4]))));
    assert_eq!(after(&three, 77), Err(Obstacle::Unknown));
    assert_eq!(after(&view(&[1], &[], &[1]), 1), Err(Obstacle::LastNode));
    assert_eq!(after(&view(&[1], &[2], &[1, 2]), 1), Err(Obstacle::OnlyVoter));
    let mut dead = view(&[1, 2, 3], &[], &[1, 2, 3]);
    lose(&mut dead, &[3], 3_000);
    assert_eq!(after(&dead, 3), Ok((None, set(&[1]))), "a dead one can go at once");
    assert_eq!(after(&dead, 1), Ok((Some(2), set(&[2]))));
    lose(&mut dead, &[2], 3_000);
    assert_eq!(after(&dead, 3), Err(Obstacle::QuorumAtRisk { there: 1, voters: 3 }));
    assert_eq!(after(&dead, 1), Err(Obstacle::NobodyTakesOver));
}

/// Clusters of up to ten nodes in which anybody may be a voter, a learner or neither, and anything may be wrong.
fn any_view() -> impl Strategy<Value = View> {
    let node =
        (0u8..3, 0u8..8, 0u64..2_000, prop_oneof![3 => 0u64..1_000, 1 => STABILISATION_MS..30_000], 0u8..4, 0u8..10);
    (prop::collection::vec(node, 1..10), 0u64..60_000).prop_map(|(nodes, led_ms)| {
        let mut view = View { leader: 1, led_ms, last_index: 2_000, ..View::default() };
        for (id, (seat, kind, matched, heard, place, mark)) in (1u64..).zip(nodes) {
            let seat = if id == 1 { 0 } else { seat };
            match seat {
                0 => _ = view.voters.insert(id),
                1 => _ = view.learners.insert(id),
                _ => {}
            }
            match kind {
                0 => _ = view.followers.insert(id),
                1 if id != 1 => {}
                2 => _ = (view.followers.insert(id), view.leaving.insert(id)),
                _ => _ = view.eligible.insert(id),
            }
            if seat < 2 {
                view.matched.insert(id, matched);
                view.heard_ms.insert(id, heard);
            }
            if place > 0 {
                view.places.insert(id, place.to_string());
            }
            match mark {
                0 if id != 1 => _ = view.failed.insert(id),
                1 => _ = view.preferred.insert(id),
                _ => {}
            }
        }
        view
    })
}

#[test]
fn who_is_held_for_gone_follows_last_but_follows() {
    let mut newcomers = View { failed: BTreeSet::from([2]), ..view(&[1], &[], &[1, 2, 3]) };
    assert_eq!(next_step(&newcomers, &aim(3)), Some(Step::AddLearner(3)));
    newcomers.learners.insert(3);
    assert_eq!(next_step(&newcomers, &aim(3)), Some(Step::AddLearner(2)), "back without a log, it can say nothing");
}

/// What carrying a step out makes of the view, while everybody who is there catches up.
fn carried_out(mut view: View, step: &Step) -> View {
    match step {
        Step::AddLearner(id) => {
            view.learners.insert(*id);
            view.matched.insert(*id, view.last_index);
            view.heard_ms.insert(*id, 0);
        }
        Step::SetVoters(voters) => {
            let before = std::mem::replace(&mut view.voters, voters.clone());
            view.learners.extend(before);
            view.learners.retain(|id| !voters.contains(id));
            view.becoming = None;
        }
        Step::HandOver(to) => {
            view.heard_ms.insert(view.leader, 0);
            view.matched.insert(view.leader, view.last_index);
            view.leader = *to;
        }
        Step::Remove(id) => _ = view.learners.remove(id),
    }
    view
}

fn is_there(view: &View, id: NodeId) -> bool {
    id == view.leader || view.heard_ms.get(&id).is_some_and(|heard| *heard <= Aim::default().heard_within_ms)
}

fn works(view: &View, set: &BTreeSet<NodeId>) -> bool {
    set.iter().filter(|id| is_there(view, **id)).count() > set.len() / 2
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn every_set_of_voters_is_odd_within_the_aim_has_the_leader_and_works(first in any_view(), most in 1usize..4) {
        let aim = aim(2 * most + 1);
        if let Some(Step::SetVoters(set)) = next_step(&first, &aim) {
            prop_assert!(set.len() % 2 == 1 && set.len() <= aim.voters, "{set:?}");
            prop_assert!(set.contains(&first.leader));
            prop_assert!(works(&first, &first.voters) && works(&first, &set), "{set:?}");
            prop_assert!(set.iter().all(|id| first.voters.contains(id) || first.learners.contains(id)), "all follow already");
            let new = set.difference(&first.voters);
            prop_assert!(new.into_iter().all(|id| first.eligible.contains(id) && is_there(&first, *id)));
        }
    }

    #[test]
    fn the_steps_come_to_an_end_and_then_nobody_votes_who_must_not(first in any_view(), most in 1usize..4) {
        let aim = aim(2 * most + 1);
        let mut now = first;
        let mut steps = 0;
        while let Some(step) = next_step(&now, &aim) {
            prop_assert!(steps < 64, "no end: {step:?} of {now:?}");
            now = carried_out(now, &step);
            steps += 1;
        }
        if works(&now, &now.voters) && now.led_ms >= STABILISATION_MS {
            let others = now.voters.iter().filter(|id| **id != now.leader);
            prop_assert!(others.clone().all(|id| now.eligible.contains(id)), "{now:?}");
            prop_assert!(now.voters.len() % 2 == 1, "{now:?}");
        }
    }

    #[test]
    fn a_half_done_change_is_finished_and_nothing_else_is_begun(first in any_view()) {
        let half_done = View { becoming: Some(BTreeSet::from([1])), ..first };
        let step = next_step(&half_done, &aim(3));
        prop_assert!(step.is_none() || step == voters(&[1]), "{step:?}");
    }

    #[test]
    fn a_removal_that_is_planned_comes_about(first in any_view(), node in 1u64..10) {
        // Before, a voter that is silent may still be counted on, and what is asked for waits.
        prop_assume!(first.led_ms >= STABILISATION_MS);
        let aim = aim(3);
        let Ok(plan) = removal(&first, &aim, node) else { return Ok(()) };
        let mut now = first;
        now.eligible.remove(&node);
        now.followers.insert(node);
        now.leaving.insert(node);
        for _ in 0..64 {
            match next_step(&now, &aim) {
                Some(step) => now = carried_out(now, &step),
                None => break,
            }
        }
        prop_assert!(!now.voters.contains(&node), "{plan:?} {now:?}");
    }
}

#[test]
fn the_names_of_places_do_not_matter_where_there_is_one() {
    let places: BTreeMap<NodeId, String> = (1..=4).map(|id| (id, "here".to_owned())).collect();
    let one_place = View { places, ..view(&[1, 2, 3], &[4], &[1, 2, 3, 4]) };
    assert_eq!(next_step(&one_place, &aim(3)), None);
}
