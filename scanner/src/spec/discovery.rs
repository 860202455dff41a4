//! The probes that ask whether a host is there at all, before its ports are asked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One discovery probe. An engine sends those that it can: without the right to raw packets only TCP SYNs, as
/// connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DiscoveryProbe {
    /// ARP, or neighbour discovery over IPv6, for targets on a link of the scanning node: where it applies, nothing
    /// else is asked.
    Link,
    /// ICMP echo request, ICMPv6 for IPv6.
    Echo,
    /// ICMP timestamp request; IPv4 only.
    Timestamp,
    /// A SYN to this TCP port: a SYN-ACK or a reset shows the host.
    Syn(u16),
    /// An ACK to this TCP port: a reset shows the host, also behind a filter that looks at SYNs alone.
    Ack(u16),
}

impl DiscoveryProbe {
    /// What is asked by default, the cheapest and likeliest first.
    pub const DEFAULT: [Self; 6] =
        [Self::Link, Self::Echo, Self::Syn(443), Self::Syn(80), Self::Ack(80), Self::Timestamp];
}

impl fmt::Display for DiscoveryProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("arp"),
            Self::Echo => f.write_str("echo"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Syn(port) => write!(f, "syn{port}"),
            Self::Ack(port) => write!(f, "ack{port}"),
        }
    }
}

impl FromStr for DiscoveryProbe {
    type Err = UnknownProbe;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.to_ascii_lowercase();
        let unknown = || UnknownProbe { given: text.to_owned() };
        let port = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|port| is_number && *port > 0).ok_or_else(unknown)
        };
        match word.as_str() {
            "arp" | "nd" => Ok(Self::Link),
            "echo" => Ok(Self::Echo),
            "timestamp" => Ok(Self::Timestamp),
            _ => match (word.strip_prefix("syn"), word.strip_prefix("ack")) {
                (Some(digits), _) => port(digits).map(Self::Syn),
                (_, Some(digits)) => port(digits).map(Self::Ack),
                _ => Err(unknown()),
            },
        }
    }
}

/// A word that names no discovery probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown discovery probe {given:?}: write arp, echo, timestamp, syn443 or ack80, with any port")]
pub struct UnknownProbe {
    /// The word given.
    pub given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_by_the_names_they_print() {
        for probe in DiscoveryProbe::DEFAULT.into_iter().chain([DiscoveryProbe::Syn(1), DiscoveryProbe::Ack(65_535)]) {
            assert_eq!(probe.to_string().parse(), Ok(probe));
        }
        for wrong in ["", "syn", "syn0", "ack65536", "syn+80", "ping"] {
            assert!(wrong.parse::<DiscoveryProbe>().is_err(), "{wrong}");
        }
    }
}
