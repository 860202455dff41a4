//! What holds of every plan, over random clusters and queues.

use pentora_raft::Response;
use pentora_raft::command::{Author, Command, LeaseRef, NodeInfo, SpecRef, Submission};
use pentora_raft::state::{Backoff, Preference};
use proptest::prelude::*;

use super::tests::World;
use super::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A step in the life of a cluster.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        targets: u64,
        priority: Priority,
        tag: Option<usize>,
        required: bool,
        workers: Option<u32>,
        pps: Option<u64>,
    },
    Plan,
    Complete(usize),
    Expire(usize),
    Fail(usize),
    Back(usize),
    Aside(usize),
    Pause(usize, bool),
    Later(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = 0..NAMES.len();
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let submit = (
        1u64..5_000,
        priority,
        prop::option::of(node.clone()),
        any::<bool>(),
        prop::option::of(1u32..4),
        prop::option::of(1u64..500),
    );
    prop_oneof![
        3 => submit.prop_map(|(targets, priority, tag, required, workers, pps)| Step::Submit { targets, priority, tag, required, workers, pps }),
        8 => Just(Step::Plan),
        6 => any::<usize>().prop_map(Step::Complete),
        3 => any::<usize>().prop_map(Step::Expire),
        1 => node.clone().prop_map(Step::Fail),
        1 => node.clone().prop_map(Step::Back),
        1 => node.prop_map(Step::Aside),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(job, paused)| Step::Pause(job, paused)),
        2 => (1u64..120_000).prop_map(Step::Later),
    ]
}

fn standing(world: &World, at: usize) -> Option<LeaseRef> {
    let leases: Vec<LeaseRef> =
        world.state.leases().map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect();
    (!leases.is_empty()).then(|| leases[at % leases.len()])
}

/// Plans, holds every grant against what is promised, and makes it; `World::grant` holds that the state machine takes it.
fn plan_and_check(world: &mut World) {
    let grants = world.plan(100.0);
    let mut held: BTreeMap<NodeId, u32> = BTreeMap::new();
    world.state.leases().for_each(|(_, lease)| *held.entry(lease.node).or_default() += 1);
    for grant in &grants {
        let (record, job) = (world.state.node(grant.node).unwrap(), world.state.job(grant.unit.job).unwrap());
        let part = &job.partitions[grant.unit.partition as usize];
        assert!(record.takes_leases() && placement::mismatch(record, None, &part.needs).is_none(), "{grant:?}");
        let (urgent, other) = placement::rooms(record, world.settings.max_load_thousandths);
        let held = held.entry(grant.node).or_default();
        assert!(*held < if job.priority <= Priority::High { urgent } else { other }, "{grant:?} beside {held}");
        *held += 1;
        let may =
            |record: &NodeRecord| record.takes_leases() && placement::mismatch(record, None, &part.needs).is_none();
        let well =
            |id: &NodeId| !world.state.health(*id).is_some_and(|health| health.is_aside(world.now_ms.max(world.index)));
        let able: Vec<NodeId> = world.state.nodes().filter(|(_, record)| may(record)).map(|(id, _)| id).collect();
        assert!(well(&grant.node) || !able.iter().any(well), "{grant:?} to one that is set aside");
        let able: Vec<NodeId> = if able.iter().any(well) { able.into_iter().filter(well).collect() } else { able };
        for (unit, retry) in world.state.job_retries(grant.unit.job) {
            let meets =
                unit.partition == grant.unit.partition && unit.start < grant.end && retry.end > grant.unit.start;
            let blamed = meets && retry.failed_by.contains(&grant.node);
            assert!(!blamed || able.iter().all(|id| retry.failed_by.contains(id)), "{grant:?} to who failed it");
        }
    }
    world.grant(grants);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_grant_is_one_that_the_state_takes_and_that_every_filter_lets_through(
        steps in prop::collection::vec(any_step(), 1..60),
        preference in prop::sample::select(vec![Preference::RoundRobin, Preference::LeastLoaded, Preference::TagAffinity]),
        backoff in prop::sample::select(vec![Backoff::None, Backoff::Fixed]),
    ) {
        let mut world = World::new(&NAMES);
        world.settings = Settings { preference, backoff, max_load_thousandths: 700, ..world.settings.clone() };
        for step in steps {
            match step {
                Step::Submit { targets, priority, tag, required, workers, pps } => {
                    world.submit(targets, |submission| {
                        submission.priority = priority;
                        (submission.limits.max_workers, submission.limits.budget_pps) = (workers, pps);
                        let needs = &mut submission.partitions[0].needs;
                        let tags = tag.map(|at| NAMES[at].to_owned()).into_iter().collect();
                        if required { needs.required_tags = tags } else { needs.preferred_tags = tags }
                    });
                }
                Step::Plan => plan_and_check(&mut world),
                Step::Complete(at) => {
                    if let Some(lease) = standing(&world, at) { world.complete(lease) }
                }
                Step::Expire(at) => {
                    let leases = standing(&world, at).into_iter().collect();
                    world.apply(Command::Expire { leases, reason: "x".into() });
                }
                Step::Fail(at) => { let node = world.node(NAMES[at]); world.apply(Command::WorkerFailed { node }); }
                Step::Back(at) => { let node = world.node(NAMES[at]); world.apply(Command::WorkerBack { node }); }
                Step::Aside(at) => {
                    let (node, until_ms) = (world.node(NAMES[at]), world.now_ms + 60_000);
                    world.apply(Command::SetAside { node, until_ms });
                }
                Step::Pause(at, paused) => {
                    let jobs: Vec<JobId> = world.state.jobs().filter(|(_, job)| job.is_open()).map(|(id, _)| id).collect();
                    if !jobs.is_empty() {
                        world.apply(Command::PauseJob { job: jobs[at % jobs.len()], paused, reason: String::new() });
                    }
                }
                Step::Later(ms) => world.now_ms += ms,
            }
        }
    }
}

