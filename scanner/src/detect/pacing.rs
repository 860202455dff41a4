//! How the connections of a job begin, whichever of its units they are for: in order, at the job's pace, and no faster than the path lets them through.
//!
//! Behind a firewall under strain, thousands of connections at once mostly lose each other. What the path loses anyhow is
//! known from the scan; where clearly more first SYNs get lost than that, ports are begun more slowly, and faster again
//! while all is well: multiplicative in both directions, judged by rounds of a quarter of a second.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::io::clock;
use crate::pace::{Denied, Pacer, RateCap};

/// A connection that has not come about after so many round trips, or after the least wait, has lost its SYN or the answer:
/// the port has just answered one.
const LATE_ROUND_TRIPS: u32 = 4;
pub(super) const LATE_LEAST: Duration = Duration::from_millis(200);
/// From here on the kernel repeats a SYN by itself.
pub(super) const KERNEL_REPEATS: Duration = Duration::from_secs(1);
/// Ports begun per second: at first, at least, at most.
const RATE_FIRST: f64 = 2_000.0;
const RATE_LEAST: f64 = 10.0;
const RATE_MOST: f64 = 50_000.0;
/// How often is looked whether a connection still waits for a slot.
const LINE_LOOK: Duration = Duration::from_millis(2);
/// Connections that may wait for a network's or a host's slot before no further port is begun: each has a place among all of the node's, of
/// which others want some.
const CROWD_MAX: u32 = 500;
/// How long a round of connections is gathered.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds are judged together until they have so many connections.
const JUDGED_LEAST: u32 = 50;
/// Losses that are no sign of strain: so many times those by chance, and a few in a hundred more.
const LOSS_TIMES: f64 = 1.3;
const LOSS_FREE: f64 = 0.05;
/// What the rate is multiplied by after a round under strain; after a good one; after one soon after a decrease, when the
/// limit is near; and after a good one at a rate that any path takes, which was only left to others.
const DECREASE: f64 = 0.7;
const GROWTH_FAST: f64 = 1.5;
const GROWTH_SLOW: f64 = 1.1;
const GROWTH_LOW: f64 = 2.0;
const RATE_LOW: f64 = 500.0;
/// Good judgements after which growth is fast again.
const GOOD_LONG: u32 = 12;

/// What the connections of a job share.
#[derive(Debug)]
pub struct Pacing {
    /// Connections per second, shared with whatever else draws on the job's budget.
    pace: Arc<RateCap>,
    /// The same into one network and to one host.
    network_pps: Option<u64>,
    host_pps: Option<u64>,
    /// Connections per second at most, whatever the budget: that of the scan's timing.
    rate_max_pps: Option<u64>,
    /// The next slot of `pace` belongs to whoever holds this; the others stand in line, in order.
    line: tokio::sync::Mutex<()>,
    /// Those that wait for a slot of a network or a host.
    crowd: AtomicU32,
    /// The round trip of connections that came about at once, smoothed.
    smoothed_us: AtomicU32,
    throttle: Mutex<Throttle>,
}

impl Pacing {
    /// Connections that draw on `pace`, with at most `network_pps` per second into one network (an IPv4 /24, an IPv6 /64)
    /// and `host_pps` to one host.
    #[must_use]
    pub fn new(pace: Arc<RateCap>, network_pps: Option<u64>, host_pps: Option<u64>) -> Self {
        Self {
            pace,
            network_pps,
            host_pps,
            rate_max_pps: None,
            line: tokio::sync::Mutex::default(),
            crowd: AtomicU32::new(0),
            smoothed_us: AtomicU32::new(0),
            throttle: Mutex::default(),
        }
    }

    /// The same with at most so many connections per second in all.
    #[must_use]
    pub fn at_most(self, rate_max_pps: Option<u64>) -> Self {
        Self { rate_max_pps, ..self }
    }

    /// Whether it is for units under these limits that draw on this budget, which is a job's own.
    pub(crate) fn is_of(&self, pace: &Arc<RateCap>, network_pps: Option<u64>, host_pps: Option<u64>) -> bool {
        Arc::ptr_eq(&self.pace, pace) && (self.network_pps, self.host_pps) == (network_pps, host_pps)
    }

