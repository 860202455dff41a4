//! The log's clock: what time a leader writes into an entry. It follows the leader's wall clock, and refuses its leaps.
//!
//! A wall clock can be hours off, or become so in a moment, and the log's clock never runs backwards: one entry from a
//! clock that was ahead for ten seconds would stop the cluster's time for hours. So the time of the last entries is
//! carried forward by the monotonic clock, and a wall clock that departs from it counts only once the other nodes agree
//! with it, or, where none can be asked, once it has been so for a while. A leader whose clock a majority contradicts goes
//! by theirs.
//!
//! Where the log's time is ahead of what they say (a majority was, and was set right), it neither runs backwards nor stands: it goes
//! on at half their pace until they have caught up. Were it to stand, nothing that waits for a time would end for as long: a unit
//! that failed would not be tried again, and no token would expire. [`LogClock`] is pure; [`WallClock`] is the one reading of wall time in this crate.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock may depart so far from what was carried forward; NTP moves a clock in smaller steps.
const LEAP: Duration = Duration::from_secs(2);
/// And by this part of the time that has passed: two machines' clocks drift apart by less than a tenth of it.
const DRIFT_PARTS: u32 = 1_000;
/// How long a leap has to last before it is believed without anybody's agreement.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);
/// For how long the entries behind one that came late may be late as well.
const LATE_FOR: Duration = Duration::from_secs(10);
/// A time that is ahead goes on by this part of what passes.
const SLOWED_PARTS: u64 = 2;
/// Entries of one time carry it forward for so long, in milliseconds; beyond, the log's time stands by the word of who leads.
const STANDS_AFTER_MS: u64 = 1_000;
/// Clocks that differ by less agree.
const AGREE: u64 = 1_000;

/// Where wall time is read.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// A clock that shows what `read` says, in Unix milliseconds.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Unix milliseconds now.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for WallClock {
    /// The machine's.
    fn default() -> Self {
        Self::new(system_ms)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where wall time enters the log, on the leader")]
fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time, and when it was so.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    at_ms: u64,
    noted: Instant,
}

impl Anchor {
    fn carried(&self, now: Instant) -> u64 {
        self.at_ms.saturating_add(millis(now.saturating_duration_since(self.noted)))
    }

    /// The same, slowed.
    fn slowed(&self, now: Instant) -> u64 {
        self.at_ms.saturating_add(millis(now.saturating_duration_since(self.noted)) / SLOWED_PARTS)
    }

    /// By how much a wall clock may differ from what is carried forward.
    fn tolerance(&self, now: Instant) -> u64 {
        millis(LEAP + now.saturating_duration_since(self.noted) / DRIFT_PARTS)
    }
}

/// What another node's clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherClock {
    /// How many milliseconds it is ahead of this node's wall clock.
    pub ahead_ms: i64,
    /// When that was compared, or later.
    pub compared: Instant,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct LogClock {
    /// The log's time, at an entry that was applied as it came.
    log: Option<Anchor>,
    /// Since when entries have come that are older than what was carried forward.
    late: Option<Instant>,
    /// The wall clock as it was read last.
    wall: Option<Anchor>,
    /// When the wall clock last leapt against the monotonic one: what was compared with it before counts no more.
    leapt: Option<Instant>,
    /// Since when the wall clock has been away from the log's time.
    away: Option<Instant>,
    /// Whether the wall clock was away for so long that it is believed.
    believed: bool,
    /// Whether the last entry's time was ahead of the clocks that count, so that the log's time goes slower.
    slowed: bool,
    /// The clocks of the other nodes that are there.
    others: Vec<Option<OtherClock>>,
}

