//! The flows that a scan holds open in the routers and firewalls on a path, and how many it may.
//!
//! A SYN that stays unanswered leaves an entry in each device on the way that remembers flows, for two minutes in most; a scan of
//! filtered ports fills the table of a small office's router within seconds, and then nobody's connections get through it. So a
//! path that leads through routers is watched: the scan closes each flow itself by a reset once its answer has had time to come, for
//! which such devices forget it at once; what is open is then a fraction of a second's probes. Echo and timestamp requests cannot be
//! closed and count for as long as they are remembered.
//!
//! How many flows the path has proved to take is its window, and no more are open. A polite scan's is small and does not change. Any
//! other grows whenever it was used and canaries in new flows came back, until it is so wide that there is nothing to watch. When
//! canaries in new flows get lost and one that is kept going does not, the path is full: half of the window is left, which opens
//! slowly, and not as far again. Where both get lost it is not the flows that are too many ([`super::rate`]). Where nothing answers
//! nothing is proved: the window opens by the clock, as the rate does. A path of which hosts have answered from no further than its
//! first hop has no router that could be full ([`Distances`]).

use std::time::Duration;

use super::epochs::{Epoch, Pair, is_full};
use crate::pace::flows::{FlowMemory, POLITE_MAX, QUERY_KEPT};

/// Flows that any path takes: a quarter of the smallest table in common use.
const START: f64 = 1024.0;
/// Up to here the window is doubled: half of that table.
const SURE: f64 = 2048.0;
/// How it grows beyond, per step.
const STEP: f64 = 1.5;
/// How it grows per second while nothing has answered: as the rate does, so that it holds up nobody whose probes go unanswered.
const STEP_DARK: f64 = 2.0;
/// How it grows after it has been closed.
const STEP_SLOW: f64 = 1.02;
/// It is never smaller.
const LEAST: f64 = 256.0;
/// Beyond this there is no limit: tables of that size are those of carriers.
const MOST: f64 = 65_536.0;
/// How much of what was too many is used later, as a table does not grow: the rest is left to others.
const ROOM_LEFT: f64 = 0.75;
/// After being closed it stays so for as long.
const HOLD: Duration = Duration::from_secs(10);
/// Time from one step in the dark to the next.
const DARK_EVERY: Duration = Duration::from_secs(1);
/// Canaries for a step, and the share of them that may be lost.
const CANARIES_MIN: u32 = 8;
const LOST_MAX: f64 = 0.12;
/// Canaries that have led to nothing after which they are forgotten.
const CANARIES_MAX: u32 = 512;
/// Hosts that must have answered before their distance says something of all.
const NEAR_HOSTS_MIN: u32 = 8;

/// How a path's flows are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Not at all: whoever asked for it has said how fast to go.
    Nothing,
    /// Until the path has proved to take more.
    Growing,
    /// All the time.
    Always,
}

/// The flows of one path.
#[derive(Debug)]
pub(super) struct Flows {
    watch: Watch,
    window: f64,
    /// TCP flows that are open, and queries.
    open: u32,
    queries: FlowMemory,
    /// Whether the window was full, or nearly so, since its last change.
    was_used: bool,
    /// The widest that it may be, once it was found to be too wide.
    most: Option<f64>,
    held_until: Duration,
    changed_at: Option<Duration>,
    /// The first epoch that counts for the next change, and canaries of those that did.
    from: u32,
    canaries: u32,
    lost: u32,
    kept: Pair,
    twins: Pair,
    distances: Distances,
}

/// From how far hosts have answered.
#[derive(Debug, Default)]
pub(super) struct Distances {
    near: u32,
    far: u32,
}

impl Distances {
    /// A host has answered with this time to live.
    pub(super) fn note(&mut self, ttl: u8) {
        // What systems begin with; one less for each router on the way.
        let begun = [32, 64, 128, 255].into_iter().find(|begun| *begun >= ttl).unwrap_or(255);
        if begun == ttl { self.near += 1 } else { self.far += 1 }
    }

