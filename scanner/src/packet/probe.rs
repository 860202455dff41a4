//! What a raw probe can ask, and the secrets by which its answer is known.

use std::net::IpAddr;

use super::cookie::Key;

/// What a probe asks of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A SYN to a TCP port.
    Syn(u16),
    /// An ACK out of nowhere to a TCP port, which a host resets whether the port is open or closed.
    Ack(u16),
    /// An ICMP echo request, ICMPv6 to an IPv6 address.
    Echo,
    /// An ICMP timestamp request; IPv4 only.
    Timestamp,
}

/// The secrets of one engine: one for each kind of probe, so that an answer to one is no answer to another.
#[derive(Debug, Clone)]
pub struct Keys {
    syn: Key,
    ack: Key,
    echo: Key,
    timestamp: Key,
}

impl Keys {
    /// Keys made of 16 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let syn = Key::new(bytes);
        Self { ack: syn.derive(1), echo: syn.derive(2), timestamp: syn.derive(3), syn }
    }

    /// The cookie of a probe to an address from a lane (source port or identifier), sent at `stamp`.
    #[must_use]
    pub fn cookie(&self, probe: Probe, to: IpAddr, lane: u16, stamp: u16) -> u32 {
        let (key, port) = self.of(probe);
        key.cookie(to, port, lane, stamp)
    }

    /// The stamp in the cookie of an answer, if such a probe was sent.
    #[must_use]
    pub fn stamp(&self, probe: Probe, to: IpAddr, lane: u16, cookie: u32) -> Option<u16> {
        let (key, port) = self.of(probe);
        key.stamp(to, port, lane, cookie)
    }

    fn of(&self, probe: Probe) -> (&Key, u16) {
        match probe {
            Probe::Syn(port) => (&self.syn, port),
            Probe::Ack(port) => (&self.ack, port),
            Probe::Echo => (&self.echo, 0),
            Probe::Timestamp => (&self.timestamp, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_one_kind_of_probe_is_none_to_another() {
        let keys = Keys::new([7; 16]);
        let to = "2001:db8::1".parse().unwrap();
        let all = [Probe::Syn(0), Probe::Ack(0), Probe::Echo, Probe::Timestamp];
        for sent in all {
            let cookie = keys.cookie(sent, to, 61_000, 99);
            for answered in all {
                assert_eq!(keys.stamp(answered, to, 61_000, cookie), (sent == answered).then_some(99));
            }
        }
    }
}
