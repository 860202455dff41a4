//! Joining: what a new node says to be let in, and what a member answers.
//!
//! The joiner dials a member with the token's pre-shared key, opens the one class of stream that strangers may, and
//! proves that it has the token's secret, without showing it. The member verifies that and puts the admission into the log
//! (`door`); the answer is the new node's id and where the others are. The peer's name is taken from the connection,
//! proven by its key, never from what it says. A node that was removed is a stranger too: it may ask whether it is out.

mod door;
mod rivals;
pub mod token;
mod tries;

use std::time::Duration;

use pentora_p2p::{Class, FrameStream, Mesh, PeerAddress, PeerId};
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::NodeInfo;
use pentora_raft::state::JoinToken;
use pentora_raft::{ClusterId, NodeId, RecoveryId, Refusal, State, TokenId, Versions};
use serde::{Deserialize, Serialize};

pub use self::door::Door;
pub use self::rivals::Rivals;
pub(crate) use self::rivals::{Lineage, meet, recoveries};
use crate::member_address::MemberAddress;

/// How long a member gets to answer: an election and a commit.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a new node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdmissionRequest {
    token: TokenId,
    proof: Vec<u8>,
    info: NodeInfo,
    /// What it reads of the log.
    reads: Versions,
}

/// What a stranger may ask. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// To be let in.
    Admission(Box<AdmissionRequest>),
    /// Whether it is still in the cluster, as a node that was admitted under this id.
    Membership { node: NodeId },
    /// The same of a member that has applied the entry at `since`: what was true before is no answer.
    MembershipSince { node: NodeId, since: u64 },
    /// The same, with the recoveries in the asking node's log: a member that goes by another one does not say who is out.
    MembershipIn { node: NodeId, since: u64, recoveries: Vec<RecoveryId> },
    /// Which recoveries the log goes by; the asking node says the same.
    Lineage(Lineage),
}

/// What a member answers. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Welcome(Welcome),
    Refused {
        code: String,
        message: String,
    },
    Later(String),
    Membership(Membership),
    /// It is in, and only scans: it stands outside the log.
    WelcomeOutside(Welcome),
    /// Which recoveries the answering node's log goes by.
    Lineage(Lineage),
}

/// Whether a node is in the cluster, as a member knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// It is.
    In,
    /// It was, and is out for good.
    Removed,
    /// This member knows too little to say.
    Unknown,
    /// It is, and only scans.
    OnlyScans,
    /// It is not in a cluster that went on by a recovery which its own log does not have.
    TakenOut,
}

/// How a node was let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// What it was told.
    pub welcome: Welcome,
    /// Whether it only scans, by its token's policy or its own word, and so stands outside the log.
    pub is_outside: bool,
}

/// A new node is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its id.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The other members.
    pub members: Vec<MemberAddress>,
    /// The log index at which it was admitted.
    pub index: u64,
}

/// Why a node was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody could be asked.
    #[error("{address} cannot be asked to join: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
        /// Whether that may pass by itself.
        is_passing: bool,
    },
    /// The cluster says no.
    #[error("the cluster refused: {message}")]
    Refused {
        /// A stable word.
        code: String,
        /// In a sentence.
        message: String,
    },
    /// The cluster cannot decide now.
    #[error("the cluster cannot admit a node now: {0}")]
    Later(String),
}

impl JoinError {
    /// Whether the same request may succeed later, without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { is_passing, .. } => *is_passing,
            Self::Refused { .. } => false,
            Self::Later(_) => true,
        }
    }
}

/// The join token whose secret a worker has shown that it has, with its own key, and which it can still use; one that is in already may
/// show any that stands.
///
/// # Errors
/// Why it is not believed, or may not.
pub fn holder<'a>(state: &'a State, credential: &token::Credential) -> Result<&'a JoinToken, Refusal> {
    let token::Credential { token: id, peer, .. } = credential;
    let row = state.tokens().find(|(known, _)| known == id).map(|(_, row)| row).ok_or(Refusal::TokenUnknown)?;
    let cluster = state.cluster().id.unwrap_or_default();
    if !credential.proves(row.secret, cluster) {
        return Err(Refusal::TokenSecretWrong);
    }
    if state.node_of(&peer.to_string()).is_none() {
        state.usable(row)?;
    }
    Ok(row)
}

/// Asks the member at `address` to let this node in.
///
/// # Errors
/// [`JoinError`].
pub async fn request_admission(
    mesh: &Mesh,
    address: PeerAddress,
    token: &token::JoinToken,
    info: NodeInfo,
) -> Result<Admission, JoinError> {
    let text = address.to_string();
    let unreachable = |reason: String, is_passing| JoinError::Unreachable { address: text.clone(), reason, is_passing };
    let dialed = mesh.dial(address, None).await;
    let peer = dialed.map_err(|error| unreachable(error.to_string(), error.is_retryable()))?;
    let opened = mesh.open(peer, Class::Join).await;
    let mut stream = opened.map_err(|error| unreachable(error.to_string(), error.is_retryable()))?;
    let request = AdmissionRequest { token: token.id, proof: token.prove(mesh.peer_id()), info, reads: Versions::OWN };
    let asked = ask(&mut stream, Question::Admission(Box::new(request))).await;
    match asked.map_err(|reason| unreachable(reason, true))? {
        Reply::Welcome(welcome) => Ok(Admission { welcome, is_outside: false }),
        Reply::WelcomeOutside(welcome) => Ok(Admission { welcome, is_outside: true }),
        Reply::Refused { code, message } => Err(JoinError::Refused { code, message }),
        Reply::Later(reason) => Err(JoinError::Later(reason)),
        Reply::Membership(_) | Reply::Lineage(_) => Err(unreachable("it answered something else".into(), false)),
    }
}

/// Asks a member whether this node, admitted as `node`, still is in the cluster. One that has not applied the entry at
/// `since` knows too little to say; with `recoveries`, those in this node's log, one that goes by another says so.
///
/// # Errors
/// A sentence where it cannot be asked.
pub async fn ask_membership(
    mesh: &Mesh,
    member: PeerId,
    (node, since): (NodeId, u64),
    recoveries: Option<Vec<RecoveryId>>,
) -> Result<Membership, String> {
    let mut stream = mesh.open(member, Class::Join).await.map_err(|error| error.to_string())?;
    let question = match recoveries {
        Some(recoveries) => Question::MembershipIn { node, since, recoveries },
        None if since == 0 => Question::Membership { node },
        None => Question::MembershipSince { node, since },
    };
    match ask(&mut stream, question).await? {
        Reply::Membership(membership) => Ok(membership),
        _ => Err("it answered something else".into()),
    }
}

async fn ask(stream: &mut FrameStream, question: Question) -> Result<Reply, String> {
    let asked = async {
        stream.send(codec::encode(Kind::CallFrame, &question).into()).await.map_err(|error| error.to_string())?;
        let frame = stream.receive().await.map_err(|error| error.to_string())?.ok_or("it hung up")?;
        codec::decode::<Reply>(Kind::CallFrame, &frame).map_err(|error| error.to_string())
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_elapsed| Err("it did not answer".into()))
}
