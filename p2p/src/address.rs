//! Where a peer can be reached: an IP address or a host name, and a TCP port.
//!
//! Names are kept as names and looked up at every dial, because a node in a container or behind a dynamic address
//! keeps its name and not its number.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest host name in text form (RFC 1035 section 2.3.4 gives 255 bytes on the wire, 253 as text).
const HOST_BYTES_MAX: usize = 253;

/// `192.0.2.1:4040`, `[2001:db8::1]:4040` or `node-1.example:4040`. Serde uses the text form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddress {
    /// A numeric address.
    Socket(SocketAddr),
    /// A host name, resolved by the operating system at each dial.
    Name {
        /// The host name.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let wrong = |reason| PeerAddressError { text: text.chars().take(80).collect(), reason };
        if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 {
                return Err(wrong("the port is 0"));
            }
            return Ok(Self::Socket(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        if host.is_empty() || host.len() > HOST_BYTES_MAX {
            return Err(wrong("the host name is empty or too long"));
        }
        // Underscores are not in RFC 952 but container networks give such names.
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
            return Err(wrong("the host is neither an IP address nor a host name"));
        }
        match port.parse() {
            Ok(0) => Err(wrong("the port is 0")),
            Ok(port) => Ok(Self::Name { host: host.to_owned(), port }),
            Err(_not_a_number) => Err(wrong("the port is not a number from 1 to 65535")),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a mesh address (host:port): {reason}")]
pub struct PeerAddressError {
    text: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_text() {
        for text in ["192.0.2.1:4040", "[2001:db8::1]:4040", "node-1.example:65535", "db_1:1"] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
        assert!(matches!("192.0.2.1:4040".parse(), Ok(PeerAddress::Socket(_))));
        assert!(matches!("localhost:4040".parse(), Ok(PeerAddress::Name { port: 4040, .. })));
    }

    #[test]
    fn text_that_is_no_address_is_refused_with_its_reason() {
        for text in
            ["", "node", ":4040", "node:", "node:0", "node:65536", "192.0.2.1:0", "2001:db8::1", "a b:1", "a/b:1"]
        {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
        let error = "node".parse::<PeerAddress>().unwrap_err();
        assert_eq!(error.to_string(), "\"node\" is not a mesh address (host:port): it has no port");
    }
}
