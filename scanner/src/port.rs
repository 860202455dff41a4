//! Which ports are asked: TCP and UDP sets, their notation, names and popularity.
//!
//! A [`PortSet`] is an index space like a target set: TCP ports come first, then UDP ports, each ascending.
//! Port 0 is reserved (RFC 6335 section 6) and cannot be connected to, so it is refused.

pub mod fragile;
mod learned;
mod parse;
mod popular;
mod service;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::learned::LearnedPorts;
pub use self::parse::{PortError, PortProblem};
pub(crate) use self::service::named_ports;
pub use self::service::service_name;
use crate::target::range::{Indexed, RangeSet, Span};

/// How many ports a scan asks when nobody says: enough to meet nearly every service in use.
pub const DEFAULT_TOP_PORTS: u32 = 1000;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The number, never 0.
    pub number: u16,
}

impl Port {
    /// A TCP port.
    #[must_use]
    pub fn tcp(number: u16) -> Self {
        Self { protocol: Protocol::Tcp, number }
    }

    /// A UDP port.
    #[must_use]
    pub fn udp(number: u16) -> Self {
        Self { protocol: Protocol::Udp, number }
    }
}

impl fmt::Display for Port {
    /// `22/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// A set of TCP and UDP ports, found by index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct PortSet {
    tcp: Indexed<u16>,
    udp: Indexed<u16>,
}

impl PortSet {
    /// The `n` TCP ports most worth asking, all 65,535 from there on. See `port/popular.rs` for the order.
    #[must_use]
    pub fn top_ports(n: u32) -> Self {
        popular::by_popularity().take(usize::try_from(n).unwrap_or(usize::MAX)).map(Port::tcp).collect()
    }

    /// The `n` UDP ports most worth asking, all 65,535 from there on; the first hundred or so are those of services in
    /// common use. See `port/popular.rs` for the order.
    #[must_use]
    pub fn top_udp_ports(n: u32) -> Self {
        Self::udp_by_popularity().take(usize::try_from(n).unwrap_or(usize::MAX)).collect()
    }

    /// Every UDP port once, the likeliest open first.
    pub(crate) fn udp_by_popularity() -> impl Iterator<Item = Port> {
        popular::udp_by_popularity().map(Port::udp)
    }

    /// The TCP ports of the set alone.
    pub(crate) fn only_tcp(&self) -> Self {
        Self { tcp: self.tcp.clone(), udp: Indexed::default() }
    }

    /// The UDP ports of the set alone.
    pub(crate) fn only_udp(&self) -> Self {
        Self { tcp: Indexed::default(), udp: self.udp.clone() }
    }

    /// The `n` most popular TCP ports that are in `ports`, the likeliest open first.
    pub(crate) fn popular_of(ports: &Self, n: usize) -> Vec<u16> {
        popular::by_popularity().filter(|port| ports.tcp.set().contains(*port)).take(n).collect()
    }

