//! How fast probes may go: a virtual schedule with one slot per probe.
//!
//! A rate of R probes per second is a schedule with a slot every 1/R seconds (the "generic cell rate algorithm" of
//! ITU-T I.371, as a virtual schedule). A probe that comes late takes its own slot as long as it is no more than
//! [`SLACK`] late; slots missed by more are gone, so that a pause is never followed by a burst. In any 100 ms that
//! lets through at most 3 % and one probe more than the rate; what a thread is held up by between its slot and its send
//! comes on top, and 5 % is the promise.
//!
//! A probe that is answered makes this machine send more: acknowledgements, resets, requests, which the kernel sends when it has
//! them. They are owed (`RateCap::owe`): no probe goes before slots were taken for them, so that packets of all kinds keep the
//! rate.
//!
//! [`RateCap`] is the part that units of a job share and that the job's owner turns live; it holds the job's caps per
//! destination network and per host as well (`pace/shares.rs`), and what its connections and datagrams have found of how
//! much the network takes (`pace/throttle.rs`) and leave behind in routers (`pace/flows.rs`): units that each judged for themselves would take one's slowing down for
//! room for the other, and the other's sending for loss that no slowing down can mend.

pub(crate) mod flows;
pub(crate) mod quota;
pub(crate) mod room;
pub(crate) mod shares;
pub(crate) mod throttle;
pub(crate) mod window;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::flows::FlowMemory;
use self::room::FlowRoom;
use self::shares::Shares;
use self::throttle::Throttle;
use crate::network::Network;

/// How late a probe may still take its slot: 3 % of the 100 ms over which a burst is judged, and more than timers of
/// an ordinary kernel are late.
pub const SLACK: Duration = Duration::from_millis(3);

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The schedule itself: pure, told the time and the rate at every call.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    /// When the next slot is; a slot in the past may still be taken while it is at most [`SLACK`] old.
    next: Duration,
}

impl Pacer {
    /// Takes up to `wanted` slots at a rate of `pps` probes per second and returns how many it got.
    ///
    /// `now` is any clock that never runs backwards. With no slot left, the error is the time of the next one. A rate
    /// changed between calls takes effect at once.
    ///
    /// # Errors
    /// The moment before which nothing may be sent.
    pub fn admit(&mut self, now: Duration, pps: u64, wanted: u32) -> Result<u32, Duration> {
        let interval = interval(pps);
        let mut next = self.next_at(now, pps);
        if now < next {
            return Err(next);
        }
        // With slots further apart than the slack, lateness would put two probes closer than the rate says.
        let slack = if interval <= SLACK { SLACK } else { Duration::ZERO };
        next = next.max(now.saturating_sub(slack));
        let free = (now - next).as_nanos() / interval.as_nanos() + 1;
        let granted = u32::try_from(free).unwrap_or(u32::MAX).min(wanted);
        self.next = next + interval * granted;
        Ok(granted)
    }

    /// Takes the next slot ahead of its time, once: the schedule runs no further ahead, so that a rate that is turned up takes effect at once.
    fn charge(&mut self, now: Duration, pps: u64) {
        self.next = self.next_at(now, pps) + interval(pps);
    }

    /// When the next slot is, which may have passed.
    fn next_at(&self, now: Duration, pps: u64) -> Duration {
        // Slots of a slower rate that was turned up lie too far ahead.
        self.next.min(now + interval(pps))
    }
}

/// The time between two slots.
fn interval(pps: u64) -> Duration {
    // Rounded up, so that no rounding adds a probe.
    Duration::from_nanos(NANOS_PER_SECOND.div_ceil(pps.max(1)))
}

/// A cap on probes per second, shared by every unit that draws on the same budget and changed while they run.
#[derive(Debug)]
pub struct RateCap {
    /// Probes per second; [`UNLIMITED`] for no cap.
    pps: AtomicU64,
    schedule: Mutex<Schedule>,
    /// Packets that were sent without a slot.
    owed: AtomicU64,
    parts: Mutex<Parts>,
    connections: Mutex<Throttle>,
    datagrams: Mutex<Throttle>,
    flows: Mutex<FlowMemory>,
    room: Mutex<FlowRoom>,
}

/// The schedules of the networks and hosts that are sent to.
#[derive(Debug, Default)]
struct Parts {
    networks: Shares<Network>,
    hosts: Shares<IpAddr>,
}

