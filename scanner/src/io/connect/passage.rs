//! Whether the gateways of a unit still pass anything on.
//!
//! When a gateway dies its hosts fall silent at once, and the kernel, which had its hardware address confirmed a moment ago, finds out
//! up to a minute later: meanwhile silence looks like a filter's. So where much was sent through a gateway and nothing is heard from
//! behind it for a while, some ports there that have answered are asked again, each at another host, and again, and the unit does
//! nothing else until one answers, or the kernel knows ([`crate::io::reach`]), or neither happens for longer than that takes. It
//! may also be a device whose table of flows is full, which no new connection gets through until old ones are forgotten: then
//! a rest is what it needs. Units know from each other what has answered, so that one that begins too late to hear anything asks as
//! well. Where nothing has ever answered, or one host alone, silence is left to the kernel's tables.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::Socket;

use super::socket::{self, Verdict};
use crate::connect_scan::ConnectScan;
use crate::io::reach::Gateways;
use crate::network::Network;
use crate::occupancy::Place;
use crate::target::of_socket;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A gateway is doubted when nothing was heard from behind it for so long, and two round trips, after so many probes.
const SILENT_MIN: Duration = Duration::from_millis(600);
const SENT_MIN: u32 = 8;
/// Hosts behind it that are asked again, and the fewest that say something.
const ASKED_MAX: usize = 4;
const ASKED_MIN: usize = 2;
/// How long they may take before others are asked: a second until the kernel repeats its SYN, and a long round trip.
const ANSWER_WAIT: Duration = Duration::from_millis(2500);
/// How long a gateway is doubted: the kernel believes in one for 45 s after its last answer, waits for 5 s, asks three times, and is
/// believed itself when it has said so for some seconds.
const DOUBT_MAX: Duration = Duration::from_secs(70);
/// Networks whose gateway is remembered; that of others is looked up each time.
const REMEMBERED_MAX: usize = 65_536;

/// Gateways of which units remember together what has answered behind them.
const GATEWAYS_MAX: usize = 1024;

/// An interface, and the gateway on it.
type Gateway = (u32, IpAddr);

/// Ports that have answered behind each gateway, each of another host, for the units to come.
#[derive(Debug, Default)]
pub(super) struct Answering(Mutex<HashMap<Gateway, Vec<SocketAddr>>>);

impl Answering {
    fn of(&self, gateway: Gateway) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&gateway).cloned().unwrap_or_default()
    }

    /// Remembers a port in place of the oldest.
    fn add(&self, gateway: Gateway, from: SocketAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= GATEWAYS_MAX && !all.contains_key(&gateway) {
            return;
        }
        let known = all.entry(gateway).or_default();
        known.retain(|known| known.ip() != from.ip());
        if known.len() >= ASKED_MAX {
            known.remove(0);
        }
        known.push(from);
    }
}

/// The gateways that a unit's probes go through.
#[derive(Debug)]
pub(super) struct Passages {
    answering: Arc<Answering>,
    gateways: Option<Gateways>,
    by_network: HashMap<Network, Option<usize>>,
    known: Vec<Passage>,
    looked_at: Duration,
}

/// One gateway.
#[derive(Debug)]
struct Passage {
    gateway: Gateway,
    heard_at: Option<Duration>,
    sent_since: u32,
    /// Ports that have answered to this unit, each of another host, and to earlier ones.
    answering: Vec<SocketAddr>,
    earlier: Vec<SocketAddr>,
    asked: Vec<(Socket, SocketAddr, Place)>,
    asked_at: Duration,
    /// How often it was asked.
    turn: usize,
    /// Since when it is doubted.
    doubted_since: Option<Duration>,
}

impl Passages {
    /// As the kernel's routes are now.
    pub(super) fn now(answering: Arc<Answering>) -> Self {
        let (gateways, by_network, known) = (Gateways::now(), HashMap::new(), Vec::new());
        Self { answering, gateways, by_network, known, looked_at: Duration::ZERO }
    }

    /// A probe was sent.
    pub(super) fn sent(&mut self, now: Duration, to: SocketAddr) {
        let Some(passage) = self.to(of_socket(to)) else { return };
        passage.sent_since = passage.sent_since.saturating_add(1);
        // Somebody has heard of it, so it was there.
        if passage.heard_at.is_none() && !passage.earlier.is_empty() {
            passage.heard_at = Some(now);
        }
    }

    /// A host has answered for itself.
    pub(super) fn heard(&mut self, now: Duration, from: SocketAddr) {
        let Some(passage) = self.to(of_socket(from)) else { return };
        passage.is_heard(now);
        let is_known = passage.answering.iter().any(|known| known.ip() == from.ip());
        if !is_known && passage.answering.len() < ASKED_MAX {
            passage.answering.push(from);
            let gateway = passage.gateway;
            self.answering.add(gateway, from);
        }
    }

