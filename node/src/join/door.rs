//! The member's side of joining: who is let in, and who is told that it is out.
//!
//! A token's proof is verified here, against what the log keeps of it, before anything is proposed: a stranger with a wrong
//! token costs no entry. What only the log can decide (whether the token has uses left, whether the name is free) is
//! decided there. Who was let in by which token, and who was not and why, is in the audit log.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_p2p::{FrameStream, Mesh, PeerId};
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::id::is_node_name;
use pentora_raft::{NodeId, Raft, Refusal, Response, TokenId};

use super::rivals::{self, Kin, Lineage, Rivals, kin, readable};
use super::tries::Tries;
use super::{AdmissionRequest, Membership, Question, Reply, Welcome, token};
use crate::member_address::MemberAddress;
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::trail::Trail;

/// How long a token that is not known here is waited for: it may have been made on another member a moment ago.
const TOKEN_KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// How long a member waits until it has applied an admission itself.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

/// Answers strangers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    raft: Raft,
    proposer: Proposer,
    mesh: Option<Mesh>,
    tries: Arc<Mutex<Tries>>,
    trail: Trail,
    rivals: Rivals,
}

impl Door {
    /// A door to the cluster that `raft` is in; `mesh` tells where strangers are, and `trail` notes who came.
    #[must_use]
    pub fn new(raft: Raft, proposer: Proposer, mesh: Option<Mesh>, trail: Trail) -> Self {
        Self { raft, proposer, mesh, tries: Arc::default(), trail, rivals: Rivals::default() }
    }

    /// The other clusters of this one's name that were met.
    #[must_use]
    pub fn rivals(&self) -> Rivals {
        self.rivals.clone()
    }

    /// Answers one stranger.
    ///
    /// # Errors
    /// Where the stream breaks or carries something else; nothing was decided then.
    pub async fn answer(&self, stream: &mut FrameStream) -> Result<(), String> {
        let frame = stream.receive().await.map_err(|error| error.to_string())?.ok_or("it hung up")?;
        let question: Question = codec::decode(Kind::CallFrame, &frame).map_err(|error| error.to_string())?;
        let reply = match question {
            Question::Admission(request) => self.admit(stream.peer, *request).await,
            Question::Membership { node } => Reply::Membership(self.membership(stream.peer, node, 0)),
            Question::MembershipSince { node, since } => Reply::Membership(self.membership(stream.peer, node, since)),
            Question::MembershipIn { node, since, recoveries } => {
                let goes_on = !matches!(kin(&self.raft.read(rivals::recoveries), &recoveries), Kin::Same | Kin::WentOn);
                Reply::Membership(match self.membership(stream.peer, node, since) {
                    Membership::Removed if goes_on => Membership::TakenOut,
                    membership => membership,
                })
            }
            Question::Lineage(said) => {
                let own = Lineage::own(&self.raft).ok_or("this node has no log of its cluster yet")?;
                let place = self.mesh.as_ref().and_then(|mesh| mesh.peer(stream.peer)?.remote);
                let place = place.map_or_else(|| "an unknown address".to_owned(), |place| place.ip().to_string());
                self.rivals.met(&own, &readable(said), stream.peer, &place);
                Reply::Lineage(own)
            }
        };
        let frame = codec::encode(Kind::CallFrame, &reply);
        stream.send(frame.into()).await.map_err(|error| error.to_string())
    }

    async fn admit(&self, peer: PeerId, request: AdmissionRequest) -> Reply {
        let own = self.raft.node();
        if self.raft.is_outside() || self.raft.read(|state| state.node(own).is_some_and(|record| !record.may_vote())) {
            return Reply::Later("this node only scans; join through a member of the cluster".into());
        }
        let name = request.info.name.clone();
        let address = self.address_of(peer);
        let from = address.map(|address| address.to_string()).unwrap_or_default();
        let by = self.told_of(peer, &request);
        let refused = |code: &str, message: String| {
            tracing::warn!(%peer, name, reason = message, "a node was not admitted");
            self.trail.asked_in(from.clone(), format!("{by} code={code}"), false);
            Reply::Refused { code: code.into(), message }
        };
        if let Some(wait) = address.and_then(|address| self.tries().wait(Instant::now(), address)) {
            let seconds = wait.as_secs() + 1;
            return refused("too_many_tries", format!("too many wrong tokens from this address; wait {seconds} s"));
        }
        if let Err(refusal) = self.verify(peer, &request).await {
            if let (Refusal::TokenSecretWrong | Refusal::TokenUnknown, Some(address)) = (&refusal, address) {
                self.tries().failed(Instant::now(), address);
            }
            // Its token may be of another that is met here under the same name.
            let of_another = self.rivals.told().into_iter().next().filter(|_| refusal == Refusal::TokenUnknown);
            let hint = of_another.map_or_else(String::new, |told| format!("; {told}"));
            return refused(refusal.code(), format!("{refusal}{hint}"));
        }
        let (version, reads) = (self.raft.read(pentora_raft::State::log_version), request.reads);
        if !reads.reads(version) {
            let refusal = Refusal::Incompatible { version, reads };
            return refused(refusal.code(), refusal.to_string());
        }
        let info = Box::new(NodeInfo { peer: peer.to_string(), ..request.info });
        match self.proposer.propose(Command::Admit { token: request.token, info }).await {
            Ok(applied) => match applied.response {
                Response::Joined { node } => {
                    tracing::info!(node, name, index = applied.index, "a node was admitted");
                    self.trail.asked_in(from.clone(), by.clone(), true);
                    // The leader has applied it; what this member makes of it waits until it has as well.
                    self.raft.wait_applied(applied.index, APPLIED_WITHIN).await;
                    let welcome = self.welcome(node, applied.index);
                    if self.only_scans(node) { Reply::WelcomeOutside(welcome) } else { Reply::Welcome(welcome) }
                }
                _ => Reply::Later("the log answered with something else".into()),
            },
            Err(Unavailable::Refused(refusal)) => refused(refusal.code(), refusal.to_string()),
            Err(error) => Reply::Later(error.to_string()),
        }
    }

