//! The flows that a unit has opened through routers, and their end: what has not answered in its time is closed by a reset, for
//! which whoever remembers the flow forgets it ([`super::flows`]).

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Path, SynScan, Transmit, lane};
use crate::gate::{Stage, Verdict};
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::port::Port;

/// How long a flow stays open at least: until the same SYN may have gone once more, and its answer have come.
const OPEN_MIN: Duration = Duration::from_millis(1200);
/// Flows, resets and answers that a unit remembers, each under 64 bytes; what is beyond them is left to be forgotten by whoever
/// knows it. A path that takes so many is not watched any more.
const REMEMBERED_MAX: usize = 65_536;

/// A flow that is open, until its probe was answered.
#[derive(Debug, Clone, Copy)]
struct OpenFlow {
    due: Duration,
    index: u64,
    address: IpAddr,
    probe: Probe,
    pass: u8,
    link: u16,
    mac: Mac,
}

/// The open flows of a unit, the oldest first; it takes them off its path when it ends.
#[derive(Debug)]
pub(super) struct OpenFlows {
    path: Path,
    open: VecDeque<OpenFlow>,
    /// Probes that were answered while flows were open: theirs are over.
    answered: HashSet<(IpAddr, Probe)>,
    /// Resets that are to be sent.
    resets: VecDeque<Transmit>,
}

impl OpenFlows {
    pub(super) fn new(path: Path) -> Self {
        Self { path, open: VecDeque::new(), answered: HashSet::new(), resets: VecDeque::new() }
    }

    /// How many resets are to be sent.
    pub(super) fn resets(&self) -> usize {
        self.resets.len()
    }

    /// A probe was answered, so nothing is left to be ended.
    pub(super) fn answered(&mut self, address: IpAddr, probe: Probe) {
        if !self.open.is_empty() && self.answered.len() < REMEMBERED_MAX {
            self.answered.insert((address, probe));
        }
    }

    /// Takes out the oldest flow, if its time is over by `now`.
    fn pop(&mut self, now: Duration) -> Option<OpenFlow> {
        let is_due = self.open.front().is_some_and(|flow| flow.due <= now);
        let flow = if is_due { self.open.pop_front() } else { None };
        flow.iter().for_each(|_| self.path.close_flow());
        flow
    }
}

impl Drop for OpenFlows {
    fn drop(&mut self) {
        self.open.iter().for_each(|_| self.path.close_flow());
    }
}

impl SynScan {
    /// Notes that a probe opens a flow through a router.
    pub(super) fn open_flow(&mut self, now: Duration, index: u64, probe: Probe) {
        if self.may_open == u32::MAX {
            return;
        }
        self.may_open = self.may_open.saturating_sub(1);
        let wait = if self.rtt.smoothed().is_none() { self.limits.wait_max } else { self.timeout() };
        let due = now + wait.max(self.limits.last_wait_min).max(OPEN_MIN);
        let Some(target) = self.target(index) else { return };
        let (address, pass, link, mac) = (target.address, target.pass, target.link, target.mac);
        if matches!(probe, Probe::Echo | Probe::Timestamp) {
            // Asked again in the same lane, it is the same flow.
            if !lane::is_repeat(pass) {
                self.path.open_query(now);
            }
        } else if self.open_flows.open.len() < REMEMBERED_MAX {
            self.path.open_flow(now);
            self.open_flows.open.push_back(OpenFlow { due, index, address, probe, pass, link, mac });
        }
    }

    /// Ends the flows whose time is over, and all of them once there is nothing left that could be answered.
    pub(super) fn end_flows(&mut self, now: Duration) {
        let is_over = self.targets.is_empty() && self.waiting.is_empty();
        let until = if is_over { Duration::MAX } else { now };
        while let Some(flow) = self.open_flows.pop(until) {
            if self.is_to_be_reset(&flow) {
                let OpenFlow { address, probe, pass, link, mac, .. } = flow;
                let lane = lane::of_pass(pass);
                self.open_flows.resets.push_back(Transmit::Reset { address, probe, lane, link, mac });
            }
        }
        if self.open_flows.open.is_empty() && !self.open_flows.answered.is_empty() {
            self.open_flows.answered.clear();
        }
    }

    fn is_to_be_reset(&mut self, flow: &OpenFlow) -> bool {
        let is_answered = self.open_flows.answered.contains(&(flow.address, flow.probe));
        // Asked again in the same lane, it is open for as long as that takes.
        let is_repeated = !lane::is_repeat(flow.pass) && self.target(flow.index).is_some_and(|it| it.pass > flow.pass);
        !is_answered && !is_repeated && self.open_flows.resets() < REMEMBERED_MAX
    }

    /// The next reset, unless it has no slot: then it waits behind the others.
    pub(super) fn next_reset(&mut self, now: Duration) -> Option<Transmit> {
        let reset = self.open_flows.resets.pop_front()?;
        let Transmit::Reset { address, probe: Probe::Syn(port) | Probe::Ack(port), link, .. } = reset else {
            return None;
        };
        // A fragile port gets the SYN and nothing else.
        let verdict = self.gate.ask(address, Some(Port::tcp(port)), Stage::HostProbe);
        if verdict != Verdict::Allow || self.is_link_down(link) {
            return None;
        }
        if self.admit(now, address).is_err() {
            self.open_flows.resets.push_back(reset);
            return None;
        }
        Some(reset)
    }
}
