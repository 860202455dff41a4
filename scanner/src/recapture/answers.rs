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
    /// Known answers by part.
    controls: Vec<[u64; Kind::ALL.len()]>,
    /// Silent addresses and their parts.
    addresses: HashMap<IpAddr, usize>,
}

#[derive(Debug, Clone, Copy)]
enum Question {
    /// It was silent.
    Silent(Place),
    /// It is known to answer.
    Control(Place),
}

/// What a question is about, and in which part of the unit.
pub(super) type Place = (Kind, usize);

impl Asked {
    /// Asks a port that was silent.
    pub(super) fn question(&mut self, address: IpAddr, port: u16, place: Place) {
        self.ports.insert((address, port), Question::Silent(place));
    }

    /// Asks an address that was silent.
    pub(super) fn address(&mut self, address: IpAddr, part: usize) {
        self.addresses.insert(address, part);
    }

    /// Asks a port that is known to answer.
    pub(super) fn control(&mut self, address: IpAddr, port: u16, place: Place) {
        let (kind, part) = place;
        self.ports.entry((address, port)).or_insert_with(|| {
            if self.controls.len() <= part {
                self.controls.resize(part + 1, Default::default());
            }
            let of_part = self.controls.iter_mut().skip(part).take(1).flatten();
            of_part.skip(kind as usize).take(1).for_each(|asked| *asked += 1);
            Question::Control(place)
        });
    }

    /// All of them.
    pub(super) fn ports(&self) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.ports.keys().copied()
    }

    /// All silent addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.keys().copied()
    }
}

/// What came of one kind of question in a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) answered: u64,
    pub(super) open: u64,
    /// Known answers that were asked for, and came.
    pub(super) controls: [u64; 2],
}

/// The same of every kind.
pub(super) type AllCame = [Came; Kind::ALL.len()];

/// What has turned up so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: Asked,
    /// By part.
    round: Vec<AllCame>,
    /// Questions of each kind that could not be sent.
    not_asked: [u64; Kind::ALL.len()],
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
    /// The part in which it belongs to this round's sample of addresses.
    of_round: Option<usize>,
}

impl Answers {
    /// Begins a round.
    pub(super) fn begin(&mut self, asked: Asked, parts: usize) {
        self.round = vec![AllCame::default(); parts];
        self.not_asked = Default::default();
        for (came, controls) in self.round.iter_mut().zip(&asked.controls) {
            came.iter_mut().zip(controls).for_each(|(came, controls)| came.controls = [*controls, 0]);
        }
        self.asked = asked;
        self.new.values_mut().for_each(|host| host.of_round = None);
    }

    /// What came in the round, by part and kind.
    pub(super) fn of_round(&self) -> Vec<AllCame> {
        let mut round = self.round.clone();
        for host in self.new.values().filter(|host| !host.is_middlebox && host.open > 0) {
            let Some([_, addresses, _]) = host.of_round.and_then(|part| round.get_mut(part)) else { continue };
            addresses.answered += 1;
            addresses.open += host.open;
        }
        round
    }

    /// How many questions of each kind could not be sent in the round.
    pub(super) fn not_asked(&self) -> [u64; Kind::ALL.len()] {
        self.not_asked
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
        let [_, addresses, dark_ports] = &mut self.not_asked;
        match role {
            Role::Ports => *dark_ports += targets,
            Role::Addresses => *addresses += targets,
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
                    Some(Question::Control(place)) => {
                        return self.came(place).into_iter().for_each(|came| came.controls[1] += 1);
                    }
                    Some(Question::Silent(place)) => place,
                    None => return,
                };
                if let Some(came) = self.came(kind) {
                    came.answered += u64::from(is_open);
                    came.open += u64::from(is_open);
                }
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
        if role == Role::Addresses {
            host.of_round = Some(self.asked.addresses.get(&finding.address).copied().unwrap_or_default());
        }
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
            Observation::Redirected { open, .. } => {
                host.open = host.open.saturating_sub(u64::from(open));
                observation
            }
            Observation::Middlebox => {
                host.is_middlebox = true;
                observation
            }
            observation => observation,
        };
        told.push(Finding { target_index, address, name, observation });
    }

    fn came(&mut self, (kind, part): Place) -> Option<&mut Came> {
        self.round.get_mut(part)?.get_mut(kind as usize)
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
            asked.question(address.parse().unwrap(), port, (Kind::Port, 0));
        }
        asked.question("10.0.0.2".parse().unwrap(), 25, (Kind::DarkPort, 1));
        for port in [22, 28, 29] {
            asked.control("10.0.0.1".parse().unwrap(), port, (Kind::Port, 0));
        }
        let mut answers = Answers::default();
        answers.begin(asked, 2);
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
        let [[ports, addresses, _], [_, _, dark]] = answers.of_round()[..] else { panic!("two parts") };
        assert_eq!(ports, Came { answered: 1, open: 1, controls: [2, 1] });
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
        assert_eq!((answers.turned_up(), answers.of_round()[1][2].answered), (3, 1), "beyond the sample");
    }

    #[test]
    fn an_address_that_turns_up_counts_once_with_its_open_ports_unless_it_answers_on_all() {
        let plan = Plan::new(Arc::new(sample::spec("10.0.0.0/28", "20-30", 5)), 0).unwrap();
        let seen = Seen::new(1, "20-30".parse().unwrap());
        let mut answers = Answers::default();
        let mut asked = Asked::default();
        asked.address("10.0.0.2".parse().unwrap(), 1);
        answers.begin(asked, 2);
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
        let [_, [_, addresses, _]] = answers.of_round()[..] else { panic!("two parts") };
        assert_eq!((addresses, answers.not_asked()), (Came { answered: 1, open: 2, controls: [0, 0] }, [0, 3, 0]));
        assert_eq!((answers.turned_up(), answers.hosts_up()), (2, 3));
        answers.begin(Asked::default(), 1);
        assert_eq!(answers.of_round()[0][1], Came::default(), "of the round before");
    }
}
