//! How much is asked again, how fast, and when it is enough. Pure.

use std::time::Duration;

use crate::recall::{Kind, Recall, Sample};

/// A scan of fewer probes leaves too little to draw from.
pub(super) const PROBES_MIN: u64 = 256;
/// The first round takes one in so many of the probes that the scan sent: 1.6 %.
const SHARE: u64 = 64;
/// It takes no more.
const FIRST_PROBES_MAX: u64 = 32_768;
/// It takes no fewer than this, of a small scan no more than one in so many: what is less tells nothing.
const FIRST_PROBES_MIN: (u64, u64) = (64, 8);
/// All rounds together take no more than one in so many of the scan's probes, beside the first.
const SHARE_MAX: u64 = 2;
/// One in so many of a round's questions is to somebody who is known to answer.
const CONTROLS_SHARE: u64 = 8;
/// Of each kind no fewer than this, as far as there are any, and no more.
const CONTROLS: (u64, u64) = (12, 256);
/// Probes that a question to a silent port takes on a path that loses little.
const PORT_PROBES: u64 = 2;
/// Where something turns up, the next round asks so many times as much.
const GROWTH: u64 = 8;
/// Rounds at most.
const ROUNDS_MAX: u32 = 5;
/// The first round sends at this part of the scan's mean rate, each further one at half of that of the one before.
const GENTLER: u64 = 4;
/// It is no slower than this for that: what takes so little is not what overloads anybody.
const RATE_MIN_PPS: u64 = 500;
/// What asking again may take beside the scan: this part of its time, and no less than [`TIME_MIN`].
const TIME_SHARE: u32 = 2;
const TIME_MIN: Duration = Duration::from_secs(10);
/// The first round may take this long: on a path that takes little, what asks slows down as every scan does.
const FIRST_TIME_MIN: Duration = Duration::from_secs(30);
/// The pause before a further round: what was lost together in the one before is not lost together with it.
const PAUSE: Duration = Duration::from_millis(500);

/// How many questions of each kind, and to how many who are known to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    pub(super) asked: [u64; Kind::ALL.len()],
    /// Of each kind that is asked.
    pub(super) controls: u64,
    pub(super) rate_pps: u64,
    /// What to wait for before it begins.
    pub(super) pause: Duration,
}

/// What was sent for a unit, and how long that took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) probes: u64,
    pub(super) sending: Duration,
    pub(super) duration: Duration,
    /// Probes that a question to a silent address takes.
    pub(super) address_probes: u64,
    /// The recall that is wanted.
    pub(super) wanted: f64,
}

impl Effort {
    /// How long asking again may go on.
    pub(super) fn time(&self) -> Duration {
        (self.duration / TIME_SHARE).max(TIME_MIN)
    }

    /// The same of its first round, without which nothing is known.
    pub(super) fn first_time(&self) -> Duration {
        self.time().max(FIRST_TIME_MIN)
    }

    fn probes_of(&self, kind: Kind) -> u64 {
        if kind == Kind::Address { self.address_probes.max(1) } else { PORT_PROBES }
    }

    /// The first round over samples of which nothing is asked yet, or `None` where nothing is silent or too little was sent.
    pub(super) fn first_round(&self, samples: &[Sample; Kind::ALL.len()]) -> Option<Round> {
        if self.probes < PROBES_MIN || samples.iter().all(|sample| sample.silent == 0) {
            return None;
        }
        let least = FIRST_PROBES_MIN.0.min(self.probes / FIRST_PROBES_MIN.1);
        let budget = (self.probes / SHARE).clamp(least, FIRST_PROBES_MAX);
        let mut asked = [0; Kind::ALL.len()];
        // Who needs less than its share leaves the rest to the others.
        let mut kinds: Vec<(u64, usize, Kind)> = (0..)
            .zip(Kind::ALL)
            .zip(samples)
            .map(|((at, kind), sample)| (sample.silent.saturating_mul(self.probes_of(kind)), at, kind))
            .filter(|(needed, ..)| *needed > 0)
            .collect();
        kinds.sort_unstable_by_key(|(needed, at, _)| (*needed, *at));
        let count = kinds.len() as u64;
        let controls = (budget / CONTROLS_SHARE / count.max(1)).clamp(CONTROLS.0, CONTROLS.1);
        let mut left = budget.saturating_sub(controls * count);
        for (at, (needed, place, kind)) in (0..).zip(kinds) {
            let share = (left / (count - at)).min(needed);
            left -= share;
            asked.iter_mut().skip(place).take(1).for_each(|wanted| *wanted = (share / self.probes_of(kind)).max(1));
        }
        Some(Round { asked, controls, rate_pps: self.rate(0), pause: Duration::ZERO })
    }

    /// The first round again, the `number`th after it, for want of answers that are known to come.
    pub(super) fn once_more(&self, number: u32, first: &Round, (spent, left): (u64, Duration)) -> Option<Round> {
        let pause = PAUSE * number;
        let is_over = number >= ROUNDS_MAX || left <= pause || spent > self.probes / SHARE_MAX;
        (!is_over).then_some(Round { rate_pps: self.rate(number), pause, ..*first })
    }

