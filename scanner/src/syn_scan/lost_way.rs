//! Ways that are lost while a unit is on them: a cable that is pulled, a gateway that dies.
//!
//! What is asked then is not silent: nobody has heard it. So nothing is sent over a link that is down, and nothing decided that
//! rests on what was sent meanwhile. A link that comes back soon costs a pass; one that does not, and a gateway that answers for
//! its own address no more, end every target behind them as not probed, with what was found of it before.
//!
//! A gateway is doubted when canaries behind it that used to answer are silent, and none else is heard: it is asked for its address
//! anew, and meanwhile nothing is sent. The same when somebody names another address for it: what it then answers itself holds.

use std::net::IpAddr;
use std::time::Duration;

use super::epochs::EPOCH;
use super::target::{HostPhase, NO_GATEWAY, Target};
use super::{Gateway, SynScan};
use crate::finding::{NotProbed, PortState};
use crate::packet::arp::Mac;

/// How long a link may be down before what lies behind it is given up.
const DOWN_MAX: Duration = Duration::from_secs(3);
/// The same for one that has not carried anything yet: a new one does within a second.
const NEW_MAX: Duration = Duration::from_millis(1500);
/// How long a target waits before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// And how often at most, for want of a canary's answer: two seconds.
const LOOKS_MAX: u8 = 40;
/// A gateway is doubted after so long, and so many canaries, without an answer from behind it; when a decision waits for it,
/// after fewer.
const SILENT_MIN: Duration = Duration::from_millis(1000);
const UNHEARD_MAX: u32 = 8;
const UNHEARD_WAITING: u32 = 3;
/// How exactly is known when something was heard from behind a gateway.
const HEARD_EVERY: Duration = Duration::from_millis(5);
/// A gateway from behind which nothing was ever heard is asked for its address anew after so long.
const TOLD_MAX: Duration = Duration::from_secs(5);
/// A gateway is doubted no more often.
const DOUBT_EVERY: Duration = Duration::from_secs(1);
/// Epochs before a link was seen to be down in which it may have been: this machine looks every tenth of a second.
const UNSEEN_EPOCHS: u32 = 4;

/// The links of a unit as they are.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Links that are down, and since when.
    down: Vec<(u16, Duration)>,
    /// The epochs in which one was, the last time.
    blind: Option<(u32, u32)>,
}

/// What speaks against deciding about a target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing will be heard of it any more.
    Lost(NotProbed),
    /// Whether it was heard is not known yet.
    NotYet,
    /// Its last pass was not heard and has to be done again.
    Again,
}

impl SynScan {
    /// A link is up and carries nothing, as far as is known from before the unit began: it is waited for, but not for long.
    pub(crate) fn on_new_link(&mut self, now: Duration, link: u16) {
        self.on_link(now.saturating_sub(DOWN_MAX - NEW_MAX), link, false);
    }

    /// A link was looked at, and carries packets or does not.
    pub(crate) fn on_link(&mut self, now: Duration, link: u16, is_up: bool) {
        let at = self.links.down.iter().position(|(down, _)| *down == link);
        match (at, is_up) {
            (None, false) => self.links.down.push((link, now)),
            (Some(at), true) => {
                let (_, since) = self.links.down.swap_remove(at);
                let epochs = u32::try_from(now.saturating_sub(since).as_millis() / EPOCH.as_millis()).unwrap_or(0);
                let to = self.moment.epoch.saturating_add(1);
                self.links.blind = Some((to.saturating_sub(epochs + 1 + UNSEEN_EPOCHS), to));
            }
            _ => {}
        }
    }

    /// The kernel has refused to send a probe.
    pub(crate) fn on_not_sent(&mut self, now: Duration, address: IpAddr, why: NotProbed) {
        let Some(index) = self.plan.index_of(address) else { return };
        let Some(target) = self.target(index).filter(|target| target.phase != HostPhase::Done) else { return };
        target.refused = target.refused.saturating_add(1);
        let link = target.link;
        if why == NotProbed::InterfaceDown {
            self.on_link(now, link, false);
        }
    }

    /// An address has answered, perhaps from behind a gateway.
    pub(super) fn hear_behind(&mut self, now: Duration, address: IpAddr) {
        // Where there is one gateway only, an answer every few milliseconds says as much as all of them.
        let is_fresh = |gateway: &Gateway| gateway.heard_at.is_some_and(|heard_at| now < heard_at + HEARD_EVERY);
        if self.gateways.is_empty() || (self.gateways.len() == 1 && self.gateways.iter().all(is_fresh)) {
            return;
        }
        let of_target = match self.plan.index_of(address) {
            Some(index) => {
                self.target(index).filter(|target| target.phase != HostPhase::Done).map(|target| target.gateway)
            }
            None => None,
        };
        let of_canary = || self.canaries.iter().find(|canary| canary.address == address).map(|canary| canary.gateway);
        let Some(gateway) = of_target.or_else(of_canary) else { return };
        if let Some(gateway) = self.gateways.get_mut(usize::from(gateway)) {
            (gateway.heard_at, gateway.unheard) = (Some(now), 0);
        }
    }

    /// A canary goes through a gateway.
    pub(super) fn ask_through(&mut self, gateway: u16) {
        if let Some(gateway) = self.gateways.get_mut(usize::from(gateway)) {
            gateway.unheard = gateway.unheard.saturating_add(1);
        }
    }

