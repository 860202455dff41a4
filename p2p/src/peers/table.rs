//! Whom to dial when, whom to take in, and when to give a connection up. Pure.
//!
//! The table takes the time as an argument and answers with [`Effect`]s, which the event loop carries out; it owns no
//! socket, task or clock.
//!
//! **Invariant:** the table's size is the number of members plus at most `pending_members_max` strangers that dialed us
//! and those that we are dialing ourselves.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LinkId, Member, PeerEvent, PeerInfo};
use crate::slots::Slots;
use crate::{Limits, PeerAddress, PeerId, Timings};

/// Connections to one peer. Two, because both sides may dial at the same moment and refusing either one could lose
/// both; a third replaces the oldest, since a peer that dials again has usually lost the others.
const LINKS_PER_PEER_MAX: usize = 2;
/// A connection that lasted this long was a good one: its end starts the back-off from the beginning.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Two connections that were made within this of each other may have been dialed by both sides at once. Longer than a packet is on its way,
/// so that no two peers give up the other's each; short, because a machine may be renumbered again soon.
const SAME_MOMENT: Duration = Duration::from_secs(2);
/// An `open` may dial ahead of the back-off, but no sooner than this after the last failure.
const EAGER_DIAL_AFTER: Duration = Duration::from_secs(1);

/// What the event loop has to do after the table changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell the application.
    Announce(PeerEvent),
    /// Dial a member at its addresses, and report the outcome.
    Dial { peer: PeerId, addresses: Vec<PeerAddress> },
    /// Close a connection; the table has forgotten it already.
    Close { peer: PeerId, link: LinkId, why: &'static str },
    /// Hold an idle connection open, or stop doing so.
    Keep { peer: PeerId, link: LinkId, keep: bool },
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("too many connections from peers that are not members")]
    PendingFull,
    #[error("too many connections from this peer, which is not a member")]
    PeerFull,
}

/// How a stream to a peer can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Over this connection.
    Link(LinkId),
    /// A dial is under way; wait for its end.
    Dialing,
    /// Not now, and why.
    None(String),
}

/// A connection whose handshake is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewLink {
    pub(crate) id: LinkId,
    pub(crate) inbound: bool,
    pub(crate) remote: Option<SocketAddr>,
}

#[derive(Debug)]
struct Membership {
    addresses: Vec<PeerAddress>,
    keep: bool,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    inbound: bool,
    remote: Option<SocketAddr>,
    since: Instant,
    heard: Instant,
}

#[derive(Debug, Default)]
struct Entry {
    membership: Option<Membership>,
    /// Oldest first.
    links: Vec<Link>,
    rtt: Option<Duration>,
    heard: Option<Instant>,
    dialing: bool,
    /// When the back-off allows the next dial. Timers for any other time are leftovers.
    dial_at: Option<Instant>,
    failures: u32,
    failed_at: Option<Instant>,
    last_error: Option<String>,
    slots: Arc<Slots>,
}

/// What is due at some time. Entries are checked when they come up, never searched for and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Dial(PeerId),
    Link(PeerId, LinkId),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct PeerTable {
    me: PeerId,
    limits: Limits,
    timings: Timings,
    entries: HashMap<PeerId, Entry>,
    timers: BTreeSet<(Instant, Timer)>,
    effects: Vec<Effect>,
    random: u64,
}

impl PeerTable {
    /// An empty table: nobody is a member. `seed` drives the jitter of the back-off.
    pub(crate) fn new(me: PeerId, limits: Limits, timings: Timings, seed: u64) -> Self {
        Self {
            me,
            limits,
            timings,
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            effects: Vec::new(),
            random: seed,
        }
    }

