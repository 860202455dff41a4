//! Everything a mesh is started with, and the relations its numbers must keep.
//!
//! Secrets come in as values; files, environment and flags are the node's business.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Backoff, ClusterId, Identity, PreSharedKey};

/// What [`crate::Mesh::start`] needs. Made with [`MeshConfig::new`], then adjusted field by field.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// This node's key pair.
    pub identity: Identity,
    /// The key shared by all nodes of the cluster.
    pub psk: PreSharedKey,
    /// The cluster this node belongs to or wants to join.
    pub cluster: ClusterId,
    /// TCP addresses to listen on; port 0 takes any free one. Empty for a node that only dials out.
    pub listen: Vec<SocketAddr>,
    /// How much of anything there may be.
    pub limits: Limits,
    /// How long anything may take.
    pub timings: Timings,
}

impl MeshConfig {
    /// A configuration that listens nowhere, with the default limits and timings.
    #[must_use]
    pub fn new(identity: Identity, psk: PreSharedKey, cluster: ClusterId) -> Self {
        Self { identity, psk, cluster, listen: Vec::new(), limits: Limits::default(), timings: Timings::default() }
    }

    /// Checks the relations between the fields.
    ///
    /// # Errors
    /// [`ConfigError`], naming the first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (limits, timings) = (&self.limits, &self.timings);
        let relations = [
            (self.listen.len() <= 16, "at most 16 listen addresses"),
            (limits.pending_members_max > 0, "pending_members_max must be at least 1, or nobody can join"),
            (
                limits.handshakes_max >= limits.handshakes_per_ip_max,
                "handshakes_max must be at least handshakes_per_ip_max",
            ),
            (limits.handshakes_per_ip_max > 0, "handshakes_per_ip_max must be at least 1"),
            (limits.incoming_streams_max > 0, "incoming_streams_max must be at least 1"),
            (timings.ping_interval > Duration::ZERO, "ping_interval must be above zero"),
            (timings.silence_max >= timings.ping_interval * 2, "silence_max must be at least twice ping_interval"),
            (timings.connect_timeout > Duration::ZERO, "connect_timeout must be above zero"),
            (timings.handshake_timeout > Duration::ZERO, "handshake_timeout must be above zero"),
            (timings.open_timeout > Duration::ZERO, "open_timeout must be above zero"),
            (timings.redial.first > Duration::ZERO, "redial.first must be above zero"),
            (timings.redial.max >= timings.redial.first, "redial.max must be at least redial.first"),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, relation)) => Err(ConfigError { relation }),
            None => Ok(()),
        }
    }
}

/// Upper bounds, each on something a peer could otherwise make grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections from peers that are not members (yet).
    pub pending_members_max: usize,
    /// Inbound connections that have not finished their handshake, and as many outbound ones.
    pub handshakes_max: usize,
    /// Those of the inbound ones that come from a single IP address; below the whole, so that one host without the
    /// pre-shared key cannot keep the others out.
    pub handshakes_per_ip_max: usize,
    /// Accepted streams that wait for [`crate::Incoming`] to be read; one more is refused.
    pub incoming_streams_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending_members_max: 16, handshakes_max: 256, handshakes_per_ip_max: 64, incoming_streams_max: 128 }
    }
}

/// Upper bounds on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// TCP connect.
    pub connect_timeout: Duration,
    /// Pre-shared key, noise and yamux together, on either side.
    pub handshake_timeout: Duration,
    /// A whole [`crate::Mesh::open`], a dial included.
    pub open_timeout: Duration,
    /// Looking up a host name.
    pub resolve_timeout: Duration,
    /// Between two pings on a connection.
    pub ping_interval: Duration,
    /// A connection on which no ping was answered for this long is closed, and its peer is down.
    pub silence_max: Duration,
    /// A connection that nobody wants to keep and that has no streams is closed after this long.
    pub idle_timeout: Duration,
    /// A connection of a peer that does not become a member is closed after this long.
    pub pending_member_ttl: Duration,
    /// Waiting time between attempts to reach a member that is to stay connected.
    pub redial: Backoff,
    /// What [`crate::Mesh::shutdown`] waits for connections to close.
    pub shutdown_timeout: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            open_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            // Two pings and their answers fit, so one lost in a burst does not cost the connection; a peer that dies
            // right after an answer is noticed 12 s later, at the latest.
            silence_max: Duration::from_secs(12),
            idle_timeout: Duration::from_secs(60),
            pending_member_ttl: Duration::from_secs(30),
            redial: Backoff { first: Duration::from_millis(200), max: Duration::from_secs(15) },
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

/// A configuration whose parts contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mesh configuration: {relation}")]
pub struct ConfigError {
    relation: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MeshConfig {
        MeshConfig::new(Identity::generate(), PreSharedKey::generate(), ClusterId::generate())
    }

    #[test]
    fn the_defaults_are_valid() {
        config().validate().unwrap();
    }

    #[test]
    fn a_broken_relation_is_named() {
        let mut broken = config();
        broken.timings.silence_max = broken.timings.ping_interval;
        let error = broken.validate().unwrap_err();
        assert_eq!(error.to_string(), "mesh configuration: silence_max must be at least twice ping_interval");
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config = config();
        let text = format!("{config:?}");
        assert!(!text.contains(&config.psk.to_hex()), "{text}");
    }
}