    /// One more round, the `number`th after the first, or `None` where it is enough. `spent` is what all rounds have sent,
    /// `left` what is left of the time.
    pub(super) fn next_round(
        &self,
        number: u32,
        samples: &[Sample; Kind::ALL.len()],
        recall: Option<&Recall>,
        (spent, left): (u64, Duration),
    ) -> Option<Round> {
        let is_enough = recall.is_some_and(|recall| recall.low >= self.wanted);
        let pause = PAUSE * number;
        if is_enough || number >= ROUNDS_MAX || left <= pause {
            return None;
        }
        let rate_pps = self.rate(number);
        let bound = (self.probes / SHARE_MAX).saturating_sub(spent);
        let seconds = (left - pause).as_secs_f64() / 2.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
        let in_time = (rate_pps as f64 * seconds) as u64;
        let mut room = bound.min(in_time);
        let mut asked = [0; Kind::ALL.len()];
        for ((wanted, kind), sample) in asked.iter_mut().zip(Kind::ALL).zip(samples) {
            if sample.answered > 0 {
                let rest = sample.silent.saturating_sub(sample.asked);
                let probes = self.probes_of(kind);
                *wanted = rest.min(sample.asked.saturating_mul(GROWTH)).min(room / probes);
                room -= *wanted * probes;
            }
        }
        let most = asked.iter().copied().max().unwrap_or_default();
        let controls = (most / CONTROLS_SHARE).clamp(CONTROLS.0, CONTROLS.1);
        (most > 0).then_some(Round { asked, controls, rate_pps, pause })
    }

    fn rate(&self, number: u32) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
        let mean = (self.probes as f64 / self.sending.as_secs_f64().max(1e-3)) as u64;
        ((mean / GENTLER) >> number.min(63)).max(RATE_MIN_PPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(probes: u64) -> Effort {
        let seconds = Duration::from_secs;
        Effort { probes, sending: seconds(10), duration: seconds(12), address_probes: 6, wanted: 0.999 }
    }

    fn silent(counts: [u64; 3]) -> [Sample; 3] {
        counts.map(|silent| Sample { silent, ..Sample::default() })
    }

    fn probes(round: &Round) -> u64 {
        let [ports, addresses, dark] = round.asked;
        let kinds = round.asked.iter().filter(|asked| **asked > 0).count() as u64;
        2 * ports + 6 * addresses + 2 * dark + kinds * round.controls
    }

    #[test]
    fn the_first_round_is_a_small_part_of_what_was_sent() {
        for (sent, counts) in [(1 << 20, [5_000, 50_000, 0]), (1 << 20, [7, 0, 1 << 22]), (100_000, [0, 900, 0])] {
            let round = effort(sent).first_round(&silent(counts)).unwrap();
            assert!(probes(&round) <= sent / 60 && probes(&round) > sent / 90, "{round:?} of {sent}");
            assert!(
                round.asked.iter().zip(counts).all(|(asked, silent)| *asked <= silent && (*asked > 0) == (silent > 0))
            );
        }
        let all = effort(10_000).first_round(&silent([10, 0, 1 << 22])).unwrap();
        assert_eq!(all.asked[0], 10, "the few are all asked, and leave the rest");
        assert_eq!(all.rate_pps, 500);
        assert_eq!(effort(1 << 20).first_round(&silent([5, 0, 0])).unwrap().rate_pps, (1 << 20) / 40);
    }

    #[test]
    fn nothing_is_asked_where_nothing_is_silent_or_little_was_sent() {
        assert_eq!(effort(1 << 20).first_round(&silent([0, 0, 0])), None);
        assert_eq!(effort(255).first_round(&silent([9, 9, 0])), None);
    }

    #[test]
    fn more_is_asked_only_where_something_turned_up_and_within_bounds() {
        let effort = effort(100_000);
        let some = Sample { silent: 10_000, asked: 100, answered: 3, ..Sample::default() };
        let none = Sample { answered: 0, ..some };
        let left = Duration::from_secs(10);
        let next = |samples: [Sample; 3], recall: f64, number, spent, left| {
            let recall = Recall { low: recall, point: recall, high: 1.0 };
            effort.next_round(number, &samples, Some(&recall), (spent, left))
        };
        let round = next([some, none, none], 0.9, 1, 200, left).unwrap();
        assert_eq!((round.asked, round.rate_pps, round.pause), ([800, 0, 0], 1250, PAUSE));
        assert_eq!(next([none; 3], 0.9, 1, 200, left), None);
        assert_eq!(next([some; 3], 0.9995, 1, 200, left), None, "it is as sure as was wanted");
        assert_eq!(next([some; 3], 0.9, ROUNDS_MAX, 200, left), None);
        assert_eq!(next([some; 3], 0.9, 1, 50_000, left), None, "half of what was sent is enough");
        assert_eq!(next([some; 3], 0.9, 1, 200, PAUSE), None, "the time is up");
        let brief = next([some; 3], 0.9, 1, 200, Duration::from_secs(1)).unwrap();
        assert!(probes(&brief) <= 1250 + 3 * brief.controls, "{brief:?}");
        let again = effort.once_more(2, &round, (200, left)).unwrap();
        assert_eq!((again.asked, again.rate_pps, again.pause), (round.asked, 625, 2 * PAUSE));
        assert_eq!(effort.once_more(ROUNDS_MAX, &round, (200, left)), None);
        let asked = Sample { asked: 10_000, ..some };
        assert_eq!(next([asked, none, none], 0.9, 1, 200, left), None, "all has been asked");
    }
}