/// The schedule of all packets, and whose turn it is.
#[derive(Debug, Default)]
struct Schedule {
    pacer: Pacer,
    /// A slot that is left to who waits in line.
    left: Option<Duration>,
    /// Whether the line has had its turn, and the next one is the scan's.
    line_was_last: bool,
}

impl Schedule {
    /// Until when the scan leaves a slot that has come to who waits in line for it, who may be a little late.
    fn left_until(&mut self, now: Duration, pps: u64) -> Option<Duration> {
        let slot = self.left.filter(|slot| now >= *slot)?;
        let until = slot + (interval(pps) / 2).clamp(SLACK, LATE_MAX);
        if now >= until {
            self.left = None;
        }
        self.left.map(|_| until)
    }
}

const UNLIMITED: u64 = u64::MAX;
/// How late who waits in line may be for a slot that is left for it.
const LATE_MAX: Duration = Duration::from_millis(20);

impl RateCap {
    /// A cap of `pps` probes per second, or none. A cap of 0 stops all sending until it is changed.
    #[must_use]
    pub fn new(pps: Option<u64>) -> Self {
        Self {
            pps: AtomicU64::new(pps.unwrap_or(UNLIMITED)),
            schedule: Mutex::default(),
            owed: AtomicU64::new(0),
            parts: Mutex::default(),
            connections: Mutex::default(),
            datagrams: Mutex::default(),
            flows: Mutex::default(),
            room: Mutex::default(),
        }
    }

    /// Changes the cap; the next probe already obeys it.
    pub fn set(&self, pps: Option<u64>) {
        self.pps.store(pps.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    /// The cap in probes per second, or `None` when there is none.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        Some(self.pps.load(Ordering::Relaxed)).filter(|pps| *pps != UNLIMITED)
    }

    /// Takes up to `wanted` slots at the lower of the cap and `also`, another limit of the one who asks.
    ///
    /// # Errors
    /// The moment before which nothing may be sent; while the cap is 0, a moment at which to look again.
    pub fn admit(&self, now: Duration, also: Option<u64>, wanted: u32) -> Result<u32, Duration> {
        let Some((pps, mut schedule)) = self.paid(now, also)? else { return Ok(wanted) };
        if let Some(until) = schedule.left_until(now, pps) {
            return Err(until);
        }
        let granted = schedule.pacer.admit(now, pps, wanted)?;
        schedule.line_was_last = false;
        Ok(granted)
    }

    /// Takes a slot for who is the first in a line of its own beside the scan. Who sends thousands would always be there before one
    /// that waits for its timer: so of two slots that both want each gets one.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(crate) fn admit_in_turn(&self, now: Duration, also: Option<u64>) -> Result<(), Duration> {
        let Some((pps, mut schedule)) = self.paid(now, also)? else { return Ok(()) };
        let slot = schedule.pacer.admit(now, pps, 1).map(drop);
        schedule.left = slot.err().filter(|_| !schedule.line_was_last);
        schedule.line_was_last |= slot.is_ok();
        slot
    }

    /// Pays what is owed, as far as there are slots.
    ///
    /// # Errors
    /// The moment of the next slot, while something is still owed.
    pub(crate) fn pay(&self, now: Duration, also: Option<u64>) -> Result<(), Duration> {
        self.paid(now, also).map(drop)
    }

    /// The schedule and its rate once nothing is owed; `None` without a cap.
    fn paid(&self, now: Duration, also: Option<u64>) -> Result<Option<(u64, MutexGuard<'_, Schedule>)>, Duration> {
        let pps = self.pps.load(Ordering::Relaxed).min(also.unwrap_or(UNLIMITED));
        match pps {
            UNLIMITED => {
                self.owed.store(0, Ordering::Relaxed);
                Ok(None)
            }
            0 => Err(now + Duration::from_millis(20)),
            _ => {
                let mut schedule = locked(&self.schedule);
                while let owed @ 1.. = self.owed.load(Ordering::Relaxed) {
                    let paid = schedule.pacer.admit(now, pps, u32::try_from(owed).unwrap_or(u32::MAX))?;
                    // Somebody may have taken the cap away meanwhile, and all that was owed with it.
                    let less = |owed: u64| Some(owed.saturating_sub(paid.into()));
                    let _before = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                }
                Ok(Some((pps, schedule)))
            }
        }
    }

