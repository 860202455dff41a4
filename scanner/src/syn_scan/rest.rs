//! What becomes of targets that have been asked all there was to ask: rest, another pass, or the end.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use super::banner_grabs::BannerGrab;
use super::epochs::EPOCH;
use super::lost_way::Doubt;
use super::send::ARP_TRIES;
use super::target::{HostPhase, Target};
use super::{SynScan, TRIES};
use crate::finding::{NotProbed, PortState, ScannedHost, likely_found};
use crate::spec::Timing;

/// Passes in one phase at most: at 36 % loss ten miss one answer in 25,000.
const PASSES_MAX: u8 = 10;
/// With fewer canaries known, the loss is not: more are sent before a host is asked again on its account.
const CANARIES_MIN: u32 = 100;
/// Answers reach this engine up to so much after the network has delivered them.
const RING_DELAY: Duration = Duration::from_millis(5);
/// The same SYN goes again after at least so long where a host leaves ports unanswered: filters that want to see it twice
/// count the second only once a client's own timer (RFC 6298: a second) may have sent it.
const AGAIN_MIN: Duration = Duration::from_millis(1050);

impl SynScan {
    /// Lets a target rest until a time.
    pub(super) fn rest(&mut self, index: u64, due: Duration) {
        let due = due.saturating_sub(self.put_off);
        if let Some(target) = self.target(index) {
            target.is_lined = false;
            target.due = due;
            self.resting.push(Reverse((due, index)));
        }
    }

    /// What was given to send has waited so long for a full queue of its interface: answers come as much later.
    pub(crate) fn put_off(&mut self, by: Duration) {
        self.put_off += by;
    }

    /// A target has been asked everything of this pass.
    pub(super) fn end_pass(&mut self, index: u64, now: Duration) {
        let (loss, known) = (self.path.loss(), self.path.known());
        let (tries, miss_max) = (self.limits.tries, self.miss_max);
        let timeout = if self.rtt.smoothed().is_none() { self.limits.wait_max } else { self.timeout() };
        let Some(target) = self.target(index) else { return };
        target.is_lined = false;
        if target.is_complete() && target.phase != HostPhase::Trial {
            return self.conclude(index);
        }
        let (pass, exposure) = (target.pass, target.exposure);
        let is_asked = target.phase == HostPhase::Ports && target.is_up();
        target.heard.iter_mut().for_each(|heard| heard.own_path.ended(now));
        let expected = self.miss(index, f64::from(exposure) + logarithm(loss));
        let is_final = tries.is_some_and(|tries| pass + 1 >= tries);
        let is_last = expected <= miss_max || is_final;
        let is_patient = self.plan.spec().timing != Timing::Fast;
        let goes_again = is_patient && pass == 0 && is_asked && !is_final;
        let wait = if is_last { timeout.max(self.limits.last_wait_min) } else { timeout };
        let wait = if goes_again { wait.max(AGAIN_MIN) } else { wait };
        if known < CANARIES_MIN {
            // Never more than a fraction of what the scan transmits anyway.
            let fair = u32::try_from(self.results.tally.probes_sent / 4).unwrap_or(u32::MAX).max(8);
            self.canaries_wanted = self.canaries_wanted.max(CANARIES_MIN.saturating_sub(known).min(fair));
        }
        self.rest(index, now + wait + EPOCH + RING_DELAY);
    }

    /// Decides about every target whose rest is over.
    pub(super) fn wake(&mut self, now: Duration) {
        while let Some(Reverse((due, index))) = self.resting.peek().copied() {
            if due + self.put_off > now {
                return;
            }
            self.resting.pop();
            let resting =
                |target: &&mut Target| !target.is_lined && target.due == due && target.phase != HostPhase::Done;
            let Some(target) = self.target(index).filter(resting) else { continue };
            if std::mem::take(&mut target.is_held) {
                self.line_up(index);
            } else {
                self.decide(index, now);
            }
        }
    }

