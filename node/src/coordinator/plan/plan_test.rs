//! Holds the planner to its promises over a state built by commands alone.

use super::*;
use pentora_raft::command::{
    Author, Command, Completion, LeaseRef, NodeInfo, Proposal, SpecRef, StoredChunk, Submission,
};
use pentora_raft::state::{Backoff, Counts, Preference};
use pentora_raft::{ClusterId, Digest, Refusal, Response, TokenId};

pub(super) struct World {
    pub(super) state: State,
    pub(super) index: u64,
    pub(super) settings: Settings,
    pub(super) turns: Turns,
    pub(super) lately: Lately,
    pub(super) budgets: Budgets,
    pub(super) now_ms: u64,
}

impl World {
    pub(super) fn new(workers: &[&str]) -> Self {
        let settings = Settings { backoff: Backoff::None, max_load_thousandths: 1_000, ..Settings::default() };
        let (state, turns, lately, budgets) = Default::default();
        let mut world = Self { state, index: 0, settings, turns, lately, budgets, now_ms: 0 };
        let node_info = |name: &str| NodeInfo {
            name: name.into(),
            peer: name.into(),
            tags: vec![name.into()],
            max_concurrent_scans: 10,
            max_targets_per_scan: 65_536,
            ..NodeInfo::default()
        };
        let admin_token = Digest::of(b"admin");
        world.apply(Command::Begin { cluster: ClusterId([1; 16]), info: node_info(workers[0]), admin_token });
        let (token, secret) = (TokenId([1; 8]), Digest::of(b"secret"));
        world.apply(Command::CreateToken(pentora_raft::command::NewToken {
            token,
            secret,
            name: "any".into(),
            ttl_ms: 1_000_000,
            uses: 100,
            role: pentora_raft::command::NodeRole::Auto,
            region: None,
            networks: None,
        }));
        for name in &workers[1..] {
            world.apply(Command::Join { token, secret, info: node_info(name) });
        }
        let nodes: Vec<NodeId> = world.state.nodes().map(|(id, _)| id).collect();
        for node in nodes {
            world.apply(Command::WorkerBack { node });
        }
        world
    }

