//! Stretches of ports that all seem to be open, as behind a redirection of a range to one listener.
//!
//! Above the privileged ports hundreds of listeners in a row are a machine's own as well as a redirection's: telephone exchanges and test
//! machines have them. What tells them apart is how far it goes. So a stretch is looked for between whose open ports nothing has been
//! closed, and ports of it are drawn that lie so far apart that no machine has listeners at all of them
//! ([`super::middlebox::Trial::of_stretch`]). Below, a few hundred in a row are no machine's.
//!
//! What is found so is a part of the range mostly. How far it goes is tested in the same way, up and down to other open ports, the
//! farthest first: what is left outside is the machine's own ([`super::redirect`]).

use std::ops::RangeInclusive;

use super::HeardPorts;
use super::middlebox::{PRIVILEGED_END, PRIVILEGED_ROW, Privileged};
use super::redirect::Redirects;
use crate::finding::{Observation, PortState};
use crate::port::{Port, PortSet};

/// Open ports of a stretch without which it is not worth a test: machines have a few of their own near each other.
const TESTED: usize = 16;
/// With more than so many, a narrow one is tested as well, by ports beyond its end.
const MANY: usize = 96;
/// A test goes as far as this: no machine has so many listeners in a row, though some have 1,500.
const WIDTH: u16 = 2048;
/// So many ports in a row within a stretch may have been asked in vain, when all have been asked: loss hides a few.
const SILENT_MAX: u32 = 2;
/// Open ports further apart are no stretch then, and never where nothing is asked between them.
const NEAR: u16 = 256;
/// While they are being asked it may be so many times the number that is silent yet by chance.
const SILENT_TIMES: u64 = 16;

/// Open ports of a host that are kept without memory of their own: most have no more.
const FEW: usize = 4;
/// A row may have so many closed ports between two open ones: some firewalls refuse a few (ident, above all).
const ROW_CLOSED_MAX: usize = 1;

/// The open ports of a host, and what is known of redirected ranges among them.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    /// The first ones; port 0 is none.
    few: [u16; FEW],
    more: Option<Box<Opened>>,
}

/// A redirected range as far as it is known, and how many of a host's open ports it has turned out to hold; how many of these are
/// privileged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirected {
    pub(crate) range: RangeInclusive<u16>,
    pub(crate) open: u32,
    pub(crate) privileged: u32,
}

impl Redirected {
    /// What is told of it.
    pub(crate) fn observation(&self) -> Observation {
        Observation::Redirected { first: *self.range.start(), last: *self.range.end(), open: self.open }
    }
}

#[derive(Debug, Default)]
struct Opened {
    ports: Vec<u16>,
    /// How many above the privileged ones there were at the last look, and whether that was the last.
    looked_at: usize,
    is_over: bool,
    /// How many there were when it was looked how far ranges go.
    tested_at: usize,
    redirects: Redirects,
}

impl Opened {
    /// How many are above the privileged ones.
    fn above(&self) -> usize {
        self.ports.iter().filter(|port| **port >= PRIVILEGED_END).count()
    }
}

impl Stretches {
    /// A port has answered.
    pub(crate) fn note(&mut self, port: u16, state: PortState) {
        if state != PortState::Open {
            return;
        }
        let free = self.few.iter_mut().find(|few| **few == 0);
        match (&mut self.more, free) {
            (None, Some(free)) => *free = port,
            (more, _) => {
                let few = self.few;
                let begin = || Box::new(Opened { ports: few.to_vec(), ..Opened::default() });
                more.get_or_insert_with(begin).ports.push(port);
            }
        }
    }

