//! The words in which the mesh speaks about peers: who is a member, who came and went, what is known of each.
//!
//! Membership comes from the replicated log through [`crate::Mesh::set_members`]; nothing a peer says changes it. What
//! follows from it is decided in [`table`], which is pure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{PeerAddress, PeerId};

mod table;
pub(crate) use libp2p::swarm::ConnectionId as LinkId;
pub(crate) use table::{Effect, NewLink, PeerTable, Route, next_random};

/// A member of the cluster as the replicated state describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub peer_id: PeerId,
    /// Where it listens; empty for a node that only dials out.
    pub addresses: Vec<PeerAddress>,
    /// Whether this node should hold a connection to it at all times.
    pub keep_connected: bool,
}

/// A change in who is reachable. A hint: what a node may conclude from it is decided by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A member has become connected.
    Up {
        /// The member.
        peer: PeerId,
        /// Round-trip time, when a ping has been answered already (a stranger that became a member).
        rtt: Option<Duration>,
    },
    /// A member is no longer connected, or a connected peer is no longer a member.
    Down {
        /// The peer.
        peer: PeerId,
        /// Whether its side ended the last connection, as the system of a process does that has ended; not where it was silent or is no
        /// member any more.
        hung_up: bool,
    },
}

/// One line of [`crate::Mesh::peers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// Whether it is in the member list; if not, it is joining.
    pub member: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether this node tries to stay connected to it.
    pub keep_connected: bool,
    /// Round-trip time of the last ping.
    pub rtt: Option<Duration>,
    /// Its addresses from the member list.
    pub addresses: Vec<PeerAddress>,
    /// The other end of its newest connection, as seen from here; the port is its listening one only if we dialed.
    pub remote: Option<SocketAddr>,
    /// Time since the peer was last heard on any connection; `None` when it never was.
    pub last_contact: Option<Duration>,
    /// Why the last attempt to dial it failed, until one succeeds.
    pub last_error: Option<String>,
}