    /// Replaces the member list. New members to keep are dialed, removed ones are disconnected.
    pub(crate) fn set_members(&mut self, now: Instant, members: Vec<Member>) {
        let mut listed = HashSet::with_capacity(members.len());
        for member in members {
            if member.peer_id != self.me && listed.insert(member.peer_id) {
                self.set_member(now, member);
            }
        }
        let mut removed: Vec<PeerId> = self
            .entries
            .iter()
            .filter(|(peer, entry)| entry.membership.is_some() && !listed.contains(*peer))
            .map(|(peer, _)| *peer)
            .collect();
        removed.sort_unstable();
        for peer in removed {
            self.remove_member(peer);
        }
    }

    fn set_member(&mut self, now: Instant, member: Member) {
        let peer = member.peer_id;
        let entry = self.entries.entry(peer).or_default();
        let before = entry.membership.replace(Membership { addresses: member.addresses, keep: member.keep_connected });
        let after = entry.membership.as_ref().expect("it was set on the line above");
        if before.is_none() && !entry.links.is_empty() {
            self.effects.push(Effect::Announce(PeerEvent::Up { peer, rtt: entry.rtt }));
        }
        if before.as_ref().is_none_or(|before| before.keep != after.keep) {
            for link in &entry.links {
                let keep = after.keep || link.inbound;
                self.effects.push(Effect::Keep { peer, link: link.id, keep });
            }
        }
        let moved = before.is_none_or(|before| before.addresses != after.addresses || !before.keep);
        if after.keep && moved {
            // A new address has not failed yet.
            entry.failures = 0;
            entry.dial_at = Some(now);
            self.timers.insert((now, Timer::Dial(peer)));
        }
    }

    fn remove_member(&mut self, peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        entry.membership = None;
        if !entry.links.is_empty() {
            self.effects.push(Effect::Announce(PeerEvent::Down { peer, hung_up: false }));
        }
        for link in entry.links.drain(..) {
            self.effects.push(Effect::Close { peer, link: link.id, why: "the peer is no longer a member" });
        }
        if !entry.dialing {
            self.entries.remove(&peer);
        }
    }

    /// Whether the peer is in the member list.
    pub(crate) fn is_member(&self, peer: PeerId) -> bool {
        self.entries.get(&peer).is_some_and(|entry| entry.membership.is_some())
    }

    /// Whether there is a connection to the peer.
    pub(crate) fn is_connected(&self, peer: PeerId) -> bool {
        self.entries.get(&peer).is_some_and(|entry| !entry.links.is_empty())
    }

    /// The counters of a connected or listed peer's inbound streams.
    pub(crate) fn slots(&self, peer: PeerId) -> Option<Arc<Slots>> {
        self.entries.get(&peer).map(|entry| Arc::clone(&entry.slots))
    }

    /// Takes up a connection whose handshake is done, or refuses it.
    pub(crate) fn connected(&mut self, now: Instant, peer: PeerId, new: NewLink) -> Result<(), NotAdmitted> {
        let NewLink { id: link, inbound, remote } = new;
        let member = self.is_member(peer);
        if !member && inbound {
            self.admit_stranger(peer)?;
        }
        let entry = self.entries.entry(peer).or_default();
        let first = entry.links.is_empty();
        entry.links.push(Link { id: link, inbound, remote, since: now, heard: now });
        entry.heard = Some(now);
        entry.last_error = None;
        let deadline = now
            + if member {
                self.timings.silence_max
            } else {
                self.timings.pending_member_ttl.min(self.timings.silence_max)
            };
        self.timers.insert((deadline, Timer::Link(peer, link)));
        if let Some(membership) = &entry.membership {
            // Who dials decides: a node that only dials out is held by us even when we would not dial it.
            self.effects.push(Effect::Keep { peer, link, keep: membership.keep || inbound });
            if first {
                self.effects.push(Effect::Announce(PeerEvent::Up { peer, rtt: None }));
            }
        }
        if inbound {
            let is_lost = |old: &Link| old.is_lost_to(now, remote);
            for old in entry.links.extract_if(.., |old| old.id != link && is_lost(old)) {
                self.effects.push(Effect::Close { peer, link: old.id, why: "its peer dialed again from elsewhere" });
            }
        }
        if entry.links.len() > LINKS_PER_PEER_MAX {
            let oldest = entry.links.remove(0);
            self.effects.push(Effect::Close { peer, link: oldest.id, why: "a newer connection replaced it" });
        }
        Ok(())
    }