    /// Somebody names a hardware address for a gateway.
    pub(super) fn on_gateway(&mut self, now: Duration, link: u16, address: IpAddr, mac: Mac) {
        let of_link = self.gateways.iter_mut().filter(|gateway| gateway.link == link && gateway.address == address);
        for gateway in of_link {
            match gateway.mac {
                None if gateway.asked <= super::send::GATEWAY_TRIES => {
                    (gateway.mac, gateway.unheard, gateway.told_at) = (Some(mac), 0, Some(now));
                    gateway.heard_at = gateway.heard_at.map(|_| now);
                }
                Some(known) if known != mac => gateway.doubt(now),
                Some(_) | None => {}
            }
        }
    }

    /// Doubts gateways that have fallen silent.
    pub(super) fn doubt_gateways(&mut self, now: Duration) {
        let silent_min = SILENT_MIN.max(4 * self.timeout());
        for gateway in &mut self.gateways {
            let is_silent = gateway.heard_at.is_some_and(|heard_at| now > heard_at + silent_min);
            if is_silent && gateway.unheard >= UNHEARD_MAX {
                gateway.doubt(now);
            }
        }
    }

    /// What speaks against deciding about a target that has been asked everything of a pass.
    pub(super) fn doubt(&mut self, index: u64, now: Duration) -> Option<Doubt> {
        let epoch = self.moment.epoch;
        let target = self.target(index)?;
        let (link, behind, since, until) = (target.link, target.gateway, target.since, target.until);
        let is_complete = target.is_complete();
        if let Some((_, down_since)) = self.links.down.iter().find(|(down, _)| *down == link) {
            let is_lost = now > *down_since + DOWN_MAX;
            return Some(if is_lost { Doubt::Lost(NotProbed::InterfaceDown) } else { Doubt::NotYet });
        }
        if self.links.blind.is_some_and(|(from, to)| since <= to && until.saturating_add(1) >= from) && !is_complete {
            return Some(Doubt::Again);
        }
        let gateway = self.gateways.get_mut(usize::from(behind)).filter(|_| behind != NO_GATEWAY)?;
        if gateway.mac.is_none() {
            let is_lost = gateway.asked > super::send::GATEWAY_TRIES;
            return Some(if is_lost { Doubt::Lost(NotProbed::GatewaySilent) } else { Doubt::NotYet });
        }
        if gateway.heard_at.is_none() && !is_complete {
            // Behind one that is dead everything is as silent as in a dark network.
            let is_told = gateway.told_at.is_some_and(|told_at| now <= told_at + TOLD_MAX);
            let is_known = is_told || gateway.is_fixed;
            if !is_known {
                gateway.doubt(now);
            }
            return (!is_known).then_some(Doubt::NotYet);
        }
        let heard_at = gateway.heard_at.filter(|_| !is_complete)?;
        // Heard since the pass ended, its silence is the host's own.
        let age = EPOCH * epoch.saturating_sub(until);
        if now.saturating_sub(heard_at) <= age || !self.canaries.iter().any(|canary| canary.gateway == behind) {
            return None;
        }
        if !gateway.is_fixed && gateway.unheard >= UNHEARD_WAITING && now > heard_at + SILENT_MIN / 2 {
            gateway.doubt(now);
            return Some(Doubt::NotYet);
        }
        let target = self.target(index)?;
        target.looks = target.looks.saturating_add(1);
        if target.looks > LOOKS_MAX {
            return None;
        }
        self.canaries_wanted = self.canaries_wanted.max(1);
        Some(Doubt::NotYet)
    }

    /// Lets a target be looked at again in a moment.
    pub(super) fn look_again(&mut self, index: u64, now: Duration) {
        self.rest(index, now + LOOK_AGAIN);
    }

    /// Whether nothing may be sent to a target now, as its link is down.
    pub(super) fn is_link_down(&self, link: u16) -> bool {
        self.links.is_down(link)
    }

    /// Ends a target to which the way is lost: what was found stays found, of the rest nothing is known.
    pub(super) fn cut_off(&mut self, index: u64, why: NotProbed) {
        let Some(target) = self.target(index).filter(|target| target.phase != HostPhase::Done) else { return };
        target.phase = HostPhase::Done;
        target.is_lined = false;
        let (address, heard) = (target.address, target.heard.take());
        self.results.tally.not_probed.add(why, 1);
        self.results.tally.targets_done += 1;
        if let Some(heard) = heard.filter(|heard| heard.up.is_some() && !heard.is_middlebox()) {
            let scanned = super::rest::scanned(index, address);
            for unreachable in heard.ports.unreachable(&self.plan, self.ports) {
                self.results.note_unanswered(&scanned, unreachable, PortState::Filtered);
            }
        }
        self.slide();
    }
}

impl Links {
    /// Whether a link carries nothing now.
    pub(super) fn is_down(&self, link: u16) -> bool {
        self.down.iter().any(|(down, _)| *down == link)
    }
}

impl Gateway {
    /// Asks for it anew, unless it is being asked for, or was in vain, or need not answer.
    fn doubt(&mut self, now: Duration) {
        if self.mac.is_some() && !self.is_fixed && now >= self.doubted_at + DOUBT_EVERY {
            (self.mac, self.asked, self.next, self.doubted_at) = (None, 0, now, now);
        }
    }
}

impl Target {
    /// Whether it was refused a probe of this pass by this machine's kernel, and has not answered all the same.
    pub(super) fn is_refused(&self) -> bool {
        self.refused > 0 && !self.is_complete()
    }
}
