//! Hosts that answer on every port: a firewall, a load balancer, a tarpit or a redirection on the way answers for them.
//!
//! Their open ports mean nothing, which shows at ports that cannot all be open. A host of which several ports are open and
//! hardly one has ever been closed is put to the test: a few ports drawn from tens of thousands, outside the scan's own as
//! far as it leaves any. A machine on which all of them are in use by chance does not exist, not even one with thousands of
//! silent listeners; one closed port among them clears it. A host that fails is asked nothing more.
//!
//! A redirection of a range of ports answers within it alone, where the drawn ports do not lie, and passes. So a host of
//! which dozens of privileged ports (below 1024) are open is put to a second test, with ports drawn from those that the scan
//! leaves: a machine has nobody at them, however many listeners it has elsewhere. Only where more than half of all are open
//! there is nothing left to test. Above them there is room for thousands of listeners: a stretch of open ports there is put to a
//! test of its own ([`super::stretch`]), with ports from end to end of more than any machine has in a row.
//!
//! Both scans of TCP ports put hosts to it, each in its own way of sending; here is the rule.

use std::ops::RangeInclusive;

use crate::finding::PortState;
use crate::permute::mix;
use crate::port::{Port, fragile};
use crate::spec::ScanSpec;

/// Ports that are asked, and as many bits. Of a machine with 4,000 listeners among the ports to draw from, one in ten
/// thousand would be taken for a middlebox.
pub(crate) const TRIALS: u32 = 4;
/// Ports that are asked of a stretch, one of each eighth.
const STRETCH_TRIALS: u32 = 8;
/// With fewer open ports, as many more open ones would be no surprise.
pub(crate) const OPEN_MIN: u32 = 3;
/// A host is put to the test while it is scanned once it has so many open ports: until it has passed, no more of them are
/// asked what they are.
pub(crate) const HANDFUL: u32 = 5;
/// Closed ports that do not clear a host: one for so many open ones. Some firewalls refuse a few ports (ident, above all)
/// and answer for the rest.
const OPEN_PER_CLOSED: u32 = 8;
/// Privileged ports begin below this one.
pub(super) const PRIVILEGED_END: u16 = 1024;
/// More open privileged ports no machine has: half of them.
const PRIVILEGED_MAX: u32 = 512;
/// From so many on they are tested: a machine that runs every service that is still in use has some fifty.
const PRIVILEGED_TESTED: u32 = 96;
/// More of them only the busiest machines have.
const PRIVILEGED_MANY: u32 = 32;
/// The ports to draw from: few services have a place there.
const FIRST: u16 = 20_000;
const COUNT: u64 = 40_000;
/// Draws for one port outside the scan.
const DRAWS_MAX: u64 = 16;
/// How often ports that were given up are asked anew while others of the test are open: on a bad path some get lost.
const ROUNDS_MAX: u8 = 4;

/// Whether nearly all that was asked and answered is open, and that is more than an ordinary host has.
pub(crate) fn is_suspicious(opened: u32, closed: u32) -> bool {
    opened >= OPEN_MIN && !is_cleared(opened, closed)
}

/// Whether so many closed ports say that the open ones are no one's answer to everything.
pub(crate) fn is_cleared(opened: u32, closed: u32) -> bool {
    closed.saturating_mul(OPEN_PER_CLOSED) > opened
}

/// The privileged ports of a host that have answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Privileged {
    opened: u32,
    closed: u32,
}

impl Privileged {
    /// A port has answered; others than the privileged ones do not count.
    pub(crate) fn note(&mut self, port: u16, state: PortState) {
        if port < PRIVILEGED_END {
            self.opened += u32::from(state == PortState::Open);
            self.closed += u32::from(state == PortState::Closed);
        }
    }

    /// Whether more are open, and nearly all of them, than can be a machine's own.
    pub(crate) fn are_too_many(self) -> bool {
        self.opened > PRIVILEGED_MAX && is_suspicious(self.opened, self.closed)
    }

