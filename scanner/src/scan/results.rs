//! What a scan has found, counted and left out so far.

use std::net::IpAddr;
use std::sync::Arc;

use super::Unanswered;
use crate::finding::{Finding, HostState, NotProbed, Observation, PortState, Reason, ScannedHost};
use crate::port::Port;
use crate::tally::{LeftOut, Tally};

/// The results of a scan so far.
#[derive(Debug, Default)]
pub struct Results {
    /// What was found and not taken yet.
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
    pub(crate) left_out: LeftOut,
}

impl Results {
    /// What was found since this was last called.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// The figures so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What was left out so far.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// A host has answered for the first time.
    pub(crate) fn note_up(&mut self, host: &ScannedHost, reason: Reason) {
        self.tally.hosts_up += 1;
        self.findings.push(host.finding(Observation::Host { state: HostState::Up, reason }));
    }

    /// A port has answered for itself.
    pub(crate) fn note_port(
        &mut self,
        host: &ScannedHost,
        port: Port,
        state: PortState,
        reason: Reason,
        ttl: Option<u8>,
    ) {
        self.tally.open_ports += u64::from(state == PortState::Open);
        self.findings.push(host.finding(Observation::Port { port, state, reason, ttl }));
    }

    /// Ports of a host that have not answered for themselves; none is no finding.
    pub(crate) fn note_unanswered(&mut self, host: &ScannedHost, unanswered: Unanswered, state: PortState) {
        let Unanswered { reason, ports } = unanswered;
        if !ports.is_empty() {
            self.findings.push(host.finding(Observation::Ports { ports: Box::new(ports), state, reason }));
        }
    }

    /// An open port has said something, or it has not.
    pub(crate) fn note_banner(&mut self, host: &ScannedHost, port: Port, banner: Option<String>) {
        self.findings.extend(banner.map(|banner| host.finding(Observation::Banner { port, banner })));
    }

    /// The address that a name stands for: the first of those `found`, in their order of preference, that `permits` says
    /// may be asked. Where there is none the target is left out, and settled.
    pub(crate) fn resolve(
        &mut self,
        name: Option<&Arc<str>>,
        found: Result<Vec<IpAddr>, String>,
        permits: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let why = match found {
            Ok(addresses) => {
                if let Some(address) = addresses.iter().map(IpAddr::to_canonical).find(|address| permits(*address)) {
                    return Some(address);
                }
                self.left_out.refused += u64::from(!addresses.is_empty());
                let why = if addresses.is_empty() { NotProbed::NameUnknown } else { NotProbed::OutOfScope };
                self.tally.not_probed.add(why, 1);
                match addresses.first() {
                    Some(first) => format!("{first} is outside the authorised scope or excluded"),
                    None => "it has no address".to_owned(),
                }
            }
            Err(why) => {
                self.tally.not_probed.add(NotProbed::NameUnknown, 1);
                why
            }
        };
        self.left_out.note_unresolved(name.map_or_else(|| Arc::from(""), Arc::clone), why);
        self.tally.targets_done += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortSet;

    #[test]
    fn a_name_stands_for_the_first_of_its_addresses_that_may_be_asked() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut results = Results::default();
        let name: Arc<str> = Arc::from("a.example");
        let mut resolve = |found: Result<Vec<IpAddr>, String>| {
            results.resolve(Some(&name), found, |asked| asked == address("10.0.0.2"))
        };
        let mapped = vec![address("10.0.0.1"), address("::ffff:10.0.0.2")];
        assert_eq!(resolve(Ok(mapped)), Some(address("10.0.0.2")));
        assert_eq!(resolve(Ok(vec![address("10.0.0.1")])), None);
        assert_eq!(resolve(Ok(Vec::new())), None);
        assert_eq!(resolve(Err("no such name".to_owned())), None);
        let why: Vec<&str> = results.left_out.unresolved.iter().map(|name| name.why.as_str()).collect();
        assert_eq!(why, ["10.0.0.1 is outside the authorised scope or excluded", "it has no address", "no such name"]);
        assert_eq!((results.tally.targets_done, results.left_out.refused), (3, 1));
        assert_eq!(results.tally.not_probed.to_string(), "name unknown 2, outside the scope or excluded 1");
    }

    #[test]
    fn what_was_found_is_counted_and_no_ports_are_no_finding() {
        let mut results = Results::default();
        let host = ScannedHost { target_index: 7, address: "10.0.0.1".parse().unwrap(), name: None };
        results.note_up(&host, Reason::SynAck);
        results.note_port(&host, Port::tcp(22), PortState::Open, Reason::SynAck, None);
        results.note_port(&host, Port::tcp(23), PortState::Closed, Reason::Reset, Some(64));
        let none = Unanswered { reason: Reason::NoResponse, ports: PortSet::default() };
        results.note_unanswered(&host, none, PortState::Filtered);
        results.note_banner(&host, Port::tcp(22), None);
        assert_eq!((results.tally.hosts_up, results.tally.open_ports), (1, 1));
        let findings = results.take_findings();
        assert_eq!((findings.len(), findings[0].target_index), (3, 7));
        assert!(results.take_findings().is_empty());
    }
}
