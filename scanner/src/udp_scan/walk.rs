//! A host's walk through its ports: which comes next, when the walk is over, and whether there is another.

use std::sync::Arc;
use std::time::Duration;

use super::host::{Host, HostPhase, Note};
use super::icmp_limit::{Act, IcmpLimit};
use super::{UdpScan, payload};
use crate::gate::{Gate, Stage, Verdict};
use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::slot_map::Key;

/// Walks at the pace of a host's own limit, at least.
const PACED_WALKS: u8 = 2;
/// Walks of one host at most, of any kind.
const WALKS_MAX: u8 = 20;

/// What a host wants.
pub(super) enum Next {
    /// This port is asked.
    Port(u32),
    /// A port that is known to be closed is asked, to see whether the host still says so.
    Known(u32),
    /// Nothing before this time.
    Sleep(Duration),
    /// Nothing until what is out has been answered or given up.
    Idle,
    /// Nothing any more.
    Finished,
}

impl UdpScan {
    /// What a host wants now.
    pub(super) fn next_of(&mut self, now: Duration, key: Key) -> Next {
        let (wait, tries) = (self.wait_for_known(key), self.measures.tries_wanted());
        let Some(host) = self.hosts.get_mut(key) else { return Next::Idle };
        if host.phase == HostPhase::Refused {
            return if host.pending == 0 { Next::Finished } else { Next::Idle };
        }
        if now < host.next_at && host.limit.gap().is_some() {
            return Next::Sleep(host.next_at);
        }
        match host.limit.act(now, wait, host.closed) {
            Act::Ask => return host.known_closed.map_or(Next::Finished, Next::Known),
            Act::Wait(until) => return Next::Sleep(until),
            Act::Fallen => return if host.pending == 0 { Next::Finished } else { Next::Idle },
            Act::Again(positions) => {
                for position in positions {
                    if matches!(host.note(position), Note::Silent(_)) {
                        host.set_note(position, Note::Silent(host.round - 1));
                    }
                }
                host.step = 0;
            }
            Act::GoOn => {}
        }
        if let Some(gap) = host.limit.gap() {
            self.late.met(gap);
            let until = *host.paced_until.get_or_insert(now + self.limits.paced_max);
            if now >= until {
                return if host.pending == 0 { Next::Finished } else { Next::Idle };
            }
        }
        match next_port((&self.plan, &self.gate), &self.by_popularity, host) {
            Some(position) => Next::Port(position),
            None if host.pending > 0 => Next::Idle,
            None => self.next_round(now, key, tries),
        }
    }

    /// A walk has ended and everything of it is answered or given up.
    fn next_round(&mut self, now: Duration, key: Key, tries: u8) -> Next {
        self.end_first_walk(key);
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.has_silent()) else { return Next::Finished };
        if tries > 1 && host.limit == IcmpLimit::Unknown && host.known_closed.is_some() {
            host.limit = self.late.limit_of(host, now);
            host.tested_round = host.round;
            self.late.limited(key);
        } else {
            let is_paced = host.limit.gap().is_some();
            // At the host's own pace each port is asked twice at least, and until that finds no closed one any more.
            let tries = if is_paced { tries.max(host.tested_round + PACED_WALKS) } else { tries };
            let is_news = is_paced && host.round > host.tested_round && host.closed > host.closed_before;
            if (host.round >= tries && !is_news) || host.round >= WALKS_MAX {
                return self.ask_late(now, key);
            }
            if is_news && host.round > host.tested_round + 1 {
                host.limit.slow_down();
            }
            host.closed_before = host.closed;
            host.round += 1;
            host.step = 0;
        }
        self.rouse(key);
        Next::Idle
    }

    /// A host has been asked all its ports, or will not be.
    pub(super) fn end_first_walk(&mut self, key: Key) {
        if let Some(host) = self.hosts.get_mut(key).filter(|host| host.is_new) {
            host.is_new = false;
            self.new_hosts -= 1;
        }
    }
}

/// The next port of a host's walk: silent ones that this walk has not asked yet. The first walk is in the host's own
/// order, those at the pace of a slow host begin with the ports that matter most.
fn next_port((plan, gate): (&Plan, &Gate), by_popularity: &[u32], host: &mut Host) -> Option<u32> {
    loop {
        let position = match host.round {
            1 => plan.port_position(host.scanned.target_index, host.step)?,
            _ => *by_popularity.get(host.step as usize)?,
        };
        host.step += 1;
        let is_wanted = match host.note(position) {
            Note::None => host.round == 1 && plan.port(position).is_some_and(|port| is_asked(gate, port.number)),
            Note::Silent(asked) => asked < host.round,
            Note::Open | Note::Closed | Note::Filtered(_) => false,
        };
        if is_wanted {
            return Some(position);
        }
    }
}

/// Whether a port may be asked what it is asked here: in its own protocol, where it may be no other.
pub(super) fn is_asked(gate: &Gate, number: u16) -> bool {
    match gate.of_port(Some(Port::udp(number)), Stage::Datagram) {
        Verdict::Allow => true,
        Verdict::OwnProtocol => payload::has_own(number),
        Verdict::SynOnly | Verdict::Deny(_) => false,
    }
}

/// The positions of a plan's ports, the most popular first.
pub(super) fn by_popularity(plan: &Plan) -> Arc<[u32]> {
    let ports = &plan.spec().ports;
    PortSet::udp_by_popularity().filter_map(|port| ports.position(port)).collect()
}