    /// Notes packets that are sent beside probes: those that follow wait until slots were taken for them.
    pub(crate) fn owe(&self, packets: u32) {
        if self.pps.load(Ordering::Relaxed) != UNLIMITED {
            self.owed.fetch_add(packets.into(), Ordering::Relaxed);
        }
    }

    /// Takes a slot for a probe that goes in any case: those that follow wait for it.
    pub(crate) fn charge(&self, now: Duration, also: Option<u64>) {
        match self.pps.load(Ordering::Relaxed).min(also.unwrap_or(UNLIMITED)) {
            UNLIMITED | 0 => {}
            pps => locked(&self.schedule).pacer.charge(now, pps),
        }
    }

    /// Takes a slot of an address under a cap for its network (an IPv4 /24, an IPv6 /64) and one for itself, for all that
    /// share this budget; both or none. Take the slot of [`Self::admit`] beside it.
    ///
    /// # Errors
    /// Which of the two has no slot, and until when.
    pub fn admit_to(
        &self,
        now: Duration,
        address: IpAddr,
        network_pps: Option<u64>,
        host_pps: Option<u64>,
    ) -> Result<(), Denied> {
        if network_pps.is_none() && host_pps.is_none() {
            return Ok(());
        }
        let mut parts = locked(&self.parts);
        if let Some(pps) = host_pps {
            let next = parts.hosts.next(now, address, pps);
            if next > now {
                return Err(Denied::Host { until: next });
            }
        }
        if let Some(pps) = network_pps {
            parts.networks.admit(now, Network::of(address), pps).map_err(|until| Denied::Network { until })?;
        }
        host_pps.map_or(Ok(()), |pps| parts.hosts.admit(now, address, pps)).map_err(|until| Denied::Host { until })
    }

    /// Takes the slots that [`Self::admit_to`] would give, for a probe that is held to these rates in another way.
    pub(crate) fn charge_to(&self, now: Duration, address: IpAddr, network_pps: Option<u64>, host_pps: Option<u64>) {
        if network_pps.is_none() && host_pps.is_none() {
            return;
        }
        let mut parts = locked(&self.parts);
        if let Some(pps) = network_pps {
            parts.networks.charge(now, Network::of(address), pps);
        }
        if let Some(pps) = host_pps {
            parts.hosts.charge(now, address, pps);
        }
    }

    /// What the job's connections have found of the network.
    pub(crate) fn connections(&self) -> MutexGuard<'_, Throttle> {
        locked(&self.connections)
    }

    /// The flows that its connections and datagrams leave behind in routers.
    pub(crate) fn flows(&self) -> MutexGuard<'_, FlowMemory> {
        locked(&self.flows)
    }

    /// Whether those still have room for the flows of its connections.
    pub(crate) fn room(&self) -> MutexGuard<'_, FlowRoom> {
        locked(&self.room)
    }

    /// The same of its datagrams.
    pub(crate) fn datagrams(&self) -> MutexGuard<'_, Throttle> {
        locked(&self.datagrams)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock means that a thread died between two additions; a schedule is still one, and figures are figures.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an address may not be sent to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Its network has no slot before a moment.
    Network {
        /// The moment.
        until: Duration,
    },
    /// It has none itself.
    Host {
        /// The moment.
        until: Duration,
    },
}