    /// By which token a joiner comes and as what, for the audit log.
    fn told_of(&self, peer: PeerId, request: &AdmissionRequest) -> String {
        let token = self.raft.read(|state| {
            let named = state.tokens().find(|(id, _)| *id == request.token).map(|(_, row)| row.name.clone());
            named.unwrap_or_else(|| request.token.to_string())
        });
        // A stranger's words are words of one line, or none.
        let name = if is_node_name(&request.info.name) { request.info.name.as_str() } else { "?" };
        format!("token={token} node={name} peer={peer}")
    }

    /// Whether the joiner has the token's secret, and the token can still be used; a peer that is in already is let
    /// through, because its first answer may have been lost.
    async fn verify(&self, peer: PeerId, request: &AdmissionRequest) -> Result<(), Refusal> {
        self.wait_for_token(request.token).await;
        self.raft.read(|state| {
            let row = state.tokens().find(|(id, _)| *id == request.token).map(|(_, row)| row);
            let row = row.ok_or(Refusal::TokenUnknown)?;
            let cluster = state.cluster().id.unwrap_or_default();
            if !token::proves(row.secret, cluster, request.token, peer, &request.proof) {
                return Err(Refusal::TokenSecretWrong);
            }
            if state.node_of(&peer.to_string()).is_some() { Ok(()) } else { state.usable(row) }
        })
    }

    async fn wait_for_token(&self, token: TokenId) {
        let end = Instant::now() + TOKEN_KNOWN_WITHIN;
        let mut applied = self.raft.watch_applied();
        while self.raft.read(|state| state.tokens().all(|(id, _)| id != token)) {
            let left = end.saturating_duration_since(Instant::now());
            if !matches!(tokio::time::timeout(left, applied.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Whether a peer that was admitted as `node` still is in the cluster, as far as this member knows; it knows nothing
    /// before it has applied the entry at `since`.
    fn membership(&self, peer: PeerId, node: NodeId, since: u64) -> Membership {
        let applied = *self.raft.watch_applied().borrow();
        if self.raft.is_outside() || applied < since {
            // Outside it is shown nobody who only scans.
            return Membership::Unknown;
        }
        self.raft.read(|state| match state.node(node) {
            // While the group still counts on it, it hears of it there.
            Some(record) if record.info.peer == peer.to_string() => {
                let is_out = state.log_place(node).is_none_or(|place| place.is_out);
                if is_out && !record.may_vote() { Membership::OnlyScans } else { Membership::In }
            }
            // An id is the index of an admission and is never used again.
            None if state.cluster().id.is_some() && node <= applied => Membership::Removed,
            _ => Membership::Unknown,
        })
    }

    fn welcome(&self, node: NodeId, index: u64) -> Welcome {
        self.raft.read(|state| Welcome {
            node,
            cluster: state.cluster().id.unwrap_or_default(),
            members: state
                .nodes()
                .filter(|(id, record)| *id != node && record.may_vote())
                .map(|(_, record)| MemberAddress::of(record))
                .collect(),
            index,
        })
    }

    /// Whether a node that was let in stands outside the log.
    fn only_scans(&self, node: NodeId) -> bool {
        self.raft.read(|state| state.node(node).is_some_and(|record| !record.may_vote()))
    }

    fn address_of(&self, peer: PeerId) -> Option<IpAddr> {
        self.mesh.as_ref()?.peer(peer)?.remote.map(|remote| remote.ip())
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
