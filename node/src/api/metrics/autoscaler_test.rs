//! The figure that autoscalers go by, held against the autoscaler of the original description over a day: `type: Pods`,
//! `averageValue: "5"`, 2 to 20 replicas. The state is the real one, built by commands alone; what each pod exports is read from
//! it as `/metrics` does; the arithmetic is that of Kubernetes (`pkg/controller/podautoscaler`, autoscaling/v2 defaults).

use std::collections::{BTreeMap, VecDeque};

use pentora_raft::command::{
    Command, Completion, LeaseRef, NewLease, NewToken, NodeInfo, NodeRole, Proposal, SpecRef, StoredChunk, Submission,
    UnitKey,
};
use pentora_raft::state::{Counts, JobLimits, Partition, Priority, Share};
use pentora_raft::{ClusterId, Digest, Refusal, Response, TokenId};

use super::*;

/// A step of the simulation.
const STEP_SECONDS: u64 = 5;
/// What a worker does in the ten seconds of a unit.
const UNIT_TARGETS: u64 = 10_000;
const DAY_SECONDS: u64 = 24 * 3_600;

/// The original's autoscaler.
struct Autoscaler {
    /// What was wanted, by time: scaling down follows the highest of five minutes.
    wanted: VecDeque<(u64, usize)>,
}

impl Autoscaler {
    const EVERY_SECONDS: u64 = 15;
    const STABLE_SECONDS: u64 = 300;
    const TOLERANCE: f64 = 0.1;
    const AVERAGE: f64 = 5.0;
    const MIN: usize = 2;
    const MAX: usize = 20;

    /// How many pods there are to be, by what each of those there are exports.
    fn replicas(&mut self, now: u64, exported: &[f64]) -> usize {
        let pods = exported.len();
        let ratio = exported.iter().sum::<f64>() / pods as f64 / Self::AVERAGE;
        let enough = (0..10_000).find(|wanted| *wanted as f64 >= ratio * pods as f64).unwrap_or(10_000);
        let by_metric = if (ratio - 1.0).abs() <= Self::TOLERANCE { pods } else { enough };
        self.wanted.push_back((now, by_metric));
        self.wanted.retain(|(at, _)| now - at <= Self::STABLE_SECONDS);
        let stable = self.wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(pods);
        // Up at once, by at most four or as many as there are; down only to the highest of the last minutes.
        let next = if by_metric > pods { by_metric.min((2 * pods).max(pods + 4)) } else { stable.min(pods) };
        next.clamp(Self::MIN, Self::MAX)
    }
}

/// The cluster, and the pods that scan in it.
struct Cluster {
    state: State,
    index: u64,
    now: u64,
    made: u64,
    pods: Vec<NodeId>,
    /// The jobs that are not over, with their targets.
    jobs: BTreeMap<JobId, u64>,
    /// What each pod works on, and when it is done.
    at_work: BTreeMap<NodeId, (NewLease, u64, u64)>,
}

fn info(name: &str) -> NodeInfo {
    NodeInfo {
        name: name.into(),
        peer: name.into(),
        version: VERSION.into(),
        max_concurrent_scans: 10,
        max_targets_per_scan: 65_536,
        ..NodeInfo::default()
    }
}

const TOKEN: (TokenId, &[u8]) = (TokenId([1; 8]), b"secret");

impl Cluster {
    /// Nodes that lead and do not scan, so that the pods are alone with the work.
    fn new() -> Self {
        let (state, jobs, at_work) = (State::default(), BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { state, index: 0, now: 0, made: 0, pods: Vec::new(), jobs, at_work };
        cluster.apply(Command::Begin { cluster: ClusterId([1; 16]), info: info("n1"), admin_token: Digest::of(b"a") });
        cluster.apply(Command::CreateToken(NewToken {
            token: TOKEN.0,
            secret: Digest::of(TOKEN.1),
            name: "pods".into(),
            ttl_ms: 365 * 86_400_000,
            uses: 10_000,
            role: NodeRole::Auto,
            region: None,
            networks: None,
        }));
        cluster
    }

    fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = self.state.apply(self.index, &Proposal { at_ms: self.now * 1_000, command });
        assert!(!matches!(response, Response::Refused(Refusal::Malformed { .. })), "{response:?}");
        response
    }

