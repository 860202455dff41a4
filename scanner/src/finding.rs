//! What was observed: states, reasons, and the findings that engines emit as they learn them.
//!
//! The words are nmap's, so that its users need no dictionary. Findings are small and come in any order, a host's
//! first answer before its ports; `report::Fold` makes host records of them. Types here are serialised by position
//! as well as by name: fields and variants are only ever added at the end.

mod host;
mod identity;
mod not_probed;
mod printable;
mod record;
mod service;
mod weakness;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use self::host::ScannedHost;
pub use self::identity::{HostName, Identity, Mac, NameSource};
pub use self::not_probed::{NotProbed, NotProbedCounts, was_or_were};
pub use self::printable::{
    BANNER_BYTES_MAX, Banner, Printable, is_hidden, plain_text, plain_text_of, printable_banner,
};
pub use self::record::{
    HostRecord, MIDDLEBOX_REASON, NotShown, PortRecord, REDIRECTED_REASON, STOPPED_REASON, TcpScan,
};
pub use self::service::{Certificate, FACT_VERSION_TOLD, Http, Service, ServiceMethod, Tls};
pub use self::weakness::{Severity, Weakness};
use crate::port::{Port, PortSet};

/// One observed fact about one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The target's index in its partition, so within the unit's range.
    pub target_index: u64,
    /// The address that answered or did not.
    pub address: IpAddr,
    /// The host name it was resolved from, if the target was one.
    pub name: Option<Arc<str>>,
    /// What was seen.
    pub observation: Observation,
}

/// What was seen of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// The host as a whole: emitted once, with its first answer.
    Host {
        /// Whether it is there.
        state: HostState,
        /// How that is known.
        reason: Reason,
    },
    /// One port, emitted once, as soon as it is known.
    Port {
        /// The port.
        port: Port,
        /// Its state.
        state: PortState,
        /// How that is known.
        reason: Reason,
        /// Time to live of the answer's IP packet, where the engine sees packets.
        ttl: Option<u8>,
        /// What a SYN-ACK tells of the stack that made it.
        stack: Option<Stack>,
    },
    /// Many ports of an answering host in one state: those that stayed silent, emitted when the host is done.
    Ports {
        /// The ports; boxed, since a set is larger than all else that a finding may be.
        ports: Box<PortSet>,
        /// Their state.
        state: PortState,
        /// How that is known.
        reason: Reason,
    },
    /// What an open port said first, some time after the port was found open.
    Banner {
        /// The port.
        port: Port,
        /// Its words, made printable by [`printable_banner`].
        banner: String,
    },
    /// What an open port was found to be, some time after it was found open; a later one replaces an earlier one.
    Service {
        /// The port.
        port: Port,
        /// What it is. Ports of a fleet that are alike may share it.
        service: Arc<Service>,
    },
    /// A weakness of a port.
    Weakness {
        /// The port.
        port: Port,
        /// What is weak. Ports of a fleet that are alike may share it.
        weakness: Arc<Weakness>,
    },
    /// Something on the way answers for every port, so that its open ports mean nothing.
    Middlebox,
    /// The host looked like that and is none: its open ports are its own.
    Cleared,
    /// The host's hardware address, and whose it is where that is known.
    Hardware {
        /// The address.
        mac: Mac,
        /// Who made the interface.
        vendor: Option<Arc<str>>,
    },
    /// What name servers call the host's address.
    ReverseDns {
        /// The name.
        name: Arc<str>,
    },
    /// A port that was told to be silent has answered after all: what, is told behind this.
    Answered {
        /// The port.
        port: Port,
    },
    /// The datagram that showed a port open, for whoever finds out what the port is; no report has it.
    Answer {
        /// The port.
        port: Port,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
    /// The host loses so much that some of its ports are likely to be missing: the share of them that is here, in thousandths.
    LikelyFound {
        /// Thousandths.
        permille: u16,
    },
    /// A range of the host's TCP ports is redirected to one listener, so that its open ports mean nothing. A later one may go further.
    Redirected {
        /// Its first port.
        first: u16,
        /// Its last port.
        last: u16,
        /// How many ports that were told to be open, and in no range that was told before, lie within it.
        open: u32,
    },
    /// The host, which had answered, does no more: of the ports that were silent nothing is known.
    Stopped {
        /// Probes that it had been sent when it answered last.
        probes: u32,
    },
}

