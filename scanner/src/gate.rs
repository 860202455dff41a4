//! The one gate before the network: what may be sent to an address and port, at each stage of a scan.
//!
//! A pure function from address, port and stage to a [`Verdict`], made once per unit of what is permitted (live), exclusions, profile and the
//! table of fragile ports ([`crate::port::fragile`]). Every sender asks it last thing before it sends, whatever the sender
//! believes to know: host probes and ARP, SYNs, datagrams, connections, and each connection of detection and checks. How
//! fast is not its business, nor who may ask for a scan.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::port::fragile::{self, Fragile};
use crate::port::{Port, Protocol};
use crate::scope::{NotPermitted, Permit, Scope};
use crate::spec::{Profile, ScanSpec};
use crate::target::{TargetSet, without_zone};

/// What is about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing yet: an address that a name was resolved to is about to become a target.
    Name,
    /// The question who on the link has the address (ARP, neighbour discovery).
    Neighbour,
    /// A host probe that is no SYN.
    HostProbe,
    /// A SYN, and nothing more to follow.
    Syn,
    /// A whole connection that shows the port's state and carries nothing.
    Connect,
    /// A datagram.
    Datagram,
    /// A connection that only listens.
    BannerGrab,
    /// A question what the service is.
    Service,
    /// A handshake of TLS.
    Tls,
    /// A request over HTTP beyond the first question.
    Http,
    /// A check for a weakness.
    Check,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What the stage is about.
    Allow,
    /// A single SYN in its place.
    SynOnly,
    /// Only what is read-only in the port's own protocol, on one connection at a time. Listening is always part of it.
    OwnProtocol,
    /// Nothing.
    Deny(Denial),
}

/// Why nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The address is not in the authorised scope.
    OutsideScope,
    /// The address was excluded.
    Excluded,
    /// The profile allows single SYNs alone.
    OtSafe,
    /// The port was excluded.
    ExcludedPort,
    /// The port belongs to printers, which print what they are sent.
    Printer,
    /// The port belongs to controllers or medical devices, which may fail.
    Device,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideScope => "it is outside the authorised scope",
            Self::Excluded => "it is excluded",
            Self::OtSafe => "profile ot-safe sends nothing but single SYNs",
            Self::ExcludedPort => "its port is excluded",
            Self::Printer => "a printer would print it",
            Self::Device => "a controller or medical device may fail",
        })
    }
}

/// The gate of one unit.
#[derive(Debug, Clone)]
pub struct Gate {
    permit: Arc<Permit>,
    spec: Arc<ScanSpec>,
}

impl Gate {
    /// The gate of a spec's units under what is permitted, which may change while they run.
    #[must_use]
    pub fn new(spec: Arc<ScanSpec>, permit: Arc<Permit>) -> Self {
        Self { permit, spec }
    }

    /// What may be sent to an address, and to a port of it where the stage is about one.
    #[must_use]
    pub fn ask(&self, address: IpAddr, port: Option<Port>, stage: Stage) -> Verdict {
        match self.denies(address) {
            Some(denial) => Verdict::Deny(denial),
            None => self.of_port(port, stage),
        }
    }

    /// Whether anything at all of a stage may be sent to an address.
    #[must_use]
    pub fn permits(&self, address: IpAddr, port: Option<Port>, stage: Stage) -> bool {
        !matches!(self.ask(address, port, stage), Verdict::Deny(_))
    }

    /// Why nothing may be sent to an address, whatever it is.
    fn denies(&self, address: IpAddr) -> Option<Denial> {
        match self.permit.denies(address) {
            Some(NotPermitted::Outside) => return Some(Denial::OutsideScope),
            Some(NotPermitted::Excluded) => return Some(Denial::Excluded),
            None => {}
        }
        (self.spec.exclude.contains(address) || self.spec.exclude.contains(without_zone(address)))
            .then_some(Denial::Excluded)
    }

