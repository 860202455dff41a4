//! What each peer may do: one table, asked wherever a stream opens, a call arrives and a command is to be proposed.
//!
//! Members trust each other: any of them may lead, and then decides everything. A node that only scans stands where
//! members do not, so it gets what its part needs and no more: it is shown what of the log concerns it, works on its own
//! leases, hands in their results, reads the specs of their jobs and the feeds, and says how it is itself. What people ask of
//! it goes to a member with their own token. Whoever holds the pre-shared key alone may ask to be admitted. What a node does
//! itself passes no table, because nothing arrives.
//!
//! A command, a call or a class of streams without its row does not compile.

use pentora_p2p::Class;
use pentora_raft::command::{Command, Completion, LeaseRef, LogStep, NodeInfo, NodeRole, SpecRef, UnitKey};
use pentora_raft::state::{CommandKind, Lease};
use pentora_raft::{Digest, NodeId, State};

use crate::results::Heading;
use crate::results::choose::{keeps_results, may_have};
use crate::rpc::calls::Request;

/// Who a peer is, by its key and what the log says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A node that may vote.
    Member(NodeId),
    /// A node that only scans.
    Scanner(NodeId),
    /// A peer that the mesh was told of when this node was admitted; this node's log does not reach so far yet.
    Unread,
    /// Somebody with the pre-shared key.
    Stranger,
}

/// Why a peer may not do what it tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} may not {what}: {why}")]
pub struct Denied {
    who: String,
    what: String,
    why: &'static str,
}

/// What a scanner may propose.
enum Right {
    /// What is done with leases that it holds.
    OfOwnLeases,
    /// What it says of itself.
    OfItself,
    /// Nothing, for this reason.
    Not(&'static str),
}

const OPERATOR: &str = "it is an operator's order, which goes to a member with the operator's token";
const LEADER: &str = "the leader decides it";
const ADMISSION: &str = "members admit nodes, so that no token passes through a node that only scans";
const RECOVERY: &str = "a node recovers while it is stopped, by its own hand";
const AUTHORITY: &str = "members alone have the key that signs certificates";
const SESSIONS: &str = "members alone have the key that signs sessions";
const SIGNS: &str = "members sign their own, and nobody else has one but nodes that only scan";
const LOG: &str = "the log goes between members";
const RELAY: &str = "work sessions of many nodes go between members";
const OUTSIDE: &str = "it asks a node that stands outside the log, which has nothing to say to it";

impl Peer {
    /// The peer with this key, as node `own` has the log.
    #[must_use]
    pub fn of(state: &State, own: NodeId, key: &str) -> Self {
        match state.nodes().find(|(_, record)| record.info.peer == key) {
            Some((node, record)) if record.may_vote() => Self::Member(node),
            Some((node, _)) => Self::Scanner(node),
            // Whoever is unknown has passed the mesh's own gate, which knows whom the log names and, until this node has
            // read of its own admission, whom it was told of then.
            None if state.node(own).is_none() => Self::Unread,
            None => Self::Stranger,
        }
    }

    /// Its id, where the log names it.
    #[must_use]
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Member(node) | Self::Scanner(node) => Some(node),
            Self::Unread | Self::Stranger => None,
        }
    }

    fn denied(self, what: impl Into<String>, why: &'static str) -> Denied {
        let who = match self {
            Self::Member(node) => format!("member {node}"),
            Self::Scanner(node) => format!("node {node}, which only scans,"),
            Self::Unread => "a peer that this node has not read of yet".into(),
            Self::Stranger => "a peer that is not in the cluster".into(),
        };
        Denied { who, what: what.into(), why }
    }
}

/// Whether `peer` may open a stream of `class` here.
///
/// # Errors
/// [`Denied`].
pub fn stream(peer: Peer, class: Class) -> Result<(), Denied> {
    let denied = |why| Err(peer.denied(format!("open a {class} stream"), why));
    match (class, peer) {
        (Class::Join, _) | (_, Peer::Member(_)) => Ok(()),
        (_, Peer::Stranger) => denied("it has to join first"),
        (Class::RaftAppend | Class::RaftControl | Class::RaftSnapshot, Peer::Unread) => Ok(()),
        (Class::RaftAppend | Class::RaftControl | Class::RaftSnapshot, Peer::Scanner(_)) => denied(LOG),
        (Class::Relay, Peer::Scanner(_)) => denied(RELAY),
        (Class::Work | Class::View | Class::Chunk | Class::Admin, Peer::Scanner(_)) => Ok(()),
        (Class::Work | Class::View | Class::Relay | Class::Chunk | Class::Admin, Peer::Unread) => {
            denied("this node is still reading the log")
        }
    }
}

