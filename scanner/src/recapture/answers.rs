//! What comes of asking again: which answers are news, and what they count for.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::seen::Seen;
use crate::finding::{Finding, HostState, Observation, PortState};
use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::recall::Kind;

/// What a unit asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Single ports, silent ones and those that are known to answer.
    Ports,
    /// Addresses that answered nothing, as the scan did.
    Addresses,
    /// All ports of hosts of which one has turned up.
    Wholly,
}

/// The single ports that are asked in a round.
#[derive(Debug, Default)]
pub(super) struct Asked {
    ports: HashMap<(IpAddr, u16), Question>,
    controls: [u64; Kind::ALL.len()],
}

#[derive(Debug, Clone, Copy)]
enum Question {
    /// It was silent.
    Silent(Kind),
    /// It is known to answer.
    Control(Kind),
}

impl Asked {
    /// Asks a port that was silent.
    pub(super) fn question(&mut self, address: IpAddr, port: u16, kind: Kind) {
        self.ports.insert((address, port), Question::Silent(kind));
    }

    /// Asks a port that is known to answer.
    pub(super) fn control(&mut self, address: IpAddr, port: u16, kind: Kind) {
        self.ports.entry((address, port)).or_insert_with(|| {
            self.controls.iter_mut().skip(kind as usize).take(1).for_each(|asked| *asked += 1);
            Question::Control(kind)
        });
    }

    /// All of them.
    pub(super) fn ports(&self) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.ports.keys().copied()
    }
}

/// What came of one kind of question in a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) answered: u64,
    pub(super) open: u64,
    /// Known answers that were asked for, and came.
    pub(super) controls: [u64; 2],
    /// Questions that could not be sent.
    pub(super) not_asked: u64,
}

/// What has turned up so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: Asked,
    round: [Came; Kind::ALL.len()],
    /// Hosts that were not known to be up, by index.
    new: HashMap<u64, NewHost>,
    /// Those of them that answered a single port and have to be asked for the others.
    to_ask: Vec<IpAddr>,
    /// Open ports that turned up at hosts that were known.
    open_at_known: u64,
}

/// A host that turned up.
#[derive(Debug, Default)]
struct NewHost {
    known: HashSet<u16>,
    open: u64,
    is_middlebox: bool,
    /// Whether it belongs to this round's sample of addresses.
    is_of_round: bool,
}

impl Answers {
    /// Begins a round.
    pub(super) fn begin(&mut self, asked: Asked) {
        self.round = Default::default();
        for (came, controls) in self.round.iter_mut().zip(asked.controls) {
            came.controls = [controls, 0];
        }
        self.asked = asked;
        self.new.values_mut().for_each(|host| host.is_of_round = false);
    }

    /// What came in the round, by kind.
    pub(super) fn of_round(&self) -> [Came; Kind::ALL.len()] {
        let mut round = self.round;
        let [_, addresses, _] = &mut round;
        for host in self.new.values().filter(|host| host.is_of_round && !host.is_middlebox && host.open > 0) {
            addresses.answered += 1;
            addresses.open += host.open;
        }
        round
    }

    /// Open ports that turned up.
    pub(super) fn turned_up(&self) -> u64 {
        let at_new = self.new.values().filter(|host| !host.is_middlebox).map(|host| host.open);
        self.open_at_known + at_new.sum::<u64>()
    }

    /// Hosts that turned up.
    pub(super) fn hosts_up(&self) -> u64 {
        self.new.len() as u64
    }

