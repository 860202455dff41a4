//! Who a host is beside its address: its hardware address, how far away it is, and the names it is known by.
//!
//! What only the scan knows is kept in its record. Names that its services told are read from these when they are shown,
//! so that an older record has them as well.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HostRecord, Printable, Service, plain_text};

/// Most names of one host that are shown: a certificate of a content network has hundreds.
const NAMES_MAX: usize = 32;

/// What a scan learnt of a host besides its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Time to live of one of its answers, as it arrived.
    pub ttl: Option<u8>,
    /// Its hardware address, where it is on a link of the node that scanned it.
    pub mac: Option<Mac>,
    /// Who the registry of the IEEE says the hardware address belongs to.
    pub vendor: Option<String>,
    /// What name servers call its address.
    pub reverse_dns: Option<String>,
    /// The interface of the scanning machine that a link-local address is on.
    pub zone: Option<String>,
}

impl Identity {
    /// Whether nothing was learnt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A hardware address of 48 bits; shown as `02:00:5E:10:00:01`, which is also its form in documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 6]>::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            let part = parts.next().filter(is_byte).and_then(|part| u8::from_str_radix(part, 16).ok());
            *byte = part.ok_or_else(|| serde::de::Error::custom("it is no hardware address"))?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(serde::de::Error::custom("it is no hardware address")),
        }
    }
}

/// A name of a host, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostName {
    /// The name, printable.
    pub name: String,
    /// Who says so.
    pub source: NameSource,
}

/// Who says what a host is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameSource {
    /// It was the target.
    User,
    /// Name servers, asked for the address.
    ReverseDns,
    /// A certificate that it showed.
    Certificate,
    /// Its NetBIOS name service.
    Netbios,
    /// Its multicast DNS.
    Mdns,
    /// Its SNMP agent.
    Snmp,
    /// The challenge of an NTLM login.
    Ntlm,
    /// What another service of its says.
    Service,
}

impl NameSource {
    /// Its word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ReverseDns => "reverse-dns",
            Self::Certificate => "certificate",
            Self::Netbios => "netbios",
            Self::Mdns => "mdns",
            Self::Snmp => "snmp",
            Self::Ntlm => "ntlm",
            Self::Service => "service",
        }
    }
}

impl HostRecord {
    /// Its address as one writes it: `fe80::1%eth0` where it is link-local.
    #[must_use]
    pub fn written_address(&self) -> String {
        match &self.identity.zone {
            Some(zone) => format!("{}%{}", self.address, Printable(zone)),
            None => self.address.to_string(),
        }
    }

    /// The names that the host is known by, each once from each source, the likeliest first: at most 32.
    #[must_use]
    pub fn names(&self) -> Vec<HostName> {
        let source = NameSource::User;
        let own = self.name.iter().map(|name| HostName { name: plain_text(name).into_owned(), source });
        let mut names: Vec<HostName> = own.collect();
        let mut add = |name: &str, source: NameSource| {
            let name = plain_text(name.trim().trim_end_matches('.')).into_owned();
            let is_known = |known: &HostName| known.source == source && known.name.eq_ignore_ascii_case(&name);
            if !name.is_empty() && names.len() < NAMES_MAX && !names.iter().any(is_known) {
                names.push(HostName { name, source });
            }
        };
        self.identity.reverse_dns.iter().for_each(|name| add(name, NameSource::ReverseDns));
        // Whoever answers for every port may not be the host.
        let services =
            || self.ports.iter().filter(|port| self.is_meant(port)).filter_map(|port| port.service.as_deref());
        services().for_each(|service| told_by(service, &mut add));
        services().for_each(|service| certified(service, &mut add));
        names
    }
}

/// Names that a service told of its host.
fn told_by(service: &Service, add: &mut impl FnMut(&str, NameSource)) {
    let source = match service.name.as_str() {
        "netbios-ns" => NameSource::Netbios,
        "mdns" | "zeroconf" => NameSource::Mdns,
        "snmp" => NameSource::Snmp,
        // Their rules take it from the challenge.
        "smb" | "microsoft-ds" | "ms-wbt-server" => NameSource::Ntlm,
        _ => NameSource::Service,
    };
    service.hostname.iter().for_each(|name| add(name, source));
    for (fact, value) in &service.facts {
        match fact.as_str() {
            "dns-name" => add(value, NameSource::Ntlm),
            "netbios-name" if source != NameSource::Netbios => add(value, NameSource::Ntlm),
            "netbios-name" => add(value, NameSource::Netbios),
            _ => {}
        }
    }
}

/// Names that a service's own certificate was made for: those of one host.
fn certified(service: &Service, add: &mut impl FnMut(&str, NameSource)) {
    let own = service.tls.iter().filter_map(|tls| tls.chain.first());
    let is_name = |name: &&String| name.parse::<std::net::IpAddr>().is_err() && !name.contains(['*', '@', '/', ' ']);
    own.flat_map(|own| own.names.iter().filter(is_name)).for_each(|name| add(name, NameSource::Certificate));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_hardware_address_is_read_as_it_is_written() {
        let mac = Mac([2, 0, 0x5e, 0x10, 0, 0xff]);
        assert_eq!(serde_json::to_string(&mac).unwrap(), r#""02:00:5E:10:00:FF""#);
        assert_eq!(serde_json::from_str::<Mac>(r#""02:00:5e:10:00:FF""#).unwrap(), mac);
        for wrong in
            ["02:00:5e:10:00", "02:00:5e:10:00:ff:1", "2:0:5e:10:00:ff0", "02-00-5e-10-00-ff", "+1:00:00:00:00:00"]
        {
            assert!(serde_json::from_str::<Mac>(&format!("{wrong:?}")).is_err(), "{wrong}");
        }
        assert_eq!(postcard::from_bytes::<Mac>(&postcard::to_stdvec(&mac).unwrap()).unwrap(), mac);
    }

    #[test]
    fn names_come_with_their_sources_the_users_own_first() {
        let mut host = sample::rich_host();
        host.name = Some("www.example".to_owned());
        host.identity.reverse_dns = Some("r2.example.".to_owned());
        let service = |name: &str, hostname: Option<&str>, facts: &[(&str, &str)]| {
            let facts = facts.iter().map(|(fact, value)| ((*fact).to_owned(), (*value).to_owned())).collect();
            Some(Box::new(Service {
                name: name.into(),
                hostname: hostname.map(str::to_owned),
                facts,
                ..Service::default()
            }))
        };
        host.ports[0].service = service("snmp", Some("sw\u{1b}1"), &[]);
        host.ports[2].service =
            service("microsoft-ds", None, &[("dns-name", "dc1.ad.example"), ("netbios-name", "DC1")]);
        let tls = host.ports[1].service.as_mut().unwrap().tls.as_mut().unwrap();
        tls.chain[0].names = ["*.example", "10.0.0.1", "www.example", "a@b"].map(str::to_owned).to_vec();
        let names: Vec<_> =
            host.names().into_iter().map(|one| format!("{} {}", one.source.as_str(), one.name)).collect();
        let expected = [
            "user www.example",
            "reverse-dns r2.example",
            "snmp sw\u{fffd}1",
            "service www.example",
            "ntlm dc1.ad.example",
            "ntlm DC1",
            "certificate www.example",
        ];
        assert_eq!(names, expected);
        for source in host.names() {
            assert_eq!(serde_json::to_string(&source.source).unwrap(), format!("{:?}", source.source.as_str()));
        }
    }
}