#[test]
fn a_low_job_is_served_in_the_end_whatever_comes_in_above_it() {
    for targets in [1, 3] {
        let mut world = World::new(&["a"]);
        let low = world.submit(1, |submission| submission.priority = Priority::Low);
        // Critical jobs without end: each round ten more, as many as the worker has room for.
        let mut rounds = 0;
        while world.state.progress(low, 0).is_some_and(|progress| progress.next == 0) {
            rounds += 1;
            assert!(rounds < 40, "not served within {rounds} rounds of 10 s");
            for _ in 0..10 {
                world.submit(targets, |submission| submission.priority = Priority::Critical);
            }
            let grants = world.plan(1.0);
            let leases = world.grant(grants);
            world.now_ms = world.now_ms.max(world.index) + 10_000;
            leases.into_iter().for_each(|lease| world.complete(lease));
        }
        assert!(rounds > 10, "urgent jobs went first for a while");
    }
}

/// A job of the model: class, when it came, and how many units it has out.
#[derive(Debug, Clone, Copy)]
struct Modelled {
    class: usize,
    came_ms: u64,
    had_out: bool,
    out: u64,
}

proptest! {
    /// Against a model that looks at every job for each unit: the class first, a class better for each minute without a unit;
    /// within it whoever has least out for its weight; of equal ones the older.
    #[test]
    fn units_go_to_jobs_as_a_model_says_that_looks_at_all_of_them_each_time(
        jobs in prop::collection::vec((0usize..4, 0u64..3, 1u64..100_000), 1..8),
        later_ms in 0u64..300_000,
        units in 1usize..40,
    ) {
        let mut world = World::new(&["a"]);
        let (mut ids, mut model) = (Vec::new(), Vec::new());
        for (class, out, pause_ms) in jobs {
            world.now_ms = world.now_ms.max(world.index) + pause_ms;
            let came_ms = world.now_ms.max(world.index + 1);
            let job = world.submit(100, |submission| submission.priority = Priority::ALL[class]);
            for start in 0..out {
                let unit = UnitKey { job, partition: 0, start };
                world.grant(vec![NewLease { unit, end: start + 1, node: 1, share: Share::default() }]);
            }
            ids.push(job);
            model.push(Modelled { class, came_ms, had_out: out > 0, out });
        }
        let now_ms = world.now_ms.max(world.index) + later_ms;
        let mut queue = Queue::new(&world.state, &Lately::default(), now_ms);
        let weight = [8u64, 4, 2, 1];
        for _ in 0..units {
            let rank = |job: &Modelled| {
                let minutes = if job.had_out { 0 } else { (now_ms - job.came_ms) / 60_000 };
                // Out for its weight, as a fraction of eight.
                ((job.class as u64).saturating_sub(minutes), job.out * 8 / weight[job.class])
            };
            let (first, _) = model.iter().enumerate().min_by_key(|(at, job)| (rank(job), *at)).unwrap();
            let next = queue.pop().unwrap();
            prop_assert_eq!(next.job, ids[first]);
            queue.put_back(next);
            model[first].out += 1;
        }
    }
}