    /// Whether all who have answered are at the path's first hop, and they are enough to stand for the rest: one alone may be
    /// the router itself.
    pub(super) fn is_near(&self) -> bool {
        self.far == 0 && self.near >= NEAR_HOSTS_MIN
    }
}

impl Flows {
    pub(super) fn new(watch: Watch) -> Self {
        let window = if watch == Watch::Always { f64::from(POLITE_MAX) } else { START };
        Self {
            watch,
            window,
            open: 0,
            queries: FlowMemory::default(),
            was_used: false,
            most: None,
            held_until: Duration::ZERO,
            changed_at: None,
            from: 0,
            canaries: 0,
            lost: 0,
            kept: Pair::default(),
            twins: Pair::default(),
            distances: Distances::default(),
        }
    }

    /// Whether flows are to be closed when nothing has answered.
    pub(super) fn is_watched(&self) -> bool {
        match self.watch {
            Watch::Nothing => false,
            Watch::Growing => self.window < MOST && !self.distances.is_near(),
            Watch::Always => !self.distances.is_near(),
        }
    }

    /// How many more may be opened: `u32::MAX` for any number, which nobody watches.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 256 and 65,536")]
    pub(super) fn room(&mut self, now: Duration) -> u32 {
        if !self.is_watched() {
            return u32::MAX;
        }
        let used = self.open + self.queries.count(now);
        let window = self.window as u32;
        self.was_used |= used >= window - window / 4;
        window.saturating_sub(used)
    }

    /// One was opened that will be closed.
    pub(super) fn open(&mut self, now: Duration) {
        self.changed_at.get_or_insert(now);
        self.open += 1;
    }

    /// A query was sent, which nobody can close.
    pub(super) fn open_query(&mut self, now: Duration) {
        self.changed_at.get_or_insert(now);
        self.queries.open(now, QUERY_KEPT);
    }

    /// One was closed.
    pub(super) fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A host behind this path has answered.
    pub(super) fn note_distance(&mut self, ttl: u8) {
        self.distances.note(ttl);
    }

    /// An epoch's answers are complete, at `now` in the epoch `current`; `usual` is the loss of the path at any rate.
    pub(super) fn judge(&mut self, now: Duration, number: u32, current: u32, epoch: Epoch, usual: f64) {
        if self.watch != Watch::Growing || number < self.from {
            return;
        }
        self.canaries += epoch.canaries;
        self.lost += epoch.canaries.saturating_sub(epoch.answered);
        self.kept.add(epoch.kept);
        self.twins.add(epoch.twins);
        let loss = f64::from(self.lost) / f64::from(self.canaries.max(1));
        if is_full(self.kept, self.twins) {
            let used = f64::from(self.open + self.queries.count(now));
            self.most = Some((self.window.min(used) * ROOM_LEFT).max(START));
            self.window = (self.window.min(used) / 2.0).max(LEAST);
            self.held_until = now + HOLD;
            self.change(now, current);
        } else if self.canaries >= CANARIES_MIN && loss <= usual + LOST_MAX && self.was_used && now >= self.held_until {
            let step = match self.most {
                Some(_) => STEP_SLOW,
                None if self.window < SURE => 2.0,
                None => STEP,
            };
            self.window = (self.window * step).min(self.most.unwrap_or(MOST));
            self.change(now, current);
        } else if self.canaries >= CANARIES_MAX {
            self.forget();
        }
    }

    /// Nothing has answered yet.
    pub(super) fn dark(&mut self, now: Duration) {
        let Some(changed_at) = self.changed_at.filter(|_| self.watch == Watch::Growing) else { return };
        if now >= changed_at + DARK_EVERY {
            self.window *= STEP_DARK;
            self.changed_at = Some(now);
        }
    }

    fn change(&mut self, now: Duration, current: u32) {
        self.forget();
        (self.was_used, self.from, self.changed_at) = (false, current + 1, Some(now));
    }

