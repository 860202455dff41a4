//! What is known of one host when its unit is done: the row of every report.
//!
//! Serialised by position in chunks and by name in documents; fields are only ever added at the end, where the release before passes them
//! over, and never inside of what is in here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{HostState, Identity, PortState, Reason, Service, Severity, Weakness};
use crate::port::{Port, Protocol, named_ports, service_name};

/// How sure a guess from the port's number is: of web servers on the Internet 3 % are on port 80 (the LZR study), but
/// of what answers on port 80 most are.
const TABLE_CONFIDENCE: u8 = 30;

/// A host that answered, with its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its address.
    pub address: IpAddr,
    /// The host name that was given as the target, if it was one.
    pub name: Option<String>,
    /// Whether it is up.
    pub state: HostState,
    /// How that is known.
    pub reason: Reason,
    /// Its ports by protocol and number: all open ones, and those of any other state with few of them.
    pub ports: Vec<PortRecord>,
    /// The ports that are not in `ports`, as counts.
    pub not_shown: Vec<NotShown>,
    /// When its unit was begun: milliseconds since 1970-01-01T00:00:00Z, by the cluster's clock as the scanning node knows it.
    pub started_at_ms: u64,
    /// Id of the worker that scanned it.
    pub worker: String,
    /// Something on the way answers for every port of this address: its open ports mean nothing.
    pub is_middlebox: bool,
    /// When its results were complete, as `started_at_ms`; 0 in records from before this was kept.
    #[serde(default, deserialize_with = "if_there")]
    pub ended_at_ms: u64,
    /// How its TCP ports were asked, where that was kept.
    #[serde(default, deserialize_with = "if_there")]
    pub tcp: Option<TcpScan>,
    /// Who it is beside its address.
    #[serde(default, deserialize_with = "if_there")]
    pub identity: Identity,
    /// Where much of what was sent to it was lost: how many thousandths of its ports that answer are likely to be here.
    #[serde(default, deserialize_with = "if_there")]
    pub likely_found_permille: Option<u16>,
    /// It was asked for by a name, and its address is a target as well: it is counted with that.
    #[serde(default, deserialize_with = "if_there")]
    pub is_target_itself: bool,
    /// Ranges of its TCP ports, first and last, that are redirected to one listener: what is open there is in no list and no count.
    #[serde(default, deserialize_with = "if_there")]
    pub redirected: Vec<(u16, u16)>,
    /// It had answered and did no more: how many probes it had been sent when it answered last.
    #[serde(default, deserialize_with = "if_there")]
    pub stopped_after_probes: Option<u32>,
}

/// A field that older records end without: by name it is missing, by position the bytes are over.
fn if_there<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(T::deserialize(from).unwrap_or_default())
}

/// How TCP ports were asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcpScan {
    /// By whole connections, through the system.
    #[default]
    Connect,
    /// By single SYNs.
    Syn,
}

/// Why an address is said to be a middlebox's.
pub const MIDDLEBOX_REASON: &str = "ports drawn at random, where nobody listens, are open as well";

/// Why a range of ports is said to be redirected.
pub const REDIRECTED_REASON: &str = "more ports in a row are open than any machine has";

/// Why a host is said to have stopped answering.
pub const STOPPED_REASON: &str = "ports that had answered are silent; it may have banned this scanner";

impl PortRecord {
    /// The port.
    #[must_use]
    pub fn to_port(&self) -> Port {
        Port { protocol: self.protocol, number: self.port }
    }

    /// What the port is known to be, or else a guess from its number; `None` where there is no usual service.
    #[must_use]
    pub fn service_or_guess(&self) -> Option<&Service> {
        self.service.as_deref().or_else(|| GUESSES.get(&(self.protocol, self.port)))
    }
}

/// The service that usually listens on a port, a guess from the number; a few hundred ports have one.
static GUESSES: LazyLock<BTreeMap<(Protocol, u16), Service>> = LazyLock::new(|| {
    let guess = |(protocol, port)| {
        let name = service_name(port, protocol)?.to_owned();
        Some(((protocol, port), Service { name, confidence: TABLE_CONFIDENCE, ..Service::default() }))
    };
    named_ports().filter_map(guess).collect()
});

impl HostRecord {
    /// The open ports that mean something: of a middlebox's only those that its answers to TCP say nothing of.
    pub fn open_ports(&self) -> impl Iterator<Item = &PortRecord> {
        self.ports.iter().filter(|port| port.state == PortState::Open && self.is_meant(port))
    }

    /// Whether what is said of a port is the host's own, and not that of whoever answers for all of its ports.
    #[must_use]
    pub fn is_meant(&self, port: &PortRecord) -> bool {
        !(self.is_middlebox && port.protocol == Protocol::Tcp && port.state == PortState::Open)
    }

    /// The share of its ports that answer which is likely to be here; `None` where nothing speaks against all of them.
    #[must_use]
    pub fn recall_estimate(&self) -> Option<f64> {
        self.likely_found_permille.map(|permille| f64::from(permille) / 1000.0)
    }