/// Below this share a host is said to lack ports.
const LIKELY_FOUND_MIN: f64 = 0.99;

/// What is told of a host of whose ports this share was likely found; nothing where it is close to all.
pub(crate) fn likely_found(share: f64) -> Option<Observation> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share, between 0 and 1000 thousandths"
    )]
    let permille = (share.clamp(0.0, 1.0) * 1000.0).floor() as u16;
    (share < LIKELY_FOUND_MIN).then_some(Observation::LikelyFound { permille })
}

/// What a SYN-ACK tells of the TCP/IP stack that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    /// The window that it begins with, unscaled.
    pub window: u16,
    /// The segment size that it takes (RFC 9293 section 3.7.1); 0 where it says none.
    pub segment: u16,
}

/// State of a port, as nmap defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Something accepts connections or datagrams there.
    Open,
    /// The host answers that nothing listens there.
    Closed,
    /// No answer, or one from a device on the way that forbids it.
    Filtered,
    /// Silent, which for the probe used means open or filtered.
    #[serde(rename = "open|filtered")]
    OpenFiltered,
    /// Reachable, but whether open or closed is unknown.
    Unfiltered,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Filtered => "filtered",
            Self::OpenFiltered => "open|filtered",
            Self::Unfiltered => "unfiltered",
        })
    }
}

/// State of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It answered, or the user said so.
    Up,
    /// It did not answer any probe.
    Down,
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// How a state is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A SYN-ACK, or a connection that was established.
    SynAck,
    /// The kernel says that the connection was refused.
    ConnRefused,
    /// A reset.
    Reset,
    /// Nothing came back, however often it was asked.
    NoResponse,
    /// ICMP host unreachable, or the kernel saying so.
    HostUnreach,
    /// ICMP network unreachable, or no route.
    NetUnreach,
    /// ICMP communication administratively prohibited, or a local rule.
    AdminProhibited,
    /// ICMP port unreachable.
    PortUnreach,
    /// ICMP protocol unreachable.
    ProtoUnreach,
    /// ICMP echo reply.
    EchoReply,
    /// ICMP timestamp reply.
    TimestampReply,
    /// ARP reply.
    ArpResponse,
    /// IPv6 neighbour advertisement.
    NdResponse,
    /// A UDP answer.
    UdpResponse,
    /// ICMP time exceeded.
    TimeExceeded,
    /// The user said so.
    UserSet,
    /// An answer over this machine's own loopback.
    LocalhostResponse,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SynAck => "syn-ack",
            Self::ConnRefused => "conn-refused",
            Self::Reset => "reset",
            Self::NoResponse => "no-response",
            Self::HostUnreach => "host-unreach",
            Self::NetUnreach => "net-unreach",
            Self::AdminProhibited => "admin-prohibited",
            Self::PortUnreach => "port-unreach",
            Self::ProtoUnreach => "proto-unreach",
            Self::EchoReply => "echo-reply",
            Self::TimestampReply => "timestamp-reply",
            Self::ArpResponse => "arp-response",
            Self::NdResponse => "nd-response",
            Self::UdpResponse => "udp-response",
            Self::TimeExceeded => "time-exceeded",
            Self::UserSet => "user-set",
            Self::LocalhostResponse => "localhost-response",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_serialised_as_they_are_printed() {
        for reason in [Reason::SynAck, Reason::AdminProhibited, Reason::NdResponse, Reason::LocalhostResponse] {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
        for state in [PortState::Open, PortState::OpenFiltered, PortState::Unfiltered] {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert_eq!(serde_json::to_string(&HostState::Up).unwrap(), "\"up\"");
        assert_eq!(serde_json::to_string(&Port::udp(53).protocol).unwrap(), "\"udp\"");
    }
}