    /// Whether so many are open, and nearly all of them, that others are asked for comparison.
    pub(crate) fn are_doubtful(self) -> bool {
        self.opened > PRIVILEGED_TESTED && is_suspicious(self.opened, self.closed)
    }

    /// Whether so many are open that no more of its ports should be asked what they are until all is known of it.
    pub(crate) fn are_many(self) -> bool {
        self.opened > PRIVILEGED_MANY
    }
}

/// The test of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// Ports that have been asked in this round, from the first, and rounds that followed on open and silent ports.
    asked: u32,
    rounds: u8,
    /// Ports that have answered for themselves, those that were open, and those that were given up.
    answered: u8,
    open: u8,
    silent: u8,
    state: TrialState,
    kind: TrialKind,
}

/// Which ports a test asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum TrialKind {
    /// Any from tens of thousands.
    #[default]
    Drawn,
    /// Privileged ones that the scan leaves.
    Privileged,
    /// Some from the first to the last of a stretch.
    Stretch(u16, u16),
}

impl TrialKind {
    fn count(self) -> u32 {
        match self {
            Self::Drawn | Self::Privileged => TRIALS,
            Self::Stretch(..) => STRETCH_TRIALS,
        }
    }
}

/// What a test has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TrialState {
    /// It goes on.
    #[default]
    Open,
    /// The host is what it seems to be.
    Passed,
    /// It answers on everything.
    Failed,
}

impl Trial {
    pub(crate) fn state(self) -> TrialState {
        self.state
    }

    pub(crate) fn has_failed(self) -> bool {
        self.state == TrialState::Failed
    }

    /// Whether nothing more is to be learnt by it.
    pub(crate) fn is_over(self) -> bool {
        self.state != TrialState::Open
    }

    /// The next port to ask, by its number in the test; each once a round, unless it has answered.
    pub(crate) fn next(&mut self) -> Option<u32> {
        while !self.is_over() && self.asked < self.kind.count() {
            let number = self.asked;
            self.asked += 1;
            if !self.has_answer(number) {
                return Some(number);
            }
        }
        None
    }

    /// Lets the ports that have not answered be asked once more.
    pub(crate) fn begin_round(&mut self) {
        self.asked = 0;
    }

    pub(crate) fn has_answer(self, number: u32) -> bool {
        self.answered >> number & 1 == 1
    }

    /// A port of the test has answered for itself.
    pub(crate) fn answer(&mut self, number: u32, state: PortState) {
        self.answered |= 1 << number;
        self.open |= u8::from(state == PortState::Open) << number;
        self.judge();
    }

    /// A port of the test has been given up.
    pub(crate) fn give_up(&mut self, number: u32) {
        self.silent |= 1 << number;
        self.judge();
    }

    fn judge(&mut self) {
        if self.is_over() {
            return;
        }
        let all = u8::MAX >> (u8::BITS - self.kind.count());
        let is_all_told = self.answered | self.silent == all;
        if self.open == all {
            self.state = TrialState::Failed;
        } else if self.open != self.answered || is_all_told && (self.open == 0 || self.rounds >= ROUNDS_MAX) {
            self.state = TrialState::Passed;
        } else if is_all_told {
            self.rounds += 1;
            self.silent = 0;
            self.begin_round();
        }
    }

    /// A test of a host that answers on a whole range of ports.
    pub(crate) fn failed() -> Self {
        Self { state: TrialState::Failed, ..Self::default() }
    }

    /// The test that a host of so many open and closed ports is put to now, if any: the first one, or the one of its privileged
    /// ports where that has passed or need not be.
    pub(crate) fn due(
        before: Option<Self>,
        (opened, closed): (u32, u32),
        privileged: Privileged,
        spec: &ScanSpec,
    ) -> Option<Self> {
        match before {
            None if is_suspicious(opened, closed) => return Some(Self::default()),
            None => {}
            Some(before) if before.state == TrialState::Passed && before.kind == TrialKind::Drawn => {}
            Some(_) => return None,
        }
        let is_due = privileged.are_doubtful() && privileged_left(spec).len() >= TRIALS as usize;
        is_due.then(|| Self { kind: TrialKind::Privileged, ..Self::default() })
    }

