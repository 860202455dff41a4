//! A thousand jobs and ten thousand leases: every command stays cheap, and the laws hold. Prints what each costs.

use std::time::{Duration, Instant};

use super::{JOBS_OPEN_MAX, JobStatus, State};
use crate::command::sample_test::{begin, limits, new_token, node_info, stored, submission};
use crate::command::{Command, Completion, LeaseRef, NewLease, Proposal, Refusal, Response, UnitKey};
use crate::id::{Digest, JobId, NodeId, TokenId};
use crate::invariant;
use crate::state::{Counts, JobLimits, Share};

/// Leases per job; with [`JOBS_OPEN_MAX`] jobs ten thousand in all.
const LEASES_PER_JOB: u64 = 10;
/// How many nodes share them: 500 leases each.
const NODES: u8 = 20;

struct Large {
    state: State,
    index: u64,
    nodes: Vec<NodeId>,
    jobs: Vec<JobId>,
}

impl Large {
    /// Applies and drains the changed rows, as the store does; answers how long both took.
    fn apply(&mut self, command: Command) -> (Response, Duration) {
        self.index += 1;
        let proposal = Proposal { at_ms: self.index, command };
        let begun = Instant::now();
        let response = self.state.apply(self.index, &proposal);
        let rows = self.state.drain_changes();
        let took = begun.elapsed();
        assert!(!rows.is_empty());
        (response, took)
    }

    fn begun() -> Self {
        let mut large = Self { state: State::default(), index: 1, nodes: vec![1], jobs: Vec::new() };
        large.apply(begin("n1"));
        for n in 2..=NODES {
            let mut token = new_token(n);
            token.ttl_ms = 1_000_000;
            large.apply(Command::CreateToken(token));
            let join = Command::Join {
                token: TokenId([n; 8]),
                secret: Digest::of(b"secret"),
                info: node_info(&format!("n{n}")),
            };
            let (Response::Joined { node }, _) = large.apply(join) else { panic!("not joined") };
            large.nodes.push(node);
        }
        for node in large.nodes.clone() {
            large.apply(Command::WorkerBack { node });
        }
        large
    }

    fn submit(&mut self) -> (Response, Duration) {
        let targets = LEASES_PER_JOB * 2;
        let limits = JobLimits { budget_pps: Some(1_000_000), max_workers: Some(50), ..limits() };
        self.apply(Command::SubmitJob(Box::new(submission(&[targets], limits))))
    }

    /// One lease on every job, in one entry of a thousand grants.
    fn grant_round(&mut self, round: u64) -> (Vec<LeaseRef>, Duration) {
        let nodes = self.nodes.iter().cycle();
        let grants = self.jobs.iter().zip(nodes).map(|(job, node)| NewLease {
            unit: UnitKey { job: *job, partition: 0, start: round },
            end: round + 1,
            node: *node,
            share: Share { rate_pps: Some(100), network_pps: None },
        });
        let grants = grants.collect();
        let (Response::Granted { leases }, took) = self.apply(Command::Grant { grants }) else { panic!("not granted") };
        (leases.iter().map(|(unit, lease)| LeaseRef { unit: *unit, epoch: lease.epoch }).collect(), took)
    }
}

#[test]
fn a_thousand_jobs_with_ten_thousand_leases_stay_cheap_and_lawful() {
    let mut large = Large::begun();
    let mut submitted = Duration::ZERO;
    for _ in 0..JOBS_OPEN_MAX {
        let (response, took) = large.submit();
        let Response::Submitted { job, .. } = response else { panic!("not submitted") };
        large.jobs.push(job);
        submitted = took;
    }
    let (refused, refusal) = large.submit();
    assert_eq!(refused, Response::Refused(Refusal::QueueFull { limit: JOBS_OPEN_MAX }));
    let mut rounds = Vec::new();
    for round in 0..LEASES_PER_JOB {
        rounds.push(large.grant_round(round));
        assert_eq!(rounds.last().unwrap().0.len(), JOBS_OPEN_MAX);
    }
    assert_eq!(large.state.leases().count(), 10_000);
    invariant::check(&large.state, large.index).unwrap();
    let granted = rounds.last().unwrap().1;
    let completions = rounds[0].0.iter().map(|lease| completion(&large.state, *lease)).collect();
    let (Response::Completed { accepted }, completed) = large.apply(Command::Complete { completions }) else {
        panic!("not an answer to completions")
    };
    assert!(accepted.iter().all(|accepted| *accepted));
    let node = large.nodes[3];
    let (_, failed) = large.apply(Command::WorkerFailed { node });
    assert!(large.state.leases().all(|(_, lease)| lease.node != node));
    let job = large.jobs[0];
    let (_, cancelled) = large.apply(Command::Cancel { job, reason: "asked".into() });
    assert_eq!(large.state.job(job).unwrap().status, JobStatus::Cancelled);
    invariant::check(&large.state, large.index).unwrap();
    println!("with 1,000 jobs and 10,000 leases, apply and encode the rows:");
    for (what, took) in [
        ("submit", submitted),
        ("submit, refused", refusal),
        ("1,000 grants in one entry", granted),
        ("1,000 completions in one entry", completed),
        ("a worker fails with 450 leases", failed),
        ("cancel", cancelled),
    ] {
        println!("  {what:32} {:8.1} us", took.as_secs_f64() * 1e6);
    }
}

fn completion(state: &State, lease: LeaseRef) -> Completion {
    let held = state.job_leases(lease.unit.job).find(|(unit, _)| *unit == lease.unit).unwrap().1;
    Completion {
        lease,
        start: held.start,
        end: held.end,
        goes_on: false,
        node: held.node,
        stored: stored(b"c"),
        counts: Counts::default(),
    }
}