    fn decide(&mut self, index: u64, now: Duration) {
        let (current, miss_max) = (self.moment.epoch, self.miss_max);
        let is_unmeasured = self.path.known() == 0;
        let Some(target) = self.target(index) else { return };
        let (since, until, pass) = (target.since, target.until, target.pass);
        match self.doubt(index, now) {
            Some(Doubt::Lost(why)) => return self.cut_off(index, why),
            Some(Doubt::NotYet) => return self.look_again(index, now),
            Some(Doubt::Again) => {
                self.target(index).into_iter().for_each(|target| target.begin_pass(pass, current));
                return self.line_up(index);
            }
            None => {}
        }
        let Some(target) = self.target(index) else { return };
        if target.phase == HostPhase::Pulse {
            return self.end_pulse(index, now);
        }
        if target.phase == HostPhase::Link {
            target.pass += 1;
            return if target.pass >= ARP_TRIES { self.settle(index) } else { self.line_up(index) };
        }
        let loss = self.path.loss_between(since, until);
        let Some(target) = self.target(index) else { return };
        let by_path = f64::from(target.exposure) + logarithm(loss);
        let exposure = target.judge(loss, by_path);
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm, for which seven digits are enough")]
        let kept = exposure as f32;
        target.exposure = kept;
        let is_silent = !target.is_up();
        // A router that says that there is nobody has been heard, so nothing was lost.
        let is_told = is_silent && target.heard.as_ref().is_some_and(|heard| heard.is_told);
        // Where nothing answers, nothing says that anything was lost: once more, in case the first pass met a burst.
        let is_dark = is_silent && is_unmeasured && pass >= 1;
        let is_complete = target.is_complete() && target.phase != HostPhase::Trial;
        let (address, differs) = (target.address, target.differs());
        // What a silent port loses by its host alone shows in a second pass at the earliest.
        let is_unproved = target.phase == HostPhase::Ports
            && target.heard.as_ref().is_some_and(|heard| heard.up.is_some() && !heard.own_path.is_proved());
        let passes_max = if differs { TRIES } else { PASSES_MAX };
        let tries = self.limits.tries.unwrap_or(passes_max).min(TRIES);
        if differs {
            // What they tell is of this host, not of the path.
            self.canaries.retain(|canary| canary.address != address);
            self.kept = self.kept.filter(|(canary, _)| canary.address != address);
        }
        let is_sure = !is_unproved && self.miss(index, exposure) <= miss_max;
        if is_told || is_dark || is_complete || pass + 1 >= tries || is_sure {
            if self.target(index).is_some_and(|target| target.is_refused()) {
                return self.cut_off(index, NotProbed::SendRefused);
            }
            if !self.begin_last_pulse(index) {
                self.conclude(index);
            }
            return;
        }
        if let Some(target) = self.target(index) {
            target.begin_pass(pass + 1, current);
        }
        self.line_up(index);
    }

    /// How likely an answer of a target was missed, when each of its probes was with the chance that `exposure` is the
    /// logarithm of. Any answer of a silent one would have done, unless each of its ports is meant.
    fn miss(&mut self, index: u64, exposure: f64) -> f64 {
        let is_any = self.target(index).is_some_and(|target| target.phase == HostPhase::Silent);
        if is_any { self.yields.miss(exposure) } else { exposure.exp() }
    }

    /// Takes a target that is about to be settled into the estimate of what was found.
    pub(super) fn account(&mut self, index: u64) {
        let ports = self.ports;
        let Some(target) = self.target(index) else { return };
        let (exposure, is_asked) = (f64::from(target.exposure), target.phase != HostPhase::Link);
        if target.heard.as_ref().is_some_and(|heard| heard.is_middlebox()) {
            return;
        }
        let up = target.heard.as_ref().filter(|heard| heard.up.is_some());
        let missed = up.map_or(0.0, |heard| heard.pulse.missed_of(ports));
        let address = target.address;
        match up.map(|heard| (heard.answers(), heard.left)) {
            Some((answers, left)) => {
                let found = self.recall.host(answers, left, exposure.exp().max(missed));
                let scanned = scanned(index, address);
                self.results.findings.extend(likely_found(found).map(|observation| scanned.finding(observation)));
            }
            None if is_asked => {
                let miss = self.miss(index, exposure);
                self.recall.silent(miss);
            }
            None => {}
        }
    }

