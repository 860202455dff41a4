//! Joining: what a new node says to be let in, and what a member answers.
//!
//! The joiner dials a member with the token's pre-shared key, opens the one class of stream that strangers may, and
//! shows the token's secret. The member puts the admission into the log; the answer is the new node's id and where the
//! others are. The peer's name is taken from the connection, proven by its key, never from what it says.

pub mod token;

use std::time::Duration;

use pentora_p2p::{Class, FrameStream, Mesh, PeerAddress};
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::{ClusterId, Digest, NodeId, Response, TokenId};
use serde::{Deserialize, Serialize};

use crate::member_address::MemberAddress;
use crate::rpc::proposer::{Proposer, Unavailable};

/// How long a member gets to answer: an election and a commit.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a new node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AdmissionRequest {
    token: TokenId,
    secret: Digest,
    info: NodeInfo,
}

/// What a member answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Reply {
    Welcome(Welcome),
    Refused { code: String, message: String },
    Later(String),
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

/// Asks the member at `address` to let this node in.
///
/// # Errors
/// [`JoinError`].
pub async fn request_admission(
    mesh: &Mesh,
    address: PeerAddress,
    token: &token::JoinToken,
    info: NodeInfo,
) -> Result<Welcome, JoinError> {
    let text = address.to_string();
    let unreachable = |reason: String| JoinError::Unreachable { address: text.clone(), reason };
    let peer = mesh.dial(address, None).await.map_err(|error| unreachable(error.to_string()))?;
    let mut stream = mesh.open(peer, Class::Join).await.map_err(|error| unreachable(error.to_string()))?;
    let request = AdmissionRequest { token: token.id, secret: token.secret_digest(), info };
    let asked = async {
        stream.send(codec::encode(Kind::CallFrame, &request).into()).await.map_err(|error| error.to_string())?;
        let frame = stream.receive().await.map_err(|error| error.to_string())?.ok_or("it hung up")?;
        codec::decode::<Reply>(Kind::CallFrame, &frame).map_err(|error| error.to_string())
    };
    let reply = tokio::time::timeout(ANSWER_WITHIN, asked).await;
    match reply.unwrap_or_else(|_elapsed| Err("it did not answer".into())).map_err(unreachable)? {
        Reply::Welcome(welcome) => Ok(welcome),
        Reply::Refused { code, message } => Err(JoinError::Refused { code, message }),
        Reply::Later(reason) => Err(JoinError::Later(reason)),
    }
}

/// Answers one stranger.
///
/// # Errors
/// Where the stream breaks or carries something else; nothing was decided then.
pub async fn answer(stream: &mut FrameStream, proposer: &Proposer, raft: &pentora_raft::Raft) -> Result<(), String> {
    let frame = stream.receive().await.map_err(|error| error.to_string())?.ok_or("it hung up")?;
    let request: AdmissionRequest = codec::decode(Kind::CallFrame, &frame).map_err(|error| error.to_string())?;
    let info = NodeInfo { peer: stream.peer.to_string(), ..request.info };
    let name = info.name.clone();
    let command = Command::Join { token: request.token, secret: request.secret, info };
    let reply = match proposer.propose(command).await {
        Ok(applied) => match applied.response {
            Response::Joined { node } => {
                tracing::info!(node, name, index = applied.index, "a node was admitted");
                Reply::Welcome(welcome(node, applied.index, raft))
            }
            _ => Reply::Later("the log answered with something else".into()),
        },
        Err(Unavailable::Refused(refusal)) => {
            tracing::warn!(peer = %stream.peer, name, %refusal, "a node was not admitted");
            Reply::Refused { code: refusal.code().into(), message: refusal.to_string() }
        }
        Err(error) => Reply::Later(error.to_string()),
    };
    let frame = codec::encode(Kind::CallFrame, &reply);
    stream.send(frame.into()).await.map_err(|error| error.to_string())
}

fn welcome(node: NodeId, index: u64, raft: &pentora_raft::Raft) -> Welcome {
    raft.read(|state| Welcome {
        node,
        cluster: state.cluster().id.unwrap_or_default(),
        members: state.nodes().filter(|(id, _)| *id != node).map(|(_, record)| MemberAddress::of(record)).collect(),
        index,
    })
}
