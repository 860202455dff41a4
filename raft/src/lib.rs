//! Who looks where: the replicated job log, its state machine and its store.
//!
//! Read `command` (what can be decided), `state` (what each decision does), then `handle` (how a node asks for one).
//! The scan spec is opaque bytes here, so no scanning change can make two replicas apply one entry differently, and
//! no name of the consensus library appears in the public interface, so that the pinned pre-release can be replaced in
//! this crate alone.

pub mod autopilot;
pub mod clock;
pub mod codec;
pub mod command;
pub mod config;
pub mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod handle;
pub mod id;
pub mod interval;
pub mod invariant;
pub mod kill_point;
pub mod leadership;
mod names;
pub mod network;
mod raft_types;
pub mod recovery;
pub mod state;
pub mod store;
pub mod version;
pub mod view;

pub use command::{Command, Refusal, Response};
pub use config::{Config, Profile};
pub use handle::{Applied, ProposeError, Raft, RaftStatus, Role, StartError};
pub use id::{ClusterId, Digest, Epoch, JobId, NodeId, RecoveryId, TokenId, worker_id};
pub use interval::IntervalSet;
pub use leadership::Leadership;
pub use network::{Class, Duplex, Transport, TransportError};
pub use state::State;
pub use version::{LogVersion, Versions};