    fn admit_stranger(&self, peer: PeerId) -> Result<(), NotAdmitted> {
        if self.entries.get(&peer).is_some_and(|entry| entry.links.len() >= LINKS_PER_PEER_MAX) {
            return Err(NotAdmitted::PeerFull);
        }
        // Counting walks every entry; it happens once per connection of a stranger, and strangers are rare.
        let strangers = self.entries.values().filter(|entry| entry.membership.is_none());
        let pending = strangers.flat_map(|entry| &entry.links).filter(|link| link.inbound).count();
        if pending >= self.limits.pending_members_max { Err(NotAdmitted::PendingFull) } else { Ok(()) }
    }

    /// A connection has ended, by its other side or not. Unknown ones were closed by the table itself.
    pub(crate) fn disconnected(&mut self, now: Instant, peer: PeerId, link: LinkId, hung_up: bool) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let Some(position) = entry.links.iter().position(|known| known.id == link) else { return };
        let ended = entry.links.remove(position);
        if !entry.links.is_empty() {
            return;
        }
        let Some(membership) = &entry.membership else {
            if !entry.dialing {
                self.entries.remove(&peer);
            }
            return;
        };
        self.effects.push(Effect::Announce(PeerEvent::Down { peer, hung_up }));
        if now.duration_since(ended.since) >= STABLE_AFTER {
            entry.failures = 0;
        }
        if membership.keep {
            let due = entry.back_off(now, &self.timings, next_random(&mut self.random));
            self.timers.insert((due, Timer::Dial(peer)));
        }
    }

    /// A ping was answered on a connection.
    pub(crate) fn heard(&mut self, now: Instant, peer: PeerId, link: LinkId, rtt: Duration) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        if let Some(link) = entry.links.iter_mut().find(|known| known.id == link) {
            link.heard = now;
            entry.heard = Some(now);
            entry.rtt = Some(rtt);
        }
    }

    /// A dial asked for by [`Effect::Dial`] ended with a connection.
    pub(crate) fn dial_succeeded(&mut self, peer: PeerId) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.dialing = false;
            self.forget_if_unused(peer);
        }
    }

    /// A dial asked for by [`Effect::Dial`] failed.
    pub(crate) fn dial_failed(&mut self, now: Instant, peer: PeerId, reason: String) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        entry.dialing = false;
        entry.failed_at = Some(now);
        entry.last_error = Some(reason);
        if entry.membership.as_ref().is_some_and(|membership| membership.keep) && entry.links.is_empty() {
            let due = entry.back_off(now, &self.timings, next_random(&mut self.random));
            self.timers.insert((due, Timer::Dial(peer)));
        }
        self.forget_if_unused(peer);
    }

    fn forget_if_unused(&mut self, peer: PeerId) {
        let unused = |entry: &Entry| entry.membership.is_none() && entry.links.is_empty() && !entry.dialing;
        if self.entries.get(&peer).is_some_and(unused) {
            self.entries.remove(&peer);
        }
    }

    /// How to reach a peer now; starts a dial when that may help.
    pub(crate) fn route(&mut self, now: Instant, peer: PeerId) -> Route {
        let Some(entry) = self.entries.get_mut(&peer) else {
            return Route::None("it is not connected, and no address of it is known".to_owned());
        };
        // The newest connection: an older one may be the remains of a peer that has restarted since.
        if let Some(link) = entry.links.last() {
            return Route::Link(link.id);
        }
        if entry.dialing {
            return Route::Dialing;
        }
        let Some(membership) = entry.membership.as_ref().filter(|membership| !membership.addresses.is_empty()) else {
            return Route::None("it is not connected, and no address of it is known".to_owned());
        };
        if entry.failed_at.is_some_and(|failed| now.duration_since(failed) < EAGER_DIAL_AFTER) {
            let reason = entry.last_error.as_deref().unwrap_or("unknown reason");
            return Route::None(format!("the last dial failed just now ({reason})"));
        }
        entry.dialing = true;
        self.effects.push(Effect::Dial { peer, addresses: membership.addresses.clone() });
        Route::Dialing
    }

    /// Does what is due: dials, and closes connections that are silent or were never made members.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((due, timer)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Dial(peer) => self.dial_if_needed(due, peer),
                Timer::Link(peer, link) => self.check_link(now, peer, link),
            }
        }
    }

    fn dial_if_needed(&mut self, due: Instant, peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        if entry.dial_at != Some(due) {
            return;
        }
        let Some(membership) = &entry.membership else { return };
        if membership.keep && !membership.addresses.is_empty() && entry.links.is_empty() && !entry.dialing {
            entry.dialing = true;
            self.effects.push(Effect::Dial { peer, addresses: membership.addresses.clone() });
        }
    }

    fn check_link(&mut self, now: Instant, peer: PeerId, id: LinkId) {
        let Some(entry) = self.entries.get(&peer) else { return };
        let Some(link) = entry.links.iter().find(|link| link.id == id) else { return };
        let silent_at = link.heard + self.timings.silence_max;
        let expires_at = entry.membership.is_none().then(|| link.since + self.timings.pending_member_ttl);
        let deadline = expires_at.map_or(silent_at, |expires| expires.min(silent_at));
        if deadline > now {
            self.timers.insert((deadline, Timer::Link(peer, id)));
            return;
        }
        let why = if silent_at <= now { "no ping was answered" } else { "the peer did not become a member" };
        self.effects.push(Effect::Close { peer, link: id, why });
        self.disconnected(now, peer, id, false);
    }

    /// When [`PeerTable::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Hands over what has to be done since the last call, in order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Every member and every connected stranger, in the order of their ids.
    pub(crate) fn snapshot(&self, now: Instant) -> Vec<PeerInfo> {
        let mut peers: Vec<PeerInfo> = self.entries.iter().map(|(peer, entry)| entry.describe(*peer, now)).collect();
        peers.sort_unstable_by_key(|info| info.peer);
        peers
    }

    /// One member or connected stranger.
    pub(crate) fn peer(&self, peer: PeerId, now: Instant) -> Option<PeerInfo> {
        self.entries.get(&peer).map(|entry| entry.describe(peer, now))
    }
}

