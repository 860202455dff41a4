//! Hosts whose silence may be another's doing. Where several addresses share one limit on what they say of closed ports, as those of a
//! machine or behind a router may, the answers of one use up what the others would have said.
//!
//! So once a host with a limit was met, one that has said nothing is asked again when none with a limit is being asked any more: a single
//! port, one of all such hosts at a time, at the slowest pace that was met. If it answers, its other ports are asked at that pace. A few
//! dozen hosts are; how many of them answer says how many of the rest are likely to be missed.

use std::time::Duration;

use super::UdpScan;
use super::host::{Host, Note};
use super::icmp_limit::IcmpLimit;
use super::walk::Next;
use crate::slot_map::Key;
use crate::tally::Estimates;

/// Hosts of a unit that are asked again at most: at one per second, twice, two minutes.
const HOSTS_MAX: u64 = 64;
/// How often each is.
const TRIES: u8 = 2;
/// How soon it is looked again whether hosts with a limit are still being asked.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What is known of limits, and of hosts that others' limits may have kept silent.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Hosts whose limit is being tested, or that are asked at its pace.
    limited: Vec<Key>,
    /// The slowest pace that was met.
    gap: Option<Duration>,
    /// When the next host may be asked, and when the last.
    next: Duration,
    until: Option<Duration>,
    /// Hosts that wait to be asked again, or were; those that were; and those of them that have answered.
    joined: u64,
    asked: u64,
    answered: u64,
    /// Hosts that have said anything, and those that are silent and were not asked again.
    heard: u64,
    silent: u64,
}

impl Late {
    /// A host is asked at a pace of its own.
    pub(super) fn met(&mut self, gap: Duration) {
        self.gap = self.gap.max(Some(gap));
    }

    /// A host's limit begins to be tested, or to be kept.
    pub(super) fn limited(&mut self, key: Key) {
        self.limited.push(key);
    }

    /// The limit of a host that has said a first port to be closed: to be tested, or known where it was silent for another's.
    pub(super) fn limit_of(&self, host: &Host, now: Duration) -> IcmpLimit {
        match self.gap.filter(|_| host.late.is_some()) {
            Some(gap) => IcmpLimit::at_pace(gap),
            None => IcmpLimit::begin(now),
        }
    }

    /// A host is settled.
    pub(super) fn ended(&mut self, host: &Host) {
        match (host.heard_at, host.late) {
            (Some(_), late) => {
                self.heard += 1;
                self.answered += u64::from(late.is_some());
            }
            (None, None | Some(0)) if host.up.is_none() && host.not_sent.is_none() => self.silent += 1,
            (None, _) => {}
        }
    }

    /// The estimates, with the hosts that are likely to be silent for others' limits.
    #[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 52 bits")]
    pub(super) fn lower(&self, estimates: Estimates) -> Estimates {
        if self.gap.is_none() || self.asked == 0 {
            return estimates;
        }
        let missed = self.silent as f64 * self.answered as f64 / self.asked as f64;
        let heard = self.heard.max(1) as f64;
        Estimates { recall: estimates.recall * heard / (heard + missed), ..estimates }
    }
}

impl UdpScan {
    /// A host has been asked everything: what becomes of it, where it may be silent for another's limit.
    pub(super) fn ask_late(&mut self, now: Duration, key: Key) -> Next {
        let Self { late, hosts, .. } = self;
        late.limited.retain(|other| hosts.get(*other).is_some_and(|other| !other.limit.is_unlimited()));
        let is_testing = !late.limited.is_empty();
        let Some(host) = hosts.get_mut(key).filter(|host| host.heard_at.is_none()) else { return Next::Finished };
        if self.measures.tries_wanted() < 2 || (late.gap.is_none() && !is_testing) {
            return Next::Finished;
        }
        let until = *late.until.get_or_insert(now + self.limits.paced_max);
        let tries = match host.late {
            Some(tries) => tries,
            None if late.joined < HOSTS_MAX => {
                late.joined += 1;
                *host.late.insert(0)
            }
            None => return Next::Finished,
        };
        if tries >= TRIES || now >= until {
            return Next::Finished;
        }
        if is_testing {
            return Next::Sleep(now + LOOK_AGAIN);
        }
        let Some(gap) = late.gap else { return Next::Finished };
        if now < late.next {
            return Next::Sleep(late.next);
        }
        late.next = now + gap;
        late.asked += u64::from(tries == 0);
        host.late = Some(tries + 1);
        self.port_for_late(key).map_or(Next::Finished, Next::Port)
    }

    /// The port by which a host is asked again, the most popular of those that take a single datagram.
    fn port_for_late(&self, key: Key) -> Option<u32> {
        let host = self.hosts.get(key)?;
        let silent = || self.by_popularity.iter().copied().filter(|at| matches!(host.note(*at), Note::Silent(_)));
        let is_single = |at: &u32| self.plan.port(*at).is_some_and(|port| self.requests(port.number).len() == 1);
        silent().find(is_single).or_else(|| silent().next())
    }
}