/// What a model of the queue knows of a job: who asked, and what it had in each second from the first on.
#[derive(Debug)]
struct Shared {
    maker: usize,
    job: JobId,
    had: Vec<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Against the slow and obvious: who asked shares what there is with the others, and each of their jobs shares that. What one had
    /// more than another of its kind over a stretch is bounded by a unit and by what of one fades meanwhile.
    #[test]
    fn who_asked_shares_with_others_who_did_and_their_jobs_share_that(
        jobs in prop::collection::vec(0usize..3, 2..9),
        seconds in 5u64..30,
        room in 1u32..4,
        late in 0u64..300,
    ) {
        const SECONDS: u64 = 1_500;
        let mut world = World::new(&["a"]);
        let info = world.state.node(1).unwrap().info.clone();
        world.apply(Command::UpdateNode { node: 1, info: NodeInfo { max_concurrent_scans: room, ..info } });
        let (mut shared, mut out) = (Vec::<Shared>::new(), BTreeMap::<LeaseRef, u64>::new());
        for second in 0..SECONDS {
            world.now_ms = world.now_ms.max(world.index) + 1_000;
            if second == 0 || second == late {
                // The last one comes late: what the others had before is not made up for.
                let first = if second == 0 { 0 } else { jobs.len() - 1 };
                let until = if second == late { jobs.len() } else { jobs.len() - 1 };
                for maker in &jobs[first..until] {
                    let job = world.submit_as(&format!("m{maker}"), 1_000_000);
                    shared.push(Shared { maker: *maker, job, had: vec![0; usize::try_from(second).unwrap()] });
                }
            }
            let over: Vec<LeaseRef> = out.iter().filter(|(_, ends)| **ends <= second).map(|(lease, _)| *lease).collect();
            for lease in over {
                out.remove(&lease);
                world.complete(lease);
            }
            world.lately.look(&world.state, world.now_ms);
            let grants = world.plan(1.0);
            for lease in world.grant(grants) {
                out.insert(lease, second + seconds);
            }
            prop_assert_eq!(out.len(), (room as usize).min(2 * shared.len()), "whoever has room gets work");
            for of in &mut shared {
                of.had.push(out.keys().filter(|lease| lease.unit.job == of.job).count() as u64);
            }
        }
        // The longest unit, once at either end of the stretch and once more for what fades of it.
        let since = usize::try_from(late).unwrap();
        let bound = 30 * (2 + (SECONDS - late) / 300);
        let of_job = |of: &Shared| of.had[since..].iter().sum::<u64>();
        let mut makers: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        shared.iter().for_each(|of| makers.entry(of.maker).or_default().push(of_job(of)));
        let even = |had: &[u64]| had.iter().max().unwrap() - had.iter().min().unwrap() <= bound;
        // One job has two units of one worker at most.
        let of_makers: Vec<u64> = makers.values().map(|had| had.iter().sum()).collect();
        let is_bound = makers.values().any(|had| had.len() * 2 < room as usize);
        prop_assert!(is_bound || even(&of_makers), "{:?} of {:?}", of_makers, shared.iter().map(|of| (of.maker, of_job(of))).collect::<Vec<_>>());
        for had in makers.values() {
            prop_assert!(even(had), "{:?}", had);
        }
    }
}

#[test]
fn who_comes_while_another_has_everything_has_half_of_it_from_then_on_and_no_job_waits_for_its_age() {
    let mut world = World::new(&["a"]);
    let info = world.state.node(1).unwrap().info.clone();
    world.apply(Command::UpdateNode { node: 1, info: NodeInfo { max_concurrent_scans: 4, ..info } });
    let mut jobs: Vec<JobId> = (0..12).map(|_| world.submit_as("a", 1_000_000)).collect();
    let mut had: BTreeMap<JobId, u64> = BTreeMap::new();
    for round in 0..60 {
        if round == 12 {
            assert!(jobs.iter().all(|job| had.get(job).is_some_and(|units| (3..=5).contains(units))), "{had:?}");
            jobs.push(world.submit_as("b", 1_000_000));
            had.clear();
        }
        world.now_ms = world.now_ms.max(world.index) + 10_000;
        let leases: Vec<LeaseRef> =
            world.state.leases().map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect();
        world.lately.look(&world.state, world.now_ms);
        leases.into_iter().for_each(|lease| world.complete(lease));
        let grants = world.plan(1.0);
        grants.iter().for_each(|grant| *had.entry(grant.unit.job).or_default() += 1);
        world.grant(grants);
    }
    let of_b = had.remove(jobs.last().unwrap()).unwrap();
    let of_a: Vec<u64> = had.values().copied().collect();
    assert!((90..=102).contains(&of_b), "{of_b} of 192 units");
    assert!(of_a.len() == 12 && of_a.iter().all(|units| (6..=10).contains(units)), "{of_a:?}");
}

