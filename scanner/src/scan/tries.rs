//! How many answers each try of the probes brought, and what follows for those that nobody has heard.
//!
//! Of probes that were answered in the end one knows how many tries they took; those that never were are missing from that
//! account, and where much is lost they are most of it. But what a try loses shows without them: those who answer it and those
//! who answer only the next one are drawn from the same lot, so the second number is to the first as the loss, less those who were not
//! asked again. That many were not asked again is known of all probes, whether or not anybody is there to answer.

/// Tries that are told apart; later ones count as the last.
const TRIES: usize = 10;
/// No loss is judged to be more: what loses everything is silent.
const LOSS_MAX: f64 = 0.98;
/// Standard errors by which the loss may be higher than it looks.
const ERRORS: f64 = 2.0;
/// After so many answers the counts are halved, so that they follow a network that changes.
const MEMORY_ANSWERS: u32 = 1 << 14;

/// Tries of many probes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tries {
    sent: [u32; TRIES],
    answered: [u32; TRIES],
    answers: u32,
}

impl Tries {
    /// A try is sent, number `attempt` of its probe, from 1.
    pub(crate) fn sent(&mut self, attempt: u8) {
        self.sent.get_mut(place(attempt)).into_iter().for_each(|count| *count = count.saturating_add(1));
    }

    /// A try that was sent is as if it had not been.
    pub(crate) fn take_back(&mut self, attempt: u8) {
        self.sent.get_mut(place(attempt)).into_iter().for_each(|count| *count = count.saturating_sub(1));
    }

    /// A probe was answered at the try `attempt`.
    pub(crate) fn answered(&mut self, attempt: u8) {
        self.answered.get_mut(place(attempt)).into_iter().for_each(|count| *count += 1);
        self.answers += 1;
        if self.answers >= MEMORY_ANSWERS {
            self.sent.iter_mut().chain(&mut self.answered).for_each(|count| *count /= 2);
            self.answers = self.answered.iter().sum();
        }
    }

    /// How many probes were answered.
    pub(crate) fn answers(&self) -> u32 {
        self.answers
    }

    /// Share of round trips lost, 0 while nothing was answered.
    pub(crate) fn loss(&self) -> f64 {
        let (after, before) = self.pairs();
        if before <= 0.0 { 0.0 } else { (after / before).min(LOSS_MAX) }
    }

    /// Answers of all tries but the first, and of all but the last as far as their like were sent again.
    fn pairs(&self) -> (f64, f64) {
        let pairs = || self.answered.iter().zip(self.answered.iter().skip(1)).zip(self.again());
        let after = pairs().map(|((_, next), _)| f64::from(*next)).sum();
        (after, pairs().map(|((this, _), again)| f64::from(*this) * again).sum())
    }

    /// Of all probes that would be answered, the share that was in no try, or more: what chance may have hidden is not told as
    /// found.
    pub(crate) fn missed(&self) -> f64 {
        let (loss, (_, before)) = (self.loss(), self.pairs());
        // The two sums share all but their ends, whose counts vary by their roots.
        let ends = self.answered.first().zip(self.answered.last()).map_or(0, |(first, last)| first + last);
        let loss = (loss * (1.0 + ERRORS * f64::from(ends).sqrt() / before.max(1.0))).min(LOSS_MAX);
        // Those who are there to answer the first try are one, of the next as many as were neither heard nor given up.
        let mut there = 1.0;
        let mut heard = 1.0 - loss;
        for again in self.again() {
            there *= loss * again;
            heard += there * (1.0 - loss);
        }
        (1.0 - heard).clamp(0.0, 1.0)
    }

    /// Of the probes that each try but the last left unanswered, the share that was sent again.
    fn again(&self) -> impl Iterator<Item = f64> {
        let left = self.sent.iter().zip(&self.answered).map(|(sent, answered)| sent.saturating_sub(*answered));
        left.zip(self.sent.iter().skip(1)).map(|(left, next)| (f64::from(*next) / f64::from(left.max(1))).min(1.0))
    }
}

fn place(attempt: u8) -> usize {
    usize::from(attempt.saturating_sub(1)).min(TRIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks `there` ports that answer and `dark` ones that do not up to `tries` times each, one in `few` of them only twice; of a
    /// thousand tries `lost` are. Returns the counts and how many answered.
    fn ask(there: u32, dark: u32, tries: u8, few: u32, lost: u64) -> (Tries, u32) {
        let (mut counts, mut found, mut drawn) = (Tries::default(), 0, 0_u64);
        for port in 0..there + dark {
            let tries = if few > 0 && port % few == 0 { 2 } else { tries };
            for attempt in 1..=tries {
                counts.sent(attempt);
                drawn += 1;
                if port < there && crate::permute::mix(drawn) % 1000 >= lost {
                    counts.answered(attempt);
                    found += 1;
                    break;
                }
            }
        }
        (counts, found)
    }

    #[test]
    fn what_is_missed_is_told_from_those_that_answer_late_however_much_is_lost() {
        for (lost, few) in [(0, 0), (100, 0), (360, 3), (600, 0), (800, 3), (900, 2), (950, 0)] {
            let (counts, found) = ask(5000, 20_000, 10, few, lost);
            let (told, missed) = (counts.missed(), 1.0 - f64::from(found) / 5000.0);
            assert!(told > missed - 0.02 && told < missed + 0.15, "told {told}, missed {missed} at {lost}, {few}");
            assert!((counts.loss() - lost as f64 / 1000.0).abs() < 0.03, "{} at {lost}, {few}", counts.loss());
        }
    }

    #[test]
    fn nothing_answered_is_nothing_known() {
        let (counts, _) = ask(0, 100, 5, 0, 0);
        assert_eq!((counts.loss(), counts.missed(), counts.answers()), (0.0, 0.0, 0));
    }

    #[test]
    fn the_counts_follow_a_network_that_changes() {
        let mut counts = Tries::default();
        for (number, loses) in [(20_000, true), (100_000, false)] {
            for _ in 0..number {
                counts.sent(1);
                if loses {
                    counts.sent(2);
                }
                counts.answered(1 + u8::from(loses));
            }
        }
        assert!(counts.loss() < 0.05, "{}", counts.loss());
    }
}
