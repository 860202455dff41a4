//! Hosts that answer SYN-ACK on everything: a firewall, a load balancer or a tarpit on the way answers for them.
//!
//! Their open ports mean nothing, which shows at ports where nobody listens. Only a host of which several ports are open
//! and none has ever been closed is put to the test: three ports drawn from tens of thousands, outside the scan's own. A
//! machine on which all three are in use by chance does not exist; one closed port among them clears it.

use super::rest::scanned;
use super::target::{Heard, HostPhase};
use super::{Reply, SynScan};
use crate::finding::{Observation, PortState};
use crate::permute::mix;
use crate::port::Port;

/// Ports that are asked, and as many bits.
pub(super) const TRIALS: u32 = 3;
const ALL: u8 = 0b111;
/// With fewer open ports, three more open ones would be no surprise.
const OPEN_MIN: u32 = 3;
/// Where the scan leaves no port to draw, so many open ports without a closed one are everything.
const OPEN_EVERYTHING: u32 = 1024;
/// A host with more open ports and no closed one is listened to when it has passed.
const GRABBED_MAX: u32 = 64;
/// The ports to draw from: few services have a place there.
const FIRST: u16 = 20_000;
const COUNT: u64 = 40_000;
/// Draws for one port outside the scan.
const DRAWS_MAX: u64 = 16;

/// The test of one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trial {
    /// Ports that have answered, and those that were open.
    answered: u8,
    open: u8,
    /// Whether it answers on everything.
    pub(super) is_middlebox: bool,
}

impl Trial {
    pub(super) fn has_answer(self, number: u32) -> bool {
        self.answered >> number & 1 == 1
    }
}

impl Heard {
    /// Whether all that was asked and answered is open, and that is more than an ordinary host has.
    fn is_suspicious(&self) -> bool {
        self.opened >= OPEN_MIN && self.closed == 0
    }

    /// Whether listening to its open ports waits for the test.
    pub(super) fn holds_banner_grabs(&self) -> bool {
        self.closed == 0 && self.opened > GRABBED_MAX && self.trial.is_none_or(|trial| trial.is_middlebox)
    }
}

impl SynScan {
    /// Ends a target that has been asked everything, or puts it to the test first.
    pub(super) fn conclude(&mut self, index: u64) {
        let current = self.moment.epoch;
        let is_drawn = self.trial_port(index, 0).is_some();
        let is_gentle = self.is_gentle;
        let Some(target) = self.target(index) else { return };
        let Some(heard) = target.heard.as_mut().filter(|heard| heard.trial.is_none() && heard.is_suspicious()) else {
            return self.settle(index);
        };
        if is_gentle {
            return self.settle(index);
        }
        if !is_drawn {
            heard.trial = Some(Trial { is_middlebox: heard.opened >= OPEN_EVERYTHING, ..Trial::default() });
            return self.judge(index);
        }
        heard.trial = Some(Trial::default());
        self.account(index);
        let Some(target) = self.target(index) else { return };
        target.phase = HostPhase::Trial;
        target.exposure = 0.0;
        target.begin_pass(0, current);
        self.line_up(index);
    }

    /// A port of the test has answered for itself.
    pub(super) fn on_trial(&mut self, index: u64, port: u16, reply: &Reply) {
        let Some(number) = (0..TRIALS).find(|number| self.trial_port(index, *number) == Some(port)) else { return };
        let Some(target) = self.target(index).filter(|target| target.phase == HostPhase::Trial) else { return };
        let Some(trial) = target.heard.as_mut().and_then(|heard| heard.trial.as_mut()) else { return };
        trial.answered |= 1 << number;
        trial.open |= u8::from(reply.state == PortState::Open) << number;
        trial.is_middlebox = trial.open == ALL;
        if trial.answered == ALL || reply.state != PortState::Open {
            self.judge(index);
        }
    }

    /// The test is over.
    fn judge(&mut self, index: u64) {
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        if target.heard.as_ref().and_then(|heard| heard.trial).is_some_and(|trial| trial.is_middlebox) {
            self.results.findings.push(scanned(index, address).finding(Observation::Middlebox));
        }
        self.settle(index);
    }

    /// A port of the test of a host: drawn, so that nobody can expect it, and the same whenever it is asked for.
    pub(super) fn trial_port(&self, index: u64, number: u32) -> Option<u16> {
        let seed = mix(self.plan.spec().seed ^ mix(index));
        let draw = |draw: u64| {
            let drawn = mix(seed ^ (u64::from(number) << 32 | draw)) % COUNT;
            u16::try_from(drawn).ok().and_then(|drawn| drawn.checked_add(FIRST))
        };
        let ports = &self.plan.spec().ports;
        (0..DRAWS_MAX).filter_map(draw).find(|port| !ports.contains(Port::tcp(*port)))
    }
}