    /// The test of a stretch of a host's ports, where no other is on and ports of it may be asked.
    pub(crate) fn of_stretch(
        before: Option<Self>,
        spec: &ScanSpec,
        stretch: impl FnOnce() -> Option<RangeInclusive<u16>>,
    ) -> Option<Self> {
        if before.is_some_and(|before| before.state != TrialState::Passed) {
            return None;
        }
        let (first, last) = stretch()?.into_inner();
        let trial = Self { kind: TrialKind::Stretch(first, last), ..Self::default() };
        (0..STRETCH_TRIALS).all(|number| of_stretch(spec, 0, (first, last), number).is_some()).then_some(trial)
    }

    /// Whether another test has cleared the host before.
    pub(crate) fn is_second(self) -> bool {
        self.kind != TrialKind::Drawn
    }

    /// The test is over, with whatever has been heard.
    pub(crate) fn end(&mut self) {
        if !self.is_over() {
            self.state = TrialState::Passed;
        }
    }
}

/// A port of a test of the host at an index: drawn, so that nobody can expect it, and the same whenever it is asked for.
/// Where the scan leaves none it is one of the scan's own.
pub(crate) fn port(spec: &ScanSpec, index: u64, trial: Trial, number: u32) -> u16 {
    let seed = mix(spec.seed ^ mix(index));
    if let TrialKind::Stretch(first, last) = trial.kind {
        return of_stretch(spec, seed, (first, last), number).unwrap_or(first);
    }
    if trial.kind == TrialKind::Privileged {
        let left = privileged_left(spec);
        let count = left.len().max(1) as u64;
        // As far apart as there is room.
        let at = (seed % count + u64::from(number) * count / u64::from(TRIALS)) % count;
        let drawn = usize::try_from(at).ok().and_then(|at| left.get(at));
        return drawn.copied().unwrap_or_default();
    }
    let draw = |draw: u64| {
        let drawn = mix(seed ^ (u64::from(number) << 32 | draw)) % COUNT;
        FIRST + u16::try_from(drawn).expect("below 40,000")
    };
    let may_ask = |port: &u16| may_draw(spec, *port);
    let outside = (0..DRAWS_MAX).map(draw).filter(may_ask).find(|port| !spec.ports.contains(Port::tcp(*port)));
    let own = || spec.ports.get(number).map(|port| port.number);
    outside.or_else(|| (0..DRAWS_MAX).map(draw).find(may_ask)).or_else(own).unwrap_or_else(|| draw(0))
}

/// A port of an eighth of a stretch, one that the scan does not ask if there are such; `None` where none may be asked.
fn of_stretch(spec: &ScanSpec, seed: u64, (first, last): (u16, u16), number: u32) -> Option<u16> {
    let part = |number: u32| {
        let width = u32::from(last) - u32::from(first) + 1;
        u32::from(first) + width * number / STRETCH_TRIALS
    };
    let (from, count) = (u64::from(part(number)), u64::from((part(number + 1) - part(number)).max(1)));
    let draw = |draw: u64| u16::try_from(from + mix(seed ^ (u64::from(number) << 32 | draw)) % count).ok();
    let drawn = || (0..DRAWS_MAX).filter_map(draw).filter(|port| may_draw(spec, *port));
    drawn().find(|port| !spec.ports.contains(Port::tcp(*port))).or_else(|| drawn().next())
}

/// Whether a port may be asked for comparison: not one that is excluded, nor one at which each connection counts.
fn may_draw(spec: &ScanSpec, port: u16) -> bool {
    let port = Port::tcp(port);
    !spec.exclude_ports.contains(port) && fragile::class(port).is_none()
}

/// The privileged ports that the scan does not ask, and that may be.
fn privileged_left(spec: &ScanSpec) -> Vec<u16> {
    (1..PRIVILEGED_END).filter(|port| !spec.ports.contains(Port::tcp(*port)) && may_draw(spec, *port)).collect()
}