    /// Why no request may be sent to all nodes of a link, of which `wanted` are targets and which it `reaches` all; `None` where
    /// one may. Whoever is excluded on the link would get it as well.
    #[must_use]
    pub fn denies_link(&self, wanted: &TargetSet, reaches: &TargetSet) -> Option<Denial> {
        let permitted = self.permit.get();
        if permitted.scope.check(wanted).is_err() {
            return Some(Denial::OutsideScope);
        }
        if [&permitted.exclude, &self.spec.exclude].into_iter().any(|exclude| reaches.exclude(exclude) != *reaches) {
            return Some(Denial::Excluded);
        }
        match self.of_port(None, Stage::HostProbe) {
            Verdict::Deny(denial) => Some(denial),
            Verdict::Allow | Verdict::SynOnly | Verdict::OwnProtocol => None,
        }
    }

    /// What may be sent to a port, of any address that is allowed.
    #[must_use]
    pub fn of_port(&self, port: Option<Port>, stage: Stage) -> Verdict {
        if port.is_some_and(|port| self.spec.exclude_ports.contains(port)) {
            return Verdict::Deny(Denial::ExcludedPort);
        }
        if self.spec.profile == Profile::OtSafe {
            return match stage {
                Stage::Syn => Verdict::SynOnly,
                Stage::HostProbe if port.is_some() => Verdict::SynOnly,
                // Without it no SYN reaches an address on the link.
                Stage::Neighbour => Verdict::Allow,
                _ => Verdict::Deny(Denial::OtSafe),
            };
        }
        let class = port.and_then(fragile::class).filter(|class| match class {
            Fragile::Printer => true,
            Fragile::Device(_) => !self.spec.allow_fragile,
        });
        match (class, stage) {
            (None, _) | (_, Stage::Name | Stage::Neighbour | Stage::Syn | Stage::Connect) => Verdict::Allow,
            (Some(_), Stage::HostProbe) => Verdict::SynOnly,
            (Some(Fragile::Printer), _) => Verdict::Deny(Denial::Printer),
            (Some(Fragile::Device(_)), Stage::BannerGrab) => Verdict::Allow,
            (Some(Fragile::Device(_)), Stage::Datagram | Stage::Service) => Verdict::OwnProtocol,
            (Some(Fragile::Device(_)), Stage::Tls | Stage::Http | Stage::Check) => Verdict::Deny(Denial::Device),
        }
    }

    /// Whether open ports are asked what they are, as far as that is a matter of the spec.
    #[must_use]
    pub fn asks_services(&self) -> bool {
        self.spec.services.is_some() && self.of_port(None, Stage::Service) == Verdict::Allow
    }

    /// Names of the program's own service probes that are in the own protocol of a fragile port; none where it is only listened to.
    pub(crate) fn own_probes(port: Port) -> &'static [&'static str] {
        match fragile::class(port) {
            Some(Fragile::Device(device)) => device.own,
            Some(Fragile::Printer) | None => &[],
        }
    }
}

impl Default for Gate {
    /// Any address, and the fragile ports as always: for whoever asks a port that was named by hand.
    fn default() -> Self {
        static ANYWHERE: LazyLock<Gate> = LazyLock::new(|| {
            let nets = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("the two nets are written correctly"));
            Gate::new(Arc::default(), Scope::new(&nets).into())
        });
        ANYWHERE.clone()
    }
}