    /// Waits until another port may be begun. Under a budget that those which were begun keep busy it waits for them: of a few that
    /// are asked one after the other each is told sooner than of many at once.
    pub(super) async fn port(&self) {
        while self.crowd.load(Ordering::Relaxed) >= CROWD_MAX {
            sleep(LINE_LOOK).await;
        }
        while self.pace.get().is_some() {
            let now = clock::now();
            let next = match self.line.try_lock() {
                Ok(_nobody) => self.pace.pay(now, self.rate_max_pps).err(),
                Err(_) => Some(now + LINE_LOOK),
            };
            let Some(next) = next else { break };
            sleep(next.saturating_sub(now)).await;
        }
        loop {
            // Apart from the wait, which must not hold the lock.
            let slot = self.throttle().admit(clock::now());
            let Err(next) = slot else { return };
            sleep(next.saturating_sub(clock::now())).await;
        }
    }

    /// A scan beside has ended, which may have been what the path was full of.
    pub(super) fn scan_ended(&self) {
        self.throttle().begin_anew();
    }

    /// The share of round trips that are lost at any rate, as the scan beside has found.
    pub(super) fn set_chance_loss(&self, share: f64) {
        self.throttle().chance_loss = share;
    }

    /// Waits for the budgets to allow a connection or a datagram; false when that comes after `deadline`.
    pub(super) async fn probe(&self, address: IpAddr, deadline: Instant) -> bool {
        while let Err(denied) = self.pace.admit_to(clock::now(), address, self.network_pps, self.host_pps) {
            let (Denied::Network { until } | Denied::Host { until }) = denied;
            let _waits = InCrowd::of(&self.crowd);
            if !slept(until, deadline).await {
                return false;
            }
        }
        let Ok(_first) = timeout_at(deadline, self.line.lock()).await else { return false };
        while let Err(next) = self.pace.admit_in_turn(clock::now(), self.rate_max_pps) {
            if !slept(next, deadline).await {
                return false;
            }
        }
        true
    }

    /// Whether the budgets allow a connection now, and nothing waits for it.
    pub(super) fn spare_probe(&self, address: IpAddr) -> bool {
        let Ok(_first) = self.line.try_lock() else { return false };
        self.pace.admit_to(clock::now(), address, self.network_pps, self.host_pps).is_ok()
            && self.pace.admit(clock::now(), self.rate_max_pps, 1).is_ok()
    }

    /// The budget that packets beside the first of a connection are owed to.
    pub(super) fn pace(&self) -> &Arc<RateCap> {
        &self.pace
    }

    /// A connection begins.
    pub(super) fn begin(&self) -> Begun<'_> {
        Begun { round: self.throttle().begin(clock::now()), pacing: self, was_lost: None }
    }

    /// How long a connection may take to come about before it is late.
    pub(super) fn late_after(&self) -> Duration {
        let smoothed = Duration::from_micros(self.smoothed_us.load(Ordering::Relaxed).into());
        (smoothed * LATE_ROUND_TRIPS).max(LATE_LEAST)
    }

    /// A connection has come about.
    pub(super) fn came_about(&self, round_trip: Duration) {
        // A longer one has the kernel's wait for a lost SYN in it.
        if round_trip < KERNEL_REPEATS {
            let smoothed = self.smoothed_us.load(Ordering::Relaxed);
            let sample = u32::try_from(round_trip.as_micros()).expect("it is below a second");
            // Of two that come at once, one may be passed over.
            self.smoothed_us.store(smoothed - smoothed / 8 + sample / 8, Ordering::Relaxed);
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        // Whoever panicked between two additions has left figures that are as good as any.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that wait for a slot of a network or a host, until it goes.
struct InCrowd<'a>(&'a AtomicU32);

impl<'a> InCrowd<'a> {
    fn of(crowd: &'a AtomicU32) -> Self {
        crowd.fetch_add(1, Ordering::Relaxed);
        Self(crowd)
    }
}

impl Drop for InCrowd<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sleeps until a slot; false at once where that comes after `deadline`.
async fn slept(until: Duration, deadline: Instant) -> bool {
    let wait = until.saturating_sub(clock::now());
    let is_in_time = Instant::now() + wait < deadline;
    if is_in_time {
        sleep(wait).await;
    }
    is_in_time
}

/// A connection that has begun. Dropped before it is known whether its first SYN was lost, it counts for nothing.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    pacing: &'a Pacing,
    round: u64,
    was_lost: Option<bool>,
}

