//! How many probes or answers are lost on the way, told from answers that came only to a retransmission.
//!
//! Silence says nothing: most silent ports are filtered or belong to nobody. But among ports that do answer, the
//! share of tries that went unanswered is the loss of the path there and back, and from it follows how often a
//! silent port has to be asked before it is believed.

/// An answer missed this many times more rarely than the confidence allows: the estimate lags behind the network,
/// and losses come in groups.
const MARGIN: f64 = 20.0;
/// Fewest tries: without a second one no loss would ever be seen.
const TRIES_MIN: u8 = 2;
/// Most tries; enough for 20 % loss each way at the usual confidence.
const TRIES_MAX: u8 = 10;
/// After this many tries the counts are halved, so that the estimate follows a network that changes. It is more than a
/// unit has answers: answers to retransmissions come late, and a short memory would hold too many of them.
const MEMORY_TRIES: u64 = 1 << 20;

/// Running estimate of the loss of a round trip.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossEstimate {
    /// Tries made for probes that were answered in the end.
    tries: u64,
    /// Probes that were answered in the end.
    answers: u64,
}

impl LossEstimate {
    /// Takes in an answer to try number `attempt`, from 1. Tries that were only given up too early do not count: the
    /// caller passes the first attempt that the answer can have belonged to.
    pub fn answered(&mut self, attempt: u8) {
        self.tries += u64::from(attempt.max(1));
        self.answers += 1;
        if self.tries > MEMORY_TRIES {
            self.tries /= 2;
            self.answers /= 2;
        }
    }

    /// Share of round trips lost, 0 while nothing has answered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the counts stay below 2^21")]
    pub fn rate(&self) -> f64 {
        if self.answers == 0 { 0.0 } else { (self.tries - self.answers) as f64 / self.tries as f64 }
    }

    /// How many round trips were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.tries - self.answers
    }

    /// How many probes were answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The estimate without what is part of it.
    #[must_use]
    pub fn without(&self, part: &Self) -> Self {
        let lost = self.lost().saturating_sub(part.lost());
        let answers = self.answers.saturating_sub(part.answers);
        Self { tries: answers + lost, answers }
    }

    /// How often a port is asked before its silence is believed, to find `confidence` of those that answer.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 2..=10 before")]
    pub fn tries_wanted(&self, confidence: f64) -> u8 {
        let rate = self.rate();
        if rate <= 0.0 {
            return TRIES_MIN;
        }
        let miss = ((1.0 - confidence) / MARGIN).max(f64::MIN_POSITIVE);
        (miss.ln() / rate.ln()).ceil().clamp(f64::from(TRIES_MIN), f64::from(TRIES_MAX)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(first: u32, second: u32) -> LossEstimate {
        let mut loss = LossEstimate::default();
        (0..first).for_each(|_| loss.answered(1));
        (0..second).for_each(|_| loss.answered(2));
        loss
    }

    #[test]
    fn no_retransmission_answered_means_no_loss_and_the_fewest_tries() {
        assert_eq!(LossEstimate::default().tries_wanted(0.999), 2);
        assert_eq!(after(10_000, 0).tries_wanted(0.999), 2);
        assert_eq!(after(10_000, 10).tries_wanted(0.999), 2, "one in a thousand lost twice is one in a million");
    }

    #[test]
    fn tries_grow_with_loss_and_with_confidence() {
        // 5 % each way loses 9.75 % of round trips: four tries miss 9 in 100,000.
        let five = after(9025, 880);
        assert!((five.rate() - 0.0816).abs() < 0.001, "{}", five.rate());
        assert_eq!(five.tries_wanted(0.999), 4);
        assert_eq!(five.tries_wanted(0.9), 3);
        assert!(after(64, 36).tries_wanted(0.999) >= 7);
        assert_eq!(after(1, 99).tries_wanted(0.999_999), TRIES_MAX);
    }

    #[test]
    fn what_one_host_told_can_be_taken_out_again() {
        let (mut all, host) = (after(1000, 10), after(40, 60));
        (0..40).for_each(|_| all.answered(1));
        (0..60).for_each(|_| all.answered(2));
        assert_eq!((all.without(&host), host.lost(), host.answers()), (after(1000, 10), 60, 100));
        assert_eq!(host.without(&all), LossEstimate::default(), "never less than nothing");
    }

    #[test]
    fn the_estimate_follows_a_network_that_changes() {
        let mut loss = after(1, 20_000);
        assert!(loss.rate() > 0.4);
        (0..5_000_000).for_each(|_| loss.answered(1));
        assert!(loss.rate() < 0.01, "{}", loss.rate());
    }
}