    pub(super) fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let at_ms = self.now_ms.max(self.index);
        let response = self.state.apply(self.index, &Proposal { at_ms, command });
        assert!(!matches!(response, Response::Refused(Refusal::Malformed { .. })), "{response:?}");
        pentora_raft::invariant::check(&self.state, self.index).unwrap();
        response
    }

    /// A job that somebody asked for.
    pub(super) fn submit_as(&mut self, who: &str, target_count: u64) -> JobId {
        let author = Author { who: who.into(), from: String::new() };
        let submission = Box::new(Submission::plain(SpecRef::Inline(Vec::new()), target_count, 1));
        match self.apply(Command::SubmitAs { submission, author }) {
            Response::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn submit(&mut self, target_count: u64, change: impl FnOnce(&mut Submission)) -> JobId {
        let mut submission = Submission::plain(SpecRef::Inline(Vec::new()), target_count, 1);
        submission.limits.max_attempts = 5;
        change(&mut submission);
        match self.apply(Command::SubmitJob(Box::new(submission))) {
            Response::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn plan(&self, targets_per_second: f64) -> Vec<NewLease> {
        let rates = self.state.nodes().map(|(id, _)| (id, rates_of(targets_per_second))).collect();
        self.plan_with(&rates)
    }

    pub(super) fn plan_with(&self, rates: &BTreeMap<NodeId, Rates>) -> Vec<NewLease> {
        let ports = self.state.jobs().map(|(id, _)| (id, 10)).collect();
        plan(&View {
            state: &self.state,
            rates,
            ports: &ports,
            turns: &self.turns,
            lately: &self.lately,
            budgets: &self.budgets,
            settings: &self.settings,
            paced_unit_seconds: UNIT_SECONDS,
            version: "0.1.0",
            now_ms: self.now_ms.max(self.index),
        })
    }

    pub(super) fn node(&self, name: &str) -> NodeId {
        self.state.nodes().find(|(_, node)| node.info.name == name).unwrap().0
    }

    /// Counts a unit as done.
    pub(super) fn complete(&mut self, lease: LeaseRef) {
        let standing = self.state.leases().find(|(unit, _)| *unit == lease.unit).unwrap().1.clone();
        let completion = Completion {
            lease,
            start: standing.start,
            end: standing.end,
            goes_on: false,
            node: standing.node,
            stored: StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: vec![1] },
            counts: Counts::default(),
        };
        self.apply(Command::Complete { completions: vec![completion] });
    }

    pub(super) fn grant(&mut self, grants: Vec<NewLease>) -> Vec<LeaseRef> {
        let asked = grants.len();
        match self.apply(Command::Grant { grants }) {
            Response::Granted { leases } => {
                assert_eq!(leases.len(), asked, "the state machine refuses nothing that was planned on its own state");
                leases.iter().for_each(|(_, lease)| self.turns.note(lease.node));
                self.lately.note(&self.state, leases.iter().map(|(unit, _)| unit.job));
                leases.into_iter().map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn rates_of(targets_per_second: f64) -> Rates {
    Rates { engine_pps: targets_per_second * 10.0, targets_per_second: BTreeMap::new() }
}

#[test]
fn every_worker_gets_two_units_that_take_about_ten_seconds() {
    let mut world = World::new(&["a", "b", "c"]);
    world.submit(1_000_000, |_| {});
    let grants = world.plan(1_000.0);
    assert_eq!(grants.len(), 6);
    assert!(grants.iter().all(|grant| grant.end - grant.unit.start == 10_000), "{grants:?}");
    world.grant(grants);
    assert!(world.plan(1_000.0).is_empty(), "nobody gets a third unit");
}

#[test]
fn a_worker_that_takes_short_units_only_holds_as_many_as_half_a_second_of_work() {
    let mut world = World::new(&["a", "b"]);
    let job = world.submit(1_000_000, |_| {});
    let [a, b] = ["a", "b"].map(|name| world.node(name));
    let info = NodeInfo { max_targets_per_scan: 100, ..world.state.node(a).unwrap().info.clone() };
    world.apply(Command::UpdateNode { node: a, info });
    let held = |world: &World, targets_per_second: f64, of: NodeId| {
        let rates = Rates { engine_pps: 10_000.0, targets_per_second: BTreeMap::from([(job, targets_per_second)]) };
        let grants = world.plan_with(&BTreeMap::from([(a, rates.clone()), (b, rates)]));
        grants.iter().filter(|grant| grant.node == of).count()
    };
    assert_eq!(held(&world, 100.0, a), 2, "a second each");
    assert_eq!(held(&world, 1_000.0, a), 6, "a tenth of a second each: one, and five behind it");
    assert_eq!(held(&world, 1e9, a), 10, "what it takes at once is its own word");
    assert_eq!(held(&world, 1_000.0, b), 2, "its units take ten seconds");
    assert_eq!(world.plan(1_000.0).iter().filter(|grant| grant.node == a).count(), 2, "it was not measured");
    let four: Vec<NewLease> = [0, 100, 200, 300]
        .map(|start| {
            let unit = UnitKey { job, partition: 0, start };
            NewLease { unit, end: start + 100, node: a, share: Share::default() }
        })
        .to_vec();
    world.grant(four);
    assert_eq!(held(&world, 1_000.0, a), 6, "side by side they take a tenth of a second as well: as many as it takes");
    assert_eq!(held(&world, 250.0, a), 2, "they wait for each other, and it does ten in a second as before");
    assert_eq!(held(&world, 100.0, a), 0, "it does four in a second, and holds three of them at most");
}

#[test]
fn what_may_go_into_one_network_is_shared_among_workers_that_hold_one_unit_each() {
    let mut world = World::new(&["a", "b", "c"]);
    world.submit(1_000_000, |submission| submission.limits.network_pps = Some(100));
    let grants = world.plan(1_000.0);
    let shares: Vec<_> = grants.iter().map(|grant| (grant.node, grant.share.network_pps)).collect();
    assert_eq!(shares.len(), 3, "{shares:?}");
    assert!(shares.iter().all(|(_, share)| *share == Some(33)), "{shares:?}");
    let leases = world.grant(grants);
    assert!(world.plan(1_000.0).is_empty(), "nobody gets a second unit");
    world.apply(Command::WorkerFailed { node: shares[0].0 });
    let again = world.plan(1_000.0);
    assert!(again.iter().all(|grant| grant.node != shares[0].0), "{again:?}");
    assert!(again.is_empty(), "the others hold their one unit: {again:?}");
    world.apply(Command::Release { leases });
    let few = world.submit(10, |submission| submission.limits.network_pps = Some(2));
    let grants = world.plan(1_000.0);
    let of_few: u64 =
        grants.iter().filter(|grant| grant.unit.job == few).filter_map(|grant| grant.share.network_pps).sum();
    assert_eq!(of_few, 2, "{grants:?}");
    world.grant(grants);
}

#[test]
fn a_small_job_is_shared_and_ends_in_small_units() {
    let mut world = World::new(&["a", "b"]);
    let job = world.submit(1_000, |_| {});
    let mut counted = 0;
    for _round in 0..100 {
        let leases = world.plan(1_000.0);
        let leases = world.grant(leases);
        let completions = leases.iter().map(|lease| {
            let standing = world.state.leases().find(|(unit, _)| *unit == lease.unit).unwrap().1.clone();
            counted += standing.end - lease.unit.start;
            Completion {
                lease: *lease,
                start: standing.start,
                end: standing.end,
                goes_on: false,
                node: standing.node,
                stored: StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: vec![1] },
                counts: Counts::default(),
            }
        });
        let completions = completions.collect();
        world.apply(Command::Complete { completions });
        if !world.state.job(job).unwrap().is_open() {
            break;
        }
    }
    assert_eq!((counted, world.state.job(job).unwrap().done), (1_000, 1_000));
}

/// How many units a job of so many targets becomes, where each of these workers does a thousand in a second.
fn units_of(workers: &[&str], targets: u64, measured: bool) -> Vec<u64> {
    let mut world = World::new(workers);
    let job = world.submit(targets, |_| {});
    let targets_per_second = if measured { BTreeMap::from([(job, 1_000.0)]) } else { BTreeMap::new() };
    let rates = Rates { engine_pps: 10_000.0, targets_per_second };
    let rates: BTreeMap<NodeId, Rates> = world.state.nodes().map(|(id, _)| (id, rates.clone())).collect();
    let mut sizes = Vec::new();
    while world.state.job(job).unwrap().is_open() {
        let grants = world.plan_with(&rates);
        sizes.extend(grants.iter().map(|grant| grant.end - grant.unit.start));
        world.grant(grants);
        // One at a time, as they end in life.
        let (unit, epoch) = world.state.leases().map(|(unit, lease)| (unit, lease.epoch)).min().unwrap();
        world.complete(LeaseRef { unit, epoch });
    }
    assert_eq!(sizes.iter().sum::<u64>(), targets);
    sizes
}

#[test]
fn near_its_end_a_job_is_shared_in_units_that_are_worth_their_way_where_rates_are_known() {
    let workers = ["a", "b", "c", "d"];
    let sizes = units_of(&workers, 40_000, true);
    let (last, before) = sizes.split_last().unwrap();
    assert!(before.iter().all(|size| *size >= 250), "a quarter of a second each: {sizes:?}");
    assert!(*last <= 250 && sizes.len() < 40, "{sizes:?}");
    assert!(units_of(&workers, 40_000, false).len() > 60, "a guess is no reason to share with fewer");
    assert_eq!(units_of(&workers, 100, true), [100], "less than that is no work for two");
}

#[test]
fn a_budget_is_split_and_sizes_units_and_max_workers_holds() {
    let mut world = World::new(&["a", "b", "c"]);
    world.submit(100_000, |submission| {
        submission.limits.budget_pps = Some(300);
        submission.limits.max_workers = Some(2);
    });
    let grants = world.plan(1_000.0);
    assert!(grants.iter().all(|grant| grant.share.rate_pps == Some(150)));
    assert!(grants.iter().all(|grant| grant.end - grant.unit.start == 150), "150 pps, 10 ports, 10 s: {grants:?}");
    assert_eq!(grants.iter().map(|grant| grant.node).collect::<std::collections::BTreeSet<_>>().len(), 2);
    world.grant(grants);
}

#[test]
fn urgent_jobs_come_first_and_required_tags_choose_the_worker() {
    let mut world = World::new(&["a", "b"]);
    world.submit(10, |submission| submission.priority = Priority::Low);
    let urgent = world.submit(10, |submission| {
        submission.priority = Priority::Critical;
        submission.partitions[0].needs.required_tags = vec!["b".into()];
    });
    let grants = world.plan(1.0);
    assert_eq!(grants[0].unit.job, urgent);
    let b = world.state.nodes().find(|(_, node)| node.info.name == "b").unwrap().0;
    assert!(grants.iter().filter(|grant| grant.unit.job == urgent).all(|grant| grant.node == b));
}

#[test]
fn a_unit_that_failed_is_granted_again_in_halves() {
    let mut world = World::new(&["a"]);
    world.submit(8, |_| {});
    let grants = world.plan(1_000.0);
    let leases = world.grant(grants);
    world.apply(Command::Expire { leases, reason: "gone".into() });
    let rates = BTreeMap::from([(1, Rates { engine_pps: 8.0, targets_per_second: BTreeMap::new() })]);
    let grants = world.plan_with(&rates);
    assert_eq!(grants.iter().map(|grant| grant.end - grant.unit.start).collect::<Vec<_>>(), [4, 2]);
}

/// What waited until one of the others had ended a unit, with a third of the budget that nobody sent.
#[test]
fn what_is_lost_with_its_worker_is_given_at_once_to_others_whose_hands_are_full_and_with_it_their_part_of_the_budget() {
    let mut world = World::new(&["a", "b", "c"]);
    world.submit(100_000, |submission| submission.limits.budget_pps = Some(300));
    let grants = world.plan(1_000.0);
    assert!(grants.len() == 6 && grants.iter().all(|grant| grant.share.rate_pps == Some(100)), "{grants:?}");
    world.grant(grants);
    assert!(world.plan(1_000.0).is_empty(), "each has one running and one behind it");
    let lost = world.node("c");
    world.apply(Command::TakeBack(lost));
    let rates = world.state.nodes().map(|(id, _)| (id, rates_of(1_000.0))).filter(|(id, _)| *id != lost).collect();
    let grants = world.plan_with(&rates);
    let takers: std::collections::BTreeSet<NodeId> = grants.iter().map(|grant| grant.node).collect();
    assert_eq!((grants.len(), takers.len()), (2, 2), "one of them each: {grants:?}");
    assert!(grants.iter().all(|grant| grant.share.rate_pps == Some(150)), "{grants:?}");
    world.grant(grants);
    assert!(world.plan_with(&rates).is_empty(), "and no more than that");
}

#[test]
fn a_silent_worker_keeps_its_share_and_its_place_until_it_is_failed() {
    let mut world = World::new(&["a", "b", "c"]);
    world.submit(100_000, |submission| submission.limits.budget_pps = Some(300));
    let one = world.submit(100_000, |submission| submission.limits.max_workers = Some(1));
    let grants = world.plan(1_000.0);
    let leases = world.grant(grants);
    // Workers a and b are heard; the first lease of each job is completed, so that there is room for another.
    let alone = leases.iter().find(|lease| lease.unit.job == one).unwrap();
    let silent = world.state.leases().find(|(unit, _)| *unit == alone.unit).unwrap().1.node;
    let rates: BTreeMap<NodeId, Rates> = world.state.nodes().map(|(id, _)| (id, Rates::default())).collect();
    let heard = rates.into_iter().filter(|(node, _)| *node != silent).collect();
    let returned: Vec<LeaseRef> = leases.iter().filter(|lease| lease.unit.job != one).copied().collect();
    let returned = returned.into_iter().filter(|lease| {
        let mut standing = world.state.leases();
        standing.any(|(unit, standing)| unit == lease.unit && standing.node != silent)
    });
    let leases = returned.collect();
    world.apply(Command::Release { leases });
    let grants = world.plan_with(&heard);
    assert!(!grants.is_empty() && grants.iter().all(|grant| grant.unit.job != one), "{grants:?}");
    let share =
        world.state.leases().find(|(_, lease)| lease.node == silent).and_then(|(_, lease)| lease.share.rate_pps);
    let sum = share.unwrap_or(0);
    assert_eq!(sum, 100, "the silent worker's share of the budget stays its own");
    world.grant(grants);
}

/// Submits so many jobs of one unit, each done before the next, and answers who had each.
fn one_after_another(world: &mut World, jobs: usize, tags: &[&str]) -> Vec<NodeId> {
    let mut had = Vec::new();
    for _ in 0..jobs {
        world.submit(1, |submission| {
            submission.partitions[0].needs.preferred_tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        });
        let grants = world.plan(1_000.0);
        had.extend(grants.iter().map(|grant| grant.node));
        world.grant(grants).into_iter().for_each(|lease| world.complete(lease));
    }
    had
}

#[test]
fn a_preferred_tag_decides_under_every_strategy_and_in_turn_is_really_in_turn() {
    for preference in [Preference::LeastLoaded, Preference::RoundRobin, Preference::TagAffinity] {
        let mut world = World::new(&["a", "b", "c"]);
        world.settings.preference = preference;
        let b = world.node("b");
        assert_eq!(one_after_another(&mut world, 6, &["b"]), [b; 6], "{preference:?}");
    }
    let mut world = World::new(&["a", "b", "c"]);
    world.settings.preference = Preference::RoundRobin;
    let [a, b, c] = ["a", "b", "c"].map(|name| world.node(name));
    assert_eq!(one_after_another(&mut world, 6, &[]), [a, b, c, a, b, c]);
}

#[test]
fn jobs_of_one_class_share_what_there_is_unit_by_unit_and_a_better_class_goes_first() {
    let mut world = World::new(&["a"]);
    let jobs: Vec<JobId> = (0..3).map(|_| world.submit(1_000_000, |_| {})).collect();
    let urgent = world.submit(1_000_000, |submission| submission.priority = Priority::High);
    let grants = world.plan(1.0);
    let order: Vec<JobId> = grants.iter().map(|grant| grant.unit.job).collect();
    let shared = [jobs.clone(), jobs].concat();
    assert_eq!(order, [vec![urgent, urgent], shared].concat());
}

#[test]
fn the_last_part_of_a_workers_room_is_kept_for_urgent_jobs() {
    let mut world = World::new(&["a"]);
    world.settings.max_load_thousandths = 800;
    for _ in 0..6 {
        world.submit(1_000_000, |_| {});
    }
    let grants = world.plan(1.0);
    assert_eq!(grants.len(), 8, "ten leases, of which eight are for any job");
    world.grant(grants);
    assert!(world.plan(1.0).is_empty());
    let urgent = world.submit(1_000_000, |submission| submission.priority = Priority::Critical);
    let grants = world.plan(1.0);
    assert!(grants.len() == 2 && grants.iter().all(|grant| grant.unit.job == urgent), "{grants:?}");
}

#[test]
fn a_unit_goes_to_whoever_failed_it_only_when_all_others_have_failed_it_too() {
    let mut world = World::new(&["a", "b"]);
    world.submit(1, |_| {});
    let mut had = Vec::new();
    for _ in 0..3 {
        let grants = world.plan(1_000.0);
        had.extend(grants.iter().map(|grant| grant.node));
        let leases = world.grant(grants);
        world.apply(Command::Expire { leases, reason: "engine".into() });
    }
    let [a, b] = ["a", "b"].map(|name| world.node(name));
    assert_eq!(had, [a, b, a]);
}

#[test]
fn what_failed_is_not_given_to_its_only_failing_worker_while_a_healthy_one_is_full() {
    let mut world = World::new(&["a", "b"]);
    let job = world.submit(1, |_| {});
    let grants = world.plan(1_000.0);
    assert_eq!(grants[0].node, world.node("a"));
    let leases = world.grant(grants);
    world.apply(Command::Expire { leases, reason: "engine".into() });
    // Whatever else there is fills b: five jobs, two units each.
    let b = world.node("b");
    for _ in 0..5 {
        world.submit(1_000_000, |submission| {
            submission.priority = Priority::Critical;
            submission.partitions[0].needs.required_tags = vec!["b".into()];
        });
    }
    let grants = world.plan(1_000.0);
    assert!(grants.iter().all(|grant| grant.unit.job != job && grant.node == b), "{grants:?}");
}

#[test]
fn a_unit_that_rests_or_waits_for_its_worker_is_given_to_nobody_else() {
    let mut world = World::new(&["a", "b"]);
    world.settings.backoff = Backoff::Fixed;
    let job = world.submit(1, |_| {});
    let grants = world.plan(1_000.0);
    let leases = world.grant(grants);
    world.apply(Command::Expire { leases, reason: "engine".into() });
    assert!(world.plan(1_000.0).is_empty(), "its pause is not drawn yet");
    let unit = UnitKey { job, partition: 0, start: 0 };
    world.apply(Command::SetBackoff { updates: vec![(unit, 5_000)] });
    world.now_ms = 4_999;
    assert!(world.plan(1_000.0).is_empty());
    world.now_ms = 5_000;
    assert_eq!(world.plan(1_000.0).len(), 1);
    let settings = Settings { failure: pentora_raft::state::FailureAction::Wait, ..world.settings.clone() };
    world.apply(Command::SetSettings { settings: Box::new(settings) });
    let grants = world.plan(1_000.0);
    let node = grants[0].node;
    world.grant(grants);
    world.apply(Command::WorkerFailed { node });
    assert!(world.plan(1_000.0).is_empty(), "it waits for its worker");
    world.apply(Command::WorkerBack { node });
    assert_eq!(world.plan(1_000.0).iter().map(|grant| grant.node).collect::<Vec<_>>(), [node]);
}

#[test]
fn a_worker_that_is_set_aside_gets_nothing_while_another_may_and_all_when_it_is_alone() {
    let mut world = World::new(&["a", "b"]);
    let job = world.submit(1_000_000, |_| {});
    let a = world.node("a");
    let grants = world.plan_with(&BTreeMap::from([(a, rates_of(1.0))]));
    let leases = world.grant(grants);
    world.apply(Command::Expire { leases, reason: "engine".into() });
    world.apply(Command::SetAside { node: a, until_ms: 60_000 });
    let grants = world.plan(1.0);
    assert!(!grants.is_empty() && grants.iter().all(|grant| grant.node != a), "{grants:?}");
    let b = world.node("b");
    world.apply(Command::WorkerFailed { node: b });
    assert!(world.plan(1.0).iter().any(|grant| grant.node == a), "better it than nobody");
    world.now_ms = 60_000;
    assert!(world.plan(1.0).iter().any(|grant| grant.node == a && grant.unit.job == job));
}

#[test]
fn a_held_job_and_a_node_of_another_release_are_left_out() {
    let mut world = World::new(&["a", "b"]);
    let job = world.submit(1_000, |_| {});
    world.apply(Command::PauseJob { job, paused: true, reason: String::new() });
    assert!(world.plan(1.0).is_empty());
    world.apply(Command::PauseJob { job, paused: false, reason: String::new() });
    let b = world.node("b");
    let info = NodeInfo { version: "0.9.0".into(), ..world.state.node(b).unwrap().info.clone() };
    world.apply(Command::UpdateNode { node: b, info });
    let grants = world.plan(1.0);
    assert!(!grants.is_empty() && grants.iter().all(|grant| grant.node != b), "{grants:?}");
}

#[test]
fn jobs_that_draw_on_one_budget_of_a_network_stay_within_it_together() {
    let mut world = World::new(&["a", "b", "c"]);
    let jobs = [world.submit(100_000, |_| {}), world.submit(100_000, |_| {}), world.submit(100_000, |_| {})];
    // The third sends elsewhere.
    world.budgets = Budgets::for_test(&[900], &[(jobs[0], &[0]), (jobs[1], &[0])]);
    for _ in 0..20 {
        let grants = world.plan(100.0);
        if grants.is_empty() {
            break;
        }
        world.apply(Command::Grant { grants });
        assert_eq!(world.budgets.over(&world.state), []);
    }
    let out = |world: &World, job| -> Vec<Option<u64>> {
        world.state.job_leases(job).map(|(_, lease)| lease.share.rate_pps).collect()
    };
    assert!(!out(&world, jobs[0]).is_empty() && out(&world, jobs[0]).iter().all(Option::is_some));
    assert!(out(&world, jobs[2]).iter().all(Option::is_none), "what sends elsewhere is not paced");
    world.budgets = Budgets::for_test(&[300], &[(jobs[0], &[0]), (jobs[1], &[0]), (jobs[2], &[0])]);
    let over = world.budgets.over(&world.state);
    assert!(!over.is_empty(), "it was lowered");
    world.apply(Command::Release { leases: over });
    assert_eq!(world.budgets.over(&world.state), []);
    assert!(out(&world, jobs[2]).is_empty(), "leases without a share go back first");

    // Removed, raised, lowered: what has a share of what is gone goes back once, and what the job itself asks for stays.
    let budgets = |rate: u64| Budgets::for_test(&[rate], &[(jobs[0], &[0]), (jobs[1], &[0]), (jobs[2], &[0])]);
    let count = world.state.leases().filter(|(_, lease)| lease.share.rate_pps.is_some()).count();
    for (now, loosened) in [(Budgets::default(), count), (budgets(400), count), (budgets(300), 0), (budgets(200), 0)] {
        assert_eq!(now.loosened(&budgets(300), &world.state).len(), loosened, "{now:?}");
    }
    assert!(count > 0 && Budgets::default().loosened(&Budgets::default(), &world.state).is_empty());
}

#[test]
fn a_budget_of_a_network_that_one_job_has_whole_is_shared_with_the_next_between_two_units_by_weight() {
    let mut world = World::new(&["a"]);
    let first = world.submit(1_000_000, |_| {});
    world.budgets = Budgets::for_test(&[1_000], &[(first, &[0])]);
    let held = |world: &World, job| -> Vec<(LeaseRef, u64)> {
        let leases = world.state.job_leases(job);
        leases.map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease.share.rate_pps.unwrap())).collect()
    };
    let grants = world.plan(100.0);
    world.grant(grants);
    assert!(held(&world, first).iter().all(|(_, share)| *share == 1_000), "alone it has all of it");
    let of = |priority| world.submit(1_000_000, |submission| submission.priority = priority);
    let [critical, normal] = [Priority::Critical, Priority::Normal].map(of);
    world.budgets = Budgets::for_test(&[1_000], &[(first, &[0]), (critical, &[0]), (normal, &[0])]);
    for _ in 0..12 {
        let grants = world.plan(100.0);
        world.grant(grants);
        assert_eq!(world.budgets.over(&world.state), []);
        let oldest = world.state.leases().min_by_key(|(_, lease)| lease.epoch);
        let oldest = oldest.map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).unwrap();
        world.complete(oldest);
    }
    let grants = world.plan(100.0);
    world.grant(grants);
    let most = |job| held(&world, job).into_iter().map(|(_, share)| share).max().unwrap_or(0);
    assert_eq!([critical, first, normal].map(most), [666, 166, 166], "8, 2 and 2 of 12");
}

#[test]
fn what_a_unit_gives_back_of_its_share_and_what_its_job_has_no_more_units_for_is_for_the_others() {
    let mut world = World::new(&["a", "b"]);
    let only_on = |node: &'static str| {
        move |submission: &mut Submission| submission.partitions[0].needs.required_tags = vec![node.into()]
    };
    let ending = world.submit(10, only_on("a"));
    world.budgets = Budgets::for_test(&[1_000], &[(ending, &[0])]);
    let grants = world.plan(100.0);
    let [lease] = world.grant(grants).try_into().unwrap();
    let waiting = world.submit(1_000_000, only_on("b"));
    world.budgets = Budgets::for_test(&[1_000], &[(ending, &[0]), (waiting, &[0])]);
    assert!(world.plan(100.0).is_empty(), "all of it is out");

    let give_back = |world: &mut World, lease, rate_pps| world.apply(Command::YieldShare { lease, rate_pps });
    give_back(&mut world, LeaseRef { epoch: lease.epoch + 1, ..lease }, 1);
    assert!(world.plan(100.0).is_empty(), "another's lease");
    give_back(&mut world, lease, 40);
    give_back(&mut world, lease, 900);
    let grants = world.plan(100.0);
    assert!(grants.iter().all(|grant| grant.share.rate_pps == Some(960)), "{grants:?}");
    world.grant(grants);
    assert_eq!(world.budgets.over(&world.state), []);
    assert!(world.state.job_leases(waiting).next().is_some());
}

#[test]
fn for_a_job_that_no_worker_may_take_nothing_is_kept_of_a_budget() {
    let mut world = World::new(&["a"]);
    let first = world.submit(1_000_000, |_| {});
    let elsewhere = world.submit(10, |submission| {
        submission.priority = Priority::Critical;
        submission.partitions[0].needs.region = Some("nowhere".into());
    });
    world.budgets = Budgets::for_test(&[1_000], &[(first, &[0]), (elsewhere, &[0])]);
    let grants = world.plan(100.0);
    assert!(!grants.is_empty() && grants.iter().all(|grant| grant.share.rate_pps == Some(1_000)), "{grants:?}");
}

/// `make bench BENCH=plan` asks for more of both and prints how long a round takes.
#[test]
#[expect(clippy::too_many_lines, reason = "one world, from its beginning to its last round")]
fn a_round_over_many_jobs_and_workers_gives_each_worker_its_unit_in_the_order_of_the_queue() {
    const ROUNDS: usize = 40;
    // Asked for by a name that no test has, it would be measured in silence.
    let own = concat!(
        module_path!(),
        "::a_round_over_many_jobs_and_workers_gives_each_worker_its_unit_in_the_order_of_the_queue\n"
    );
    let own = own.trim_start_matches("pentora_node::");
    assert!(
        include_str!("../../../../Makefile").contains(&format!("\nPLAN = {own}")),
        "make bench BENCH=plan asks for {own}"
    );
    let sizes = std::env::var("PENTORA_PLAN").unwrap_or_else(|_| "300,30".to_owned());
    let (jobs, workers) = sizes.split_once(',').unwrap();
    let (jobs, workers): (usize, usize) = (jobs.parse().unwrap(), workers.parse().unwrap());
    let mut world = World::new(&["first"]);
    // As `World::apply`, without holding all of the state against its invariants each time.
    let apply = |world: &mut World, command| {
        world.index += 1;
        world.state.apply(world.index, &Proposal { at_ms: world.index, command })
    };
    let info = |number: usize| NodeInfo {
        name: format!("w{number}"),
        peer: format!("w{number}"),
        max_concurrent_scans: 10,
        max_targets_per_scan: 65_536,
        ..NodeInfo::default()
    };
    let (token, secret) = (TokenId([2; 8]), Digest::of(b"many"));
    let created = pentora_raft::command::NewToken {
        token,
        secret,
        name: "many".into(),
        ttl_ms: 1_000_000_000,
        uses: u32::try_from(workers).unwrap(),
        role: pentora_raft::command::NodeRole::Auto,
        region: None,
        networks: None,
    };
    assert_eq!(apply(&mut world, Command::CreateToken(created)), Response::Done);
    for number in 1..workers {
        apply(&mut world, Command::Join { token, secret, info: info(number) });
    }
    let nodes: Vec<NodeId> = world.state.nodes().map(|(id, _)| id).collect();
    assert_eq!(nodes.len(), workers);
    for node in nodes {
        apply(&mut world, Command::WorkerBack { node });
    }
    let deep = Settings { queue_depth: u32::MAX, ..Settings::default() };
    apply(&mut world, Command::SetSettings { settings: Box::new(deep) });
    for number in 0..jobs {
        let submission = Submission {
            priority: Priority::ALL[number % Priority::ALL.len()],
            ..Submission::plain(SpecRef::Inline(Vec::new()), 100_000, 1)
        };
        let response = apply(&mut world, Command::SubmitJob(Box::new(submission)));
        assert!(matches!(response, Response::Submitted { .. }), "{response:?}");
    }
    let (mut times, mut looks) = (Vec::new(), Vec::new());
    let mut granted = 0;
    for _ in 0..ROUNDS {
        let begun = std::time::Instant::now();
        let grants = world.plan(1_000.0);
        times.push(begun.elapsed());
        let room = 10 * workers - granted;
        assert_eq!(grants.len(), room.min(GRANTS_MAX), "whoever has room gets work while there is some");
        let critical = |grant: &NewLease| world.state.job(grant.unit.job).unwrap().priority == Priority::Critical;
        assert!(granted > 0 || grants.iter().all(critical), "the most urgent go first");
        granted += grants.len();
        for grant in &grants {
            world.turns.note(grant.node);
        }
        let begun = std::time::Instant::now();
        world.lately.note(&world.state, grants.iter().map(|grant| grant.unit.job));
        world.lately.look(&world.state, world.index);
        looks.push(begun.elapsed());
        apply(&mut world, Command::Grant { grants });
    }
    times.sort();
    looks.sort();
    println!(
        "{jobs} jobs, {workers} workers: round p50 {:?}, max {:?}, and {:?} to look at what each had, {granted} units",
        times[ROUNDS / 2],
        times[ROUNDS - 1],
        looks[ROUNDS - 1]
    );
}