    fn forget(&mut self) {
        (self.canaries, self.lost, self.kept, self.twins) = (0, 0, Pair::default(), Pair::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Duration = super::super::epochs::EPOCH;

    /// Uses a window as far as it lets for some epochs, behind a table with room for `table` flows; each flow is closed after
    /// three epochs. Returns the widest it was and the epochs in which the table was full.
    fn drive(flows: &mut Flows, epochs: u32, table: u32, canaries: u32) -> (u32, u32) {
        let (mut open, mut widest, mut full) = (std::collections::VecDeque::from([0; 3]), 0, 0);
        for number in 1..=epochs {
            let now = Duration::from_secs(100) + EPOCH * number;
            let room = flows.room(now).min(100_000);
            (0..room).for_each(|_| flows.open(now));
            open.push_back(room);
            let held: u32 = open.iter().sum();
            widest = widest.max(held);
            let is_full = held > table;
            full += u32::from(is_full);
            let answered = if is_full { 0 } else { canaries };
            let of = |lost: bool| Pair { sent: canaries / 4, answered: if lost { 0 } else { canaries / 4 } };
            let epoch = Epoch { probes: room, canaries, answered, kept: of(false), twins: of(is_full) };
            flows.judge(now, number, number, epoch, 0.0);
            let closed = open.pop_front().unwrap_or(0);
            (0..closed).for_each(|_| flows.close());
        }
        (widest, full)
    }

    #[test]
    fn a_path_without_a_table_is_soon_not_watched_any_more() {
        let mut flows = Flows::new(Watch::Growing);
        drive(&mut flows, 100, u32::MAX, 20);
        assert!(!flows.is_watched(), "{}", flows.window);
    }

    #[test]
    fn a_full_table_is_found_in_a_moment_and_then_left_room_in() {
        let mut flows = Flows::new(Watch::Growing);
        let (_, full) = drive(&mut flows, 400, 4096, 20);
        assert!(flows.is_watched() && (1..=10).contains(&full), "{full} epochs of 400");
    }

    #[test]
    fn a_link_that_loses_what_it_knows_as_well_is_not_full() {
        let mut flows = Flows::new(Watch::Growing);
        for number in 1..=400 {
            let now = Duration::from_secs(100) + EPOCH * number;
            (0..100).for_each(|_| flows.open(now));
            let half = Pair { sent: 6, answered: 3 };
            flows.judge(
                now,
                number,
                number,
                Epoch { probes: 100, canaries: 20, answered: 12, kept: half, twins: half },
                0.0,
            );
        }
        assert!(flows.most.is_none() && flows.window >= START, "{}", flows.window);
    }

    #[test]
    fn a_polite_scan_never_opens_more_than_half_of_a_small_table() {
        let mut flows = Flows::new(Watch::Always);
        assert_eq!(drive(&mut flows, 400, u32::MAX, 20), (POLITE_MAX, 0));
    }

    #[test]
    fn the_dark_opens_the_window_by_the_clock_and_queries_count_for_as_long_as_they_are_kept() {
        let (mut flows, begun) = (Flows::new(Watch::Growing), Duration::from_secs(50));
        (0..1024).for_each(|_| flows.open_query(begun));
        assert_eq!(flows.room(begun), 0);
        flows.dark(begun + Duration::from_millis(900));
        assert_eq!(flows.room(begun), 0);
        flows.dark(begun + Duration::from_secs(1));
        assert_eq!(flows.room(begun + Duration::from_secs(1)), 1024);
        (2..7).for_each(|second| flows.dark(begun + Duration::from_secs(second)));
        assert!(!flows.is_watched(), "after some seconds of dark nothing is closed any more: {}", flows.window);
        let mut flows = Flows::new(Watch::Always);
        (0..POLITE_MAX - 24).for_each(|_| flows.open_query(begun));
        assert_eq!((flows.room(begun), flows.room(begun + Duration::from_secs(31))), (24, POLITE_MAX));
    }

    #[test]
    fn only_many_hosts_at_the_first_hop_say_that_there_is_no_router() {
        let mut distances = Distances::default();
        distances.note(64);
        assert!(!distances.is_near(), "that may be the router itself");
        [64, 128, 255, 64, 64, 128, 64].into_iter().for_each(|ttl| distances.note(ttl));
        assert!(distances.is_near());
        distances.note(63);
        assert!(!distances.is_near());
    }
}