    /// How many ports there are, TCP and UDP together.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.tcp_count() + self.udp_count()
    }

    /// How many TCP ports there are; they have the indexes below this number.
    #[must_use]
    pub fn tcp_count(&self) -> u32 {
        small(self.tcp.count())
    }

    /// How many UDP ports there are; they have the indexes from [`Self::tcp_count`] on.
    #[must_use]
    pub fn udp_count(&self) -> u32 {
        small(self.udp.count())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The port at an index, or `None` from [`Self::count`] on.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Port> {
        match index.checked_sub(self.tcp_count()) {
            None => self.tcp.get(index.into()).map(Port::tcp),
            Some(index) => self.udp.get(index.into()).map(Port::udp),
        }
    }

    /// The index of a port, if it is in the set.
    #[must_use]
    pub fn position(&self, port: Port) -> Option<u32> {
        match port.protocol {
            Protocol::Tcp => self.tcp.position(port.number).map(small),
            Protocol::Udp => self.udp.position(port.number).map(|index| self.tcp_count() + small(index)),
        }
    }

    /// Whether a port is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.position(port).is_some()
    }

    /// The set without the ports of another.
    #[must_use]
    pub fn exclude(&self, excluded: &Self) -> Self {
        let without = |ports: &Indexed<u16>, excluded: &Indexed<u16>| ports.set().subtract(excluded.set());
        Self {
            tcp: Indexed::new(without(&self.tcp, &excluded.tcp)),
            udp: Indexed::new(without(&self.udp, &excluded.udp)),
        }
    }

    /// Every port in index order.
    pub fn iter(&self) -> impl Iterator<Item = Port> + '_ {
        let numbers = |set: &RangeSet<u16>| set.spans().to_vec().into_iter().flat_map(|span| span.first..=span.last);
        numbers(self.tcp.set()).map(Port::tcp).chain(numbers(self.udp.set()).map(Port::udp))
    }

    fn from_spans(tcp: Vec<Span<u16>>, udp: Vec<Span<u16>>) -> Self {
        // 65,536 numbers at most: far below what a count can hold.
        Self { tcp: Indexed::new(RangeSet::from_spans(tcp)), udp: Indexed::new(RangeSet::from_spans(udp)) }
    }
}

impl FromIterator<Port> for PortSet {
    fn from_iter<I: IntoIterator<Item = Port>>(ports: I) -> Self {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for port in ports {
            match port.protocol {
                Protocol::Tcp => tcp.push(Span::single(port.number)),
                Protocol::Udp => udp.push(Span::single(port.number)),
            }
        }
        Self::from_spans(tcp, udp)
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    /// Reads a port list; see [`PortError`] for what it may hold.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse_ports(text)
    }
}

impl fmt::Display for PortSet {
    /// `22,80,8000-8100`, with `T:` and `U:` in front when there are UDP ports; parses back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let parts = [("T:", &self.tcp), ("U:", &self.udp)];
        for (prefix, ports) in parts.into_iter().filter(|(_, ports)| ports.count() > 0) {
            write!(f, "{separator}{}", if self.udp.count() > 0 { prefix } else { "" })?;
            separator = "";
            for span in ports.set().spans() {
                match span.first == span.last {
                    true => write!(f, "{separator}{}", span.first)?,
                    false => write!(f, "{separator}{}-{}", span.first, span.last)?,
                }
                separator = ",";
            }
        }
        Ok(())
    }
}

/// The serialised form: inclusive ranges. The order of fields is the format.
#[derive(Serialize, Deserialize)]
struct Wire {
    tcp: Vec<(u16, u16)>,
    udp: Vec<(u16, u16)>,
}

impl From<PortSet> for Wire {
    fn from(ports: PortSet) -> Self {
        let pairs = |set: &Indexed<u16>| set.set().spans().iter().map(|span| (span.first, span.last)).collect();
        Self { tcp: pairs(&ports.tcp), udp: pairs(&ports.udp) }
    }
}

impl TryFrom<Wire> for PortSet {
    type Error = PortError;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let spans = |pairs: Vec<(u16, u16)>| -> Option<Vec<Span<u16>>> {
            pairs.into_iter().map(|(first, last)| Span::new(first, last).filter(|_| first != 0)).collect()
        };
        let (tcp, udp) = spans(wire.tcp).zip(spans(wire.udp)).ok_or_else(parse::bad_encoding)?;
        Ok(Self::from_spans(tcp, udp))
    }
}

