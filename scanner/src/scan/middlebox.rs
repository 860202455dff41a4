//! Hosts that answer on every port: a firewall, a load balancer, a tarpit or a redirection on the way answers for them.
//!
//! Their open ports mean nothing, which shows at ports that cannot all be open. A host of which several ports are open and
//! hardly one has ever been closed is put to the test: a few ports drawn from tens of thousands, outside the scan's own as
//! far as it leaves any. A machine on which all of them are in use by chance does not exist, not even one with thousands of
//! silent listeners; one closed port among them clears it. A host that fails is asked nothing more.
//!
//! A redirection of a range of ports answers within it alone, where the drawn ports do not lie, and passes. So a host of
//! which dozens of privileged ports (below 1024) are open is put to a second test, with ports drawn from those that the scan
//! leaves: a machine has nobody at them, however many listeners it has elsewhere. Only where more than half of all are open, or hundreds
//! in a row, there is nothing left to test. Above them there is room for thousands of listeners: a stretch of open ports there is put to a
//! test of its own ([`super::stretch`]), with ports from end to end of more than any machine has in a row. Such a range is left out, and
//! what is outside of it is asked and counted as ever. So where the drawn ports are open and the scan is about privileged ones as well,
//! some of those are drawn too: a redirection often leaves them alone.
//!
//! Both scans of TCP ports put hosts to it, each in its own way of sending; here is the rule.

use std::ops::RangeInclusive;

use super::stretch::Stretches;
use crate::finding::PortState;
use crate::permute::mix;
use crate::port::{Port, Protocol, fragile};
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
pub(crate) const PRIVILEGED_END: u16 = 1024;
/// More open privileged ports no machine has: half of them.
const PRIVILEGED_MAX: u32 = 512;
/// More of them in a row no machine has open.
pub(super) const PRIVILEGED_ROW: u32 = 256;
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

    /// Those of them that are left once so many open ones turn out to be somebody else's.
    pub(crate) fn without(self, opened: u32) -> Self {
        Self { opened: self.opened.saturating_sub(opened), ..self }
    }

    /// Whether so many are open that no machine may have them in a row.
    pub(crate) fn may_be_a_row(self) -> bool {
        self.opened > PRIVILEGED_ROW
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
    /// Privileged ones, of a host whose other ports are all open.
    Below,
}

impl TrialKind {
    fn count(self) -> u32 {
        match self {
            Self::Drawn | Self::Privileged | Self::Below => TRIALS,
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
    /// Not all of it is open.
    Passed,
    /// All of it is.
    Failed,
}

/// What a test that is over means for its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what it seems to be.
    Cleared,
    /// Nothing that was not known.
    Nothing,
    /// It answers on everything.
    Everything,
    /// It answers on a range.
    Range(RangeInclusive<u16>),
    /// Another test says.
    Next(Trial),
}

impl Trial {
    #[cfg(test)]
    pub(crate) fn state(self) -> TrialState {
        self.state
    }

    /// Whether the host answers on everything.
    pub(crate) fn has_failed(self) -> bool {
        self.state == TrialState::Failed && matches!(self.kind, TrialKind::Drawn | TrialKind::Below)
    }

    /// What a test that is over means for a host that answers on everything or on a range; `stretches` are those of its open ports.
    pub(crate) fn verdict(&mut self, spec: &ScanSpec, index: u64, stretches: &Stretches) -> Verdict {
        let is_open = std::mem::replace(&mut self.state, TrialState::Passed) == TrialState::Failed;
        let privileged = stretches.privileged();
        match (self.kind, is_open) {
            (TrialKind::Drawn, true) if asks_privileged(spec) && privileged_drawn(spec).len() >= TRIALS as usize => {
                Verdict::Next(Self { kind: TrialKind::Below, ..Self::default() })
            }
            (TrialKind::Drawn | TrialKind::Below, true) => {
                self.state = TrialState::Failed;
                Verdict::Everything
            }
            (TrialKind::Below, false) => Verdict::Range(PRIVILEGED_END..=u16::MAX),
            (TrialKind::Stretch(first, last), true) => Verdict::Range(first..=last),
            (TrialKind::Privileged, true) => {
                let drawn = (0..TRIALS).map(|number| port(spec, index, *self, number));
                let (first, last) = privileged.unwrap_or((PRIVILEGED_END - 1, 1));
                let range = drawn.fold((first, last), |(first, last), port| (first.min(port), last.max(port)));
                Verdict::Range(range.0..=range.1)
            }
            (TrialKind::Drawn, false) => Verdict::Cleared,
            (TrialKind::Stretch(..) | TrialKind::Privileged, false) => Verdict::Nothing,
        }
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

    /// Whether no other port of the host is worth asking before it is over: nearly all that would be asked is open.
    pub(crate) fn holds_others(self) -> bool {
        self.kind == TrialKind::Below && !self.is_over()
    }

    /// Whether the host has been put to another test before.
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
    if matches!(trial.kind, TrialKind::Privileged | TrialKind::Below) {
        let left = if trial.kind == TrialKind::Privileged { privileged_left(spec) } else { privileged_drawn(spec) };
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

/// Whether the scan asks any privileged ports.
fn asks_privileged(spec: &ScanSpec) -> bool {
    spec.ports.iter().next().is_some_and(|first| first.protocol == Protocol::Tcp && first.number < PRIVILEGED_END)
}

/// Privileged ports that may be asked, those that the scan does not as far as it leaves enough.
fn privileged_drawn(spec: &ScanSpec) -> Vec<u16> {
    let left = privileged_left(spec);
    if left.len() >= TRIALS as usize {
        return left;
    }
    (1..PRIVILEGED_END).filter(|port| may_draw(spec, *port)).collect()
}

/// The number in a test of the host at an index that a port has, if it is one of the test's.
pub(crate) fn number_of(spec: &ScanSpec, index: u64, trial: Trial, asked: u16) -> Option<u32> {
    (0..trial.kind.count()).find(|number| port(spec, index, trial, *number) == asked)
}

#[cfg(test)]
#[path = "middlebox/middlebox_test.rs"]
mod tests;
