//! Answers of binary protocols, and of HTTP, taken apart into lines `name=value` that rules can match.
//!
//! A dissector knows a protocol's layout and no product: what a value means is said in the rule files. Each one is a
//! pure function over at most 64 KiB; a truncated or malformed answer gives what was read before, or nothing.

mod amqp;
mod bacnet;
mod ber;
mod cassandra;
mod coap;
mod code_page;
mod dcerpc;
mod dns;
mod drda;
mod enip;
mod freeciv;
mod http;
mod ike;
mod kafka;
mod kerberos;
mod knx;
mod l2tp;
mod ldap;
mod mdns;
mod modbus;
mod mongodb;
mod mqtt;
mod mssql;
mod mumble;
mod mysql;
mod netbios;
mod ntlm;
mod ntp;
mod postgresql;
mod quic;
mod rdp;
mod rpc;
mod s7;
mod sap_diag;
mod smb;
mod snmp;
mod teamviewer;
mod telnet;
mod tns;
mod ubiquiti;
mod x11;

use super::template::printable;

/// Most bytes of all lines together.
const TEXT_BYTES_MAX: usize = 96 * 1024;
/// Most lines: an answer of thousands of tiny values stays cheap.
const LINES_MAX: usize = 512;

/// A named way to take an answer apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dissector {
    /// As rule files name it.
    pub(crate) name: &'static str,
    read: fn(&[u8], &mut Lines) -> Option<()>,
}

impl PartialEq for Dissector {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Every dissector.
static DISSECTORS: &[Dissector] = &[
    Dissector { name: "amqp", read: amqp::read },
    Dissector { name: "bacnet", read: bacnet::read },
    Dissector { name: "cassandra", read: cassandra::read },
    Dissector { name: "coap", read: coap::read },
    Dissector { name: "dcerpc", read: dcerpc::read },
    Dissector { name: "dns", read: dns::read_udp },
    Dissector { name: "dns-tcp", read: dns::read_tcp },
    Dissector { name: "drda", read: drda::read },
    Dissector { name: "enip", read: enip::read },
    Dissector { name: "freeciv", read: freeciv::read },
    Dissector { name: "http", read: http::read },
    Dissector { name: "ike", read: ike::read },
    Dissector { name: "kafka", read: kafka::read },
    Dissector { name: "kerberos", read: kerberos::read },
    Dissector { name: "knx", read: knx::read },
    Dissector { name: "l2tp", read: l2tp::read },
    Dissector { name: "ldap", read: ldap::read },
    Dissector { name: "mdns", read: mdns::read },
    Dissector { name: "modbus", read: modbus::read },
    Dissector { name: "mongodb", read: mongodb::read },
    Dissector { name: "mqtt", read: mqtt::read },
    Dissector { name: "mssql", read: mssql::read },
    Dissector { name: "mumble", read: mumble::read },
    Dissector { name: "mysql", read: mysql::read },
    Dissector { name: "netbios", read: netbios::read },
    Dissector { name: "ntp", read: ntp::read },
    Dissector { name: "postgresql", read: postgresql::read },
    Dissector { name: "quic", read: quic::read },
    Dissector { name: "rdp", read: rdp::read },
    Dissector { name: "rpc", read: rpc::read },
    Dissector { name: "s7", read: s7::read },
    Dissector { name: "sap-diag", read: sap_diag::read },
    Dissector { name: "smb", read: smb::read },
    Dissector { name: "snmp", read: snmp::read },
    Dissector { name: "teamviewer", read: teamviewer::read },
    Dissector { name: "telnet", read: telnet::read },
    Dissector { name: "tns", read: tns::read },
    Dissector { name: "ubiquiti", read: ubiquiti::read },
    Dissector { name: "x11", read: x11::read },
];

impl Dissector {
    /// The dissector of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        DISSECTORS.iter().find(|known| known.name == name).copied()
    }

    /// All names, for a message.
    pub(crate) fn names() -> String {
        DISSECTORS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
    }

    /// Takes an answer apart; `None` when it is not of this protocol.
    pub(crate) fn dissect(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut lines = Lines::default();
        // A malformed end does not spoil what was read before it.
        let _ = (self.read)(bytes, &mut lines);
        (!lines.text.is_empty()).then_some(lines.text)
    }
}

/// What an NTLM challenge in these bytes tells, by name.
pub(crate) fn challenge(bytes: &[u8]) -> Vec<(String, String)> {
    let mut lines = Lines::default();
    // What was read before a malformed end stands.
    let _ = ntlm::read(bytes, &mut lines);
    let text = String::from_utf8_lossy(&lines.text).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), printable(value.as_bytes())))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Hands what each dissector makes of an answer to `take`, with the dissector's name.
#[cfg(fuzzing)]
pub fn each_dissected(bytes: &[u8], mut take: impl FnMut(&'static str, &[u8])) {
    for dissector in DISSECTORS {
        if let Some(text) = dissector.dissect(bytes) {
            take(dissector.name, &text);
        }
    }
}

/// The value of the first line of that name.
pub(crate) fn line_value<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Lines `name=value`, bounded; line breaks in values become spaces, so that a value cannot forge a line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: Vec<u8>,
    count: usize,
}

impl Lines {
    /// Adds a line.
    fn put(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.put_bytes(name.as_bytes(), value.as_ref());
    }

    /// Adds a line whose name came from the answer.
    fn put_bytes(&mut self, name: &[u8], value: &[u8]) {
        if self.count >= LINES_MAX || self.text.len() + name.len() + value.len() + 2 > TEXT_BYTES_MAX {
            return;
        }
        self.count += 1;
        let clean = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        self.text.extend(name.iter().filter(|b| **b != b'=').map(clean));
        self.text.push(b'=');
        self.text.extend(value.iter().map(clean));
        self.text.push(b'\n');
    }
}

/// Bytes, read from the front; every reading says `None` at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// Up to so many bytes, fewer at the end.
    fn up_to(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = rest;
        head
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// So many bytes as a length says, when there are that many.
    fn sized(&mut self, length: u32) -> Option<&'a [u8]> {
        self.take(usize::try_from(length).ok()?)
    }

    /// Bytes up to a zero byte, which is taken too.
    fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|b| *b == 0)?;
        let head = self.take(length)?;
        self.take(1)?;
        Some(head)
    }
}

#[cfg(test)]
#[path = "dissect/dissect_test.rs"]
mod tests;
