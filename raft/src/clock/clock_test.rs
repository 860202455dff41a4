//! The log's clock against wall clocks that leap, are off from the beginning, or are right.

use proptest::prelude::*;

use super::*;

const HOURS_2: u64 = 7_200_000;
const DAY: u64 = 86_400_000;

/// A leader's clocks, moved by hand.
struct Leader {
    clock: LogClock,
    begun: Instant,
    elapsed_ms: u64,
    /// What its wall clock is off by.
    off_ms: i64,
    /// The log's time, which never runs backwards.
    log_ms: u64,
}

impl Leader {
    fn new(off_ms: i64) -> Self {
        Self { clock: LogClock::default(), begun: Instant::now(), elapsed_ms: 0, off_ms, log_ms: 0 }
    }

    /// The true time: a day and what has passed.
    fn truth(&self) -> u64 {
        DAY + self.elapsed_ms
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.elapsed_ms)
    }

    fn wall(&self) -> u64 {
        self.truth().saturating_add_signed(self.off_ms)
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.elapsed_ms += seconds * 1000;
        self
    }

    fn entry(&mut self) -> u64 {
        let (wall, now) = (self.wall(), self.now());
        self.log_ms = self.log_ms.max(self.clock.entry_ms(wall, now));
        self.clock.note(self.log_ms, now);
        self.log_ms
    }

    /// Other nodes whose clocks are right compare them with this one's now, or do not answer.
    fn compare(&mut self, known: &[bool]) {
        let other = OtherClock { ahead_ms: -self.off_ms, compared: self.now() };
        let (wall, now) = (self.wall(), self.now());
        self.clock.set_others(known.iter().map(|known| known.then_some(other)).collect(), wall, now);
    }

    fn is_right(&mut self) -> bool {
        self.is_within(1_000)
    }

    fn is_within(&mut self, ms: u64) -> bool {
        let truth = self.truth();
        self.entry().abs_diff(truth) <= ms
    }
}

#[test]
fn a_leader_that_is_two_hours_ahead_for_ten_seconds_writes_no_such_time() {
    for others in [&[][..], &[true, true]] {
        let mut leader = Leader::new(0);
        leader.compare(others);
        assert!(leader.is_right());
        leader.after(5).off_ms = i64::try_from(HOURS_2).unwrap();
        // What the others said before it leapt is about another clock.
        let (wall, now) = (leader.wall(), leader.now());
        let before = std::mem::take(&mut leader.clock.others);
        leader.clock.set_others(before, wall, now);
        assert!(leader.is_right(), "at once");
        leader.after(5).compare(others);
        assert!(leader.is_right(), "a beat later");
        leader.after(5).off_ms = 0;
        assert!(leader.is_right(), "and when it is over");
        leader.after(5).compare(others);
        assert!(leader.is_right());
    }
}

#[test]
fn a_new_leader_whose_clock_is_off_goes_by_the_log_and_then_by_the_others_however_long() {
    let mut leader = Leader::new(i64::try_from(HOURS_2).unwrap());
    let (truth, now) = (leader.truth(), leader.now());
    leader.clock.note(truth, now);
    leader.compare(&[false, false]);
    assert!(leader.after(30).is_right(), "by the entries of the leader before it");
    for _ in 0..100 {
        leader.after(60).compare(&[true, true]);
        assert!(leader.is_right(), "by the majority");
    }
}

#[test]
fn the_clock_of_one_follower_that_is_off_moves_nothing() {
    for off_ms in [-i64::try_from(HOURS_2).unwrap(), i64::try_from(HOURS_2).unwrap()] {
        for others in [&[0, off_ms][..], &[off_ms]] {
            let mut leader = Leader::new(0);
            assert!(leader.is_right());
            for _ in 0..20 {
                let (wall, now) = (leader.after(10).wall(), leader.now());
                let other = |ahead_ms: &i64| Some(OtherClock { ahead_ms: *ahead_ms, compared: now });
                leader.clock.set_others(others.iter().map(other).collect(), wall, now);
                assert!(leader.is_right(), "{others:?}");
            }
        }
    }
}

#[test]
fn a_node_by_itself_believes_its_clock_once_it_has_been_set_for_a_minute() {
    let mut leader = Leader::new(0);
    assert!(leader.is_right());
    leader.after(1).off_ms = i64::try_from(HOURS_2).unwrap();
    let first = leader.entry();
    assert!(first.abs_diff(leader.truth()) <= 1_000);
    leader.after(59);
    assert!(leader.is_right());
    leader.after(2);
    assert_eq!(leader.entry(), leader.wall());
    assert_eq!(leader.after(1).entry(), leader.wall());
}