    /// Looks for a stretch that is to be tested: how far a range goes that is known, or whether there is another, whenever there are
    /// twice as many open ports as at the last look, and once more when all ports have been asked (`is_last`).
    pub(crate) fn look(&mut self, heard: &HeardPorts, asked: &PortSet, is_last: bool) -> Option<RangeInclusive<u16>> {
        let opened = self.more.as_mut()?;
        let is_many = opened.ports.len() >= TESTED.max(2 * opened.tested_at);
        if !opened.redirects.is_empty() && (is_last || is_many) {
            opened.ports.sort_unstable();
            if let Some(range) = opened.redirects.next_test(&opened.ports) {
                return Some(range);
            }
            opened.tested_at = opened.ports.len();
        }
        if opened.is_over {
            return None;
        }
        // Mostly there are few of any kind.
        let count = if opened.ports.len() < TESTED { 0 } else { opened.above() };
        if count < TESTED || !is_last && count < 2 * opened.looked_at {
            return None;
        }
        (opened.looked_at, opened.is_over) = (count, is_last);
        opened.ports.sort_unstable();
        let (silent_max, gap_max) = match is_last {
            true => (SILENT_MAX, NEAR),
            false => {
                let expected = SILENT_TIMES * u64::from(asked.tcp_count()) / u64::from(heard.answer_count().max(1));
                (u32::try_from(expected).unwrap_or(u32::MAX), u16::MAX)
            }
        };
        let above = opened.ports.len().saturating_sub(count);
        longest(opened.ports.get(above..).unwrap_or_default(), (heard, asked), (silent_max, gap_max))
    }

    /// The privileged ports that are open, where they are more than any machine has: more than half of all, or hundreds in a row.
    pub(crate) fn too_many(
        &mut self,
        privileged: Privileged,
        heard: &HeardPorts,
        asked: &PortSet,
    ) -> Option<RangeInclusive<u16>> {
        if privileged.are_too_many() {
            return self.privileged().map(|(first, last)| first..=last);
        }
        if !privileged.may_be_a_row() {
            return None;
        }
        let opened = self.more.as_mut()?;
        opened.ports.sort_unstable();
        let until = opened.ports.partition_point(|port| *port < PRIVILEGED_END);
        let at = |port: u16| asked.position(Port::tcp(port)).unwrap_or_default();
        let closed = |before, port| (at(before) + 1..at(port)).filter(|at| heard.has_answered(*at)).count();
        let below = opened.ports.get(..until)?;
        // While they are asked, most of them are silent yet.
        let all = at(*below.last()?) - at(*below.first()?) + 1;
        let silent_max = SILENT_TIMES * u64::from(all) / below.len().max(1) as u64;
        let is_row = |before: &u16, port: &u16| {
            u64::from(at(*port) - at(*before)) <= silent_max && closed(*before, *port) <= ROW_CLOSED_MAX
        };
        let longest = below.chunk_by(is_row).max_by_key(|row| row.len())?;
        let (first, last) = (*longest.first()?, *longest.last()?);
        let is_dense = (at(last) - at(first)) as usize <= 2 * longest.len();
        (longest.len() > PRIVILEGED_ROW as usize && is_dense).then_some(first..=last)
    }

    /// The first and the last of the open ones below 1024.
    pub(crate) fn privileged(&self) -> Option<(u16, u16)> {
        let below = || self.ports().filter(|port| *port < PRIVILEGED_END);
        below().min().zip(below().max())
    }

    /// A known range beside which another port has turned out to be open, once all have been asked.
    pub(crate) fn grown(&mut self) -> Option<RangeInclusive<u16>> {
        let opened = self.more.as_mut()?;
        opened.ports.sort_unstable();
        opened.redirects.grown(&opened.ports)
    }

    /// A range is redirected: the open ports within it are no longer the host's.
    pub(crate) fn redirect(&mut self, range: RangeInclusive<u16>) -> Redirected {
        let few = self.few;
        let begin =
            || Box::new(Opened { ports: few.into_iter().filter(|port| *port > 0).collect(), ..Opened::default() });
        let opened = self.more.get_or_insert_with(begin);
        opened.ports.sort_unstable();
        let range = opened.redirects.add(range, &opened.ports);
        let is_within = |port: &u16| range.contains(port);
        let (within, left): (Vec<u16>, Vec<u16>) = opened.ports.iter().copied().partition(is_within);
        opened.ports = left;
        if !within.is_empty() {
            (opened.looked_at, opened.tested_at, opened.is_over) = (0, 0, false);
        }
        let count = |ports: usize| u32::try_from(ports).unwrap_or(u32::MAX);
        let privileged = count(within.iter().filter(|port| **port < PRIVILEGED_END).count());
        Redirected { range, open: count(within.len()), privileged }
    }