    /// Whether a gateway is doubted, so that nothing may be decided.
    pub(super) fn is_doubted(&self) -> bool {
        self.known.iter().any(|passage| passage.doubted_since.is_some())
    }

    /// The kernel knows what is lost: nothing is waited for any more.
    pub(super) fn end_doubt(&mut self, now: Duration) {
        self.known.iter_mut().for_each(|passage| passage.end_doubt(now));
    }

    /// A link that was lost is back: of what was silent meanwhile no gateway is to blame.
    pub(super) fn begin_anew(&mut self, now: Duration) {
        self.known.iter_mut().filter(|passage| passage.heard_at.is_some()).for_each(|passage| passage.is_heard(now));
    }

    /// Looks, if it is time.
    pub(super) fn look(&mut self, now: Duration, scan: &mut ConnectScan) {
        if self.gateways.is_none() || now < self.looked_at + LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let silent_min = SILENT_MIN + 2 * scan.round_trip();
        self.known.iter_mut().for_each(|passage| passage.look(now, silent_min, scan));
    }

    /// The gateway that leads to an address, if one does.
    fn to(&mut self, address: IpAddr) -> Option<&mut Passage> {
        let (gateways, known, answering) = (self.gateways.as_ref()?, &mut self.known, &self.answering);
        let mut find = || {
            let gateway = gateways.to(address)?;
            let at = known.iter().position(|passage| passage.gateway == gateway);
            Some(at.unwrap_or_else(|| {
                known.push(Passage::through(gateway, answering.of(gateway)));
                known.len() - 1
            }))
        };
        // Routes within a /24, or a /64, are looked up as if they were one: mostly they are.
        let network = Network::of(address);
        let at = match self.by_network.get(&network) {
            Some(at) => *at,
            None => {
                let found = find();
                if self.by_network.len() < REMEMBERED_MAX {
                    self.by_network.insert(network, found);
                }
                found
            }
        };
        self.known.get_mut(at?)
    }
}

impl Passage {
    fn through(gateway: Gateway, earlier: Vec<SocketAddr>) -> Self {
        let (answering, asked, asked_at, turn) = (Vec::new(), Vec::new(), Duration::ZERO, 0);
        Self { gateway, heard_at: None, sent_since: 0, answering, earlier, asked, asked_at, turn, doubted_since: None }
    }

    fn is_heard(&mut self, now: Duration) {
        self.heard_at = Some(now);
        (self.sent_since, self.doubted_since) = (0, None);
        self.asked.drain(..).for_each(|(socket, _, _place)| socket::reset(socket));
    }

    /// Goes on as if it had been heard: what is silent then is judged as ever.
    fn end_doubt(&mut self, now: Duration) {
        if self.doubted_since.is_some() {
            self.is_heard(now);
        }
    }

    fn look(&mut self, now: Duration, silent_min: Duration, scan: &mut ConnectScan) {
        if !self.asked.is_empty() {
            let has_answered = self.asked.iter().any(|(socket, to, _)| is_answered(socket, *to));
            if has_answered {
                self.is_heard(now);
            } else if now > self.asked_at + ANSWER_WAIT {
                self.asked.clear();
            }
            return;
        }
        if self.doubted_since.is_some_and(|since| now > since + DOUBT_MAX) {
            self.end_doubt(now);
            // Not again before something is heard: they may all have gone home.
            self.heard_at = None;
            self.earlier.clear();
            return;
        }
        let is_silent = self.heard_at.is_some_and(|heard_at| now > heard_at + silent_min);
        if !is_silent || self.sent_since < SENT_MIN {
            return;
        }
        let may_ask = |to: &&SocketAddr| scan.is_target(of_socket(**to));
        let mut candidates = self.answering.clone();
        candidates.extend(self.earlier.iter().filter(may_ask).filter(|to| !self.answering.contains(to)));
        if candidates.len() < ASKED_MIN {
            return;
        }
        // Another one first each time.
        let first = self.turn % candidates.len();
        candidates.rotate_left(first);
        let begun = candidates.iter().take(ASKED_MAX).filter_map(|to| {
            let place = scan.admit_again(now, *to)?;
            let socket = socket::open(*to).ok()?;
            socket::begin(&socket, *to).ok()?;
            Some((socket, *to, place))
        });
        self.asked = begun.collect();
        // A low rate may have a slot for one of them, or none now.
        if !self.asked.is_empty() {
            (self.asked_at, self.turn) = (now, self.turn.wrapping_add(1));
            self.doubted_since.get_or_insert(now);
        }
    }
}

/// Whether a port that was asked again has answered, whatever it said.
fn is_answered(socket: &Socket, to: SocketAddr) -> bool {
    matches!(socket::verdict(socket, to, 1), Verdict::Answer(answer) | Verdict::Refused(answer) if answer.is_own_word)
}
