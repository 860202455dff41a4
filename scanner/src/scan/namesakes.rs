//! Targets of one address: it is asked once, and what was found is told of each of them.
//!
//! The first that turns out to have an address is asked for all; the others take no room among the hosts. What is found of it is
//! noted here, and told of the others once all is known, one after the other and as fast as it is read. One that is looked up
//! later is told the same, and of an address that was silent nobody asks again. Once nobody can come any more, nothing is noted that nobody
//! waits for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::finding::{Finding, NotProbed, Observation, ScannedHost};
use crate::plan::Plan;

/// The targets of a scan that share addresses.
#[derive(Debug, Default)]
pub(crate) struct Namesakes {
    known: HashMap<IpAddr, Known>,
    /// Whether targets may come that have an address which is known.
    is_open: bool,
    /// Those that are being told, the first in part.
    telling: VecDeque<Telling>,
}

/// What is known of an address.
#[derive(Debug)]
enum Known {
    /// It is being asked: what was found so far, and who waits for the rest.
    Asked { found: Vec<Observation>, others: Vec<ScannedHost> },
    /// All is known.
    Settled(Settled),
}

/// What was found of an address.
#[derive(Debug, Clone)]
struct Settled {
    found: Arc<[Observation]>,
    end: End,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Why it could not be asked.
    pub(crate) not_sent: Option<NotProbed>,
    /// Whether it has answered.
    pub(crate) is_up: bool,
}

#[derive(Debug)]
struct Telling {
    host: ScannedHost,
    told: usize,
    settled: Settled,
}

/// What is told of a target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// Something that was found.
    Finding(Finding),
    /// That this was all.
    End(ScannedHost, End),
}

impl Namesakes {
    /// Those of a plan's targets; without names each has an address of its own.
    pub(crate) fn of(plan: &Plan) -> Self {
        let is_open = plan.target_set().name_count() > 0 && plan.target_count() > 1;
        Self { is_open, ..Self::default() }
    }

    /// Whether a target's address is, or was, asked for another one. Otherwise it is to be asked for this one.
    pub(crate) fn join(&mut self, host: &ScannedHost) -> bool {
        if !self.is_open {
            return false;
        }
        match self.known.get_mut(&host.address) {
            Some(Known::Asked { others, .. }) => others.push(host.clone()),
            Some(Known::Settled(settled)) => {
                self.telling.push_back(Telling { host: host.clone(), told: 0, settled: settled.clone() });
            }
            None => {
                self.known.insert(host.address, Known::Asked { found: Vec::new(), others: Vec::new() });
                return false;
            }
        }
        true
    }