    /// Hosts that have to be asked for all their ports.
    pub(super) fn take_hosts_to_ask(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.to_ask)
    }

    /// So many targets of a unit could not be sent to.
    pub(super) fn note_not_asked(&mut self, role: Role, targets: u64) {
        let [_, addresses, dark_ports] = &mut self.round;
        match role {
            Role::Ports => dark_ports.not_asked += targets,
            Role::Addresses => addresses.not_asked += targets,
            Role::Wholly => {}
        }
    }

    /// Takes in what a unit has found, and gives what of it is news, with the indexes that targets have in `plan`.
    pub(super) fn take_in(&mut self, role: Role, batch: Vec<Finding>, plan: &Plan, seen: &Seen) -> Vec<Finding> {
        let mut told = Vec::new();
        for finding in batch {
            let Some(target_index) = plan.index_of(finding.address) else { continue };
            let finding = Finding { target_index, ..finding };
            match (role, seen.host(target_index)) {
                (Role::Ports, known) => self.of_port(finding, known.is_some(), &mut told),
                (Role::Addresses | Role::Wholly, None) => self.of_host(role, finding, &mut told),
                // It answered in the meantime of itself, and is known.
                (Role::Addresses | Role::Wholly, Some(_)) => {}
            }
        }
        told
    }

    /// Something found by a unit that asks single ports.
    fn of_port(&mut self, finding: Finding, is_known: bool, told: &mut Vec<Finding>) {
        match finding.observation {
            Observation::Host { state: HostState::Up, .. } if !is_known => {
                self.new.entry(finding.target_index).or_insert_with(|| {
                    self.to_ask.push(finding.address);
                    told.push(finding);
                    NewHost::default()
                });
            }
            Observation::Port { port, state: state @ (PortState::Open | PortState::Closed), .. } => {
                let is_open = state == PortState::Open;
                let kind = match self.asked.ports.remove(&(finding.address, port.number)) {
                    Some(Question::Control(kind)) => return self.came(kind).controls[1] += 1,
                    Some(Question::Silent(kind)) => kind,
                    None => return,
                };
                let came = self.came(kind);
                came.answered += u64::from(is_open);
                came.open += u64::from(is_open);
                if is_known {
                    self.open_at_known += u64::from(is_open);
                    told.push(Finding { observation: Observation::Answered { port }, ..finding.clone() });
                } else {
                    let host = self.new.entry(finding.target_index).or_default();
                    host.open += u64::from(host.known.insert(port.number) && is_open);
                }
                told.push(finding);
            }
            _ => {}
        }
    }

    /// Something of a host that was not known to be up: all of it is news, once.
    fn of_host(&mut self, role: Role, finding: Finding, told: &mut Vec<Finding>) {
        let is_first = !self.new.contains_key(&finding.target_index);
        let host = self.new.entry(finding.target_index).or_default();
        host.is_of_round |= role == Role::Addresses;
        let Finding { target_index, address, name, observation } = finding;
        let observation = match observation {
            Observation::Host { .. } if !is_first => return,
            Observation::Port { port, state, .. } => {
                if !host.known.insert(port.number) {
                    return;
                }
                host.open += u64::from(state == PortState::Open);
                observation
            }
            Observation::Ports { ports, state, reason } => {
                let known: PortSet = host.known.iter().map(|port| Port::tcp(*port)).collect();
                Observation::Ports { ports: Box::new(ports.exclude(&known)), state, reason }
            }
            Observation::Middlebox => {
                host.is_middlebox = true;
                observation
            }
            observation => observation,
        };
        told.push(Finding { target_index, address, name, observation });
    }

    fn came(&mut self, kind: Kind) -> &mut Came {
        let [ports, addresses, dark_ports] = &mut self.round;
        match kind {
            Kind::Port => ports,
            Kind::Address => addresses,
            Kind::DarkPort => dark_ports,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::finding::Reason;
    use crate::sample;

    fn finding(address: &str, observation: Observation) -> Finding {
        Finding { target_index: 9, address: address.parse().unwrap(), name: None, observation }
    }

    fn port(number: u16, state: PortState) -> Observation {
        Observation::Port { port: Port::tcp(number), state, reason: Reason::SynAck, ttl: None, stack: None }
    }

    const UP: Observation = Observation::Host { state: HostState::Up, reason: Reason::SynAck };

    fn silent(ports: &str) -> Observation {
        let ports = Box::new(ports.parse().unwrap());
        Observation::Ports { ports, state: PortState::Filtered, reason: Reason::NoResponse }
    }

    #[test]
    fn what_was_drawn_and_answers_is_news_and_what_is_known_shows_what_is_lost() {
        let plan = Plan::new(Arc::new(sample::spec("10.0.0.0/28", "20-30", 5)), 0).unwrap();
        let mut seen = Seen::new(1, "20-30".parse().unwrap());
        let index = |address: &str| plan.index_of(address.parse().unwrap()).unwrap();
        seen.take_in(&[Finding { target_index: index("10.0.0.1"), ..finding("10.0.0.1", UP) }]);
        let mut asked = Asked::default();
        for (address, port) in [("10.0.0.1", 22), ("10.0.0.1", 23), ("10.0.0.1", 24)] {
            asked.question(address.parse().unwrap(), port, Kind::Port);
        }
        asked.question("10.0.0.2".parse().unwrap(), 25, Kind::DarkPort);
        for port in [22, 28, 29] {
            asked.control("10.0.0.1".parse().unwrap(), port, Kind::Port);
        }
        let mut answers = Answers::default();
        answers.begin(asked);
        let told = answers.take_in(
            Role::Ports,
            vec![
                finding("10.0.0.1", UP),
                finding("10.0.0.1", port(22, PortState::Open)),
                finding("10.0.0.1", port(23, PortState::Closed)),
                finding("10.0.0.1", port(28, PortState::Open)),
                finding("10.0.0.1", port(30, PortState::Open)),
                finding("10.0.0.1", silent("24,29")),
                finding("10.0.0.2", UP),
                finding("10.0.0.2", port(25, PortState::Open)),
                finding("10.9.9.9", port(25, PortState::Open)),
            ],
            &plan,
            &seen,
        );
        let [ports, addresses, dark] = answers.of_round();
        assert_eq!(ports, Came { answered: 1, open: 1, controls: [2, 1], not_asked: 0 });
        assert_eq!((addresses, dark.answered, dark.controls), (Came::default(), 1, [0, 0]));
        assert_eq!((answers.turned_up(), answers.hosts_up()), (2, 1));
        let indexes: Vec<u64> = told.iter().map(|finding| finding.target_index).collect();
        let (one, two) = (index("10.0.0.1"), index("10.0.0.2"));
        assert_eq!(
            indexes,
            [one, one, one, one, two, two],
            "twice a port that answers after all, and a host with its own"
        );
        // The host is asked for the rest of its ports.
        assert_eq!(answers.take_hosts_to_ask(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        let batch = vec![
            finding("10.0.0.2", UP),
            finding("10.0.0.2", port(25, PortState::Open)),
            finding("10.0.0.2", port(26, PortState::Open)),
            finding("10.0.0.2", silent("20-30")),
        ];
        let told = answers.take_in(Role::Wholly, batch, &plan, &seen);
        assert!(
            matches!(&told[..], [Finding { observation: Observation::Port { port, .. }, .. }, _] if port.number == 26)
        );
        assert!(matches!(&told[1].observation, Observation::Ports { ports, .. } if ports.count() == 9));
        assert_eq!((answers.turned_up(), answers.of_round()[2].answered), (3, 1), "beyond the sample");
    }

    #[test]
    fn an_address_that_turns_up_counts_once_with_its_open_ports_unless_it_answers_on_all() {
        let plan = Plan::new(Arc::new(sample::spec("10.0.0.0/28", "20-30", 5)), 0).unwrap();
        let seen = Seen::new(1, "20-30".parse().unwrap());
        let mut answers = Answers::default();
        answers.begin(Asked::default());
        let batch = vec![
            finding("10.0.0.2", UP),
            finding("10.0.0.2", port(25, PortState::Open)),
            finding("10.0.0.2", port(26, PortState::Open)),
            finding("10.0.0.3", UP),
            finding("10.0.0.4", UP),
            finding("10.0.0.4", port(25, PortState::Open)),
            finding("10.0.0.4", Observation::Middlebox),
        ];
        assert_eq!(answers.take_in(Role::Addresses, batch, &plan, &seen).len(), 7);
        answers.note_not_asked(Role::Addresses, 3);
        let [_, addresses, _] = answers.of_round();
        assert_eq!(addresses, Came { answered: 1, open: 2, controls: [0, 0], not_asked: 3 });
        assert_eq!((answers.turned_up(), answers.hosts_up()), (2, 3));
        answers.begin(Asked::default());
        assert_eq!(answers.of_round()[1], Came::default(), "of the round before");
    }
}
