//! Carries bytes between nodes: identities, the libp2p mesh, streams, frames.
//!
//! A node starts a [`Mesh`], tells it who the members are, opens [`FrameStream`]s of a [`Class`] to them and reads the
//! ones that they open from [`Incoming`]. Who is a member, what a frame means and what to do when a peer goes away are
//! not known here; the mesh only promises that a frame comes from the peer whose name is on the stream, whole and in
//! order, or not at all.
//!
//! The way through: [`handle`](Mesh) sends a command to the event loop, which asks the peer table what to do and has the
//! wire do it. The wire is libp2p over TCP with a pre-shared key, noise and yamux, or the one in [`memory`].

mod address;
mod backoff;
mod behaviour;
mod config;
mod cut;
mod event_loop;
mod frame;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod handle;
mod identity;
mod lines;
pub mod memory;
mod peer_id;
mod peers;
mod protocol;
mod psk;
mod slots;
mod swarm_wire;
mod transport;
mod wire;

pub use address::{PeerAddress, PeerAddressError};
pub use backoff::Backoff;
pub use config::{ConfigError, Limits, MeshConfig, Timings};
pub use frame::{FrameError, FrameSink, FrameSource, FrameStream};
pub use handle::{DialError, Incoming, Mesh, MeshError, OpenError};
pub use identity::{Identity, IdentityError};
pub use peer_id::{PeerId, PeerIdError};
pub use peers::{Member, PeerEvent, PeerInfo};
pub use protocol::{Class, ClusterId, ClusterIdError};
pub use psk::{PreSharedKey, PreSharedKeyError};
