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

/// Reads discovery probes as a user lists them: `arp,echo,syn443`, each once, in the order in which they go out.
///
/// # Errors
/// The first word that names none, or is there twice, with its column; nothing at all, or more than
/// [`DISCOVERY_MAX`](super::DISCOVERY_MAX).
pub fn parse_discovery(text: &str) -> Result<Vec<DiscoveryProbe>, DiscoveryError> {
    let mut probes: Vec<DiscoveryProbe> = Vec::new();
    let mut column = 1;
    for part in text.split(',') {
        let word = part.trim();
        let at = column + part.chars().take_while(|c| c.is_whitespace()).count();
        let failed = |what: String| DiscoveryError { column: at, what };
        let probe = word.parse().map_err(|error: UnknownProbe| failed(error.to_string()))?;
        if probes.contains(&probe) {
            return Err(failed(format!("{word:?} is there twice")));
        }
        if probes.len() >= super::DISCOVERY_MAX {
            return Err(failed(format!("more than {} discovery probes are of no use", super::DISCOVERY_MAX)));
        }
        probes.push(probe);
        column += part.chars().count() + 1;
    }
    Ok(probes)
}

/// A list of discovery probes that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("discovery:{column}: {what}")]
pub struct DiscoveryError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
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
        let list = parse_discovery("arp, syn443,ACK80").unwrap();
        assert_eq!(list, [DiscoveryProbe::Link, DiscoveryProbe::Syn(443), DiscoveryProbe::Ack(80)]);
        for (text, column) in [("", 1), ("echo,", 6), ("echo, ping", 7), ("arp,echo,arp", 10)] {
            assert_eq!(parse_discovery(text).unwrap_err().column, column, "{text}");
        }
        for wrong in ["", "syn", "syn0", "ack65536", "syn+80", "ping"] {
            assert!(wrong.parse::<DiscoveryProbe>().is_err(), "{wrong}");
        }
    }
}