    fn submit(&mut self, target_count: u64) {
        let submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count, needs: Needs::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 3, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        match self.apply(Command::SubmitJob(Box::new(submission))) {
            Response::Submitted { job, .. } => self.jobs.insert(job, target_count),
            other => panic!("{other:?}"),
        };
    }

    /// Starts and stops pods; one that stops hands its unit back.
    fn scale(&mut self, replicas: usize) {
        while self.pods.len() < replicas {
            self.made += 1;
            let (token, secret) = (TOKEN.0, Digest::of(TOKEN.1));
            let name = format!("pentora-worker-{}", self.made);
            let Response::Joined { node, .. } = self.apply(Command::Join { token, secret, info: info(&name) }) else {
                panic!("{name} is not admitted")
            };
            self.apply(Command::WorkerBack { node });
            self.pods.push(node);
        }
        while self.pods.len() > replicas {
            let node = self.pods.pop().unwrap();
            if let Some((lease, epoch, _)) = self.at_work.remove(&node) {
                self.apply(Command::Release { leases: vec![LeaseRef { unit: lease.unit, epoch }] });
            }
            self.apply(Command::NodeLeft { node });
            self.apply(Command::RemoveNode { node });
        }
    }

    /// Five seconds of work: units that are done are counted, and who has none gets the next.
    fn work(&mut self) {
        let done: Vec<NodeId> =
            self.at_work.iter().filter(|(_, (_, _, until))| *until <= self.now).map(|(node, _)| *node).collect();
        for node in done {
            let (lease, epoch, _) = self.at_work.remove(&node).unwrap();
            let completion = Completion {
                lease: LeaseRef { unit: lease.unit, epoch },
                start: lease.unit.start,
                end: lease.end,
                goes_on: false,
                node,
                stored: StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: vec![1] },
                counts: Counts::default(),
            };
            self.apply(Command::Complete { completions: vec![completion] });
        }
        let state = &self.state;
        self.jobs.retain(|job, _| state.job(*job).is_some_and(pentora_raft::state::Job::is_open));
        for node in self.pods.clone() {
            if self.at_work.contains_key(&node) {
                continue;
            }
            let Some((unit, end)) = self.jobs.iter().find_map(|(job, count)| self.free(*job, *count)) else { break };
            let lease = NewLease { unit, end, node, share: Share::default() };
            self.apply(Command::Grant { grants: vec![lease.clone()] });
            self.at_work.insert(node, (lease, self.index, self.now + 10));
        }
    }

    /// The next piece of a job to give out: what came back first.
    fn free(&self, job: JobId, count: u64) -> Option<(UnitKey, u64)> {
        let progress = self.state.progress(job, 0)?;
        let back = progress.free.iter().next().map(|(start, free)| (*start, free.end));
        let (start, limit) = back.or_else(|| (progress.next < count).then_some((progress.next, count)))?;
        let fair = (limit - start).div_ceil(2 * self.pods.len() as u64).max(1);
        Some((UnitKey { job, partition: 0, start }, (start + UNIT_TARGETS.min(fair)).min(limit)))
    }

    fn exported(&self, what: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.pods.iter().map(|pod| what(&Figures::of(&self.state, *pod))).collect()
    }
}

/// What there was over a day.
struct Day {
    /// How many pods there were, at each look of the autoscaler.
    replicas: Vec<usize>,
    /// How often they became fewer after more, or more after fewer.
    turns: usize,
    /// The last look at which there was work.
    busy_until: usize,
}