fn small(count: u64) -> u32 {
    u32::try_from(count).expect("there are 65,535 ports per protocol")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    #[test]
    fn every_notation_gives_its_ports() {
        assert_eq!(
            ports("22,80,8000-8002").iter().map(|port| port.number).collect::<Vec<_>>(),
            [22, 80, 8000, 8001, 8002]
        );
        assert_eq!(ports("-").count(), 65_535);
        assert_eq!(ports("1-65535"), ports("-"));
        assert_eq!(ports("-100").count(), 100);
        assert_eq!(ports("65530-").count(), 6);
        assert_eq!(ports("ssh, HTTP").to_string(), "22,80");
        assert_eq!(ports("T:22,80,U:53,domain,T:443").to_string(), "T:22,80,443,U:53");
        assert_eq!(ports("u:161").to_string(), "U:161");
        assert_eq!(ports("tcp:1,udp:2").to_string(), "T:1,U:2");
        assert_eq!(ports("oracle").to_string(), "1521,1525-1526");
        assert!(ports("http-alt").contains(Port::tcp(8080)));
    }

    #[test]
    fn top_ports_begin_with_the_well_known_and_end_with_all() {
        assert_eq!(PortSet::top_ports(3).to_string(), "22,80,443");
        assert_eq!(PortSet::top_ports(DEFAULT_TOP_PORTS).count(), 1000);
        assert_eq!(PortSet::top_ports(u32::MAX), ports("-"));
        assert!(PortSet::top_ports(100).contains(Port::tcp(3389)));
    }

    #[test]
    fn top_udp_ports_are_those_of_services_in_use() {
        let top = PortSet::top_udp_ports(100);
        assert_eq!((top.udp_count(), top.tcp_count()), (100, 0));
        for port in [53, 123, 137, 161, 500, 1900, 5353, 11_211, 47_808] {
            assert!(PortSet::top_udp_ports(150).contains(Port::udp(port)), "{port}");
        }
        assert_eq!(PortSet::top_udp_ports(u32::MAX), ports("U:-"));
        assert_eq!(ports("T:22,U:53").only_udp(), ports("U:53"));
        assert_eq!(ports("T:22,U:53").only_tcp(), ports("22"));
    }

    #[test]
    fn a_damaged_encoding_is_refused() {
        assert!(serde_json::from_str::<PortSet>(r#"{"tcp":[[0,5]],"udp":[]}"#).is_err());
        assert!(serde_json::from_str::<PortSet>(r#"{"tcp":[[9,5]],"udp":[]}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_printed_set_parses_back_and_survives_its_encoding(
            numbers in proptest::collection::vec((1_u16.., any::<bool>()), 1..60)
        ) {
            let make = |(number, udp): &(u16, bool)| if *udp { Port::udp(*number) } else { Port::tcp(*number) };
            let set: PortSet = numbers.iter().map(make).collect();
            prop_assert_eq!(&ports(&set.to_string()), &set);
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(&serde_json::from_str::<PortSet>(&json).unwrap(), &set);
        }

        #[test]
        fn what_is_excluded_is_gone_and_the_rest_is_there(
            numbers in proptest::collection::vec((1_u16..50, any::<bool>()), 0..60),
            excluded in proptest::collection::vec((1_u16..50, any::<bool>()), 0..60)
        ) {
            let make = |(number, udp): &(u16, bool)| if *udp { Port::udp(*number) } else { Port::tcp(*number) };
            let (set, excluded): (PortSet, PortSet) =
                (numbers.iter().map(make).collect(), excluded.iter().map(make).collect());
            let rest: PortSet = set.iter().filter(|port| !excluded.contains(*port)).collect();
            prop_assert_eq!(set.exclude(&excluded), rest);
        }

        #[test]
        fn index_and_port_are_each_others_inverse(numbers in proptest::collection::vec((1_u16.., any::<bool>()), 0..60)) {
            let make = |(number, udp): &(u16, bool)| if *udp { Port::udp(*number) } else { Port::tcp(*number) };
            let set: PortSet = numbers.iter().map(make).collect();
            for (index, port) in (0_u32..).zip(set.iter()) {
                prop_assert_eq!(set.get(index), Some(port));
                prop_assert_eq!(set.position(port), Some(index));
            }
            prop_assert_eq!(set.iter().count(), set.count() as usize);
            prop_assert_eq!(set.get(set.count()), None);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-zTU:,\\- ]{0,40}|\\PC{0,40}") {
            if let Ok(set) = text.parse::<PortSet>() {
                prop_assert_eq!(ports(&set.to_string()), set);
            }
        }
    }
}