impl Begun<'_> {
    /// The first SYN was lost, or was answered.
    pub(super) fn tell(mut self, was_lost: bool) {
        self.was_lost = Some(was_lost);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.pacing.throttle().end(self.round, self.was_lost);
    }
}

/// How many ports per second are begun. Pure: told the time.
#[derive(Debug)]
struct Throttle {
    pacer: Pacer,
    rate: f64,
    chance_loss: f64,
    /// The rounds of which not all is known, the oldest first; the last one is being gathered.
    rounds: VecDeque<Round>,
    /// The number of the first of them.
    first: u64,
    /// Rounds that are over and not judged yet, as one.
    sum: Round,
    /// Good judgements since the last decrease; many, before any.
    good: u32,
}

/// The connections of a quarter of a second.
#[derive(Debug, Default)]
struct Round {
    began: Duration,
    /// Those of which nothing is known yet.
    open: u32,
    answered: u32,
    lost: u32,
    /// Whether ports had to wait.
    was_pressed: bool,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            pacer: Pacer::default(),
            rate: RATE_FIRST,
            chance_loss: 0.0,
            rounds: VecDeque::new(),
            first: 0,
            sum: Round::default(),
            good: GOOD_LONG,
        }
    }
}

impl Throttle {
    /// Takes the slot of one port; the error is when the next one is.
    fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "10 to 50,000")]
        let slot = self.pacer.admit(now, self.rate as u64, 1);
        if let (Err(_), Some(round)) = (&slot, self.rounds.back_mut()) {
            round.was_pressed = true;
        }
        slot.map(|_one| ())
    }

    /// Forgets how full the path was.
    fn begin_anew(&mut self) {
        self.rate = self.rate.max(RATE_LOW);
        self.good = GOOD_LONG;
        self.void();
    }

    /// Connections on their way are not judged.
    fn void(&mut self) {
        self.sum = Round::default();
        self.first += self.rounds.len() as u64;
        self.rounds.clear();
    }

    /// A connection begins; answers the number of its round.
    fn begin(&mut self, now: Duration) -> u64 {
        let fresh = Round { began: now, open: 1, ..Round::default() };
        match self.rounds.back_mut() {
            Some(round) if now < round.began + ROUND => round.open += 1,
            _ => self.rounds.push_back(fresh),
        }
        self.first + self.rounds.len() as u64 - 1
    }

    /// It is known what became of a connection, or never will be.
    fn end(&mut self, round: u64, was_lost: Option<bool>) {
        let at = round.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        // One of a round that was given up counts no more.
        let Some(round) = at.and_then(|at| self.rounds.get_mut(at)) else { return };
        round.open -= 1;
        round.answered += u32::from(was_lost == Some(false));
        round.lost += u32::from(was_lost == Some(true));
        self.judge();
    }

    /// Draws the consequence from every round that is over.
    fn judge(&mut self) {
        while self.rounds.len() > 1
            && self.rounds.front().is_some_and(|round| round.open == 0)
            && let Some(round) = self.rounds.pop_front()
        {
            self.first += 1;
            self.sum.answered += round.answered;
            self.sum.lost += round.lost;
            self.sum.was_pressed |= round.was_pressed;
            let known = self.sum.answered + self.sum.lost;
            if known < JUDGED_LEAST {
                continue;
            }
            let sum = std::mem::take(&mut self.sum);
            let allowed = self.chance_loss * LOSS_TIMES + LOSS_FREE;
            if f64::from(sum.lost) > allowed * f64::from(known) {
                self.rate = (self.rate * DECREASE).max(RATE_LEAST);
                self.good = 0;
                // Those on their way began at the rate that was too high.
                self.void();
            } else {
                self.good += 1;
                let growth = match self.rate < RATE_LOW {
                    true => GROWTH_LOW,
                    false if self.good > GOOD_LONG => GROWTH_FAST,
                    false => GROWTH_SLOW,
                };
                self.rate = (self.rate * if sum.was_pressed { growth } else { 1.0 }).min(RATE_MOST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Connections at the throttle's own rate over a path that takes no more than `limit` per second, and loses the share
    /// `random_percent` of what it takes: how many ports were begun in each second.
    #[expect(clippy::cast_precision_loss, reason = "a share in hundredths")]
    fn drive(limit: u64, random_percent: u64, seconds: u64) -> Vec<u64> {
        let mut throttle = Throttle { chance_loss: random_percent as f64 / 100.0, ..Throttle::default() };
        let (mut path, mut per_second) = (Pacer::default(), Vec::new());
        let mut late: VecDeque<(Duration, u64)> = VecDeque::new();
        let mut dice = 1_u64;
        for second in 0..seconds {
            let mut begun = 0;
            for tick in 0..10_000 {
                let now = Duration::from_secs(second) + Duration::from_micros(tick * 100);
                while late.front().is_some_and(|(due, _)| *due <= now) {
                    let (_, round) = late.pop_front().unwrap();
                    throttle.end(round, Some(true));
                }
                while throttle.admit(now).is_ok() {
                    begun += 1;
                    let round = throttle.begin(now);
                    dice = crate::permute::mix(dice);
                    let is_lost = path.admit(now, limit, 1).is_err() || dice % 100 < random_percent;
                    if is_lost {
                        late.push_back((now + LATE_LEAST, round));
                    } else {
                        throttle.end(round, Some(false));
                    }
                }
            }
            per_second.push(begun);
        }
        per_second
    }

    #[test]
    fn a_path_that_takes_few_is_asked_about_as_much_as_it_takes() {
        let begun = drive(3_000, 0, 30);
        let mean = begun.iter().skip(5).sum::<u64>() / 25;
        assert!((1_500..4_500).contains(&mean), "{begun:?}");
    }

    #[test]
    fn a_path_that_loses_by_chance_alone_slows_nothing_down() {
        for random in [0, 5, 36] {
            let begun = drive(1_000_000, random, 6);
            assert!(begun[5] > 20_000, "{random}: {begun:?}");
        }
    }

    #[test]
    fn connections_that_nobody_waits_for_hold_nothing_up() {
        let mut throttle = Throttle::default();
        let first = throttle.begin(Duration::ZERO);
        for number in 1..100_u32 {
            let round = throttle.begin(ROUND * number);
            throttle.end(round, None);
        }
        throttle.end(first, None);
        assert_eq!((throttle.rounds.len(), throttle.rate), (1, RATE_FIRST));
    }

    #[test]
    fn when_a_scan_has_ended_the_path_is_tried_again() {
        let mut throttle = Throttle { rate: RATE_LEAST, good: 0, ..Throttle::default() };
        let before = throttle.begin(Duration::ZERO);
        throttle.begin_anew();
        assert_eq!((throttle.rate, throttle.rounds.len()), (RATE_LOW, 0));
        let after = throttle.begin(Duration::ZERO);
        throttle.end(before, Some(true));
        assert!(after > before && throttle.rounds[0].open == 1, "what was under way counts no more");
    }

    #[tokio::test]
    async fn connections_wait_for_every_budget_and_not_beyond_their_deadline() {
        let pacing = Pacing::new(Arc::new(RateCap::new(Some(0))), Some(1), None);
        let [here, there]: [IpAddr; 2] = ["10.0.0.1", "10.0.1.1"].map(|address| address.parse().unwrap());
        let soon = Instant::now() + Duration::from_millis(100);
        assert!(!pacing.probe(here, soon).await, "the job may send nothing");
        pacing.pace.set(None);
        assert!(!pacing.probe(here, soon).await, "its network has had its slot of this second");
        assert!(!pacing.spare_probe(here));
        assert!(pacing.probe(there, soon).await);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_rate_stays_within_its_bounds(
            steps in proptest::collection::vec((0u8..4, 0u64..400), 0..400), chance_loss in 0.0f64..1.0,
        ) {
            let mut throttle = Throttle { chance_loss, ..Throttle::default() };
            let (mut now, mut open) = (Duration::ZERO, Vec::new());
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                match step {
                    0 => open.extend(std::iter::repeat_with(|| throttle.begin(now)).take(20)),
                    1 => drop(throttle.admit(now)),
                    _ => open.drain(..).for_each(|round| throttle.end(round, Some(step == 2))),
                }
                prop_assert!((RATE_LEAST..=RATE_MOST).contains(&throttle.rate));
            }
        }
    }
}
