//! One target of a raw unit: 64 bytes while it is silent, and a box once something was heard.

use std::time::Duration;

use crate::finding::Reason;
use crate::packet::arp::Mac;
use crate::session::host::Bits;

/// A target from its first probe to its last.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: u32,
    pub(super) mac: Mac,
    pub(super) link: u16,
    pub(super) stage: Stage,
    /// Which pass over its probes it is in; the number of the try in them.
    pub(super) pass: u8,
    /// Whether it stands in line.
    pub(super) is_lined: bool,
    /// When its rest ends; an earlier rest that was cut short has another end.
    pub(super) due: Duration,
    /// Steps taken through its list of probes, in this pass or, for a silent host, over all.
    pub(super) step: u32,
    /// Probes sent to a silent host in this pass, and how many there are to be.
    pub(super) sent: u32,
    pub(super) wanted: u32,
    /// The epochs in which this pass began and ended.
    pub(super) since: u32,
    pub(super) until: u32,
    /// How likely an answer has been missed in every pass before.
    pub(super) miss: f32,
    pub(super) heard: Option<Box<Heard>>,
}

/// How far a target has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its hardware address is being asked for.
    Arp,
    /// Nothing was heard of it yet.
    Silent,
    /// Each of its ports is asked.
    Ports,
    /// All is known.
    Done,
}

/// What was heard of a target.
#[derive(Debug)]
pub(super) struct Heard {
    /// How it is known to be up.
    pub(super) up: Option<Reason>,
    /// Ports that answered for themselves.
    pub(super) answered: Bits,
    /// Ports about which something on the way said that they cannot be reached.
    pub(super) unreachable: Vec<(Reason, Bits)>,
    /// Ports of which nothing was heard.
    pub(super) left: u32,
}

impl Heard {
    fn new(ports: u32) -> Self {
        Self { up: None, answered: Bits::default(), unreachable: Vec::new(), left: ports }
    }

    /// Notes that something on the way answered for a port.
    pub(super) fn mark_unreachable(&mut self, position: u32, reason: Reason) {
        self.left -= u32::from(!self.knows(position));
        if !self.unreachable.iter().any(|(known, _)| *known == reason) {
            self.unreachable.push((reason, Bits::default()));
        }
        let of_reason = self.unreachable.iter_mut().find(|(known, _)| *known == reason);
        of_reason.into_iter().for_each(|(_, ports)| ports.set(position));
    }

    /// Whether anything was heard of a port.
    pub(super) fn knows(&self, position: u32) -> bool {
        self.answered.has(position) || self.unreachable.iter().any(|(_, ports)| ports.has(position))
    }
}

impl Target {
    pub(super) fn new(address: u32, link: u16, stage: Stage, wanted: u32) -> Self {
        Self {
            address,
            mac: Mac::default(),
            link,
            stage,
            pass: 0,
            is_lined: false,
            due: Duration::ZERO,
            step: 0,
            sent: 0,
            wanted,
            since: 0,
            until: 0,
            miss: 1.0,
            heard: None,
        }
    }

    /// A target that needs nothing.
    pub(super) fn done() -> Self {
        Self::new(0, 0, Stage::Done, 0)
    }

    /// Where to note what was heard, of a port set of this size.
    pub(super) fn heard_mut(&mut self, ports: u32) -> &mut Heard {
        self.heard.get_or_insert_with(|| Box::new(Heard::new(ports)))
    }

    pub(super) fn is_up(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.up.is_some())
    }

    /// Whether nothing is left to hear.
    pub(super) fn is_complete(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.left == 0)
    }

    pub(super) fn knows(&self, position: u32) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.knows(position))
    }
}
