//! What can go wrong when a mesh starts, a peer is dialed or a stream is opened.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::ConfigError;
use crate::{Class, PeerAddress, PeerId};

/// Why a mesh did not start. Nothing is bound or running then.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said; `AddrInUse` when another process has the port.
        source: std::io::Error,
    },
    /// The key pair could not be used for encryption.
    #[error("cannot set up encryption: {reason}")]
    Encryption {
        /// What the handshake library said.
        reason: String,
    },
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The peer is not connected, and dialing it failed or was not possible.
    #[error("peer {peer} is unreachable: {reason}")]
    Unreachable {
        /// The peer.
        peer: PeerId,
        /// What stands in the way.
        reason: String,
    },
    /// The peer is not a member here, or we are not one there.
    #[error("no {class} stream with {peer} is allowed: the other side is not a member according to {refused_by}")]
    NotAllowed {
        /// The peer.
        peer: PeerId,
        /// What the stream was for.
        class: Class,
        /// Whose member list it is: this node's own name, or the peer's.
        refused_by: PeerId,
    },
    /// The peer is in another cluster, or runs a release with other versions.
    #[error("peer {peer} does not know the protocol {protocol}: another cluster or another release")]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// What the stream was for.
        class: Class,
        /// The protocol name it was asked for.
        protocol: String,
    },
    /// No answer came in time.
    #[error("peer {peer} opened no {class} stream within {after:?}")]
    TimedOut {
        /// The peer.
        peer: PeerId,
        /// What the stream was for.
        class: Class,
        /// How long it was waited for.
        after: Duration,
    },
    /// The peer takes no more streams of this class for now.
    #[error("peer {peer} takes no more {class} streams for now")]
    Busy {
        /// The peer.
        peer: PeerId,
        /// What the stream was for.
        class: Class,
    },
    /// The mesh was shut down.
    #[error("the mesh is shut down")]
    Closed,
}

impl OpenError {
    /// Whether the same call may succeed later without anybody changing a configuration. A refusal by the peer's member
    /// list counts: it may be behind ours.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. } => true,
            Self::NotAllowed { peer, refused_by, .. } => peer == refused_by,
            Self::Unsupported { .. } | Self::Closed => false,
        }
    }
}

/// Why an address was not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The host name has no address.
    #[error("cannot find the address of {address}: {reason}")]
    Unresolved {
        /// What was dialed.
        address: PeerAddress,
        /// What the resolver said.
        reason: String,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// What was dialed.
        address: PeerAddress,
        /// What the operating system said.
        reason: String,
    },
    /// Something listens there, but it and this node could not agree on encryption.
    #[error("{address} answers, but the handshake failed ({reason}): wrong pre-shared key, or not a pentora mesh port")]
    HandshakeFailed {
        /// What was dialed.
        address: PeerAddress,
        /// Where it failed.
        reason: String,
    },
    /// Something takes the connection there and says nothing.
    #[error("{address} takes connections and does not answer ({reason}): it may be starting, stopped or overloaded")]
    Silent {
        /// What was dialed.
        address: PeerAddress,
        /// For how long.
        reason: String,
    },
    /// Something takes the connection there and ends it again.
    #[error("{address} hangs up before it says who it is ({reason}): a proxy with no node behind it, or no mesh port")]
    HungUp {
        /// What was dialed.
        address: PeerAddress,
        /// Where.
        reason: String,
    },
    /// Another node than the expected one is there.
    #[error("{address} is {found}, not {expected}")]
    WrongPeer {
        /// What was dialed.
        address: PeerAddress,
        /// Who was expected.
        expected: PeerId,
        /// Who was found.
        found: PeerId,
    },
    /// The address is this node's own.
    #[error("{address} is this node itself")]
    Oneself {
        /// What was dialed.
        address: PeerAddress,
    },
    /// This node is making too many connections at once.
    #[error("cannot dial {address} now: {reason}")]
    Busy {
        /// What was dialed.
        address: PeerAddress,
        /// Which limit was met.
        reason: String,
    },
    /// The mesh was shut down.
    #[error("the mesh is shut down")]
    Closed,
}

impl DialError {
    /// Whether the same dial may succeed later without anybody changing a configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::HungUp { .. }
            | Self::Busy { .. } => true,
            Self::HandshakeFailed { .. } | Self::WrongPeer { .. } | Self::Oneself { .. } | Self::Closed => false,
        }
    }
}
