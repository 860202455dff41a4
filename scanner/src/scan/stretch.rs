//! Stretches of ports above the privileged ones that all seem to be open, as behind a redirection of a range to one listener.
//!
//! Hundreds of listeners in a row are a machine's own as well as a redirection's: telephone exchanges and test machines have them. What
//! tells them apart is how far it goes. So a stretch is looked for between whose open ports nothing has been closed, and ports of it
//! are drawn that lie so far apart that no machine has listeners at all of them ([`super::middlebox::Trial::of_stretch`]).

use std::ops::RangeInclusive;

use super::HeardPorts;
use super::middlebox::PRIVILEGED_END;
use crate::finding::PortState;
use crate::port::{Port, PortSet};

/// Open ports of a stretch without which it is not worth a test: machines have a few of their own near each other.
const TESTED: usize = 16;
/// With more than so many, a narrow one is tested as well, by ports beyond its end.
const MANY: usize = 96;
/// A test goes as far as this: no machine has so many listeners in a row, though some have 1,500.
const WIDTH: u16 = 2048;
/// So many ports in a row within a stretch may have been asked in vain, when all have been asked: loss hides a few.
const SILENT_MAX: u32 = 2;
/// Open ports further apart are no stretch then: nothing has been asked between them.
const NEAR: u16 = 256;
/// While they are being asked it may be so many times the number that is silent yet by chance.
const SILENT_TIMES: u64 = 16;

/// The open ports of a host above the privileged ones.
#[derive(Debug, Default)]
pub(crate) struct Stretches(Option<Box<Opened>>);

#[derive(Debug, Default)]
struct Opened {
    ports: Vec<u16>,
    /// How many there were at the last look, and whether that was the last.
    looked_at: usize,
    is_over: bool,
}

impl Stretches {
    /// A port has answered.
    pub(crate) fn note(&mut self, port: u16, state: PortState) {
        if port >= PRIVILEGED_END && state == PortState::Open {
            self.0.get_or_insert_default().ports.push(port);
        }
    }

    /// Looks for a stretch that is to be tested: whenever there are twice as many open ports as at the last look, and once more
    /// when all ports have been asked (`is_last`).
    pub(crate) fn look(&mut self, heard: &HeardPorts, asked: &PortSet, is_last: bool) -> Option<RangeInclusive<u16>> {
        let opened = self.0.as_mut().filter(|opened| !opened.is_over)?;
        let count = opened.ports.len();
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
        longest(&opened.ports, (heard, asked), (silent_max, gap_max))
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
        assert_eq!(looked(&beside, &[], asked), [Some(1433..=9100), Some(2000..=4999)], "nothing is asked between");
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
            let before = stretches.0.as_ref().unwrap().looked_at;
            let _ = stretches.look(&heard, &asked, false);
            looks.extend(Some(port - 1999).filter(|_| stretches.0.as_ref().unwrap().looked_at > before));
        }
        assert_eq!(looks, [16, 32, 64, 128, 256, 512, 1024, 2048]);
        assert_eq!([true, true].map(|is_last| stretches.look(&heard, &asked, is_last)), [Some(2000..=4199), None]);
    }
}
