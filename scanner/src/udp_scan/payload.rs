//! What is said to a UDP port so that the service usual there answers, and how its answer is told from a stranger's.
//!
//! Most UDP services are silent to what they do not understand, so a port that has a usual service is asked in its
//! protocol, with requests written from the specifications that each names. All of them only read. Where a protocol
//! repeats something of the request in the answer (an id, a cookie), that is made of the probe's token and looked at: an
//! answer in the protocol with another id is not ours. An answer in no known protocol counts, since anything may listen
//! anywhere. Ports without a usual service get an empty datagram.
//!
//! Everything here is a pure function of token, address and bytes.

mod ber;
mod catalogue;
mod devices;
mod directory;
mod names;
mod plain;
mod tunnels;

use std::net::IpAddr;

pub(crate) use self::catalogue::{Catalogue, OWN_BYTES_MAX, Requests};

/// One probe's identity: what a request is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Cannot be guessed by whoever has not seen the probe.
    pub(crate) token: [u8; 8],
    /// Who is asked.
    pub(crate) to: IpAddr,
}

impl Ask {
    /// The token's first two bytes.
    fn id16(&self) -> [u8; 2] {
        let [a, b, ..] = self.token;
        [a, b]
    }

    /// The token's first four bytes, as a number that is positive in any protocol.
    fn id31(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.token;
        // Never so small that a shorter encoding would be the proper one.
        [(a & 0x3f) | 0x40, b, c, d]
    }

    /// The token in hexadecimal, for protocols made of text.
    fn hex(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.token))
    }

    /// So many bytes that follow from the token, for nonces and randoms.
    fn noise(&self, count: usize) -> Vec<u8> {
        let mut state = u64::from_be_bytes(self.token);
        let words = std::iter::repeat_with(|| {
            state = crate::permute::mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            state.to_be_bytes()
        });
        words.flatten().take(count).collect()
    }
}

/// Whether an answer is ours: `None` when it is in another protocol, or this one has nothing to tell by.
type Fit = Option<bool>;

/// One request.
#[derive(Debug)]
pub(crate) struct Payload {
    /// What it is, for traces.
    pub(crate) name: &'static str,
    write: fn(&Ask) -> Vec<u8>,
    fits: fn(&Ask, &[u8]) -> Fit,
}

/// The same request: names are unique.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Payload {}

impl Payload {
    /// Whether an answer cannot be to this.
    pub(crate) fn is_strange(&self, ask: &Ask, answer: &[u8]) -> bool {
        (self.fits)(ask, answer) == Some(false)
    }

    /// Whether what was heard is this request as it was sent to that address, with whatever token.
    pub(crate) fn is_echo(&self, to: IpAddr, heard: &[u8]) -> bool {
        let [one, other] = [0x55, 0xaa].map(|byte| (self.write)(&Ask { token: [byte; 8], to }));
        // What differs is made of the token.
        let is_same = |(heard, (one, other)): (&u8, (&u8, &u8))| one != other || one == heard;
        let is_fixed = one.iter().zip(&other).any(|(one, other)| one == other);
        is_fixed && heard.len() == one.len() && heard.iter().zip(one.iter().zip(&other)).all(is_same)
    }

    /// The datagram.
    pub(crate) fn write(&self, ask: &Ask) -> Vec<u8> {
        tracing::trace!(payload = self.name, to = %ask.to, "asks");
        (self.write)(ask)
    }
}

/// Nothing: what a port without a usual service gets. Some services answer even that.
static EMPTY: [&Payload; 1] = [&Payload { name: "empty", write: |_| Vec::new(), fits: |_, _| None }];

/// Everything that a port is asked in one try; at least one datagram.
pub(crate) fn of(port: u16) -> &'static [&'static Payload] {
    match BY_PORT.binary_search_by_key(&port, |(port, _)| *port) {
        Ok(at) => BY_PORT.get(at).map_or(&EMPTY, |(_, payloads)| payloads),
        Err(_) => &EMPTY,
    }
}

