//! What becomes of targets that have been asked all there was to ask: rest, another pass, or the end.

use std::cmp::Reverse;
use std::time::Duration;

use super::epochs::EPOCH;
use super::send::ARP_TRIES;
use super::target::{Stage, Target};
use super::{Sweep, TRIES};
use crate::finding::{Finding, Observation, PortState, Reason};
use crate::port::PortSet;

/// Passes in one stage at most: at 36 % loss ten miss one answer in 25,000.
const PASSES_MAX: u8 = 10;
/// With fewer canaries known, the loss is not: more are sent before a host is asked again on its account.
const CANARIES_MIN: u32 = 100;
/// Answers reach this engine up to so much after the network has delivered them.
const RING_DELAY: Duration = Duration::from_millis(5);

impl Sweep {
    /// Lets a target rest until a time.
    pub(super) fn rest(&mut self, index: u64, due: Duration) {
        if let Some(target) = self.target(index) {
            target.is_lined = false;
            target.due = due;
            self.resting.push(Reverse((due, index)));
        }
    }

    /// A target has been asked everything of this pass.
    pub(super) fn end_pass(&mut self, index: u64, now: Duration) {
        let loss = self.epochs.loss();
        let (tries, miss_max, known) = (self.limits.tries, self.miss_max, self.epochs.known());
        let timeout = if self.rtt.smoothed().is_none() { self.limits.wait_max } else { self.timeout() };
        let Some(target) = self.target(index) else { return };
        if target.is_complete() {
            return self.settle(index);
        }
        let expected = f64::from(target.miss) * missed(loss, target);
        let is_last = expected <= miss_max || tries.is_some_and(|tries| target.pass + 1 >= tries);
        let wait = if is_last { timeout.max(self.limits.last_wait_min) } else { timeout };
        if known < CANARIES_MIN {
            // Never more than a fraction of what the scan sends anyway.
            let fair = u32::try_from(self.counts.probes_sent / 4).unwrap_or(u32::MAX).max(8);
            self.canaries_wanted = self.canaries_wanted.max(CANARIES_MIN.saturating_sub(known).min(fair));
        }
        self.rest(index, now + wait + EPOCH + RING_DELAY);
    }

    /// Decides about every target whose rest is over.
    pub(super) fn wake(&mut self, now: Duration) {
        while let Some(Reverse((due, index))) = self.resting.peek().copied() {
            if due > now {
                return;
            }
            self.resting.pop();
            if self
                .target(index)
                .is_some_and(|target| !target.is_lined && target.due == due && target.stage != Stage::Done)
            {
                self.decide(index);
            }
        }
    }

    fn decide(&mut self, index: u64) {
        let (length, current, miss_max) = (self.list_length(), self.epochs.current(), self.miss_max);
        let tries = self.limits.tries.unwrap_or(PASSES_MAX).min(TRIES);
        let Some(target) = self.target(index) else { return };
        let (since, until) = (target.since, target.until);
        if target.stage == Stage::Arp {
            target.pass += 1;
            if target.pass >= ARP_TRIES {
                return self.settle(index);
            }
            return self.line_up(index);
        }
        let loss = self.epochs.loss_between(since, until);
        let now_lost = self.epochs.loss().max(1e-6);
        let Some(target) = self.target(index) else { return };
        let miss = f64::from(target.miss) * missed(loss, target);
        // A router that says that there is nobody has been heard, so nothing was lost.
        let is_told = target.stage == Stage::Silent && target.heard.is_some();
        if miss <= miss_max || is_told || target.is_complete() || target.pass + 1 >= tries {
            return self.settle(index);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a chance, for which seven digits are enough")]
        let known_miss = miss as f32;
        target.miss = known_miss;
        target.pass += 1;
        target.since = current;
        target.sent = 0;
        if target.stage == Stage::Ports {
            target.step = 0;
        } else {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
            let wanted =
                (2.0 * ((miss_max / miss).ln() / now_lost.ln()).ceil() - 1.0).clamp(1.0, f64::from(length)) as u32;
            target.wanted = wanted;
        }
        self.line_up(index);
    }

    /// Puts a target into the line.
    pub(super) fn line_up(&mut self, index: u64) {
        if let Some(target) = self.target(index).filter(|target| !target.is_lined) {
            target.is_lined = true;
            self.line.push_back(index);
        }
    }

    /// Ends a target; its silent ports are believed.
    pub(super) fn settle(&mut self, index: u64) {
        let Some(target) = self.target(index).filter(|target| target.stage != Stage::Done) else { return };
        target.stage = Stage::Done;
        target.is_lined = false;
        let address = target.address;
        let heard = target.heard.take();
        self.counts.targets_done += 1;
        if let Some(heard) = heard.filter(|heard| heard.up.is_some()) {
            for (reason, bits) in &heard.unreachable {
                let ports = self.ports_where(|position| bits.has(position) && !heard.answered.has(position));
                self.note_many(index, address, ports, *reason);
            }
            if heard.left > 0 {
                let silent = self.ports_where(|position| !heard.knows(position));
                self.note_many(index, address, silent, Reason::NoResponse);
            }
        }
        self.slide();
    }

    fn ports_where(&self, wanted: impl Fn(u32) -> bool) -> PortSet {
        (0..self.plan.port_count()).filter(|position| wanted(*position)).filter_map(|at| self.plan.port(at)).collect()
    }

    fn note_many(&mut self, index: u64, address: u32, ports: PortSet, reason: Reason) {
        if !ports.is_empty() {
            self.findings.push(finding(
                index,
                address,
                Observation::Ports { ports, state: PortState::Filtered, reason },
            ));
        }
    }
}

/// How likely this pass of a target has missed every answer. What is lost is lost in groups, and towards the end the
/// probes of one host follow each other closely: all but the first count half.
fn missed(loss: f64, target: &Target) -> f64 {
    let tried = if target.stage == Stage::Silent { target.sent.div_ceil(2) } else { 1 };
    loss.powi(i32::try_from(tried).unwrap_or(i32::MAX))
}

/// Something seen of a target.
pub(super) fn finding(target_index: u64, address: u32, observation: Observation) -> Finding {
    Finding { target_index, address: std::net::Ipv4Addr::from_bits(address).into(), name: None, observation }
}

impl Target {
    /// Makes a target that has answered ask its ports; in discovery it may have got some way.
    pub(super) fn begin_ports(&mut self, has_discovery: bool, current: u32) {
        let is_first_pass = self.pass == 0;
        match self.stage {
            Stage::Silent if is_first_pass && has_discovery => self.step = 0,
            // Without discovery its ports are being asked already.
            Stage::Silent if is_first_pass => self.sent = 0,
            Stage::Arp => (self.pass, self.sent, self.step, self.since) = (0, 0, 0, current),
            Stage::Silent => {
                (self.pass, self.sent, self.step, self.since) =
                    (self.pass.saturating_add(1).min(TRIES - 1), 0, 0, current);
            }
            Stage::Ports | Stage::Done => return,
        }
        self.miss = 1.0;
        self.stage = Stage::Ports;
    }
}