    /// Nobody comes any more.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
        self.known.retain(|_, known| matches!(known, Known::Asked { others, .. } if !others.is_empty()));
    }

    /// Something was found.
    pub(crate) fn note(&mut self, finding: &Finding) {
        if let Some(Known::Asked { found, .. }) = self.known.get_mut(&finding.address) {
            found.push(finding.observation.clone());
        }
    }

    /// All is known of an address.
    pub(crate) fn settle(&mut self, address: IpAddr, end: End) {
        let Some(Known::Asked { mut found, others }) = self.known.remove(&address) else { return };
        // What its ports are worth comes before them.
        found.sort_by_key(|observation| match observation {
            Observation::Host { .. } => 0,
            Observation::Middlebox | Observation::Cleared => 1,
            _ => 2,
        });
        let settled = Settled { found: found.into(), end };
        let telling = others.into_iter().map(|host| Telling { host, told: 0, settled: settled.clone() });
        self.telling.extend(telling);
        if self.is_open {
            self.known.insert(address, Known::Settled(settled));
        }
    }

    /// The next that is to be told of a target.
    pub(crate) fn next(&mut self) -> Option<Told> {
        let telling = self.telling.front_mut()?;
        if let Some(observation) = telling.settled.found.get(telling.told) {
            telling.told += 1;
            return Some(Told::Finding(telling.host.finding(observation.clone())));
        }
        self.telling.pop_front().map(|Telling { host, settled, .. }| Told::End(host, settled.end))
    }

    /// What was found so far of those that are still to be told, where a scan ends before all is known.
    pub(crate) fn cut_short(&mut self) -> impl Iterator<Item = Finding> + use<> {
        let asked = std::mem::take(&mut self.known).into_values().filter_map(|known| match known {
            Known::Asked { found, others } => Some((Arc::<[Observation]>::from(found), others)),
            Known::Settled(_) => None,
        });
        let asked = asked.flat_map(|(found, others)| others.into_iter().map(move |host| (host, 0, Arc::clone(&found))));
        let telling = std::mem::take(&mut self.telling).into_iter();
        let telling = telling.map(|Telling { host, told, settled }| (host, told, settled.found));
        telling.chain(asked).flat_map(|(host, told, found)| {
            let left = told..found.len();
            left.filter_map(move |at| Some(host.finding(found.get(at)?.clone())))
        })
    }

    /// Whether somebody is still to be told something.
    pub(crate) fn is_telling(&self) -> bool {
        !self.telling.is_empty()
    }

    /// The first index of a target that waits for its address, or is being told.
    pub(crate) fn first_index(&self) -> Option<u64> {
        let waiting = self.known.values().flat_map(|known| match known {
            Known::Asked { others, .. } => others.as_slice(),
            Known::Settled(_) => &[],
        });
        waiting.chain(self.telling.iter().map(|telling| &telling.host)).map(|host| host.target_index).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{HostState, PortState, Reason};
    use crate::port::Port;
    use crate::sample;

    fn host(index: u64, name: &str) -> ScannedHost {
        ScannedHost { target_index: index, address: IpAddr::from([10, 0, 0, 1]), name: Some(Arc::from(name)) }
    }

    fn namesakes(targets: &str) -> Namesakes {
        Namesakes::of(&Plan::new(Arc::new(sample::spec(targets, "80", 7)), 0).unwrap())
    }

    fn port(number: u16) -> Observation {
        let (port, state, reason) = (Port::tcp(number), PortState::Open, Reason::SynAck);
        Observation::Port { port, state, reason, ttl: None, stack: None }
    }

    const UP: Observation = Observation::Host { state: HostState::Up, reason: Reason::SynAck };
    const END: End = End { not_sent: None, is_up: true };

    fn told(namesakes: &mut Namesakes) -> Vec<Told> {
        std::iter::from_fn(|| namesakes.next()).collect()
    }

    #[test]
    fn what_is_found_is_told_of_who_waits_and_of_who_comes_later() {
        let mut names = namesakes("a.example,b.example,c.example");
        let [first, second, third] = [host(4, "a"), host(5, "b"), host(6, "c")];
        assert!(!names.join(&first) && names.join(&second));
        for observation in [UP, port(80), Observation::Cleared] {
            names.note(&first.finding(observation));
        }
        assert_eq!((told(&mut names), names.first_index()), (vec![], Some(5)), "not all is known yet");
        names.settle(first.address, END);
        assert!(names.is_telling() && names.join(&third));
        let expected = [&second, &third].map(|host| {
            let found =
                [UP, Observation::Cleared, port(80)].map(|observation| Told::Finding(host.finding(observation)));
            found.into_iter().chain([Told::End(host.clone(), END)]).collect::<Vec<_>>()
        });
        assert_eq!(told(&mut names), expected.concat());
        assert_eq!((names.is_telling(), names.first_index()), (false, None));
    }

    #[test]
    fn who_waits_is_told_what_is_known_when_a_scan_is_cut_short() {
        let mut names = namesakes("a.example,b.example,c.example,d.example");
        let [first, second, third] = [host(4, "a"), host(5, "b"), host(6, "c")];
        let elsewhere = ScannedHost { address: IpAddr::from([10, 0, 0, 2]), ..host(7, "d") };
        assert!(!names.join(&first) && names.join(&second));
        names.note(&first.finding(UP));
        names.note(&first.finding(port(80)));
        names.settle(first.address, END);
        assert_eq!(names.next(), Some(Told::Finding(second.finding(UP))));
        assert!(!names.join(&elsewhere) && names.join(&ScannedHost { address: elsewhere.address, ..third.clone() }));
        names.note(&elsewhere.finding(UP));
        let told: Vec<Finding> = names.cut_short().collect();
        let third = ScannedHost { address: elsewhere.address, ..third };
        assert_eq!(told, [second.finding(port(80)), third.finding(UP)]);
        assert_eq!((names.cut_short().count(), names.is_telling(), names.first_index()), (0, false, None));
    }

    #[test]
    fn nothing_is_noted_for_nobody() {
        let mut names = namesakes("a.example,b.example");
        assert!(!names.join(&host(0, "a")));
        names.close();
        names.note(&host(0, "a").finding(port(80)));
        names.settle(host(0, "a").address, END);
        assert!(names.known.is_empty() && !names.is_telling());
        for alone in ["a.example", "10.0.0.0/24"] {
            assert!(!namesakes(alone).is_open, "{alone}");
        }
    }
}