/// The port of a connection or datagram.
pub(crate) fn port_of(address: std::net::SocketAddr, protocol: Protocol) -> Option<Port> {
    Some(Port { protocol, number: address.port() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAGES: [Stage; 11] = [
        Stage::Name,
        Stage::Neighbour,
        Stage::HostProbe,
        Stage::Syn,
        Stage::Connect,
        Stage::Datagram,
        Stage::BannerGrab,
        Stage::Service,
        Stage::Tls,
        Stage::Http,
        Stage::Check,
    ];

    fn gate(spec: ScanSpec) -> Gate {
        Gate::new(Arc::new(spec), Arc::default())
    }

    fn tcp(number: u16) -> Option<Port> {
        Some(Port::tcp(number))
    }

    #[test]
    fn nothing_is_sent_to_an_excluded_port_at_any_stage() {
        let without = gate(ScanSpec { exclude_ports: "9,U:161".parse().unwrap(), ..ScanSpec::default() });
        for stage in STAGES {
            assert_eq!(without.of_port(tcp(9), stage), Verdict::Deny(Denial::ExcludedPort), "{stage:?}");
            assert_eq!(without.of_port(Some(Port::udp(161)), stage), Verdict::Deny(Denial::ExcludedPort), "{stage:?}");
            assert_ne!(without.of_port(tcp(161), stage), Verdict::Deny(Denial::ExcludedPort), "{stage:?}");
        }
    }

    #[test]
    fn an_excluded_address_and_one_outside_get_nothing_at_any_stage() {
        let gate = gate(ScanSpec { exclude: "10.0.0.7".parse().unwrap(), ..ScanSpec::default() });
        for stage in STAGES {
            for port in [None, tcp(80), tcp(9100), Some(Port::udp(53))] {
                let ask = |address: &str| gate.ask(address.parse().unwrap(), port, stage);
                assert_eq!(ask("10.0.0.7"), Verdict::Deny(Denial::Excluded));
                assert_eq!(ask("::ffff:10.0.0.7"), Verdict::Deny(Denial::Excluded), "the same address in other words");
                assert_eq!(ask("8.8.8.8"), Verdict::Deny(Denial::OutsideScope));
            }
            assert_eq!(gate.ask("10.0.0.8".parse().unwrap(), tcp(80), stage), Verdict::Allow);
        }
    }

    #[test]
    fn printers_are_never_sent_a_payload_whatever_a_user_wants() {
        for allow_fragile in [false, true] {
            let gate = gate(ScanSpec { allow_fragile, ..ScanSpec::default() });
            for port in [tcp(515), tcp(9100), tcp(9107)] {
                let of = |stage| gate.of_port(port, stage);
                assert_eq!(
                    [of(Stage::Syn), of(Stage::Connect), of(Stage::HostProbe)],
                    [Verdict::Allow, Verdict::Allow, Verdict::SynOnly]
                );
                for stage in [Stage::BannerGrab, Stage::Service, Stage::Tls, Stage::Http, Stage::Check, Stage::Datagram]
                {
                    assert_eq!(of(stage), Verdict::Deny(Denial::Printer), "{stage:?}");
                }
            }
            assert_eq!(gate.of_port(Some(Port::udp(9100)), Stage::Datagram), Verdict::Deny(Denial::Printer));
        }
    }

    #[test]
    fn a_device_is_spoken_to_in_its_own_protocol_unless_the_user_lifts_it() {
        let careful = gate(ScanSpec::default());
        let lifted = gate(ScanSpec { allow_fragile: true, ..ScanSpec::default() });
        for port in [tcp(502), tcp(20000), Some(Port::udp(47808))] {
            assert_eq!(careful.of_port(port, Stage::Service), Verdict::OwnProtocol);
            assert_eq!(careful.of_port(port, Stage::Datagram), Verdict::OwnProtocol);
            assert_eq!(careful.of_port(port, Stage::HostProbe), Verdict::SynOnly);
            assert_eq!(careful.of_port(port, Stage::BannerGrab), Verdict::Allow);
            for stage in [Stage::Tls, Stage::Http, Stage::Check] {
                assert_eq!(careful.of_port(port, stage), Verdict::Deny(Denial::Device));
            }
            assert!(STAGES.iter().all(|stage| lifted.of_port(port, *stage) == Verdict::Allow));
        }
        assert_eq!(Gate::own_probes(Port::tcp(502)), ["modbus-identify"]);
        assert!(Gate::own_probes(Port::tcp(80)).is_empty() && Gate::own_probes(Port::tcp(9100)).is_empty());
    }

    proptest! {
        #[test]
        fn the_ot_safe_profile_lets_single_syns_through_and_nothing_else(number in 1u16.., stage in 0usize..11, is_udp: bool) {
            let gate = gate(ScanSpec { profile: Profile::OtSafe, allow_fragile: true, ..ScanSpec::default() });
            let port = if is_udp { Port::udp(number) } else { Port::tcp(number) };
            let expected = match STAGES[stage] {
                Stage::Syn | Stage::HostProbe => Verdict::SynOnly,
                Stage::Neighbour => Verdict::Allow,
                _ => Verdict::Deny(Denial::OtSafe),
            };
            prop_assert_eq!(gate.of_port(Some(port), STAGES[stage]), expected);
        }
    }
}
