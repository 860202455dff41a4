//! The receiving thread: reads answers from the rings, keeps those whose cookie is right, and passes them on.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::ring::Ring;
use super::{PORTS, PORTS_PER_SLOT, drop_side_by_side, stamp_at};
use crate::io::bell::Bell;
use crate::io::clock;
use crate::io::engine_thread::ThreadState;
use crate::packet::answer;
use crate::packet::cookie::STAMPS;
use crate::packet::probe::Keys;
use crate::syn_scan::{Reply, lane};

/// An answer, and the slot of the unit that it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routed {
    pub(super) slot: u8,
    pub(super) reply: Reply,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) rings: Vec<Ring>,
    pub(super) keys: Keys,
    pub(super) port_first: u16,
    pub(super) replies: SyncSender<Vec<Routed>>,
    /// The sending thread: it ends together with this one, and is woken for answers.
    pub(super) sender: Arc<ThreadState>,
    /// Rung once, at the end.
    pub(super) end_bell: Arc<Bell>,
}

impl Receiver {
    pub(super) fn run(mut self) {
        while !self.sender.is_stopped() && self.receive() {}
        drop_side_by_side(self.rings);
    }

    /// Passes on what arrives; false when nobody takes it any more.
    fn receive(&mut self) -> bool {
        let Self { rings, keys, port_first, replies, sender, end_bell } = self;
        Ring::wait(rings, end_bell.as_fd(), 100);
        for ring in rings {
            let mut batch = Vec::new();
            while ring.read_block(|packet| batch.extend(read(packet, keys, *port_first))) {
                if !batch.is_empty() && replies.send(std::mem::take(&mut batch)).is_err() {
                    return false;
                }
                sender.bell().ring();
            }
        }
        true
    }
}

/// What a packet says, if it answers a probe of ours.
fn read(packet: &[u8], keys: &Keys, port_first: u16) -> Option<Routed> {
    let answer = answer::parse(packet)?;
    let lane = answer.lane.checked_sub(port_first).filter(|lane| *lane < PORTS)?;
    let (answer, stamp) = answer.prove(keys)?;
    let now = clock::now();
    let slot = u8::try_from(lane / PORTS_PER_SLOT).ok()?;
    let lane = u8::try_from(lane % PORTS_PER_SLOT).ok()?;
    let is_stamped = lane::is_stamped(answer.probe, lane);
    if !is_stamped && stamp != 0 {
        return None;
    }
    let age = Duration::from_millis((stamp_at(now).wrapping_sub(stamp) % STAMPS).into());
    let reply = Reply {
        address: answer.address,
        probe: answer.probe,
        lane,
        sent_at: is_stamped.then(|| now.saturating_sub(age)),
        state: answer.state,
        reason: answer.reason,
        ttl: answer.ttl,
        is_own_word: answer.is_own_word,
        stack: answer.stack,
    };
    Some(Routed { slot, reply })
}
