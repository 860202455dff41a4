//! The classes of streams between two nodes, each with its name, version and limits.
//!
//! A class is a purpose with its own stream, so that a chunk transfer never stands in front of a Raft heartbeat.
//! The name a stream is opened with holds the cluster id and the class version: two clusters, or two incompatible
//! releases, refuse each other at that point and not in the middle of a message. What the frames say is not known here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Largest payload of a frame, in bytes, for every class but [`Class::Join`]. A frame is written whole before
/// another stream of the same connection gets its turn, and 256 KiB is also what a stream may have in flight.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Largest payload of a [`Class::Join`] frame, in bytes: strangers may send these, and a join fits in far less.
const JOIN_FRAME_BYTES_MAX: usize = 64 * 1024;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Pipelined log entries from a leader.
    RaftAppend,
    /// Votes, heartbeats and leadership transfer, kept apart from the bulk of the log.
    RaftControl,
    /// One snapshot transfer per stream.
    RaftSnapshot,
    /// Leases, beats and completions between a worker and its gateways.
    Work,
    /// Result chunks between holders.
    Chunk,
    /// Requests forwarded between nodes on behalf of a user.
    Admin,
    /// The only class open to a peer that is not a member.
    Join,
    /// What a node outside the log is shown of it by a gateway.
    View,
    /// Work sessions of many nodes outside the log, between their gateway and the leader.
    Relay,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 9] = [
        Self::RaftAppend,
        Self::RaftControl,
        Self::RaftSnapshot,
        Self::Work,
        Self::Chunk,
        Self::Admin,
        Self::Join,
        Self::View,
        Self::Relay,
    ];

    /// The class's name in protocol names and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RaftAppend => "raft-append",
            Self::RaftControl => "raft-control",
            Self::RaftSnapshot => "raft-snapshot",
            Self::Work => "work",
            Self::Chunk => "chunk",
            Self::Admin => "admin",
            Self::Join => "join",
            Self::View => "view",
            Self::Relay => "relay",
        }
    }

    /// Version of what is said on the class's streams; a change that old nodes cannot read raises it.
    #[must_use]
    pub const fn version(self) -> u8 {
        1
    }

    /// Largest payload of one frame, in bytes.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Join => JOIN_FRAME_BYTES_MAX,
            _ => FRAME_BYTES_MAX,
        }
    }

    /// How many streams of this class one peer may have open towards us at a time.
    ///
    /// Long-lived classes need one, and a second or third while a reconnecting peer's old one is still being noticed
    /// as dead; chunks and forwarded requests run side by side. The sum stays below the stream limit of a connection.
    #[must_use]
    pub const fn inbound_streams_max(self) -> usize {
        match self {
            Self::RaftAppend | Self::RaftControl | Self::Work => 8,
            Self::RaftSnapshot => 2,
            Self::View | Self::Relay => 4,
            Self::Chunk | Self::Admin => 16,
            Self::Join => 2,
        }
    }

    /// Position in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 16 bytes that name a cluster; opaque here. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// A new random id.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random::<u128>().to_be_bytes())
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        let mut bytes = [0_u8; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|source| ClusterIdError { reason: source.to_string() })?;
        Ok(Self(bytes))
    }
}

/// Text that is not 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id is 32 hex digits: {reason}")]
pub struct ClusterIdError {
    reason: String,
}

/// The name a stream of one class is negotiated with: `/pentora/<cluster>/<class>/<version>`.
#[derive(Debug, Clone)]
pub(crate) struct ProtocolName {
    pub(crate) class: Class,
    text: Arc<str>,
}

impl AsRef<str> for ProtocolName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// The names of all classes in one cluster, made once: they are looked at for every stream.
#[derive(Debug, Clone)]
pub(crate) struct ProtocolNames(Arc<[ProtocolName]>);

impl ProtocolNames {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        let name = |class: Class| ProtocolName {
            class,
            text: format!("/pentora/{cluster}/{class}/{}", class.version()).into(),
        };
        Self(Class::ALL.into_iter().map(name).collect())
    }

    pub(crate) fn of(&self, class: Class) -> ProtocolName {
        self.0.get(class.index()).expect("a name is made for every class").clone()
    }

    pub(crate) fn iter(&self) -> NamesIter {
        NamesIter { names: self.clone(), next: 0 }
    }
}

/// The names one by one.
#[derive(Debug)]
pub(crate) struct NamesIter {
    names: ProtocolNames,
    next: usize,
}

impl Iterator for NamesIter {
    type Item = ProtocolName;

    fn next(&mut self) -> Option<ProtocolName> {
        let name = self.names.0.get(self.next)?;
        self.next += 1;
        Some(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_cluster_class_and_version() {
        let cluster: ClusterId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let names = ProtocolNames::new(cluster);
        assert_eq!(names.of(Class::RaftAppend).as_ref(), "/pentora/000102030405060708090a0b0c0d0e0f/raft-append/1");
        assert_eq!(names.iter().map(|name| name.class).collect::<Vec<_>>(), Class::ALL);
    }

    #[test]
    fn every_class_sits_at_its_index() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
    }

    #[test]
    fn cluster_ids_survive_text() {
        let cluster = ClusterId::generate();
        assert_eq!(cluster.to_string().parse::<ClusterId>().unwrap(), cluster);
        assert!("abc".parse::<ClusterId>().is_err());
    }
}
