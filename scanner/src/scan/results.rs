//! What a scan has found, counted and left out so far.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Unanswered;
use super::namesakes::{End, Namesakes, Told};
use crate::finding::{Finding, HostState, Mac, NotProbed, Observation, PortState, Reason, ScannedHost, Stack};
use crate::plan::Plan;
use crate::port::Port;
use crate::tally::{LeftOut, Tally};

/// Names whose addresses are kept for the question whether there was a way to them: a few megabytes.
const SILENT_NAMES_MAX: usize = 32_768;

/// Findings that may wait for their reader before targets are told what was found of their address: a few batches.
const TOLD_AHEAD: usize = 1024;

/// Findings at most that are told of targets whose scan is cut short: a few megabytes.
const CUT_SHORT_MAX: usize = 32_768;

/// The results of a scan so far.
#[derive(Debug, Default)]
pub struct Results {
    /// What was found and not taken yet.
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
    pub(crate) left_out: LeftOut,
    /// The targets that are several hosts, until all of these are settled.
    several: BTreeMap<u64, Several>,
    /// The addresses of each name that has not answered, without those that could not be asked.
    pub(crate) silent_names: Vec<Vec<IpAddr>>,
    /// Targets whose address is asked for another one.
    pub(crate) namesakes: Namesakes,
}

/// A name that stands for several addresses.
#[derive(Debug)]
struct Several {
    /// Its hosts that are not settled.
    left: usize,
    /// How many of them could be asked.
    probed: usize,
    /// Those of them that have not answered.
    silent: Vec<IpAddr>,
}