/// A day with these jobs (second, targets), scaled by what `what` says each pod exports.
fn day(jobs: &[(u64, u64)], what: impl Fn(&Figures) -> f64) -> Day {
    let (mut cluster, mut autoscaler) = (Cluster::new(), Autoscaler { wanted: VecDeque::new() });
    cluster.scale(Autoscaler::MIN);
    let mut day = Day { replicas: Vec::new(), turns: 0, busy_until: 0 };
    let (mut jobs, mut rising) = (jobs.iter().copied().peekable(), None);
    while cluster.now < DAY_SECONDS {
        while let Some((_, targets)) = jobs.next_if(|(at, _)| *at <= cluster.now) {
            cluster.submit(targets);
        }
        cluster.work();
        if cluster.now % Autoscaler::EVERY_SECONDS == 0 {
            let (before, exported) = (cluster.pods.len(), cluster.exported(&what));
            let replicas = autoscaler.replicas(cluster.now, &exported);
            cluster.scale(replicas);
            if replicas != before {
                let rises = replicas > before;
                day.turns += usize::from(rising.replace(rises).is_some_and(|rose| rose != rises));
            }
            if !cluster.jobs.is_empty() {
                day.busy_until = day.replicas.len();
            }
            day.replicas.push(replicas);
        }
        cluster.now += STEP_SECONDS;
    }
    assert!(cluster.jobs.is_empty(), "the day's work is done: {:?}", cluster.jobs);
    day
}

/// The looks of an hour.
fn hour(day: &Day, hour: usize) -> &[usize] {
    let looks = usize::try_from(3_600 / Autoscaler::EVERY_SECONDS).unwrap();
    &day.replicas[hour * looks..(hour + 1) * looks]
}

/// A /24 every ten minutes, twelve /16 at nine, and twenty million addresses at night.
fn backlog() -> Vec<(u64, u64)> {
    let small = (0..DAY_SECONDS / 600).map(|tenth| (tenth * 600 + 300, 256));
    let office = (0..12).map(|_| (9 * 3_600, 65_536));
    let mut jobs: Vec<_> = small.chain(office).chain([(2 * 3_600, 20_000_000)]).collect();
    jobs.sort_unstable();
    jobs
}

#[test]
fn the_originals_autoscaler_goes_up_with_a_days_backlog_comes_down_behind_it_and_rests_otherwise() {
    let day = day(&backlog(), |figures| figures.units_own);
    let most = |of: usize| hour(&day, of).iter().copied().max().unwrap();
    assert_eq!((most(0), most(1)), (2, 2), "a /24 is nothing to start pods for");
    assert_eq!(most(2), 20, "the night's scan");
    assert_eq!(hour(&day, 2).last(), Some(&2), "it is over within half an hour, and five minutes later they are gone");
    assert!((3..=8).contains(&most(9)), "seven units each, one after the other: {}", most(9));
    assert_eq!((most(4), most(12), most(20)), (2, 2, 2));
    assert!(day.turns <= 4, "up and down once for each of the two: {} turns", day.turns);
}

#[test]
fn had_each_pod_exported_the_whole_backlog_a_small_one_would_have_run_to_the_most() {
    // What the first reading of the original's manifest would be: the average over pods is the whole, whatever their number.
    let jobs = [(3_600, 400_000)];
    let (own, whole) = (day(&jobs, |figures| figures.units_own), day(&jobs, |figures| figures.units_waiting as f64));
    let most = |day: &Day| day.replicas.iter().copied().max().unwrap();
    assert!((4..=9).contains(&most(&own)), "40 units and five a pod: {}", most(&own));
    assert_eq!(most(&whole), 20);
}

#[test]
fn the_sum_over_all_that_may_take_it_is_the_backlog_and_nobody_else_says_any_of_it() {
    let mut cluster = Cluster::new();
    cluster.scale(3);
    cluster.submit(1_000_000);
    assert_eq!(cluster.exported(|figures| figures.units_own).iter().sum::<f64>().round(), 16.0, "of 65,536 each");
    cluster.work();
    let units = cluster.exported(|figures| figures.units_waiting as f64)[0];
    assert_eq!(units, 100.0, "of 10,000 each, now that there are some");
    let sum = cluster.exported(|figures| figures.units_own).iter().sum::<f64>();
    assert!((sum - units).abs() < 1e-9);
    let leader = Figures::of(&cluster.state, 1);
    assert_eq!((leader.units_own, leader.units_waiting, leader.leases), (0.0, 100, 3), "it takes no leases");
}