impl Link {
    /// Whether the peer, which has just dialed from `remote`, has this one no more. Nobody dials a peer to which it has a connection,
    /// unless both dial at the same moment, or it looks for a leader. One that was renumbered cannot end the ones that it had: what is sent on
    /// them would wait for an answer until they have been silent for long enough.
    fn is_lost_to(&self, now: Instant, remote: Option<SocketAddr>) -> bool {
        let ip = |address: SocketAddr| address.ip().to_canonical();
        let is_elsewhere = self.remote.zip(remote).is_some_and(|(before, now)| ip(before) != ip(now));
        is_elsewhere && now.duration_since(self.since) >= SAME_MOMENT
    }
}

impl Entry {
    /// Counts a failure and gives the time of the next dial.
    fn back_off(&mut self, now: Instant, timings: &Timings, random: u64) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let due = now + timings.redial.delay(self.failures, random);
        self.dial_at = Some(due);
        due
    }

    fn describe(&self, peer: PeerId, now: Instant) -> PeerInfo {
        PeerInfo {
            peer,
            member: self.membership.is_some(),
            connected: !self.links.is_empty(),
            keep_connected: self.membership.as_ref().is_some_and(|membership| membership.keep),
            rtt: self.rtt,
            addresses: self.membership.as_ref().map(|membership| membership.addresses.clone()).unwrap_or_default(),
            remote: self.links.last().and_then(|link| link.remote),
            last_contact: self.heard.map(|heard| now.duration_since(heard)),
            last_error: self.last_error.clone(),
        }
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). Jitter needs
/// spread and repeatability, not secrecy.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
#[path = "table_test.rs"]
mod table_test;
