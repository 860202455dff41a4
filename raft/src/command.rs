//! What can be decided: every command that an entry of the log may carry, and what applying it answers.
//!
//! A command holds decisions, digests and counts, never findings. The enums are append only: new releases replay old logs.
//!
//! What is said of every command alike (its name, what it does to the state, which events it brings) is one row in
//! `state/commands.rs`, and how tests draw it one arm in `command/draw_test.rs`; a command without them does not compile.

mod access;
mod answer;
#[cfg(test)]
pub(crate) mod draw_test;
mod lease;
mod membership;
mod offline;
#[cfg(test)]
mod parts_test;
mod proposal;
mod rule;
#[cfg(test)]
pub(crate) mod sample_test;
mod submission;
mod unit;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::access::{AccessRole, AuditEntry, NewAccessToken, Outcome, TokenLimits};
pub use self::answer::{Refusal, Response};
pub use self::lease::{Completion, LeaseRef, NewLease};
pub use self::membership::{
    LogStep, NewToken, NodeInfo, NodePolicy, NodeRole, NotedRetirement, PolicyChange, TokenGrant, Voting,
};
pub use self::offline::{Imported, ImportedUnit};
pub use self::proposal::Proposal;
pub use self::rule::{
    Author, BudgetRule, EVERY_DAY, ExclusionRule, Hours, NewRule, ProfileRule, RULE_NAME_BYTES_MAX, RULE_NETWORKS_MAX,
    RULE_REASON_BYTES_MAX, Rule, RuleKind, ScopeEffect, ScopeRule, SiteRule, When, WindowEffect, WindowRule,
    is_rule_name,
};
pub use self::submission::{
    Arrangement, ENTRY_BYTES_MAX, Finished, OrderedJob, SPEC_INLINE_BYTES_MAX, SpecRef, StoredChunk, Submission,
};
pub use self::unit::{UnitKey, UnitRange};
use crate::id::{ClusterId, Digest, JobId, NodeId, TokenId};
use crate::state::{
    Authority, FeedRecord, KeepSpec, Measures, NewSessionKey, Occurrence, PassReason, Priority, Recovery, Remarks,
    ScheduleSpec, Settings,
};
use crate::version::{LogVersion, Versions};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Begins the cluster with its first node; once only.
    Begin {
        /// The cluster's id, made at random by the node that begins it.
        cluster: ClusterId,
        /// That node.
        info: NodeInfo,
        /// Digest of the first administrator token.
        admin_token: Digest,
    },
    /// Makes a join token.
    CreateToken(NewToken),
    /// Makes a join token void.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Admits a node; its id is this entry's log index. The same peer joining again keeps its id.
    Join {
        /// The public half of the token.
        token: TokenId,
        /// Digest of the secret half.
        secret: Digest,
        /// Who joins.
        info: NodeInfo,
    },
    /// A node started again, perhaps with another address, version or capacity.
    UpdateNode {
        /// Which.
        node: NodeId,
        /// What it says of itself now.
        info: NodeInfo,
    },
    /// Accepts a job; its id is this entry's log index.
    SubmitJob(Box<Submission>),
    /// Gives units to workers; each that is no longer free, or over a limit, is left out.
    Grant {
        /// The leases to make; their epoch is this entry's log index.
        grants: Vec<NewLease>,
    },
    /// Counts finished units, each once.
    Complete {
        /// The finished units.
        completions: Vec<Completion>,
    },
    /// Hands unfinished units back without blame, as a stopping node does.
    Release {
        /// Which.
        leases: Vec<LeaseRef>,
    },
    /// Takes back leases whose worker was not heard from in time, or that failed there.
    Expire {
        /// Which.
        leases: Vec<LeaseRef>,
        /// Why, for the job's events.
        reason: String,
    },
    /// A worker missed its heartbeats; it keeps its leases for now.
    WorkerSuspect {
        /// Which.
        node: NodeId,
    },
    /// Ends a job; what was found stays.
    Cancel {
        /// Which.
        job: JobId,
        /// Why, for its events.
        reason: String,
    },
    /// A worker's grace period is over: its leases are free again.
    WorkerFailed {
        /// Which.
        node: NodeId,
    },
    /// A worker that was suspected or failed is heard again.
    WorkerBack {
        /// Which.
        node: NodeId,
    },
    /// Chunks have other holders after a repair.
    SetHolders {
        /// Unit, and who holds its chunk now.
        updates: Vec<(UnitKey, Vec<NodeId>)>,
    },
    /// Takes a node out of the cluster for good; its id is not used again.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Starts or ends draining: a draining node gets no new leases.
    DrainNode {
        /// Which.
        node: NodeId,
        /// Whether it drains from now on.
        draining: bool,
    },
    /// Makes a bundle the cluster's feed of a kind, in place of the one before.
    SetFeed {
        /// Which kind, such as `cve`.
        kind: String,
        /// The bundle.
        record: Box<FeedRecord>,
    },
    /// Takes a feed away.
    RemoveFeed {
        /// Which kind.
        kind: String,
    },
    /// A feed's bundle has other holders after a repair.
    SetFeedHolders {
        /// Which bundle.
        digest: Digest,
        /// Who holds it now.
        holders: Vec<NodeId>,
    },
    /// Specs that are chunks have other holders after a repair.
    SetSpecHolders {
        /// Job, and who holds its spec now.
        updates: Vec<(JobId, Vec<NodeId>)>,
    },
    /// Counts a finished unit of which there is more to say than its counts.
    CompleteWith {
        /// The finished unit.
        completion: Box<Completion>,
        /// What there is to say.
        remarks: Remarks,
    },
    /// Forgets an ended job with all that is known of it; the chunks of its results are named by nothing any more.
    DeleteJob {
        /// Which.
        job: JobId,
    },
    /// Says how work is shared out, timed and tried again, on all nodes.
    SetSettings {
        /// From now on.
        settings: Box<Settings>,
    },
    /// Holds a job, or lets it go on.
    PauseJob {
        /// Which.
        job: JobId,
        /// Whether it is held from now on.
        paused: bool,
        /// Why, for its events.
        reason: String,
    },
    /// Gives a job another priority.
    Reprioritize {
        /// Which.
        job: JobId,
        /// From now on.
        priority: Priority,
    },
    /// Says when ranges that were tried in vain may be tried again; the leader drew the times.
    SetBackoff {
        /// Range, and the unix milliseconds before which it rests.
        updates: Vec<(UnitKey, u64)>,
    },
    /// Sets a worker aside that fails what it gets.
    SetAside {
        /// Which.
        node: NodeId,
        /// Until when, unix milliseconds.
        until_ms: u64,
    },
    /// The networks that a node reaches are others now.
    SetNetworks {
        /// Which.
        node: NodeId,
        /// The networks; `None` for all.
        networks: Option<Vec<IpNet>>,
    },
    /// Makes a join token that carries the whole of a node's policy.
    MakeToken(Box<TokenGrant>),
    /// Admits a node whose token was verified by the member that proposes this; its id is this entry's log index. The
    /// same peer asking again keeps its id.
    Admit {
        /// The public half of the token.
        token: TokenId,
        /// What the node says of itself; its token's policy narrows it.
        info: Box<NodeInfo>,
    },
    /// Changes the cluster's word about a node.
    SetPolicy {
        /// Which.
        node: NodeId,
        /// What is changed of it; the rest stays.
        change: Box<PolicyChange>,
    },
    /// A node stopped in order: it has handed its work back.
    NodeLeft {
        /// Which.
        node: NodeId,
    },
    /// A node is to leave for good: it gets no more work and no vote, and is removed once it has none.
    Retire {
        /// Which.
        node: NodeId,
    },
    /// Removes a node that has been gone since a time; nothing where it was heard from since.
    Forget {
        /// Which.
        node: NodeId,
        /// When its status became what the leader saw, unix milliseconds of the log's clock.
        since_ms: u64,
    },
    /// Sets how many voters the cluster aims at.
    AimVoters {
        /// 3, 5 or 7.
        voters: u32,
    },
    /// Accepts a job whose work is carried to a worker without a network; its id is this entry's log index.
    CarryJob(Box<Submission>),
    /// Lets results of a worker without a network in, or no more.
    SetOffline {
        /// The key that it signs with.
        peer: String,
        /// What it is called; `None` takes it away.
        name: Option<String>,
    },
    /// Counts results that were carried in, each unit once.
    Import(Box<Imported>),
    /// Bundles of a worker without a network were carried in.
    NoteBundles {
        /// Whose.
        worker: NodeId,
        /// The first of them.
        first: u64,
        /// The last of them, and the highest number that is known of.
        last: u64,
    },
    /// Makes a schedule; the same once more changes nothing.
    AddSchedule {
        /// What it is called.
        name: String,
        /// What and when.
        spec: Box<ScheduleSpec>,
    },
    /// Takes a schedule away; its jobs stay.
    RemoveSchedule {
        /// Which.
        name: String,
    },
    /// Holds a schedule, or lets it go on.
    PauseSchedule {
        /// Which.
        name: String,
        /// Whether it is held from now on.
        paused: bool,
    },
    /// Accepts the job of a schedule's occurrence, which is over with that; its id is this entry's log index.
    StartOccurrence {
        /// Of which schedule.
        schedule: String,
        /// Which of its times.
        occurrence: Occurrence,
        /// The job.
        submission: Box<Submission>,
    },
    /// Ends a schedule's occurrence without a job.
    PassOccurrence {
        /// Of which schedule.
        schedule: String,
        /// Which of its times.
        occurrence: Occurrence,
        /// Why.
        why: PassReason,
    },
    /// Writes a rule of the cluster's policy, over one with its kind and name.
    SetRule(Box<NewRule>),
    /// Takes a rule away.
    RemoveRule {
        /// Its kind.
        kind: RuleKind,
        /// Its name.
        name: String,
        /// Who asked.
        author: Author,
    },
    /// Accepts a job, and keeps who asked for it; its id is this entry's log index.
    SubmitAs {
        /// The job.
        submission: Box<Submission>,
        /// Who asked.
        author: Author,
    },
    /// Holds a job that the cluster's policy does not allow now, or lets it go on.
    HoldJob {
        /// Which.
        job: JobId,
        /// Why it is held from now on; `None` to let it go on.
        hold: Option<String>,
    },
    /// Counts a finished unit of which it was measured how much of it was found.
    CompleteMeasured {
        /// The finished unit.
        completion: Box<Completion>,
        /// What there is to say beside its counts.
        remarks: Remarks,
        /// What was measured.
        measures: Measures,
    },
    /// Makes a standing scan; the same once more changes nothing.
    AddKeep {
        /// What it is called.
        name: String,
        /// What is promised.
        spec: Box<KeepSpec>,
    },
    /// Ends a standing scan and the pass that is on; what earlier passes found stays.
    RemoveKeep {
        /// Which.
        name: String,
    },
    /// Holds a standing scan, or lets it go on.
    PauseKeep {
        /// Which.
        name: String,
        /// Whether it is held from now on.
        paused: bool,
    },
    /// Accepts the job of a pass over a slice of a standing scan; its id is this entry's log index.
    StartSlice {
        /// Of which standing scan.
        keep: String,
        /// Which of its slices.
        slice: u32,
        /// The job.
        submission: Box<Submission>,
    },
    /// Notes what came of a pass that has ended.
    EndSlice {
        /// Of which standing scan.
        keep: String,
        /// The job of the pass.
        job: JobId,
    },
    /// Notes why a pass cannot begin.
    RefuseSlice {
        /// Of which standing scan.
        keep: String,
        /// Why.
        reason: String,
    },
    /// A node says which versions of the log it reads.
    SetVersions {
        /// Which.
        node: NodeId,
        /// What it reads.
        versions: Versions,
    },
    /// Raises the version of the log, which every node that follows it reads.
    RaiseLog {
        /// The version from now on.
        version: LogVersion,
    },
    /// Makes what begins jobs by itself, or accepts a job that is carried, and keeps who asked for it.
    ArrangeAs {
        /// Who asked.
        author: Author,
        /// For what.
        arrangement: Box<Arrangement>,
    },
    /// Makes an access token; the same once more changes nothing.
    MakeAccessToken(Box<NewAccessToken>),
    /// Gives an access token another secret.
    RotateAccessToken {
        /// Which.
        name: String,
        /// The digest of its secret from now on.
        key: Digest,
        /// Who asked.
        author: Author,
    },
    /// Makes an access token useless.
    RevokeAccessToken {
        /// Which.
        name: String,
        /// Who asked.
        author: Author,
    },
    /// Adds to the audit log.
    NoteAudit {
        /// Drawn by whoever proposes it, so that a retry adds nothing.
        batch: u64,
        /// What was asked of the API, and what came of it.
        entries: Vec<AuditEntry>,
    },
    /// Notes who signs the certificates of the nodes' APIs; the first one holds.
    SetAuthority(Box<Authority>),
    /// A node says whose orders it takes alone.
    SetSigners {
        /// Which.
        node: NodeId,
        /// The keys of those whose signature it asks for, as texts; `None` where it takes every order.
        keys: Option<Vec<String>>,
    },
    /// Bounds how much the bearer of an access token may ask for.
    LimitAccessToken {
        /// Which.
        name: String,
        /// From now on.
        limits: TokenLimits,
        /// Who asked.
        author: Author,
    },
    /// A node takes a step out of the log, or back into it.
    MoveInLog {
        /// Which.
        node: NodeId,
        /// The step.
        step: LogStep,
    },
    /// Notes what signs sessions from here on.
    SetSessionKey(Box<NewSessionKey>),
    /// Takes back leases of units that the file of their worker's node does not allow it to do: who refuses has not failed, and
    /// the try counts neither against the node nor against the unit.
    Decline {
        /// Which.
        leases: Vec<LeaseRef>,
        /// Why, for the job's events.
        reason: String,
    },
    /// Accepts the one job of an order that was signed, and keeps who asked for it; its id is this entry's log index.
    SubmitOrdered(Box<OrderedJob>),
    /// Takes back all leases of a worker whose side ended its connection, where the units of one that fails go to others. It counts as a
    /// try of the units, and not against the worker.
    TakeBack(NodeId),
    /// Gives back what a worker does not need any more of a lease's share of a budget, once the worker keeps to the rest.
    YieldShare {
        /// Which.
        lease: LeaseRef,
        /// What it sends at most from here on, packets per second; more than its share changes nothing.
        rate_pps: u64,
    },
    /// The addresses of a node that runs are others now.
    SetAddresses(NodeId, Vec<String>),
    /// As `Retire`, and the audit log has what came of it at once: the node may be out before it could say so itself.
    RetireNoted(Box<NotedRetirement>),
    /// A node goes on alone, because the majority is lost for good.
    Recover(Box<Recovery>),
    /// Stands for what a next release brings, in a program that the tests build to go from one release to another.
    #[cfg(feature = "next-version")]
    Rehearse {
        /// Who proposes it.
        node: NodeId,
    },
}