impl Default for RateCap {
    fn default() -> Self {
        Self::new(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    /// The times at which a sender that asks for `batch` and oversleeps by up to `late` gets to send.
    fn send(cap: &RateCap, seconds: u64, batch: u32, late: &[u64]) -> Vec<Duration> {
        let (mut now, mut sent, mut turn) = (Duration::from_secs(1), Vec::new(), 0);
        let end = now + Duration::from_secs(seconds);
        while now < end {
            match cap.admit(now, None, batch) {
                Ok(granted) => {
                    sent.extend(std::iter::repeat_n(now, granted as usize));
                    now += Duration::from_micros(1);
                }
                Err(next) => {
                    assert!(next > now);
                    now = next + Duration::from_micros(late[turn % late.len()]);
                    turn += 1;
                }
            }
        }
        sent
    }

    fn most_in(window: Duration, sent: &[Duration]) -> usize {
        let mut from = 0;
        let counts = sent.iter().enumerate().map(|(at, time)| {
            while sent[from] + window <= *time {
                from += 1;
            }
            at - from + 1
        });
        counts.max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_burst_is_above_five_percent_over_the_cap(
            pps in 1_u64..2_000_000, batch in 1_u32..64, late in proptest::collection::vec(0_u64..20_000, 1..20)
        ) {
            let sent = send(&RateCap::new(Some(pps.min(200_000))), 1, batch, &late);
            let allowed = (pps.min(200_000) * 105).div_ceil(1000).max(1);
            prop_assert!(most_in(WINDOW, &sent) as u64 <= allowed, "{} > {allowed}", most_in(WINDOW, &sent));
        }

        #[test]
        fn a_punctual_sender_gets_the_rate(pps in 1_u64..100_000, batch in 1_u32..64) {
            let sent = send(&RateCap::new(Some(pps)), 2, batch, &[100]).len() as f64;
            prop_assert!(sent >= 1.9 * pps as f64, "{sent} in 2 s at {pps}");
            prop_assert!(sent <= 2.01 * pps as f64 + 1.0, "{sent} in 2 s at {pps}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let cap = RateCap::new(Some(1000));
        assert_eq!(cap.admit(Duration::from_secs(1), None, 1), Ok(1));
        let after = Duration::from_secs(60);
        let burst = cap.admit(after, None, u32::MAX).unwrap();
        assert_eq!(burst, 4, "the slots of the last 3 ms and the present one");
        assert!(cap.admit(after, None, 1).is_err());
    }

    #[test]
    fn a_cap_is_turned_live_in_both_directions() {
        let cap = RateCap::new(Some(1));
        let mut now = Duration::from_secs(1);
        assert_eq!(cap.admit(now, None, 9), Ok(1));
        assert_eq!(cap.admit(now, None, 9), Err(now + Duration::from_secs(1)));
        cap.set(Some(1000));
        assert_eq!(cap.admit(now, None, 9), Err(now + Duration::from_millis(1)), "no wait for the slow slot");
        cap.set(Some(0));
        now += Duration::from_secs(5);
        assert!(cap.admit(now, None, 1).is_err());
        cap.set(None);
        assert_eq!(cap.admit(now, None, 7), Ok(7));
        assert_eq!(cap.get(), None);
    }

    #[test]
    fn packets_that_went_beside_probes_are_paid_before_the_next_probe() {
        let cap = RateCap::new(Some(100));
        let mut now = Duration::from_secs(1);
        assert_eq!(cap.admit(now, None, 1), Ok(1));
        cap.owe(30);
        let mut probes = 0;
        while now < Duration::from_secs(2) {
            match cap.admit(now, None, 9) {
                Ok(granted) => probes += granted,
                Err(next) => now = next,
            }
        }
        assert!((68..=70).contains(&probes), "{probes} of 100 slots, of which 30 are paid");
        cap.set(None);
        cap.owe(30);
        assert_eq!(cap.admit(now, None, 9), Ok(9), "without a cap nothing is owed");
    }

    #[test]
    fn of_slots_that_the_scan_and_the_line_both_want_each_gets_every_other_one_and_none_is_lost() {
        let (cap, ms) = (RateCap::new(Some(20)), Duration::from_millis);
        let (mut now, mut scan, mut line) = (ms(1000), 0, 0);
        let (mut scan_at, mut line_at) = (now, now);
        while now < ms(11_000) {
            if now >= scan_at {
                match cap.admit(now, None, 9) {
                    Ok(granted) => scan += granted,
                    Err(next) => scan_at = next,
                }
            }
            // Its timer is late each time.
            if now >= line_at + ms(3) {
                match cap.admit_in_turn(now, None) {
                    Ok(()) => line += 1,
                    Err(next) => line_at = next,
                }
            }
            now += Duration::from_micros(100);
        }
        assert!((90..=100).contains(&line) && (90..=100).contains(&scan) && scan + line >= 185, "{scan} and {line}");
        // One that has gone away takes none with it for long.
        scan_at = now;
        while now < ms(21_000) {
            match cap.admit(now, None, 9) {
                Ok(granted) => scan += granted,
                Err(next) => now = next.max(now + Duration::from_micros(100)),
            }
        }
        assert!((280..=301).contains(&scan), "{scan}, and {scan_at:?}");
    }

    #[test]
    fn the_lower_of_two_limits_holds() {
        let cap = RateCap::new(Some(1000));
        let now = Duration::from_secs(1);
        assert_eq!(cap.admit(now, Some(10), 99), Ok(1));
        assert_eq!(cap.admit(now, Some(10), 99), Err(now + Duration::from_millis(100)));
    }
}