/// Whether a node outside the log serves a stream of `class` to `peer`: strangers are told to join elsewhere, and members get
/// the chunks that are still here, and addresses.
///
/// # Errors
/// [`Denied`].
pub fn stream_outside(peer: Peer, class: Class) -> Result<(), Denied> {
    match (class, peer) {
        (Class::Join, _) | (Class::Chunk | Class::Admin, Peer::Member(_) | Peer::Unread) => Ok(()),
        _ => Err(peer.denied(format!("open a {class} stream"), OUTSIDE)),
    }
}

/// Whether a node outside the log answers a call of a member.
///
/// # Errors
/// [`Denied`].
pub fn call_outside(peer: Peer, request: &Request) -> Result<(), Denied> {
    match request {
        Request::GetChunk(_) | Request::Addresses(_) => Ok(()),
        Request::Suffer { .. } if matches!(peer, Peer::Member(_)) => Ok(()),
        Request::Suffer { .. }
        | Request::Propose { .. }
        | Request::PutChunk { .. }
        | Request::HandIn { .. }
        | Request::Bring { .. }
        | Request::Api(_)
        | Request::ApiStream(_)
        | Request::Soft
        | Request::PlanRemoval(_)
        | Request::Demote(..)
        | Request::Retire(_)
        | Request::RetireNoted(_)
        | Request::ReadIndex
        | Request::Figures
        | Request::Certify { .. }
        | Request::EndUnits(_)
        | Request::Lacking
        | Request::TransferLeader(_)
        | Request::KeepChunk { .. } => Err(peer.denied("have that done", OUTSIDE)),
    }
}

/// Whether `peer` may make a call. What it proposes and what chunks it brings is asked apart.
///
/// # Errors
/// [`Denied`].
pub fn call(peer: Peer, request: &Request) -> Result<(), Denied> {
    let members_only = |what: &str, why| match peer {
        Peer::Member(_) => Ok(()),
        _ => Err(peer.denied(what, why)),
    };
    match request {
        // Each has a gate of its own: the command, the chunk's unit, what the chunk is, the operator's token.
        Request::Propose { .. }
        | Request::PutChunk { .. }
        | Request::HandIn { .. }
        | Request::Bring { .. }
        | Request::GetChunk(_)
        | Request::Api(_)
        | Request::ApiStream(_) => Ok(()),
        // Where members are is what it needs to find its next gateway.
        Request::Addresses(_) => Ok(()),
        // What an autoscaler of nodes like it goes by; no name is among it.
        Request::Figures if !matches!(peer, Peer::Stranger) => Ok(()),
        Request::Figures => Err(peer.denied("ask how much work waits", OPERATOR)),
        Request::Certify { .. } if matches!(peer, Peer::Scanner(_)) => Ok(()),
        Request::Certify { .. } => Err(peer.denied("have a certificate signed", SIGNS)),
        Request::Soft | Request::PlanRemoval(_) | Request::ReadIndex => {
            members_only("ask what the leader knows", OPERATOR)
        }
        Request::EndUnits(_) => members_only("have units ended", OPERATOR),
        Request::TransferLeader(_) => members_only("hand leadership over", OPERATOR),
        Request::Demote(..) => members_only("keep a node from voting", OPERATOR),
        Request::Retire(_) | Request::RetireNoted(_) => members_only("take a node out", OPERATOR),
        Request::KeepChunk { .. } | Request::Lacking => members_only("have chunks kept", LEADER),
        Request::Suffer { .. } => members_only("have a fault rehearsed", OPERATOR),
    }
}

/// The command as `peer` may have it proposed here.
///
/// # Errors
/// [`Denied`].
pub fn proposal(state: &State, peer: Peer, command: Command) -> Result<Command, Denied> {
    let kind = command.kind();
    let denied = |why| peer.denied(format!("propose {}", kind.name()), why);
    if let Command::SetFeed { record, .. } = &command
        && !is_signed_by_member(state, &record.signer)
    {
        return Err(denied("a feed is signed by a member"));
    }
    let node = match peer {
        Peer::Member(_) if kind == CommandKind::Begin => return Err(denied("the cluster has begun")),
        Peer::Member(_) if kind == CommandKind::Recover => return Err(denied("a node recovers while it is stopped")),
        Peer::Member(_) => return Ok(command),
        Peer::Scanner(node) => node,
        Peer::Unread | Peer::Stranger => return Err(denied("it is not in the cluster")),
    };
    match right(kind) {
        Right::Not(why) => Err(denied(why)),
        Right::OfItself => of_itself(state, node, command).ok_or_else(|| denied("a node speaks for itself alone")),
        Right::OfOwnLeases if is_of_own_leases(state, node, &command) => Ok(command),
        Right::OfOwnLeases => Err(denied("the leases, or the holders of their results, are not its own to name")),
    }
}