    /// What a reader has to know of a host beside its ports: that it is likely to lack some, why, and which mean nothing.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        [self.stopped_note(), self.likely_found_note(), self.redirected_note()].into_iter().flatten().collect()
    }

    /// A word for each of these that is no share, with what it means.
    #[must_use]
    pub fn marks(&self) -> Vec<(&'static str, String)> {
        let marks = [("stopped", self.stopped_note()), ("redirected", self.redirected_note())];
        marks.into_iter().filter_map(|(word, note)| Some((word, note?))).collect()
    }

    /// Its redirected ports, as `1-1023`.
    #[must_use]
    pub fn redirected_ports(&self) -> Vec<String> {
        let written =
            |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        self.redirected.iter().map(written).collect()
    }

    fn likely_found_note(&self) -> Option<String> {
        let found = self.recall_estimate()?;
        let lost = if self.stopped_after_probes.is_some() { "" } else { "probes to it were lost: " };
        Some(format!("{lost}about {:.0} % of its ports that answer are likely to be here", 100.0 * found))
    }

    fn redirected_note(&self) -> Option<String> {
        let (ports, is_any) = (self.redirected_ports().join(", "), !self.redirected.is_empty());
        is_any.then(|| {
            format!("TCP ports {ports} lead to one listener, and open ones there mean nothing: {REDIRECTED_REASON}")
        })
    }

    fn stopped_note(&self) -> Option<String> {
        let probes = self.stopped_after_probes?;
        Some(format!("it stopped answering after {probes} probes ({STOPPED_REASON}): what was silent is not known"))
    }

    /// How bad its worst weakness is that is not merely potential.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.ports.iter().filter(|port| self.is_meant(port)).filter_map(PortRecord::worst).max()
    }
}

/// One port of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// The number.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Its state.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
    /// What it said first, printable.
    pub banner: Option<String>,
    /// The service behind it, where it was asked. Boxed: a host has many ports and few of them are asked.
    pub service: Option<Box<Service>>,
    /// What is weak about it, the worst first.
    #[serde(default)]
    pub weaknesses: Vec<Weakness>,
}

impl PortRecord {
    /// How bad its worst weakness is that is not merely potential.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.weaknesses.iter().filter(|weakness| !weakness.is_potential()).map(|weakness| weakness.severity).max()
    }
}

/// Ports of one host that are counted instead of listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// Their state.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
    /// How many.
    pub count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of a record in chunks that are on disks: this test fails when it changes.
    #[test]
    fn a_record_keeps_its_form_by_position() {
        let record = HostRecord {
            address: "10.0.0.1".parse().unwrap(),
            name: Some("a.b".to_owned()),
            state: HostState::Up,
            reason: Reason::ConnRefused,
            ports: vec![PortRecord {
                port: 22,
                protocol: Protocol::Tcp,
                state: PortState::Open,
                reason: Reason::SynAck,
                banner: None,
                service: Some(Box::new(Service { name: "ssh".to_owned(), ..Service::default() })),
                weaknesses: Vec::new(),
            }],
            not_shown: vec![NotShown { state: PortState::Filtered, reason: Reason::NoResponse, count: 300 }],
            started_at_ms: 1,
            worker: "w".to_owned(),
            is_middlebox: false,
            ended_at_ms: 2,
            tcp: Some(TcpScan::Syn),
            identity: Identity { ttl: Some(64), ..Identity::default() },
            likely_found_permille: Some(430),
            is_target_itself: true,
            redirected: vec![(1, 1023)],
            stopped_after_probes: Some(300),
        };
        #[rustfmt::skip]
        let bytes = [
            0, 10, 0, 0, 1, // IPv4 address
            1, 3, b'a', b'.', b'b', // name
            0, 1, // up, conn-refused
            1, 22, 0, 0, 0, 0, // one port
            1, 3, b's', b's', b'h', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // its service
            0, // no weaknesses
            1, 2, 3, 0xac, 2, // one group of 300 that is not shown
            1, 1, b'w',
            0, // no middlebox
            2, 1, 1, // when it was done, by single SYNs
            1, 64, 0, 0, 0, 0, // time to live, no hardware address, vendor, name or zone
            1, 0xae, 3, // 430 thousandths of it
            1, // a target itself
            1, 1, 0xff, 7, // ports 1 to 1023
            1, 0xac, 2, // 300 probes
        ];
        assert_eq!(postcard::to_stdvec(&record).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<HostRecord>(&bytes).unwrap(), record);
        let asked = HostRecord { redirected: Vec::new(), stopped_after_probes: None, ..record };
        let end = bytes.len() - 7;
        assert_eq!(postcard::from_bytes::<HostRecord>(&bytes[..end]).unwrap(), asked, "as records ended last");
        let named = HostRecord { is_target_itself: false, ..asked };
        let end = end - 1;
        assert_eq!(postcard::from_bytes::<HostRecord>(&bytes[..end]).unwrap(), named, "as records ended before");
        let whole = HostRecord { likely_found_permille: None, ..named };
        let end = end - 3;
        assert_eq!(postcard::from_bytes::<HostRecord>(&bytes[..end]).unwrap(), whole, "as records ended before");
        let older = HostRecord { ended_at_ms: 0, tcp: None, identity: Identity::default(), ..whole };
        let end = end - 9;
        assert_eq!(postcard::from_bytes::<HostRecord>(&bytes[..end]).unwrap(), older, "and before that");
    }
}