    /// The open ones that are in no redirected range.
    fn ports(&self) -> impl Iterator<Item = u16> {
        let few = if self.more.is_some() { &[][..] } else { &self.few[..] };
        let more = self.more.iter().flat_map(|opened| &opened.ports);
        more.chain(few).copied().filter(|port| *port > 0)
    }
}

/// What is to be tested of the stretch with the most open ports.
fn longest(
    opened: &[u16],
    (heard, asked): (&HeardPorts, &PortSet),
    (silent_max, gap_max): (u32, u16),
) -> Option<RangeInclusive<u16>> {
    let at = |port: u16| asked.position(Port::tcp(port)).unwrap_or_default();
    // What has answered between two open ports is closed.
    let is_whole = |pair: &[u16]| match *pair {
        [before, port] => {
            let between = at(before) + 1..at(port);
            let gap_max = if between.is_empty() { NEAR } else { gap_max };
            port - before <= gap_max
                && u32::try_from(between.len()).is_ok_and(|count| count <= silent_max)
                && !between.clone().any(|position| heard.has_answered(position))
        }
        _ => false,
    };
    let stretches = opened.chunk_by(|before, port| is_whole(&[*before, *port]));
    let longest = stretches.max_by_key(|stretch| stretch.len())?;
    let (first, last) = (*longest.first()?, *longest.last()?);
    let is_wide = last - first >= WIDTH - 1;
    match longest.len() {
        count if count < TESTED => None,
        _ if is_wide => Some(first..=last),
        count if count <= MANY => None,
        _ => match first.checked_add(WIDTH - 1) {
            Some(beyond) => Some(first..=beyond),
            None => Some(last - (WIDTH - 1)..=last),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at of a host with these ports open and closed, of which `asked` are asked, in the end and before it.
    fn looked(open: &[u16], closed: &[u16], asked: &str) -> [Option<RangeInclusive<u16>>; 2] {
        let asked: PortSet = asked.parse().unwrap();
        let mut heard = HeardPorts::default();
        let mut stretches = Stretches::default();
        open.iter().rev().for_each(|port| stretches.note(*port, PortState::Open));
        closed.iter().for_each(|port| stretches.note(*port, PortState::Closed));
        open.iter().chain(closed).for_each(|port| heard.mark_answered(asked.position(Port::tcp(*port)).unwrap()));
        [false, true].map(|is_last| stretches.look(&heard, &asked, is_last))
    }

    fn every(nth: usize, ports: RangeInclusive<u16>) -> Vec<u16> {
        ports.step_by(nth).collect()
    }

    #[test]
    fn a_stretch_ends_at_closed_ports_and_where_many_are_silent() {
        let open = every(1, 2000..=6000);
        let others = [vec![22, 1500], open.clone(), vec![50_000]].concat();
        assert_eq!(looked(&others, &[1600, 7000], "-"), [const { Some(2000..=6000) }; 2]);
        assert_eq!(looked(&others, &[], "-"), [const { Some(2000..=6000) }; 2], "silent ones beside it");
        let holed: Vec<u16> = open.iter().copied().filter(|port| port % 100 > 1).collect();
        assert_eq!(looked(&holed, &[], "-")[1], Some(2002..=5999), "some answers are lost");
        let twice = [every(1, 2000..=2500), every(1, 3000..=5999)].concat();
        assert_eq!(looked(&twice, &[2750], "-"), [const { Some(3000..=5999) }; 2]);
        // While they are asked, most of it is silent yet.
        let sparse = every(40, 2000..=6000);
        assert_eq!(looked(&sparse, &[], "-"), [Some(2000..=6000), None]);
        let beside = [vec![1433], every(1, 2000..=4999), every(1, 9000..=9100)].concat();
        let asked = "1433,2000-4999,9000-9100";
        assert_eq!(looked(&beside, &[], asked), [const { Some(2000..=4999) }; 2], "nothing is asked between");
    }

    #[test]
    fn few_open_ports_are_no_stretch_and_hundreds_are_looked_beyond() {
        let none = [const { None }; 2];
        assert_eq!(looked(&every(1, 1..=1023), &[], "-"), none, "these have a rule of their own");
        assert_eq!(looked(&every(500, 2000..=9000), &[], "2000-9000"), none);
        assert_eq!(looked(&every(1, 30_000..=30_095), &[], "-"), none);
        assert_eq!(looked(&every(1, 30_000..=30_096), &[], "-")[0], Some(30_000..=32_047));
        assert_eq!(looked(&every(1, 65_400..=65_535), &[], "-")[0], Some(63_488..=65_535));
    }

    #[test]
    fn it_is_looked_again_when_there_are_twice_as_many_and_once_in_the_end() {
        let asked: PortSet = "-".parse().unwrap();
        let (mut stretches, mut heard, mut looks) = (Stretches::default(), HeardPorts::default(), Vec::new());
        for port in 2000..4200 {
            stretches.note(port, PortState::Open);
            heard.mark_answered(u32::from(port - 1));
            let before = stretches.more.as_ref().map_or(0, |opened| opened.looked_at);
            let _ = stretches.look(&heard, &asked, false);
            looks.extend(
                Some(port - 1999).filter(|_| stretches.more.as_ref().map_or(0, |opened| opened.looked_at) > before),
            );
        }
        assert_eq!(looks, [16, 32, 64, 128, 256, 512, 1024, 2048]);
        assert_eq!([true, true].map(|is_last| stretches.look(&heard, &asked, is_last)), [Some(2000..=4199), None]);
    }

    #[test]
    fn ports_of_a_redirected_range_are_no_more_a_hosts_own() {
        let (asked, heard): (PortSet, _) = ("-".parse().unwrap(), HeardPorts::default());
        let mut stretches = Stretches::default();
        let mut note = |ports: &[u16]| ports.iter().for_each(|port| stretches.note(*port, PortState::Open));
        note(&[&every(1, 1..=1020)[..], &[8080]].concat());
        let whole = Redirected { range: 1..=1020, open: 1020, privileged: 1020 };
        assert_eq!(stretches.redirect(5..=1000), whole, "with what is right beside it");
        assert_eq!(stretches.ports().collect::<Vec<_>>(), [8080]);
        [1021, 1022].iter().for_each(|port| stretches.note(*port, PortState::Open));
        assert_eq!(stretches.grown(), Some(1..=1020));
        assert_eq!(stretches.redirect(1..=1020), Redirected { range: 1..=1022, open: 2, privileged: 2 });
        assert_eq!((stretches.grown(), stretches.ports().count()), (None, 1));
        assert_eq!(stretches.look(&heard, &asked, true), Some(1023..=8080), "whether that belongs to it");
        assert_eq!(stretches.look(&heard, &asked, true), None);
        let mut few = Stretches::default();
        [22, 2000].iter().for_each(|port| few.note(*port, PortState::Open));
        assert_eq!((few.privileged(), few.redirect(1024..=65_535).open), (Some((22, 22)), 1));
        few.note(80, PortState::Open);
        assert_eq!(few.ports().collect::<Vec<_>>(), [22, 80]);
    }

    #[test]
    fn hundreds_of_privileged_ports_in_a_row_are_too_many_and_others_are_not() {
        let asked: PortSet = "-".parse().unwrap();
        let too_many = |open: &[u16], closed: &[u16]| {
            let (mut stretches, mut heard) = (Stretches::default(), HeardPorts::default());
            let mut privileged = Privileged::default();
            for (ports, state) in [(open, PortState::Open), (closed, PortState::Closed)] {
                for port in ports {
                    stretches.note(*port, state);
                    privileged.note(*port, state);
                    heard.mark_answered(u32::from(*port) - 1);
                }
            }
            stretches.too_many(privileged, &heard, &asked)
        };
        let others = |from: u16| every(1, from..=1023);
        assert_eq!(too_many(&[every(1, 1..=300), vec![993, 8080]].concat(), &every(1, 301..=992)), Some(1..=300));
        let refused: Vec<u16> = every(1, 100..=400).into_iter().filter(|port| *port != 113).collect();
        assert_eq!(too_many(&refused, &[&[113][..], &others(401)].concat()), Some(100..=400), "ident is refused");
        assert_eq!(too_many(&every(1, 1..=256), &others(257)), None);
        assert_eq!(too_many(&every(3, 1..=1023), &[]), None, "these are not in a row");
        assert_eq!(too_many(&every(1, 1..=1000), &others(1001)), Some(1..=1000));
        assert_eq!(too_many(&every(1, 2000..=4000), &[]), None);
    }
}