/// By the job's level alone, all that a maker lets wait is served in the turns that its one urgent job brings.
#[test]
fn a_makers_aged_jobs_do_not_pass_those_of_another_by_the_turn_of_its_urgent_one() {
    let submit = |world: &mut World, who: &str, priority| {
        let author = Author { who: who.into(), from: String::new() };
        let plain = Submission::plain(SpecRef::Inline(Vec::new()), 1_000_000, 1);
        let submission = Box::new(Submission { priority, ..plain });
        match world.apply(Command::SubmitAs { submission, author }) {
            Response::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    };
    for is_alone in [false, true] {
        let mut world = World::new(&["a"]);
        let low: Vec<JobId> = (0..20).map(|_| submit(&mut world, "a", Priority::Low)).collect();
        // After four minutes they are beside critical ones, among what the maker has: one of their class is served.
        world.now_ms = 240_000;
        let unit = UnitKey { job: low[0], partition: 0, start: 0 };
        world.grant(vec![NewLease { unit, end: 1, node: 1, share: Share::default() }]);
        let critical = submit(&mut world, "a", Priority::Critical);
        let high = submit(&mut world, if is_alone { "a" } else { "b" }, Priority::High);
        let order: Vec<JobId> = world.plan(1.0).iter().map(|grant| grant.unit.job).collect();
        assert_eq!(order.len(), 9, "ten leases, of which one is out");
        if is_alone {
            assert_eq!(order, low[1..10], "among its own an aged job is beside the critical one, and the older");
        } else {
            assert_eq!(order[..4], [critical, critical, high, high]);
            assert_eq!(order[4..], low[1..6], "what is left is theirs");
        }
    }
}

/// A state with so many workers and so many jobs that wait, made by commands alone.
fn large(workers: u64, jobs: u64) -> State {
    use pentora_raft::command::{NewToken, NodeRole, Proposal};
    use pentora_raft::{ClusterId, Digest, TokenId};
    let mut state = State::default();
    let mut index = 0;
    let mut apply = |command: Command| {
        index += 1;
        let response = state.apply(index, &Proposal { at_ms: index, command });
        assert!(!matches!(response, pentora_raft::Response::Refused(_)), "{response:?}");
    };
    let info = |number: u64| NodeInfo {
        name: format!("n{number}"),
        peer: format!("p{number}"),
        tags: vec![format!("t{}", number % 7)],
        max_concurrent_scans: 10,
        max_targets_per_scan: 65_536,
        ..NodeInfo::default()
    };
    let (token, secret) = (TokenId([1; 8]), Digest::of(b"s"));
    apply(Command::Begin { cluster: ClusterId([1; 16]), info: info(0), admin_token: secret });
    let settings = Settings { queue_depth: 1_000_000, ..Settings::default() };
    apply(Command::SetSettings { settings: Box::new(settings) });
    let (name, ttl_ms, uses, role) = (String::new(), u64::MAX, u32::MAX, NodeRole::Auto);
    apply(Command::CreateToken(NewToken { token, secret, name, ttl_ms, uses, role, region: None, networks: None }));
    (1..workers).for_each(|number| apply(Command::Join { token, secret, info: info(number) }));
    let ids: Vec<NodeId> = std::iter::once(1).chain(4..workers + 3).collect();
    ids.into_iter().for_each(|node| apply(Command::WorkerBack { node }));
    for number in 0..jobs {
        let tags = if number % 3 == 0 { vec![format!("t{}", number % 7)] } else { Vec::new() };
        let needs = Needs { required_tags: tags, ..Needs::default() };
        apply(Command::SubmitJob(Box::new(Submission {
            partitions: vec![Partition { target_count: 256, needs }],
            priority: Priority::ALL[usize::try_from(number % 4).unwrap()],
            ..Submission::plain(SpecRef::Inline(Vec::new()), 256, 1)
        })));
    }
    state
}

/// The figure of `docs/BENCHMARKS.md` is what this prints; what it asserts is that such a round is a full one.
#[test]
fn ten_thousand_jobs_and_a_thousand_workers_are_planned_in_one_round() {
    let state = large(1_000, 10_000);
    let rates = state.nodes().map(|(id, _)| (id, super::tests::rates_of(100.0))).collect();
    let (ports, turns, lately, settings) = (BTreeMap::new(), Turns::default(), Lately::default(), Settings::default());
    let view = View {
        state: &state,
        rates: &rates,
        ports: &ports,
        turns: &turns,
        lately: &lately,
        budgets: &Budgets::default(),
        settings: &settings,
        paced_unit_seconds: UNIT_SECONDS,
        version: "0.1.0",
        now_ms: 1_000_000,
    };
    let mut rounds: Vec<std::time::Duration> = Vec::new();
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        assert_eq!(plan(&view).len(), GRANTS_MAX);
        rounds.push(begun.elapsed());
    }
    rounds.sort();
    println!("10,000 jobs, 1,000 workers: p50 {:?}, max {:?} of {} rounds", rounds[10], rounds[19], rounds.len());
}