impl Results {
    /// Those of a scan of a plan's targets that has not begun.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { namesakes: Namesakes::of(plan), ..Self::default() }
    }

    /// Something was found.
    pub(crate) fn tell(&mut self, finding: Finding) {
        self.namesakes.note(&finding);
        self.findings.push(finding);
    }

    /// Everything is told of a host that nothing is waited for any more; so it is of its address.
    pub(crate) fn end(&mut self, host: &ScannedHost, end: End) {
        self.namesakes.settle(host.address, end);
    }

    /// Tells targets what was found of their address, as far as it is read.
    pub(crate) fn tell_namesakes(&mut self) {
        while self.findings.len() < TOLD_AHEAD
            && let Some(told) = self.namesakes.next()
        {
            match told {
                Told::Finding(finding) => self.findings.push(finding),
                Told::End(host, End { not_sent, is_up }) => {
                    if not_sent.is_none() && !is_up {
                        self.note_silent_name(&host);
                    }
                    self.note_settled(&host, not_sent);
                }
            }
        }
    }

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

    /// The scan ends before its targets are settled: what is known of their addresses is told.
    pub(crate) fn cut_short(&mut self) {
        self.findings.extend(self.namesakes.cut_short().take(CUT_SHORT_MAX));
    }

    /// A host that a name stands for has not answered, which may be for want of a way to it.
    pub(crate) fn note_silent_name(&mut self, host: &ScannedHost) {
        match self.several.get_mut(&host.target_index) {
            Some(several) => several.silent.push(host.address),
            None if host.name.is_some() => self.keep_silent(vec![host.address]),
            None => {}
        }
    }

    fn keep_silent(&mut self, addresses: Vec<IpAddr>) {
        if self.silent_names.len() < SILENT_NAMES_MAX {
            self.silent_names.push(addresses);
        }
    }

    /// A host has answered for the first time.
    pub(crate) fn note_up(&mut self, host: &ScannedHost, reason: Reason) {
        self.tally.hosts_up += 1;
        self.tell(host.finding(Observation::Host { state: HostState::Up, reason }));
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
        self.tell(host.finding(Observation::Port { port, state, reason, ttl, stack: None }));
    }

    /// What the packet that showed the port noted last tells of the host's stack.
    pub(crate) fn note_stack(&mut self, of: Option<Stack>) {
        if let Some(Finding { observation: Observation::Port { stack, .. }, .. }) = self.findings.last_mut() {
            *stack = of;
        }
    }

    /// A host has told its hardware address.
    pub(crate) fn note_hardware(&mut self, host: &ScannedHost, mac: [u8; 6]) {
        self.tell(host.finding(Observation::Hardware { mac: Mac(mac), vendor: None }));
    }

    /// Ports of a host that have not answered for themselves; none is no finding.
    pub(crate) fn note_unanswered(&mut self, host: &ScannedHost, unanswered: Unanswered, state: PortState) {
        let Unanswered { reason, ports } = unanswered;
        if !ports.is_empty() {
            self.tell(host.finding(Observation::Ports { ports: Box::new(ports), state, reason }));
        }
    }

    /// An open port has said something, or it has not.
    pub(crate) fn note_banner(&mut self, host: &ScannedHost, port: Port, banner: Option<String>) {
        banner.into_iter().for_each(|banner| self.tell(host.finding(Observation::Banner { port, banner })));
    }

    /// What showed a port open, as it came.
    pub(crate) fn note_answer(&mut self, host: &ScannedHost, port: Port, bytes: &[u8]) {
        self.tell(host.finding(Observation::Answer { port, bytes: bytes.into() }));
    }

    /// A host has nothing left to wait for; `not_sent` is why it could not be asked. Its target is done with its last host,
    /// and is not probed if none of them was.
    pub(crate) fn note_settled(&mut self, host: &ScannedHost, not_sent: Option<NotProbed>) {
        if let Some(several) = self.several.get_mut(&host.target_index) {
            several.left -= 1;
            several.probed += usize::from(not_sent.is_none());
            if let (Some(why), Some(name)) = (not_sent, &host.name) {
                self.left_out.note_address(Some(name), host.address, why.words());
            }
            if several.left > 0 {
                return;
            }
            let Several { probed, silent, .. } = self.several.remove(&host.target_index).expect("just looked at");
            self.tally.targets_done += 1;
            match not_sent {
                Some(why) if probed == 0 => self.leave(why, host.address),
                _ if silent.len() == probed => self.keep_silent(silent),
                _ => {}
            }
            return;
        }
        self.tally.targets_done += 1;
        if let Some(why) = not_sent {
            self.leave(why, host.address);
        }
    }

    /// A target could not be asked. A broadcast address is no host that could be missed.
    pub(crate) fn leave(&mut self, why: NotProbed, address: IpAddr) {
        match why {
            NotProbed::Broadcast => self.left_out.note_address(None, address, why.words()),
            why => self.tally.not_probed.add(why, 1),
        }
    }

    /// The hosts that a name stands for: its addresses of those `found`, in their order of preference, that `permits` says
    /// may be asked; the first of them alone where no more are wanted. Where there is none the target is left out, and
    /// settled. Each of the others is noted.
    pub(crate) fn resolve(
        &mut self,
        host: &ScannedHost,
        found: Result<Vec<IpAddr>, String>,
        is_first_enough: bool,
        permits: impl Fn(IpAddr) -> bool,
    ) -> Vec<IpAddr> {
        let name = host.name.clone().unwrap_or_else(|| Arc::from(""));
        let why = match found {
            Ok(found) => {
                let mut addresses: Vec<IpAddr> = Vec::new();
                for address in found.iter().map(IpAddr::to_canonical) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                let (mut allowed, refused): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| permits(*address));
                if !allowed.is_empty() {
                    if is_first_enough {
                        allowed.truncate(1);
                    } else {
                        let why = NotProbed::OutOfScope.words();
                        refused.iter().for_each(|address| self.left_out.note_address(Some(&name), *address, why));
                    }
                    if allowed.len() > 1 {
                        self.several
                            .insert(host.target_index, Several { left: allowed.len(), probed: 0, silent: Vec::new() });
                    }
                    return allowed;
                }
                self.left_out.refused += u64::from(!refused.is_empty());
                let why = if refused.is_empty() { NotProbed::NameUnknown } else { NotProbed::OutOfScope };
                self.tally.not_probed.add(why, 1);
                match refused.first() {
                    Some(first) => format!("{first} is outside the authorised scope or excluded"),
                    None => "it has no address".to_owned(),
                }
            }
            Err(why) => {
                self.tally.not_probed.add(NotProbed::NameUnknown, 1);
                why
            }
        };
        self.left_out.note_unresolved(name, why);
        self.tally.targets_done += 1;
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortSet;

    fn named(target_index: u64) -> ScannedHost {
        let name: Arc<str> = Arc::from("a.example");
        ScannedHost { target_index, address: "0.0.0.0".parse().unwrap(), name: Some(name) }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_stands_for_all_of_its_addresses_that_may_be_asked_and_the_others_are_named() {
        let mut results = Results::default();
        let asked = addresses(&["10.0.0.2", "fd00::2"]);
        let mut resolve = |index, found: Result<&[&str], &str>, is_first_enough| {
            let found = found.map(addresses).map_err(str::to_owned);
            results.resolve(&named(index), found, is_first_enough, |address| asked.contains(&address))
        };
        let found: &[&str] = &["10.0.0.1", "::ffff:10.0.0.2", "fd00::2", "10.0.0.2"];
        assert_eq!(resolve(0, Ok(found), false), asked);
        assert_eq!(resolve(1, Ok(found), true), asked[..1]);
        assert!(resolve(2, Ok(&["10.0.0.1"]), false).is_empty());
        assert!(resolve(3, Ok(&[]), false).is_empty());
        assert!(resolve(4, Err("no such name"), false).is_empty());
        let why: Vec<&str> = results.left_out.unresolved.iter().map(|name| name.why.as_str()).collect();
        assert_eq!(why, ["10.0.0.1 is outside the authorised scope or excluded", "it has no address", "no such name"]);
        assert_eq!((results.tally.targets_done, results.left_out.refused), (3, 1));
        assert_eq!(results.tally.not_probed.to_string(), "name unknown 2, outside the scope or excluded 1");
        let left: Vec<_> = results.left_out.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["10.0.0.1 of a.example was not probed: outside the scope or excluded"]);
    }

    #[test]
    fn a_target_of_several_hosts_is_done_once_with_the_last_and_not_probed_if_none_was() {
        let mut results = Results::default();
        for (index, sent) in [(1, [true, false]), (2, [false, false])] {
            let both = results.resolve(&named(index), Ok(addresses(&["10.0.0.1", "fd00::1"])), false, |_| true);
            for (address, is_sent) in both.into_iter().zip(sent) {
                let why = (!is_sent).then_some(NotProbed::NoRoute);
                results.note_settled(&ScannedHost { address, ..named(index) }, why);
            }
        }
        assert_eq!((results.tally.targets_done, results.tally.not_probed.to_string().as_str()), (2, "no route 1"));
        let left: Vec<_> = results.left_out.addresses.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(left, ["fd00::1", "10.0.0.1"], "each once");
        results.note_settled(&ScannedHost { name: None, ..named(3) }, Some(NotProbed::NoRoute));
        assert_eq!((results.tally.targets_done, results.tally.not_probed.total()), (3, 2));
    }

    #[test]
    fn a_broadcast_address_is_told_and_no_host_that_is_missed() {
        let mut results = Results::default();
        let host = ScannedHost { address: "10.0.0.255".parse().unwrap(), name: None, ..named(1) };
        results.note_settled(&host, Some(NotProbed::Broadcast));
        assert!(results.tally.not_probed.is_empty() && results.tally.targets_done == 1);
        let told: Vec<_> = results.left_out.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.255 was not probed: broadcast address of its link"]);
    }

    #[test]
    fn a_name_is_silent_when_none_of_its_addresses_that_could_be_asked_answers() {
        let mut results = Results::default();
        let both = addresses(&["10.0.0.1", "fd00::1"]);
        // What becomes of each: silent, heard, or not sent.
        for (index, ends) in [(1, "ss"), (2, "sh"), (3, "sn"), (4, "nn")] {
            results.resolve(&named(index), Ok(both.clone()), false, |_| true);
            for (address, end) in both.iter().zip(ends.chars()) {
                let host = ScannedHost { address: *address, ..named(index) };
                if end == 's' {
                    results.note_silent_name(&host);
                }
                results.note_settled(&host, (end == 'n').then_some(NotProbed::NoRoute));
            }
        }
        results.note_silent_name(&ScannedHost { address: both[1], ..named(5) });
        results.note_silent_name(&ScannedHost { name: None, ..named(6) });
        assert_eq!(results.silent_names, [both.clone(), both[..1].to_vec(), both[1..].to_vec()]);
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
