//! What accepted units count: sums of integers, so that any order of adding them gives the same bytes on every replica.
//!
//! The estimates of a unit are shares; a job's are their weighted means. A mean cannot be added up, so what is kept are
//! the weighted sums, in millionths, and the mean is taken when someone asks.

use serde::{Deserialize, Serialize};

/// Estimates are kept in parts of this many.
const MILLION: u64 = 1_000_000;
/// What an open port weighs in a job's recall; a unit without one weighs 1, so that a job that found nothing has an
/// estimate as well, and one that found something is judged by that.
const PORT_WEIGHT: u64 = 1_000;

/// What accepted units count. Sums never count a unit twice, because a unit is accepted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports.
    pub open_ports: u64,
    /// Services recognised.
    pub services_detected: u64,
    /// Weaknesses found.
    pub vulnerabilities: u64,
    /// Probes sent.
    pub probes_sent: u64,
    /// Probes sent again.
    pub retransmitted: u64,
    /// Answers that came.
    pub replies: u64,
    /// Round trips lost, in millionths: each unit's estimate times the probes it sent.
    pub lost_millionths: u64,
    /// What `missed_millionths` is a share of: a thousand for each open port, and 1 for each unit.
    pub recall_weight: u64,
    /// Open ports missed, in millionths: each unit's estimate times its weight.
    pub missed_millionths: u64,
}

impl Counts {
    /// The same with a unit's estimates: the share of round trips that were lost, and the probability that an open port
    /// was found. Call it once, after the other fields are set. What is no share counts as the nearer end.
    #[must_use]
    pub fn with_estimates(self, loss: f64, recall: f64) -> Self {
        let recall_weight = self.open_ports.saturating_mul(PORT_WEIGHT).saturating_add(1);
        Self {
            lost_millionths: millionths(loss).saturating_mul(self.probes_sent),
            recall_weight,
            missed_millionths: millionths(1.0 - recall).saturating_mul(recall_weight),
            ..self
        }
    }

    /// Share of round trips that were lost, over all units; `None` where nothing has answered: loss is told from answers that came to
    /// a later try alone.
    #[must_use]
    pub fn loss_estimate(&self) -> Option<f64> {
        let is_measured =
            self.probes_sent > 0 && (self.hosts_up > 0 || self.open_ports > 0 || self.lost_millionths > 0);
        is_measured.then(|| share(self.lost_millionths, self.probes_sent))
    }

    /// The probability that an open port was found, over all units; `None` before there is one.
    #[must_use]
    pub fn recall_estimate(&self) -> Option<f64> {
        (self.recall_weight > 0).then(|| 1.0 - share(self.missed_millionths, self.recall_weight))
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, u64::saturating_add);
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// Joins each figure with the same one of `other`.
    fn with(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            hosts_up: join(self.hosts_up, other.hosts_up),
            open_ports: join(self.open_ports, other.open_ports),
            services_detected: join(self.services_detected, other.services_detected),
            vulnerabilities: join(self.vulnerabilities, other.vulnerabilities),
            probes_sent: join(self.probes_sent, other.probes_sent),
            retransmitted: join(self.retransmitted, other.retransmitted),
            replies: join(self.replies, other.replies),
            lost_millionths: join(self.lost_millionths, other.lost_millionths),
            recall_weight: join(self.recall_weight, other.recall_weight),
            missed_millionths: join(self.missed_millionths, other.missed_millionths),
        }
    }
}

/// A share in millionths; not a number is none.
fn millionths(share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a million")]
    let parts = (share.clamp(0.0, 1.0) * MILLION as f64).round() as u64;
    parts
}

fn share(parts: u64, weight: u64) -> f64 {
    if weight == 0 { 0.0 } else { (parts as f64 / weight as f64 / MILLION as f64).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(open_ports: u64, probes_sent: u64, loss: f64, recall: f64) -> Counts {
        Counts { open_ports, probes_sent, ..Counts::default() }.with_estimates(loss, recall)
    }

    fn sum(units: &[Counts]) -> Counts {
        let mut sum = Counts::default();
        units.iter().for_each(|unit| sum.add(unit));
        sum
    }

    #[test]
    fn loss_is_weighted_by_probes_and_recall_by_what_was_found() {
        let sum = sum(&[unit(10, 1_000, 0.0, 1.0), unit(30, 3_000, 0.2, 0.98), unit(0, 0, 0.9, 0.5)]);
        assert!((sum.loss_estimate().unwrap() - 0.15).abs() < 1e-9, "{:?}", sum.loss_estimate());
        let recall = sum.recall_estimate().unwrap();
        assert!((recall - 0.985).abs() < 1e-4, "{recall}: units that found nothing hardly count");
    }

    #[test]
    fn a_job_that_found_nothing_has_the_recall_of_its_units_and_one_without_units_has_none() {
        assert_eq!(Counts::default().recall_estimate(), None);
        assert_eq!(Counts::default().loss_estimate(), None);
        let recall = sum(&[unit(0, 5, 0.1, 0.9), unit(0, 5, 0.1, 0.7)]).recall_estimate().unwrap();
        assert!((recall - 0.8).abs() < 1e-9, "{recall}");
    }

    /// What was called no loss, and was a network in which nothing had answered.
    #[test]
    fn loss_is_told_where_something_has_answered() {
        for (counts, told) in [
            (unit(0, 1_000, 0.0, 1.0), None),
            (unit(1, 1_000, 0.0, 1.0), Some(0.0)),
            (Counts { hosts_up: 1, ..unit(0, 1_000, 0.0, 1.0) }, Some(0.0)),
            (unit(1, 0, 0.0, 1.0), None),
        ] {
            assert_eq!(counts.loss_estimate(), told, "{counts:?}");
        }
    }

    #[test]
    fn no_estimate_is_outside_of_what_a_share_can_be() {
        for (loss, recall) in [(f64::NAN, f64::NAN), (-1.0, 2.0), (f64::INFINITY, f64::NEG_INFINITY)] {
            let counts = unit(3, 100, loss, recall);
            assert!((0.0..=1.0).contains(&counts.loss_estimate().unwrap()), "{loss}");
            assert!((0.0..=1.0).contains(&counts.recall_estimate().unwrap()), "{recall}");
        }
    }

    #[test]
    fn what_is_counted_since_is_what_was_added() {
        let (before, more) = (unit(3, 100, 0.1, 0.9), unit(4, 50, 0.3, 0.8));
        let mut now = before;
        now.add(&more);
        assert_eq!(now.since(&before), more);
        assert_eq!(before.since(&now), Counts::default(), "figures do not run backwards");
    }

    proptest! {
        #[test]
        fn any_order_of_adding_gives_the_same_sums(
            units in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 50, 0.0f64..1.0, 0.0f64..1.0), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let units: Vec<Counts> = units.iter().map(|(open, sent, loss, recall)| unit(*open, *sent, *loss, *recall)).collect();
            let whole = sum(&units);
            let (front, back) = units.split_at(cut.index(units.len() + 1));
            prop_assert_eq!(sum(&[sum(front), sum(back)]), whole);
            let mut reversed = units.clone();
            reversed.reverse();
            prop_assert_eq!(sum(&reversed), whole);
        }
    }
}