/// The number in a test of the host at an index that a port has, if it is one of the test's.
pub(crate) fn number_of(spec: &ScanSpec, index: u64, trial: Trial, asked: u16) -> Option<u32> {
    (0..trial.kind.count()).find(|number| port(spec, index, trial, *number) == asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_closed_port_for_every_few_open_ones_is_not_suspected() {
        for (opened, closed, expected) in [(2, 0, false), (3, 0, true), (100, 0, true), (3, 1, false), (7, 1, false)] {
            assert_eq!(is_suspicious(opened, closed), expected, "{opened} and {closed}");
        }
        assert!(is_suspicious(500, 2), "a few that are refused do not make the rest real");
        assert!(!is_suspicious(1500, 64_035) && is_cleared(1, 1));
    }

    #[test]
    fn privileged_ports_are_too_many_where_more_than_half_of_all_are_open() {
        let of = |open: std::ops::Range<u16>, closed: std::ops::Range<u16>| {
            let mut privileged = Privileged::default();
            open.for_each(|port| privileged.note(port, PortState::Open));
            closed.for_each(|port| privileged.note(port, PortState::Closed));
            (privileged.are_many(), privileged.are_doubtful(), privileged.are_too_many())
        };
        assert_eq!(of(1..34, 0..0), (true, false, false));
        assert_eq!(of(1..98, 200..205), (true, true, false), "a machine may have as many listeners");
        assert_eq!(of(1..98, 200..300), (true, false, false), "a machine that closes as many is one");
        assert_eq!(of(1..514, 600..605), (true, true, true));
        assert_eq!(of(1..514, 600..700), (true, false, false));
        assert_eq!(of(1024..60_000, 0..0), (false, false, false));
    }

    #[test]
    fn a_host_that_has_passed_is_tested_once_more_where_dozens_of_privileged_ports_are_open() {
        let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
        let (few, many) = (Privileged::default(), Privileged { opened: 97, closed: 0 });
        let mut passed = Trial::default();
        passed.answer(0, PortState::Closed);
        let due = |before, privileged, ports| Trial::due(before, (97, 0), privileged, &spec(ports));
        assert_eq!(due(None, few, "1-200"), Some(Trial::default()));
        assert_eq!(due(Some(Trial::default()), many, "1-200"), None, "one after the other");
        assert_eq!(due(Some(passed), few, "1-200"), None);
        assert_eq!(due(Some(passed), many, "1-1023"), None, "there is nothing to compare with");
        let mut second = due(Some(passed), many, "1-200").unwrap();
        assert_eq!(
            Trial::due(None, (97, 500), many, &spec("1-200")),
            Some(second),
            "others that are closed clear only themselves"
        );
        for (ports, seed) in [("1-200", 7), ("5-1023", 7), ("1-1019", 8)] {
            let spec = ScanSpec { seed, ..spec(ports) };
            let drawn: Vec<u16> = (0..TRIALS).map(|number| port(&spec, 3, second, number)).collect();
            let apart: std::collections::BTreeSet<u16> = drawn.iter().copied().collect();
            assert_eq!(apart.len(), TRIALS as usize, "{drawn:?}");
            assert!(drawn.iter().all(|port| (1..1024).contains(port) && !spec.ports.contains(Port::tcp(*port))));
            assert!(drawn.iter().all(|port| fragile::class(Port::tcp(*port)).is_none()), "{drawn:?}");
            let numbers: Vec<Option<u32>> = drawn.iter().map(|port| number_of(&spec, 3, second, *port)).collect();
            assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3)]);
        }
        second.answer(0, PortState::Closed);
        assert_eq!(due(Some(second), many, "1-200"), None, "twice is enough");
    }

    #[test]
    fn only_a_host_all_of_whose_drawn_ports_are_open_fails() {
        let mut trial = Trial::default();
        assert_eq!(std::iter::from_fn(|| trial.next()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        (0..3).for_each(|number| trial.answer(number, PortState::Open));
        assert!(!trial.is_over());
        trial.begin_round();
        assert_eq!((trial.next(), trial.next()), (Some(3), None), "what has answered is not asked again");
        let mut silent = trial;
        trial.answer(3, PortState::Open);
        assert!(trial.has_failed());
        for _ in 0..=ROUNDS_MAX {
            assert!(!silent.is_over(), "where three are open, one may have got lost");
            silent.give_up(3);
        }
        assert_eq!(silent.state(), TrialState::Passed, "silence is no open port");
        let mut dark = Trial::default();
        (0..4).for_each(|number| dark.give_up(number));
        assert_eq!(dark.state(), TrialState::Passed, "nothing is open where nobody looks");
        let mut closed = Trial::default();
        closed.answer(2, PortState::Closed);
        assert_eq!((closed.state(), closed.next()), (TrialState::Passed, None));
        let mut ended = Trial::default();
        ended.end();
        assert_eq!(ended.state(), TrialState::Passed);
    }

    #[test]
    fn ports_of_a_stretch_are_asked_from_end_to_end_and_fail_it_together() {
        let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
        let mut passed = Trial::default();
        passed.end();
        for (ports, is_outside) in [("2000-2511", true), ("-", false)] {
            let spec = spec(ports);
            let mut trial = Trial::of_stretch(Some(passed), &spec, || Some(2000..=4047)).unwrap();
            let numbers: Vec<u32> = std::iter::from_fn(|| trial.next()).collect();
            let drawn: Vec<u16> = numbers.into_iter().map(|number| port(&spec, 5, trial, number)).collect();
            assert_eq!(drawn.len(), 8);
            for (eighth, port) in (0_u16..).zip(&drawn) {
                let from = 2000 + 256 * eighth;
                assert!((from..from + 256).contains(port), "{drawn:?}");
                assert_eq!(spec.ports.contains(Port::tcp(*port)), !is_outside || eighth < 2);
                assert_eq!(number_of(&spec, 5, trial, *port), Some(eighth.into()));
            }
            (0..7).for_each(|number| trial.answer(number, PortState::Open));
            assert_eq!(Trial::of_stretch(Some(trial), &spec, || Some(1..=2)), None, "one after the other");
            assert!(!trial.is_over() && trial.is_second());
            trial.answer(7, PortState::Open);
            assert!(trial.has_failed());
        }
        let excluded = ScanSpec { exclude_ports: "2000-2300".parse().unwrap(), ..spec("-") };
        assert_eq!(Trial::of_stretch(None, &excluded, || Some(2000..=4047)), None);
    }

    #[test]
    fn ports_are_drawn_outside_the_scan_while_it_leaves_any() {
        let spec = |ports: &str| ScanSpec { ports: ports.parse().unwrap(), seed: 7, ..ScanSpec::default() };
        for (ports, is_outside) in [("1-1000", true), ("20000-29999", true), ("-", false)] {
            let spec = spec(ports);
            for index in 0..100 {
                let drawn: Vec<u16> = (0..TRIALS).map(|number| port(&spec, index, Trial::default(), number)).collect();
                assert!(drawn.iter().all(|port| (20_000..60_000).contains(port)));
                assert!(drawn.iter().all(|port| spec.ports.contains(Port::tcp(*port)) != is_outside), "{ports}");
                assert!(drawn.iter().all(|port| number_of(&spec, index, Trial::default(), *port).is_some()));
            }
        }
        for excluded in ["20000-49999", "20000-65535"] {
            let spec = ScanSpec { exclude_ports: excluded.parse().unwrap(), ..spec("1-1000") };
            let all = (0..100).flat_map(|index| (0..TRIALS).map(move |number| (index, number)));
            let mut drawn = all.map(|(index, number)| port(&spec, index, Trial::default(), number));
            assert!(drawn.all(|port| !spec.exclude_ports.contains(Port::tcp(port))), "{excluded}");
        }
    }
}