impl LogClock {
    /// The log's time is this by an entry that was applied as it came; not by one that was read again after a start.
    ///
    /// One that waited for its majority through an outage is as old as that when it comes, and puts no clock back: what was carried
    /// forward stands until one comes that is not late, or they go on being so, which is the log's time then.
    pub fn note(&mut self, at_ms: u64, now: Instant) {
        let is_late = |log: Anchor| at_ms > log.at_ms && log.carried(now) > at_ms.saturating_add(log.tolerance(now));
        // Many entries within a millisecond: time goes on from the first of them.
        let is_same = |log: Anchor| at_ms == log.at_ms && log.carried(now) < at_ms.saturating_add(STANDS_AFTER_MS);
        if self.log.is_some_and(is_same) {
            return;
        }
        if self.log.is_some_and(is_late) {
            let late = *self.late.get_or_insert(now);
            if now.saturating_duration_since(late) < LATE_FOR {
                return;
            }
        }
        self.late = None;
        self.log = Some(Anchor { at_ms, noted: now });
    }

    /// The other nodes that are there, each with its clock where that is known.
    pub fn set_others(&mut self, others: Vec<Option<OtherClock>>, wall_ms: u64, now: Instant) {
        self.others = others;
        self.observe(wall_ms, now);
    }

    /// The log's time for people: carried forward where there is something to carry, the wall clock otherwise.
    #[must_use]
    pub fn shown_ms(&self, wall_ms: u64, now: Instant) -> u64 {
        self.log.map_or(wall_ms, |log| if self.slowed { log.slowed(now) } else { log.carried(now) })
    }

    /// The time for an entry of this leader's.
    pub fn entry_ms(&mut self, wall_ms: u64, now: Instant) -> u64 {
        self.observe(wall_ms, now);
        let judged = self.judge(wall_ms, now);
        let ahead = self.log.filter(|log| log.slowed(now) > judged);
        self.slowed = ahead.is_some();
        ahead.map_or(judged, |log| log.slowed(now))
    }

    fn judge(&mut self, wall_ms: u64, now: Instant) -> u64 {
        if let Some(agreed) = self.agreed(wall_ms, now) {
            (self.away, self.believed) = (None, false);
            return agreed;
        }
        if self.believed {
            return wall_ms;
        }
        let Some(log) = self.log.filter(|log| log.carried(now).abs_diff(wall_ms) > log.tolerance(now)) else {
            self.away = None;
            return wall_ms;
        };
        let away = *self.away.get_or_insert(now);
        if now.saturating_duration_since(away) < BELIEVED_AFTER {
            return log.carried(now);
        }
        // From here on the log goes by the new time; where that is an earlier one, slower until then.
        (self.away, self.believed) = (None, true);
        wall_ms
    }

    /// What a majority of the nodes that are there says: this one and those whose clock was compared with it since it
    /// leapt last. `None` where that is no majority, or this node is the only one.
    fn agreed(&self, wall_ms: u64, now: Instant) -> Option<u64> {
        let is_fresh = |other: &&OtherClock| self.leapt.is_none_or(|leapt| other.compared > leapt);
        let known = self.others.iter().flatten().filter(is_fresh);
        let mut ahead: Vec<i64> = known.map(|other| other.ahead_ms).chain([0]).collect();
        if self.others.is_empty() || 2 * ahead.len() <= self.others.len() + 1 {
            return None;
        }
        ahead.sort_unstable();
        let middle = |at: usize| wall_ms.saturating_add_signed(ahead.get(at).copied().unwrap_or(0));
        let (low, high) = (middle((ahead.len() - 1) / 2), middle(ahead.len() / 2));
        // Of two that differ neither is the majority's; the one that the log's time speaks for is taken.
        let carried = self.log.map_or(wall_ms, |log| log.carried(now));
        let chosen = if low.abs_diff(carried) <= high.abs_diff(carried) { low } else { high };
        Some(if chosen.abs_diff(wall_ms) <= AGREE { wall_ms } else { chosen })
    }

    fn observe(&mut self, wall_ms: u64, now: Instant) {
        let leaps = |wall: Anchor| wall.carried(now).abs_diff(wall_ms) > wall.tolerance(now);
        if self.wall.is_some_and(leaps) {
            (self.leapt, self.believed) = (Some(now), false);
        }
        self.wall = Some(Anchor { at_ms: wall_ms, noted: now });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "clock/clock_test.rs"]
mod tests;