/// Whether the node whose key is `signer` may sign a feed.
#[must_use]
pub fn is_signed_by_member(state: &State, signer: &str) -> bool {
    state.nodes().any(|(_, record)| record.info.peer == signer && record.may_vote())
}

/// Whether `peer` may have this chunk kept by node `own`; `heading` is what the chunk says it holds, `region` the one that it
/// says it does not leave.
///
/// # Errors
/// [`Denied`].
pub fn chunk(
    state: &State,
    own: NodeId,
    peer: Peer,
    heading: Option<&Heading>,
    region: Option<&str>,
) -> Result<(), Denied> {
    if !may_have(state, own, region) {
        return Err(peer.denied("have a chunk kept", "this node is not in the region that the chunk does not leave"));
    }
    let is_own_unit = |node: NodeId, heading: &Heading| {
        let has = |unit: &UnitKey, lease: &Lease| {
            let has = lease.start <= heading.unit.start && heading.end <= lease.end;
            lease.node == node && unit.partition == heading.unit.partition && has
        };
        // A part of a unit does not begin where its lease did.
        let whole = state.lease(&heading.unit).is_some_and(|lease| has(&heading.unit, lease));
        whole || state.job_leases(heading.unit.job).any(|(unit, lease)| has(&unit, lease))
    };
    match (peer, heading) {
        (Peer::Member(_), _) => Ok(()),
        (Peer::Scanner(_), Some(heading)) if state.residency(heading.unit.job) != region => {
            Err(peer.denied("have a chunk kept", "it does not say in which region the results of its job stay"))
        }
        (Peer::Scanner(node), Some(heading)) if is_own_unit(node, heading) => Ok(()),
        _ => Err(peer.denied("have a chunk kept", "it is not the result of a unit that it holds")),
    }
}

/// Whether a member may read a chunk that does not leave `region`, where there is one.
///
/// # Errors
/// [`Denied`].
pub fn given(state: &State, peer: Peer, region: Option<&str>) -> Result<(), Denied> {
    if region.is_none() || peer.node().is_some_and(|node| may_have(state, node, region)) {
        return Ok(());
    }
    Err(peer.denied("read a chunk", "it is not in the region that the chunk does not leave"))
}

/// Who holds a chunk that a node which only scans may read: a feed, or the spec of a job that it has a unit of.
///
/// # Errors
/// [`Denied`].
pub fn readable(state: &State, peer: Peer, digest: Digest) -> Result<Vec<NodeId>, Denied> {
    let denied = || peer.denied("read a chunk", "it is no feed, and no spec of a job that it has a unit of");
    let Peer::Scanner(node) = peer else { return Err(denied()) };
    if let Some((_, feed)) = state.feeds().find(|(_, feed)| feed.digest == digest) {
        return Ok(feed.holders.clone());
    }
    let of_own = state.leases().filter(|(_, lease)| lease.node == node);
    let specs = of_own.filter_map(|(unit, _)| match state.spec(unit.job) {
        Some(SpecRef::Chunk { digest: named, holders }) if *named == digest => Some(holders.clone()),
        _ => None,
    });
    specs.into_iter().next().ok_or_else(denied)
}

/// The last lease that a command is about: whoever judges the command has to have applied as much, or it takes a lease of
/// another for one that is gone.
#[must_use]
pub fn judged_from(command: &Command) -> u64 {
    let newest = |leases: &[LeaseRef]| leases.iter().map(|lease| lease.epoch).max().unwrap_or(0);
    match command {
        Command::Complete { completions } => completions.iter().map(|it| it.lease.epoch).max().unwrap_or(0),
        Command::CompleteWith { completion, .. } | Command::CompleteMeasured { completion, .. } => {
            completion.lease.epoch
        }
        Command::Release { leases } | Command::Expire { leases, .. } | Command::Decline { leases, .. } => {
            newest(leases)
        }
        Command::YieldShare { lease, .. } => lease.epoch,
        _ => 0,
    }
}

