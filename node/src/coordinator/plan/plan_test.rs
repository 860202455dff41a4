//! Holds the planner to its promises over a state built by commands alone.

use super::*;
use pentora_raft::command::{Command, Completion, LeaseRef, NodeInfo, Proposal, SpecRef, StoredChunk, Submission};
use pentora_raft::state::{Counts, JobLimits, Needs, Priority};
use pentora_raft::{ClusterId, Digest, Refusal, Response, TokenId};

struct World {
    state: State,
    index: u64,
}

impl World {
    fn new(workers: &[&str]) -> Self {
        let mut world = Self { state: State::default(), index: 0 };
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

    fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = self.state.apply(self.index, &Proposal { at_ms: self.index, command });
        assert!(!matches!(response, Response::Refused(Refusal::Malformed { .. })), "{response:?}");
        pentora_raft::invariant::check(&self.state, self.index).unwrap();
        response
    }

    fn submit(&mut self, target_count: u64, change: impl FnOnce(&mut Submission)) -> JobId {
        let mut submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count, needs: Needs::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 5, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        change(&mut submission);
        match self.apply(Command::SubmitJob(Box::new(submission))) {
            Response::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    fn plan(&self, targets_per_second: f64) -> Vec<NewLease> {
        let rates: BTreeMap<NodeId, Rates> = self
            .state
            .nodes()
            .map(|(id, _)| (id, Rates { engine_pps: targets_per_second * 10.0, targets_per_second: BTreeMap::new() }))
            .collect();
        let ports = self.state.jobs().map(|(id, _)| (id, 10)).collect();
        plan(&self.state, &rates, &ports, &PlanConfig::default())
    }

    fn grant(&mut self, grants: Vec<NewLease>) -> Vec<LeaseRef> {
        let asked = grants.len();
        match self.apply(Command::Grant { grants }) {
            Response::Granted { leases } => {
                assert_eq!(leases.len(), asked, "the state machine refuses nothing that was planned on its own state");
                leases.into_iter().map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect()
            }
            other => panic!("{other:?}"),
        }
    }
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
    let ports = world.state.jobs().map(|(id, _)| (id, 10)).collect();
    let grants = plan(&world.state, &rates, &ports, &PlanConfig::default());
    assert_eq!(grants.iter().map(|grant| grant.end - grant.unit.start).collect::<Vec<_>>(), [4, 2]);
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
    let ports = world.state.jobs().map(|(id, _)| (id, 10)).collect();
    let grants = plan(&world.state, &heard, &ports, &PlanConfig::default());
    assert!(!grants.is_empty() && grants.iter().all(|grant| grant.unit.job != one), "{grants:?}");
    let sum: u64 = shares(&world.state).values().flat_map(|shares| shares.rate.values()).sum();
    assert_eq!(sum, 100, "the silent worker's share of the budget stays its own");
    world.grant(grants);
}
