//! Open ports of an address that several names have: what one says that depends on no name is asked once, and told of each.
//!
//! The first name asks, and the others wait. Where the answer is of TLS or HTTP, which are told a name, each asks for itself. Where there
//! is none, a few more try theirs, one after the other.
//!
//! Pure: told what the scan finds and what asking came to.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::Open;
use crate::finding::{Finding, Observation, Service};
use crate::port::Port;

/// After so many names to which a port has said nothing, no more of them ask.
const SILENT_MAX: u32 = 4;

/// The ports of a unit's names.
#[derive(Debug, Default)]
pub(super) struct SharedPorts {
    known: HashMap<(IpAddr, Port), Standing>,
    /// Names that wait, of all ports.
    waiting: usize,
}

/// What is known of a port.
#[derive(Debug)]
enum Standing {
    /// It is being asked for one name, so many others in vain; these wait.
    Asked { silent: u32, waiting: VecDeque<Open> },
    /// It says the same to all names.
    Same(Arc<[Observation]>),
    /// Each name asks.
    Apart,
}

/// What becomes of ports.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// They are asked.
    pub(super) asked: Vec<Open>,
    /// They are told what another name was told, which may be nothing: of which targets, and what.
    pub(super) told: Vec<(u64, Vec<Finding>)>,
}

impl Decided {
    fn tell(&mut self, open: &Open, said: &[Observation]) {
        let findings = said.iter().map(|observation| open.host.finding(observation.clone()));
        self.told.push((open.host.target_index, findings.collect()));
    }
}

impl SharedPorts {
    /// How many names wait for what another one is told.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A port has been found open.
    pub(super) fn found(&mut self, open: Open, decided: &mut Decided) {
        if open.host.name.is_none() {
            return decided.asked.push(open);
        }
        match self.known.get_mut(&(open.host.address, open.port)) {
            Some(Standing::Asked { waiting, .. }) => {
                waiting.push_back(open);
                self.waiting += 1;
            }
            Some(Standing::Same(said)) => decided.tell(&open, said),
            Some(Standing::Apart) => decided.asked.push(open),
            None => {
                let standing = Standing::Asked { silent: 0, waiting: VecDeque::new() };
                self.known.insert((open.host.address, open.port), standing);
                decided.asked.push(open);
            }
        }
    }

    /// A port has been asked, and has said so much.
    pub(super) fn answered(&mut self, (address, port): (IpAddr, Port), said: &[Finding], decided: &mut Decided) {
        let Some(standing) = self.known.get_mut(&(address, port)) else { return };
        let Standing::Asked { silent, waiting } = standing else { return };
        if said.is_empty() && *silent + 1 < SILENT_MAX {
            *silent += 1;
            return match waiting.pop_front() {
                Some(next) => {
                    self.waiting -= 1;
                    decided.asked.push(next);
                }
                // Whoever comes next asks.
                None => *standing = Standing::Apart,
            };
        }
        self.waiting -= waiting.len();
        if said.iter().any(is_of_a_name) {
            decided.asked.extend(std::mem::take(waiting));
            *standing = Standing::Apart;
            return;
        }
        let same: Arc<[Observation]> = said.iter().map(|finding| finding.observation.clone()).collect();
        waiting.iter().for_each(|open| decided.tell(open, &same));
        *standing = Standing::Same(same);
    }

    /// Nothing is being asked any more: whoever still waits does so for one that was not asked after all.
    pub(super) fn release(&mut self) -> Vec<Open> {
        let mut left = Vec::new();
        self.waiting = 0;
        for standing in self.known.values_mut() {
            if let Standing::Asked { waiting, .. } = standing {
                left.extend(std::mem::take(waiting));
                *standing = Standing::Apart;
            }
        }
        left
    }
}

/// Whether a port was told a name before it said this.
fn is_of_a_name(finding: &Finding) -> bool {
    let is_told = |Service { name, tls, http, .. }: &Service| {
        tls.is_some() || http.is_some() || ["http", "tls", "ssl"].iter().any(|told| name.contains(told))
    };
    matches!(&finding.observation, Observation::Service { service, .. } if is_told(service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::ScannedHost;

    fn place() -> (IpAddr, Port) {
        (IpAddr::from([10, 0, 0, 1]), Port::tcp(22))
    }

    fn open(index: u64) -> Open {
        let host = ScannedHost { target_index: index, address: place().0, name: Some(format!("n{index}").into()) };
        Open { host, port: place().1, packet: None, heard: None }
    }

    fn said(service: Service) -> Vec<Finding> {
        vec![open(0).host.finding(Observation::Service { port: place().1, service: Arc::new(service) })]
    }

    fn service(name: &str) -> Service {
        Service { name: name.to_owned(), ..Service::default() }
    }

    /// What is decided when so many names have come, then the first has been answered, and then one more name comes.
    fn decided(count: u64, said: &[Finding]) -> (Vec<u64>, Vec<u64>) {
        let (mut shared, mut decided) = (SharedPorts::default(), Decided::default());
        (0..count).for_each(|index| shared.found(open(index), &mut decided));
        assert_eq!(decided.asked.len(), 1, "the others wait");
        shared.answered(place(), said, &mut decided);
        shared.found(open(count), &mut decided);
        assert!(decided.told.iter().flat_map(|(index, told)| told.iter().map(move |told| (index, told))).all(
            |(index, told)| told.target_index == *index && told.name.as_deref() == Some(&*format!("n{index}"))
        ));
        let asked = decided.asked.iter().map(|open| open.host.target_index).collect();
        (asked, decided.told.iter().filter(|(_, told)| told.len() == said.len()).map(|(index, _)| *index).collect())
    }

    #[test]
    fn what_depends_on_no_name_is_told_of_each_and_what_does_is_asked_for_each() {
        assert_eq!(decided(3, &said(service("ssh"))), (vec![0], vec![1, 2, 3]));
        let page = Service { http: Some(Box::default()), ..service("ipp") };
        for named in [page, service("https"), service("tls")] {
            assert_eq!(decided(3, &said(named)), (vec![0, 1, 2, 3], vec![]));
        }
    }

    #[test]
    fn a_few_names_try_a_silent_port_and_no_more() {
        let (mut shared, mut decided) = (SharedPorts::default(), Decided::default());
        (0..1000).for_each(|index| shared.found(open(index), &mut decided));
        for asked in 1..=4 {
            assert_eq!((decided.asked.len(), decided.told.len()), (asked, 0));
            shared.answered(place(), &[], &mut decided);
        }
        assert_eq!((decided.asked.len(), decided.told.len(), shared.waiting()), (4, 996, 0));
        shared.found(open(1000), &mut decided);
        assert_eq!((decided.asked.len(), decided.told.len()), (4, 997));
    }

    #[test]
    fn one_that_was_not_asked_after_all_holds_nobody_up() {
        let (mut shared, mut decided) = (SharedPorts::default(), Decided::default());
        (0..3).for_each(|index| shared.found(open(index), &mut decided));
        assert_eq!((shared.waiting(), shared.release().len(), shared.waiting()), (2, 2, 0));
        shared.found(open(3), &mut decided);
        assert_eq!((decided.asked.len(), shared.release().len()), (2, 0));
        let address = Open { host: ScannedHost { name: None, ..open(4).host }, ..open(4) };
        shared.found(address, &mut decided);
        assert_eq!(decided.asked.len(), 3, "without a name there is nothing to share");
    }
}
