//! One target of a raw unit: under a hundred bytes while it is silent, and a box once something was heard.

use std::net::IpAddr;
use std::time::Duration;

use super::own_path::OwnPath;
use crate::finding::Reason;
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::scan::HeardPorts;
use crate::scan::middlebox::{Privileged, Trial};
use crate::scan::pulse::Pulse;
use crate::scan::stretch::Stretches;

/// The number of a gateway that is none.
pub(super) const NO_GATEWAY: u16 = u16::MAX;

/// A target from its first probe to its last.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
    pub(super) link: u16,
    /// The gateway whose hardware address is to be used once it is known.
    pub(super) gateway: u16,
    /// Whether its probes go through routers.
    pub(super) is_routed: bool,
    pub(super) phase: HostPhase,
    /// Which pass over its probes it is in.
    pub(super) pass: u8,
    /// Whether it stands in line, or in the line of its network.
    pub(super) is_lined: bool,
    /// Whether its rest is only a wait for a slot.
    pub(super) is_held: bool,
    /// Whether it is asked every host probe, to learn how many a host answers.
    pub(super) is_sample: bool,
    /// When its rest ends; an earlier rest that was cut short has another end.
    pub(super) due: Duration,
    /// Steps taken through its ports in this pass.
    pub(super) step: u32,
    /// Host probes sent in this pass, or ports while it is silent and there are no host probes.
    pub(super) sent: u32,
    /// How often its decision was put off.
    pub(super) looks: u8,
    /// Probes of this pass that the kernel has refused.
    pub(super) refused: u8,
    /// The epochs in which this pass began and ended.
    pub(super) since: u32,
    pub(super) until: u32,
    /// The logarithm of how likely an answer to one probe has been missed in every pass before.
    pub(super) exposure: f32,
    pub(super) heard: Option<Box<Heard>>,
}

/// How far a target has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// Its hardware address is being asked for.
    Link,
    /// Nothing was heard of it yet.
    Silent,
    /// Each of its ports is asked.
    Ports,
    /// A port that has answered is asked whether it still does.
    Pulse,
    /// Ports are asked at which nobody listens, since all that were asked are open.
    Trial,
    /// All is known.
    Done,
}

/// What was heard of a target.
#[derive(Debug)]
pub(super) struct Heard {
    /// How it is known to be up.
    pub(super) up: Option<Reason>,
    /// Whether something on the way says that there is no way to it, or nobody there.
    pub(super) is_told: bool,
    pub(super) ports: HeardPorts,
    /// Ports of which nothing was heard.
    pub(super) left: u32,
    /// Host probes that were answered, one bit each.
    pub(super) host_probes: u32,
    pub(super) opened: u32,
    pub(super) closed: u32,
    /// The privileged ones of these.
    pub(super) privileged: Privileged,
    /// The open ones above them.
    pub(super) stretches: Stretches,
    /// Open ports that are only listened to once it is known that they mean something.
    pub(super) unheard: Vec<u16>,
    pub(super) trial: Option<Trial>,
    /// Whether it still answers, and whether it ends once that is known.
    pub(super) pulse: Pulse<Probe>,
    pub(super) is_ending: bool,
    /// Probes that it was sent since it was heard first.
    pub(super) sent: u32,
    /// What it loses beyond the path.
    pub(super) own_path: OwnPath,
}

impl Heard {
    fn new(ports: u32) -> Self {
        Self {
            up: None,
            is_told: false,
            ports: HeardPorts::default(),
            left: ports,
            host_probes: 0,
            opened: 0,
            closed: 0,
            privileged: Privileged::default(),
            stretches: Stretches::default(),
            unheard: Vec::new(),
            trial: None,
            pulse: Pulse::default(),
            is_ending: false,
            sent: 0,
            own_path: OwnPath::default(),
        }
    }

    /// How many ports have answered for themselves.
    pub(super) fn answers(&self) -> u32 {
        self.opened + self.closed
    }

    /// Notes that a port has answered for itself; false when that is known.
    pub(super) fn mark_answered(&mut self, position: u32) -> bool {
        if self.ports.has_answered(position) {
            return false;
        }
        self.left -= u32::from(!self.ports.knows(position));
        self.ports.mark_answered(position);
        true
    }

    /// Notes that something on the way answered for a port.
    pub(super) fn mark_unreachable(&mut self, position: u32, reason: Reason) {
        self.left -= u32::from(!self.ports.knows(position));
        self.ports.mark_unreachable(position, reason);
    }
}

impl Target {
    pub(super) fn new(address: IpAddr, link: u16, phase: HostPhase) -> Self {
        Self {
            address,
            mac: Mac::default(),
            link,
            gateway: NO_GATEWAY,
            is_routed: false,
            phase,
            pass: 0,
            is_lined: false,
            is_held: false,
            is_sample: false,
            due: Duration::ZERO,
            step: 0,
            sent: 0,
            looks: 0,
            refused: 0,
            since: 0,
            until: 0,
            exposure: 0.0,
            heard: None,
        }
    }

    /// A target that needs nothing.
    pub(super) fn done() -> Self {
        Self::new(IpAddr::from([0; 4]), 0, HostPhase::Done)
    }

    /// Where to note what was heard, of so many TCP ports.
    pub(super) fn heard_mut(&mut self, ports: u32) -> &mut Heard {
        self.heard.get_or_insert_with(|| Box::new(Heard::new(ports)))
    }

    pub(super) fn is_up(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.up.is_some())
    }

    /// Whether nothing is left to hear.
    pub(super) fn is_complete(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.up.is_some() && heard.left == 0)
    }

    pub(super) fn knows(&self, position: u32) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.ports.knows(position))
    }

    /// Begins a pass: its probes are asked anew.
    pub(super) fn begin_pass(&mut self, pass: u8, epoch: u32) {
        (self.pass, self.sent, self.step, self.since) = (pass, 0, 0, epoch);
        (self.looks, self.refused) = (0, 0);
        self.heard.as_mut().and_then(|heard| heard.trial.as_mut()).into_iter().for_each(Trial::begin_round);
    }
}