#[test]
fn after_a_start_there_is_nothing_to_carry_forward_and_the_wall_clock_counts_at_once() {
    let mut leader = Leader::new(0);
    let (wall, now) = (leader.wall(), leader.now());
    assert_eq!((leader.clock.shown_ms(wall, now), leader.entry()), (wall, wall));
}

#[test]
fn others_that_say_nothing_are_no_majority() {
    let mut leader = Leader::new(0);
    assert!(leader.is_right());
    leader.after(1).off_ms = i64::try_from(HOURS_2).unwrap();
    leader.compare(&[false, false]);
    assert!(leader.after(10).is_right(), "the leap is refused meanwhile");
    assert_eq!(leader.clock.agreed(leader.wall(), leader.now()), None);
}

proptest! {
    #[test]
    fn while_a_majority_is_right_no_leap_beyond_what_a_clock_may_step_reaches_the_log(leaps in prop::collection::vec((1u64..300, -(DAY as i64)..DAY as i64), 1..20)) {
        let mut leader = Leader::new(0);
        leader.compare(&[true, true]);
        prop_assert!(leader.is_within(4_000));
        for (seconds, off_ms) in leaps {
            leader.after(1).off_ms = off_ms;
            prop_assert!(leader.is_within(4_000));
            leader.after(5).compare(&[true, true]);
            prop_assert!(leader.is_within(4_000));
            leader.after(seconds).compare(&[true, true]);
            prop_assert!(leader.is_within(4_000));
        }
    }
}

#[test]
fn an_entry_that_waited_for_its_majority_puts_the_clock_that_is_shown_not_back() {
    let mut leader = Leader::new(0);
    leader.entry();
    let proposed = leader.after(1).truth();
    leader.after(41);
    leader.clock.note(proposed, leader.now());
    leader.clock.note(proposed + 5, leader.now());
    assert_eq!(leader.clock.shown_ms(leader.wall(), leader.now()), leader.truth());
    leader.after(2).entry();
    assert_eq!(leader.clock.shown_ms(leader.wall(), leader.now()), leader.truth());
    // Entries that stay behind what was carried forward are the log's time.
    let behind = |leader: &Leader| leader.truth() - 5_000;
    for _ in 0..5 {
        let late = behind(leader.after(3));
        leader.clock.note(late, leader.now());
    }
    assert_eq!(leader.clock.shown_ms(leader.wall(), leader.now()), behind(&leader));
}

/// What stood still for as long as it was ahead: a unit that had failed was not tried again, and no token expired.
#[test]
fn a_time_that_is_ahead_of_a_majority_that_was_set_right_goes_on_at_half_its_pace_until_it_has_caught_up() {
    let mut leader = Leader::new(0);
    let ahead = DAY + HOURS_2;
    leader.log_ms = ahead;
    leader.clock.note(ahead, leader.now());
    for minute in 1..=4 * 60 {
        let before = leader.log_ms;
        leader.after(60).compare(&[true, true]);
        let now = leader.entry();
        assert_eq!(now - before, 30_000, "in minute {minute}");
        let shown = leader.clock.shown_ms(leader.wall(), leader.now());
        assert!(shown.abs_diff(now) <= 1, "{shown} {now}");
    }
    assert!(leader.is_right());
    leader.after(60).compare(&[true, true]);
    assert!(leader.is_right() && !leader.clock.slowed);
}

#[test]
fn many_entries_within_a_second_slow_the_time_that_is_ahead_by_half_and_no_more() {
    let mut leader = Leader::new(0);
    leader.compare(&[true, true]);
    leader.log_ms = DAY + HOURS_2;
    leader.clock.note(leader.log_ms, leader.now());
    for _ in 0..10_000 {
        leader.elapsed_ms += 1;
        leader.entry();
    }
    let gone = leader.log_ms - DAY - HOURS_2;
    assert!((4_900..=5_000).contains(&gone), "{gone}");
}

/// It went on ahead for ever: each minute what was carried forward was believed for a minute more.
#[test]
fn a_node_by_itself_whose_clock_was_ahead_and_was_set_right_has_the_right_time_in_the_end() {
    let mut leader = Leader::new(0);
    let ahead = DAY + 600_000;
    leader.log_ms = ahead;
    leader.clock.note(ahead, leader.now());
    for _ in 0..140 {
        leader.after(10).entry();
    }
    assert!(leader.is_right(), "{} {}", leader.log_ms, leader.truth());
}