    /// Puts a target into the line.
    pub(super) fn line_up(&mut self, index: u64) {
        if let Some(target) = self.target(index).filter(|target| !target.is_lined) {
            target.is_lined = true;
            target.is_held = false;
            self.line.push_back(index);
        }
    }

    /// Ends a target; its silent ports are believed.
    pub(super) fn settle(&mut self, index: u64) {
        let Some(target) = self.target(index).filter(|target| target.phase != HostPhase::Done) else { return };
        // One that was put to the test has been taken into account before.
        if target.phase != HostPhase::Trial {
            self.account(index);
        }
        let Some(target) = self.target(index) else { return };
        target.phase = HostPhase::Done;
        target.is_lined = false;
        let link = target.link;
        let address = target.address;
        let heard = target.heard.take();
        self.results.tally.targets_done += 1;
        // Of one that answers on everything there is nothing more to hear, and its silence says nothing.
        if let Some(heard) = heard.filter(|heard| heard.up.is_some() && !heard.is_middlebox()) {
            for port in &heard.unheard {
                self.banner_grabs.push(BannerGrab { index, address, port: *port, link });
            }
            let scanned = scanned(index, address);
            for unreachable in heard.ports.unreachable(&self.plan, self.ports) {
                self.results.note_unanswered(&scanned, unreachable, PortState::Filtered);
            }
            if heard.left > 0 {
                // Of those that were asked since a host has stopped answering nothing is known.
                let settled = heard.pulse.settled().map(|steps| (index, steps));
                let silent = heard.ports.silent(&self.plan, self.ports, settled);
                self.results.note_unanswered(&scanned, silent, PortState::Filtered);
            }
        }
        self.slide();
    }
}

/// The logarithm of a chance, which is never none: what was measured as no loss was a little more likely not.
pub(super) fn logarithm(loss: f64) -> f64 {
    loss.clamp(1e-6, 1.0).ln()
}

/// A target as findings name it.
pub(super) fn scanned(target_index: u64, address: IpAddr) -> ScannedHost {
    ScannedHost { target_index, address, name: None }
}

impl Target {
    /// Judges a pass whose answers are in: the logarithm of the chance that an answer was missed in all of them, which is
    /// `by_path` where the host loses no more than the path.
    fn judge(&mut self, path_loss: f64, by_path: f64) -> f64 {
        let is_asked = self.phase == HostPhase::Ports && self.is_up();
        match self.heard.as_mut().filter(|_| is_asked) {
            Some(heard) => heard.own_path.judge(heard.answers(), path_loss, by_path),
            None => by_path,
        }
    }

    /// Whether it loses more than the path.
    pub(super) fn differs(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.own_path.differs())
    }

    /// Makes a target that has answered ask its ports; with its host probes, or ports, it may have got some way.
    pub(super) fn begin_ports(&mut self, has_host_probes: bool, current: u32) {
        match self.phase {
            // What was asked as a host probe in this pass is not asked again in it.
            HostPhase::Silent if self.pass == 0 && has_host_probes => self.step = 0,
            // Its ports are being asked already.
            HostPhase::Silent if self.pass == 0 => self.sent = 0,
            HostPhase::Silent => self.begin_pass(self.pass.saturating_add(1).min(TRIES - 1), current),
            HostPhase::Link => self.begin_pass(0, current),
            HostPhase::Ports | HostPhase::Pulse | HostPhase::Trial | HostPhase::Done => return,
        }
        self.exposure = 0.0;
        self.phase = HostPhase::Ports;
    }
}
