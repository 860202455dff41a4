//! Raft between nodes: the seam to whatever carries bytes, the calls made over it, and the serving of them.
//!
//! A [`Transport`] opens duplex frame streams to a node; this module never learns what they run over. Per target there
//! is one stream per class: appends (pipelined), control (votes, pre-votes, leader transfer, one at a time) and one per
//! snapshot. The first frame of each stream names the sender and the node it is meant for, and the receiver refuses a
//! stream meant for another, so that an address that was given to another node cannot corrupt a quorum.

mod client;
pub mod memory;
mod server;
#[cfg(test)]
mod server_test;
mod wire;

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Sink, Stream};

pub(crate) use client::{Factory, spawn_owned};
pub(crate) use server::{Ends, refuse, serve};
#[cfg(fuzzing)]
pub(crate) use wire::each_written_again;

use crate::id::NodeId;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Appends and heartbeats, pipelined.
    Append,
    /// Votes, pre-votes and leader transfer.
    Control,
    /// One snapshot.
    Snapshot,
}

/// The largest frame that is sent or taken, in bytes.
pub const FRAME_BYTES_MAX: usize = 256 << 10;

/// A stream of frames in both directions, delivered in order or broken. Reading never waits for writing.
pub struct Duplex {
    /// Frames to the other side.
    pub sink: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
    /// Frames from the other side.
    pub source: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplex")
    }
}

/// A stream could not be opened. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("node {target} cannot be reached: {reason}")]
pub struct TransportError {
    /// Whom it was for.
    pub target: NodeId,
    /// What went wrong.
    pub reason: String,
}

/// Whatever opens streams to nodes.
pub trait Transport: Send + Sync + 'static {
    /// Opens a stream of `class` to `target`, known to the mesh as `peer`. Answers or fails within a few seconds.
    fn open(&self, target: NodeId, peer: &str, class: Class) -> BoxFuture<'static, Result<Duplex, TransportError>>;
}