/// Every request once, with the ports that it goes to; what detection asks open ports with.
pub(crate) fn table() -> Vec<(&'static Payload, Vec<u16>)> {
    let mut all: Vec<(&'static Payload, Vec<u16>)> = Vec::new();
    for (port, payloads) in BY_PORT {
        for payload in *payloads {
            match all.iter_mut().find(|(known, _)| known == payload) {
                Some((_, ports)) => ports.push(*port),
                None => all.push((payload, vec![*port])),
            }
        }
    }
    all
}

/// How seldom a request is of use to a port that it is not usual at, 1 to 9, and `None` where it is of none: detection asks an
/// open port of unknown use in the protocols that are found anywhere.
pub(crate) fn rarity(payload: &Payload) -> Option<u8> {
    let known = WANDERERS.iter().find(|(known, _)| *known == payload.name);
    known.map(|(_, rarity)| *rarity)
}

/// The requests of [`rarity`].
static WANDERERS: &[(&str, u8)] = &[
    ("dns version.bind", 2),
    ("ntp read variables", 2),
    ("snmp v2c sysDescr", 2),
    ("ntp client", 3),
    ("sip options", 3),
    ("snmp v3 engine", 3),
    ("memcached version", 4),
    ("stun binding", 4),
    ("tftp read", 8),
];

/// Whether there is a request in the protocol that is usual at a port.
pub(crate) fn has_own(port: u16) -> bool {
    BY_PORT.binary_search_by_key(&port, |(port, _)| *port).is_ok()
}

/// Whether an answer from a port that was asked can be the answer to what was asked.
pub(crate) fn accepts(port: u16, ask: &Ask, answer: &[u8]) -> bool {
    let mut is_strange = false;
    for payload in of(port) {
        match (payload.fits)(ask, answer) {
            Some(true) => return true,
            Some(false) => is_strange = true,
            None => {}
        }
    }
    !is_strange
}

/// The port that an answer from another port than the asked one belongs to: a TFTP server answers from a new port
/// (RFC 1350 section 4).
pub(crate) fn asked_port_of(answer: &[u8]) -> Option<u16> {
    plain::is_tftp_answer(answer).then_some(plain::TFTP_PORT)
}

/// The part of an answer that is words, if all of it is.
pub(crate) fn words(port: u16, answer: &[u8]) -> Option<&[u8]> {
    let rest = match port {
        // The frame header of memcached's UDP, and TFTP's opcode and code.
        11211 => answer.get(8..)?,
        plain::TFTP_PORT => answer.get(4..)?.strip_suffix(&[0])?,
        _ => answer,
    };
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    (!rest.is_empty() && rest.iter().all(is_text)).then_some(rest)
}

/// Whether the bytes at `from` are `wanted`; `None` when the answer ends before.
fn has_at(answer: &[u8], from: usize, wanted: &[u8]) -> Fit {
    answer.get(from..from + wanted.len()).map(|found| found == wanted)
}

/// Whether `wanted` is anywhere in the answer.
fn contains(answer: &[u8], wanted: &[u8]) -> bool {
    answer.windows(wanted.len().max(1)).any(|window| window == wanted)
}

/// Which requests go to which port; ascending by port.
#[rustfmt::skip]
static BY_PORT: &[(u16, &[&Payload])] = &[
    (7, &[&plain::ECHO]),
    (53, &[&names::DNS_VERSION, &names::DNS_ROOT]),
    (69, &[&plain::TFTP]),
    (88, &[&directory::KERBEROS]),
    (111, &[&directory::PORTMAP]),
    (123, &[&plain::NTP_CLIENT, &plain::NTP_CONTROL]),
    (137, &[&names::NETBIOS]),
    (161, &[&directory::SNMP_V2C, &directory::SNMP_V1, &directory::SNMP_V3]),
    (177, &[&plain::XDMCP]),
    (389, &[&directory::CLDAP]),
    (427, &[&names::SLP]),
    (443, &[&tunnels::QUIC, &tunnels::DTLS]),
    (500, &[&tunnels::IKE_V1, &tunnels::IKE_V2]),
    (520, &[&plain::RIP]),
    (521, &[&plain::RIPNG]),
    (523, &[&plain::DB2]),
    (623, &[&devices::IPMI]),
    (853, &[&tunnels::QUIC, &tunnels::DTLS]),
    (1194, &[&tunnels::OPENVPN]),
    (1434, &[&plain::SQL_BROWSER]),
    (1604, &[&plain::NEWLINE]),
    (1645, &[&directory::RADIUS]),
    (1701, &[&tunnels::L2TP]),
    (1812, &[&directory::RADIUS]),
    (1900, &[&names::SSDP]),
    (2049, &[&directory::NFS]),
    (2123, &[&tunnels::GTP_V2, &tunnels::GTP_V1]),
    (2152, &[&tunnels::GTP_V1]),
    (2221, &[&tunnels::DTLS]),
    (2427, &[&plain::MGCP]),
    (3389, &[&tunnels::RDP]),
    (3391, &[&tunnels::DTLS]),
    (3478, &[&tunnels::STUN]),
    (3671, &[&devices::KNX]),
    (3702, &[&names::WS_DISCOVERY]),
    (4433, &[&tunnels::DTLS]),
    (4500, &[&tunnels::IKE_V1_MARKED, &tunnels::IKE_V2_MARKED]),
    (4569, &[&plain::IAX]),
    (5060, &[&plain::SIP]),
    (5061, &[&tunnels::DTLS]),
    (5349, &[&tunnels::DTLS, &tunnels::STUN]),
    (5351, &[&devices::NAT_PMP]),
    (5353, &[&names::MDNS]),
    (5632, &[&plain::PCANYWHERE]),
    (5683, &[&devices::COAP]),
    (5684, &[&tunnels::DTLS]),
    (6881, &[&plain::BITTORRENT]),
    (7001, &[&directory::RX]),
    (8443, &[&tunnels::QUIC, &tunnels::DTLS]),
    (8805, &[&tunnels::PFCP]),
    (10001, &[&devices::UBIQUITI]),
    (11211, &[&plain::MEMCACHED]),
    (17185, &[&directory::WDB]),
    (19132, &[&plain::BEDROCK]),
    (19302, &[&tunnels::STUN]),
    (20000, &[&devices::DNP3]),
    (20048, &[&directory::MOUNT]),
    (27015, &[&plain::SOURCE]),
    (27960, &[&plain::QUAKE]),
    (30718, &[&devices::LANTRONIX]),
    (44818, &[&devices::ENIP]),
    (47808, &[&devices::BACNET]),
    (64738, &[&plain::MUMBLE]),
];

#[cfg(test)]
#[path = "payload/payload_test.rs"]
mod tests;
