//! What a scan that keeps every probe in mind has measured of the network, and what follows for its probes: how many may
//! be out, how often one is sent, how long an answer is waited for.
//!
//! For the connect and the UDP scan. The SYN scan, which remembers no probe, has its figures from canaries.

use std::net::IpAddr;
use std::time::Duration;

use super::attempt::Attempt;
use super::limits::Limits;
use super::tries::Tries;
use crate::loss::LossEstimate;
use crate::pace::throttle::Throttle;
use crate::pace::window::Window;
use crate::rtt::RttTable;
use crate::tally::Estimates;

/// The measurements of one scan.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) rtt: RttTable,
    pub(crate) window: Window,
    loss: LossEstimate,
    counts: Tries,
    /// Tries per port, or `None` for as many as the measured loss asks for.
    tries: Option<u8>,
    confidence: f64,
    last_wait_min: Duration,
    wait_max: Duration,
}

impl Measures {
    /// Nothing measured yet.
    pub(crate) fn new(limits: &Limits, confidence: f64) -> Self {
        Self {
            rtt: RttTable::new(limits.timeout_min),
            window: Window::new(limits.window_start, limits.window_max),
            loss: LossEstimate::default(),
            counts: Tries::default(),
            tries: limits.tries,
            confidence,
            last_wait_min: limits.last_wait_min,
            wait_max: limits.wait_max,
        }
    }

    /// Whether anything has answered.
    pub(crate) fn has_answer(&self) -> bool {
        self.rtt.smoothed().is_some()
    }

    /// Takes in what an answer says of loss, also for the others of the job.
    pub(crate) fn note_loss(&mut self, attempt: &Attempt, were_lost: bool, throttle: &mut Throttle) {
        self.loss.answered(if were_lost { attempt.number } else { 1 });
        self.counts.answered(if were_lost { attempt.number } else { 1 });
        throttle.answered(attempt.number, were_lost, &attempt.history);
    }

    /// A try is sent.
    pub(crate) fn note_try(&mut self, attempt: &Attempt) {
        self.counts.sent(attempt.number);
    }

    /// A try that was sent is as if it had not been.
    pub(crate) fn take_back(&mut self, attempt: &Attempt) {
        self.counts.take_back(attempt.number);
    }

    /// How many answers each try has brought, over all hosts.
    pub(crate) fn tries(&self) -> &Tries {
        &self.counts
    }

    /// What is known of loss without what one host has told.
    pub(crate) fn loss_without(&self, host: &LossEstimate) -> LossEstimate {
        self.loss.without(host)
    }

    /// Takes what one host has told out of the estimate.
    pub(crate) fn forget_loss(&mut self, host: &LossEstimate) {
        self.loss = self.loss.without(host);
    }

    /// How often a port is asked before its silence is believed.
    pub(crate) fn tries_wanted(&self) -> u8 {
        self.tries_wanted_with(None)
    }

    /// The same for a host that loses more than the others, if `own` is its loss.
    pub(crate) fn tries_wanted_with(&self, own: Option<&LossEstimate>) -> u8 {
        self.tries.unwrap_or_else(|| {
            let tries = self.loss.tries_wanted(self.confidence);
            own.map_or(tries, |own| own.tries_wanted(self.confidence).max(tries))
        })
    }

    /// How long the answer to a try is waited for, of as many as are wanted: the measured time-out, doubled with each try
    /// (RFC 6298 section 5.5) but only twice, since the window answers for congestion, and the longest for the last one,
    /// after which the port would be missed for good.
    pub(crate) fn wait_of(&self, address: IpAddr, number: u8, tries_wanted: u8) -> Duration {
        if !self.has_answer() {
            // RFC 6298's whole second is as good as the longest wait.
            return self.wait_max;
        }
        let timeout = self.rtt.timeout(address);
        let longest = self.wait_max.max(timeout.min(self.wait_max * 3));
        let doubled = timeout * (1 << number.saturating_sub(1).min(2));
        match number >= tries_wanted {
            true => doubled.max(4 * timeout).max(self.last_wait_min).min(longest.max(self.last_wait_min)),
            false => doubled.min(longest),
        }
    }

    /// The loss, of which nobody knows how much is our own doing, and how likely an open port that answers was found: a
    /// silent one was asked as often as the loss asks for.
    pub(crate) fn estimates(&self) -> Estimates {
        let loss = self.loss.rate();
        Estimates { loss, chance_loss: loss, recall: 1.0 - loss.powi(self.tries_wanted().into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ScanSpec;

    #[test]
    fn the_last_try_is_waited_for_longest_and_none_before_anything_is_known() {
        let ms = Duration::from_millis;
        let mut measures = Measures::new(&Limits::of(&ScanSpec::default()), 0.999);
        let host = "10.0.0.1".parse().unwrap();
        assert_eq!([1, 2, 3].map(|number| measures.wait_of(host, number, 3)), [ms(950); 3]);
        (0..50).for_each(|_| measures.rtt.sample(host, ms(1)));
        assert_eq!([1, 2, 3, 4].map(|number| measures.wait_of(host, number, 5)), [ms(100), ms(200), ms(400), ms(400)]);
        assert_eq!(measures.wait_of(host, 2, 2), ms(400), "four time-outs, and no less than the last one's least");
        assert_eq!(measures.estimates(), Estimates::default());
    }

    #[test]
    fn tries_and_recall_follow_the_loss() {
        let mut measures = Measures::new(&Limits::of(&ScanSpec::default()), 0.999);
        let mut throttle = Throttle::default();
        let first = Attempt::first(Duration::from_secs(1));
        (0..90).for_each(|_| measures.note_loss(&first, false, &mut throttle));
        assert_eq!(measures.tries_wanted(), 2);
        (0..10).for_each(|_| measures.note_loss(&first.next(Duration::from_secs(1)), true, &mut throttle));
        let Estimates { loss, chance_loss, recall } = measures.estimates();
        assert!((loss - 10.0 / 110.0).abs() < 1e-9 && loss == chance_loss);
        assert!(measures.tries_wanted() > 2 && recall > 0.999);
    }
}
