//! Random command sequences for the tests of the state: small moves that are resolved against what is there, so that
//! most of them mean something and some are stale, foreign or wrong on purpose.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::command::tests::node_info;
use crate::command::{
    Command, Completion, Finished, LeaseRef, NewLease, NewToken, NodeRole, SpecRef, Submission, UnitKey,
};
use crate::id::{ClusterId, Digest, JobId, NodeId, TokenId};
use crate::state::{Counts, Lease, Needs, Partition, Priority, State};

/// A move, before it knows the state.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Submit(SubmitOp),
    Grant(Vec<GrantOp>),
    Complete(Vec<CompleteOp>),
    Release(Vec<LeaseOp>),
    Expire(Vec<LeaseOp>),
    Node { which: Index, what: NodeOp },
    Cancel(Index),
    SetHolders(LeaseOp, Vec<NodeId>),
    SetSpecHolders(Index, Vec<NodeId>),
    Token(u8, bool),
    Join { token: u8, right_secret: bool, name: u8 },
    Begin,
}

#[derive(Debug, Clone)]
pub(super) struct SubmitOp {
    parts: Vec<u64>,
    budget_pps: Option<u64>,
    network_pps: Option<u64>,
    max_workers: Option<u32>,
    max_attempts: u32,
    key: Option<u8>,
    is_chunk: bool,
    /// Partition, start and length of units that are finished already; may overlap or not be there.
    finished: Vec<(u32, u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum NodeOp {
    Suspect,
    Failed,
    Back,
    Drain(bool),
    Update,
    Remove,
}

#[derive(Debug, Clone)]
pub(super) struct GrantOp {
    job: Index,
    partition: u32,
    /// `None` for the first index that is free.
    start: Option<u64>,
    length: u64,
    node: Index,
    rate_pps: Option<u64>,
    network_pps: Option<u64>,
}

/// Names a lease: one that is out, or one that was, or none at all.
#[derive(Debug, Clone)]
pub(super) struct LeaseOp {
    of: Index,
    once: bool,
    wrong_epoch: bool,
}

#[derive(Debug, Clone)]
pub(super) struct CompleteOp {
    lease: LeaseOp,
    /// How much of the unit's end is left undone; may be more than there is.
    short_by: u64,
    goes_on: bool,
    /// How far the start is off.
    late_by: u64,
    wrong_node: bool,
    no_holders: bool,
    chunk: u8,
    hosts_up: u64,
}

fn any_lease() -> impl Strategy<Value = LeaseOp> {
    (any::<Index>(), prop::bool::weighted(0.3), prop::bool::weighted(0.1)).prop_map(|(of, once, wrong_epoch)| LeaseOp {
        of,
        once,
        wrong_epoch,
    })
}

fn any_grant() -> impl Strategy<Value = GrantOp> {
    (
        any::<Index>(),
        prop_oneof![3 => Just(0u32), 2 => Just(1), 1 => Just(2)],
        prop::option::weighted(0.3, 0u64..14),
        0u64..7,
        any::<Index>(),
        prop::option::of(0u64..5),
        prop::option::of(0u64..5),
    )
        .prop_map(|(job, partition, start, length, node, rate_pps, network_pps)| GrantOp {
            job,
            partition,
            start,
            length,
            node,
            rate_pps,
            network_pps,
        })
}

fn any_complete() -> impl Strategy<Value = CompleteOp> {
    let short_by = prop_oneof![4 => Just(0u64), 2 => 0u64..8];
    let late_by = prop_oneof![9 => Just(0u64), 1 => 1u64..3];
    let wrong = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (any_lease(), short_by, any::<bool>(), late_by, wrong, 0u8..3, 0u64..5).prop_map(
        |(lease, short_by, goes_on, late_by, (wrong_node, no_holders), chunk, hosts_up)| CompleteOp {
            lease,
            short_by,
            goes_on,
            late_by,
            wrong_node,
            no_holders,
            chunk,
            hosts_up,
        },
    )
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let submit = (
        prop::collection::vec(1u64..13, 1..3),
        prop::option::of(1u64..7),
        prop::option::of(1u32..4),
        0u32..4,
        prop::option::of(0u8..4),
        (prop::option::weighted(0.15, 1u64..7), any::<bool>()),
        prop_oneof![7 => Just(Vec::new()), 1 => prop::collection::vec((0u32..2, 0u64..12, 0u64..6), 1..3)],
    )
        .prop_map(|(parts, budget_pps, max_workers, max_attempts, key, (network_pps, is_chunk), finished)| {
            Op::Submit(SubmitOp { parts, budget_pps, network_pps, max_workers, max_attempts, key, is_chunk, finished })
        });
    let node = (
        any::<Index>(),
        prop_oneof![
            2 => Just(NodeOp::Suspect),
            2 => Just(NodeOp::Failed),
            6 => Just(NodeOp::Back),
            2 => any::<bool>().prop_map(NodeOp::Drain),
            1 => Just(NodeOp::Update),
            1 => Just(NodeOp::Remove),
        ],
    );
    prop_oneof![
        3 => submit,
        10 => prop::collection::vec(any_grant(), 1..5).prop_map(Op::Grant),
        8 => prop::collection::vec(any_complete(), 1..4).prop_map(Op::Complete),
        2 => prop::collection::vec(any_lease(), 1..4).prop_map(Op::Release),
        3 => prop::collection::vec(any_lease(), 1..4).prop_map(Op::Expire),
        8 => node.prop_map(|(which, what)| Op::Node { which, what }),
        1 => any::<Index>().prop_map(Op::Cancel),
        1 => (any_lease(), prop::collection::vec(1u64..9, 0..3)).prop_map(|(lease, holders)| Op::SetHolders(lease, holders)),
        1 => (any::<Index>(), prop::collection::vec(1u64..9, 0..3)).prop_map(|(job, holders)| Op::SetSpecHolders(job, holders)),
        1 => (0u8..3, any::<bool>()).prop_map(|(token, revoke)| Op::Token(token, revoke)),
        3 => (0u8..3, prop::bool::weighted(0.9), 0u8..6)
            .prop_map(|(token, right_secret, name)| Op::Join { token, right_secret, name }),
        1 => Just(Op::Begin),
    ]
}

/// How many commands [`two_nodes`] is.
pub(super) const OPENING: usize = 5;

/// Begins a cluster at index 2 and admits a second node, id 5; both work.
pub(super) fn two_nodes() -> [Command; OPENING] {
    [
        Command::Begin { cluster: ClusterId([7; 16]), info: node_info("n0"), admin_token: Digest::of(b"admin") },
        Command::WorkerBack { node: 1 },
        Command::CreateToken(new_token(0)),
        Command::Join { token: TokenId([0; 8]), secret: Digest::of(b"secret"), info: node_info("n1") },
        Command::WorkerBack { node: 5 },
    ]
}

/// What has been granted so far, so that a move can name a lease of the past.
#[derive(Debug, Default)]
pub(super) struct Past(pub(super) Vec<(UnitKey, Lease)>);

impl Past {
    fn lease(&self, state: &State, op: &LeaseOp) -> (LeaseRef, Lease) {
        let standing: Vec<_> = state.leases().map(|(unit, lease)| (unit, lease.clone())).collect();
        let from = if op.once || standing.is_empty() { &self.0 } else { &standing };
        let nowhere = || {
            let lease = Lease {
                start: 0,
                end: 1,
                node: 1,
                epoch: 1,
                attempts: 0,
                rate_pps: None,
                network_pps: None,
                granted_at_ms: 0,
            };
            (UnitKey { job: JobId(1), partition: 0, start: 0 }, lease)
        };
        let (unit, lease) = if from.is_empty() { nowhere() } else { from[op.of.index(from.len())].clone() };
        (LeaseRef { unit, epoch: lease.epoch + u64::from(op.wrong_epoch) }, lease)
    }
}

/// The command that a move means in this state.
pub(super) fn resolve(op: &Op, state: &State, past: &Past) -> Command {
    let leases = |ops: &[LeaseOp]| ops.iter().map(|op| past.lease(state, op).0).collect();
    match op {
        Op::Submit(op) => Command::SubmitJob(Box::new(op.submission())),
        Op::Grant(grants) => Command::Grant { grants: grants.iter().map(|op| new_lease(op, state)).collect() },
        Op::Complete(ops) => {
            Command::Complete { completions: ops.iter().map(|op| completion(op, state, past)).collect() }
        }
        Op::Release(ops) => Command::Release { leases: leases(ops) },
        Op::Expire(ops) => Command::Expire { leases: leases(ops), reason: "late".into() },
        Op::Node { which, what } => node_command(*what, pick_node(state, which)),
        Op::Cancel(of) => Command::Cancel { job: pick_job(state, of), reason: "asked".into() },
        Op::SetHolders(lease, holders) => {
            Command::SetHolders { updates: vec![(past.lease(state, lease).0.unit, holders.clone())] }
        }
        Op::SetSpecHolders(of, holders) => {
            Command::SetSpecHolders { updates: vec![(pick_job(state, of), holders.clone())] }
        }
        Op::Token(token, true) => Command::RevokeToken { token: TokenId([*token; 8]) },
        Op::Token(token, false) => Command::CreateToken(new_token(*token)),
        Op::Join { token, right_secret, name } => Command::Join {
            token: TokenId([*token; 8]),
            secret: Digest::of(if *right_secret { b"secret" } else { b"guess" }),
            // The last is another peer whose name makes the worker id of the first.
            info: node_info(&if *name < 5 { format!("n{name}") } else { "N0".into() }),
        },
        Op::Begin => {
            Command::Begin { cluster: ClusterId([7; 16]), info: node_info("n0"), admin_token: Digest::of(b"admin") }
        }
    }
}

pub(super) fn new_token(token: u8) -> NewToken {
    NewToken {
        token: TokenId([token; 8]),
        secret: Digest::of(b"secret"),
        name: "n".into(),
        ttl_ms: 5_000,
        uses: 2,
        role: NodeRole::Auto,
        region: None,
        networks: None,
    }
}

pub(super) fn submission(
    parts: &[u64],
    budget_pps: Option<u64>,
    max_workers: Option<u32>,
    max_attempts: u32,
    key: Option<u8>,
) -> Submission {
    let partition = |target_count: &u64| Partition { target_count: *target_count, needs: Needs::default() };
    Submission {
        spec: SpecRef::Inline(vec![1, 2, 3]),
        partitions: parts.iter().map(partition).collect(),
        priority: Priority::Normal,
        budget_pps,
        network_pps: None,
        max_workers,
        max_attempts,
        via: 1,
        idempotency_key: key.map(|key| Digest::of(&[key])),
        title: "a job".into(),
        finished: Vec::new(),
    }
}

/// A unit that is finished before its job is submitted: one host up, in partition 0.
pub(super) fn finished(start: u64, end: u64) -> Finished {
    let counts = Counts { hosts_up: 1, ..Counts::default() };
    Finished { partition: 0, start, end, digest: Digest::of(b"before"), bytes: 9, holders: vec![1], counts }
}

impl SubmitOp {
    fn submission(&self) -> Submission {
        let Self { parts, budget_pps, network_pps, max_workers, max_attempts, key, is_chunk, finished: units } = self;
        let before = submission(parts, *budget_pps, *max_workers, *max_attempts, *key);
        let spec = SpecRef::Chunk { digest: Digest::of(b"spec"), holders: vec![1] };
        let unit = |(partition, start, length): &(u32, u64, u64)| Finished {
            partition: *partition,
            ..finished(*start, start + length)
        };
        Submission {
            spec: if *is_chunk { spec } else { before.spec },
            network_pps: *network_pps,
            finished: units.iter().map(unit).collect(),
            ..before
        }
    }
}

fn new_lease(op: &GrantOp, state: &State) -> NewLease {
    let job = pick_job(state, &op.job);
    let partition = op.partition;
    let first_free = || {
        let progress = state.progress(job, partition)?;
        Some(progress.free.keys().next().copied().unwrap_or(progress.next))
    };
    let start = op.start.or_else(first_free).unwrap_or(0);
    let unit = UnitKey { job, partition, start };
    let node = pick_node(state, &op.node);
    NewLease { unit, end: start + op.length, node, rate_pps: op.rate_pps, network_pps: op.network_pps }
}

fn completion(op: &CompleteOp, state: &State, past: &Past) -> Completion {
    let (lease, held) = past.lease(state, &op.lease);
    Completion {
        lease,
        start: held.start + op.late_by,
        end: held.end.saturating_sub(op.short_by),
        goes_on: op.goes_on,
        node: held.node + u64::from(op.wrong_node),
        digest: Digest::of(&[op.chunk]),
        bytes: 100,
        holders: if op.no_holders { Vec::new() } else { vec![1, 2] },
        counts: Counts { hosts_up: op.hosts_up, ..Counts::default() },
    }
}

fn node_command(what: NodeOp, node: NodeId) -> Command {
    match what {
        NodeOp::Suspect => Command::WorkerSuspect { node },
        NodeOp::Failed => Command::WorkerFailed { node },
        NodeOp::Back => Command::WorkerBack { node },
        NodeOp::Drain(draining) => Command::DrainNode { node, draining },
        NodeOp::Update => Command::UpdateNode { node, info: node_info("another name") },
        NodeOp::Remove => Command::RemoveNode { node },
    }
}

/// A node that is there, or now and then one that is not.
fn pick_node(state: &State, of: &Index) -> NodeId {
    let mut nodes: Vec<NodeId> = state.nodes().map(|(id, _)| id).collect();
    nodes.push(999);
    nodes[of.index(nodes.len())]
}

fn pick_job(state: &State, of: &Index) -> JobId {
    let mut jobs: Vec<JobId> = state.jobs().map(|(id, _)| id).collect();
    jobs.push(JobId(999));
    jobs[of.index(jobs.len())]
}