/// The table of commands for a node that only scans.
#[expect(clippy::too_many_lines, reason = "one line for each command and no wildcard, so that none is left out")]
fn right(kind: CommandKind) -> Right {
    use CommandKind as Kind;
    match kind {
        Kind::Complete
        | Kind::CompleteWith
        | Kind::CompleteMeasured
        | Kind::Release
        | Kind::Expire
        | Kind::Decline
        | Kind::YieldShare => Right::OfOwnLeases,
        Kind::UpdateNode
        | Kind::SetNetworks
        | Kind::SetAddresses
        | Kind::SetVersions
        | Kind::SetSigners
        | Kind::NodeLeft
        | Kind::Retire
        | Kind::MoveInLog => Right::OfItself,
        Kind::Begin | Kind::Join | Kind::Admit => Right::Not(ADMISSION),
        Kind::Recover => Right::Not(RECOVERY),
        Kind::CreateToken
        | Kind::MakeToken
        | Kind::SetPolicy
        | Kind::AimVoters
        | Kind::CarryJob
        | Kind::SetOffline
        | Kind::Import
        | Kind::NoteBundles
        | Kind::RevokeToken
        | Kind::SubmitJob
        | Kind::Cancel
        | Kind::DeleteJob
        | Kind::PauseJob
        | Kind::Reprioritize
        | Kind::SetSettings
        | Kind::RemoveNode
        | Kind::RetireNoted
        | Kind::DrainNode
        | Kind::SetFeed
        | Kind::RemoveFeed
        | Kind::AddSchedule
        | Kind::RemoveSchedule
        | Kind::PauseSchedule
        | Kind::SetRule
        | Kind::RemoveRule
        | Kind::AddKeep
        | Kind::RemoveKeep
        | Kind::PauseKeep
        | Kind::ArrangeAs
        | Kind::MakeAccessToken
        | Kind::RotateAccessToken
        | Kind::RevokeAccessToken
        | Kind::LimitAccessToken
        | Kind::NoteAudit
        | Kind::SubmitAs
        | Kind::SubmitOrdered => Right::Not(OPERATOR),
        Kind::SetAuthority => Right::Not(AUTHORITY),
        Kind::SetSessionKey => Right::Not(SESSIONS),
        Kind::Grant
        | Kind::WorkerSuspect
        | Kind::WorkerFailed
        | Kind::WorkerBack
        | Kind::TakeBack
        | Kind::SetHolders
        | Kind::Forget
        | Kind::SetBackoff
        | Kind::HoldJob
        | Kind::SetAside
        | Kind::SetFeedHolders
        | Kind::SetSpecHolders
        | Kind::StartOccurrence
        | Kind::StartSlice
        | Kind::EndSlice
        | Kind::RefuseSlice
        | Kind::PassOccurrence
        | Kind::RaiseLog => Right::Not(LEADER),
        #[cfg(feature = "next-version")]
        Kind::Rehearse => Right::OfItself,
    }
}

/// A node's report of itself, by which it does not become a member; `None` where it is of another.
fn of_itself(state: &State, node: NodeId, command: Command) -> Option<Command> {
    match command {
        Command::UpdateNode { node: named, info } if named == node => {
            // A policy that makes it a scanner narrows its word, now and when the policy changes; what it is by its own word
            // alone it does not take back.
            // What it said before holds on: one that is on its way back to being a member says so once more.
            let by_policy = state.policy(node).role == NodeRole::Scanner;
            let said_so = state.wanted_role(node) == Some(NodeRole::Auto);
            let role = if by_policy || said_so { info.role } else { NodeRole::Scanner };
            Some(Command::UpdateNode { node, info: NodeInfo { role, ..info } })
        }
        Command::NodeLeft { node: named } | Command::Retire { node: named } if named == node => Some(command),
        Command::SetVersions { node: named, .. } | Command::SetSigners { node: named, .. } if named == node => {
            Some(command)
        }
        // That the group does not count on it any more is the leader's to say.
        Command::MoveInLog { node: named, step: LogStep::GiveUp | LogStep::Back { .. } } if named == node => {
            Some(command)
        }
        Command::SetAddresses(named, addresses) if named == node => Some(Command::SetAddresses(node, addresses)),
        #[cfg(feature = "next-version")]
        Command::Rehearse { node: named } if named == node => Some(command),
        Command::SetNetworks { node: named, networks } if named == node => {
            Some(Command::SetNetworks { node, networks })
        }
        _ => None,
    }
}

/// Whether a command is about leases of `node` alone. One that nobody holds any more changes nothing.
fn is_of_own_leases(state: &State, node: NodeId, command: &Command) -> bool {
    let of_nobody_else =
        |lease: &LeaseRef| state.lease(&lease.unit).is_none_or(|held| held.node == node || held.epoch != lease.epoch);
    let names_keepers = |completion: &Completion| {
        let holders = &completion.stored.holders;
        !holders.is_empty() && holders.iter().all(|holder| keeps_results(state, *holder))
    };
    let of_own = |completion: &Completion| {
        completion.node == node && of_nobody_else(&completion.lease) && names_keepers(completion)
    };
    match command {
        Command::Complete { completions } => completions.iter().all(of_own),
        Command::CompleteWith { completion, .. } | Command::CompleteMeasured { completion, .. } => of_own(completion),
        Command::Release { leases } | Command::Expire { leases, .. } | Command::Decline { leases, .. } => {
            leases.iter().all(of_nobody_else)
        }
        Command::YieldShare { lease, .. } => of_nobody_else(lease),
        _ => false,
    }
}

#[cfg(test)]
#[path = "access/access_test.rs"]
pub(crate) mod tests;
