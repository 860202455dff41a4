//! How likely an open port was found: what the final chances of a miss add up to.
//!
//! A host that gave answers would have given more of them from its silent ports, each missed with the chance that its
//! passes leave; and among the targets that stayed silent, some are hosts whose every answer was lost. Open ports are
//! taken to be lost as often as closed ones, of which there are more to count.

/// Sums over the targets that are settled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Recall {
    /// Answers of ports, and how many more are expected to have been lost.
    answers: f64,
    lost: f64,
    /// Targets that stayed silent, and the sum of their chances to be hosts that were missed, were they there.
    silent: f64,
    missed: f64,
}

impl Recall {
    /// A host with so many answers, `left` silent ports, and this chance that an answer of one was missed. Returns the share of
    /// its answers that is likely to be here.
    pub(crate) fn host(&mut self, answers: u32, left: u32, miss: f64) -> f64 {
        let answers = f64::from(answers);
        self.answers += answers;
        // Of all that there were, `miss` are lost and the rest are here.
        let lost = (answers * miss / (1.0 - miss).max(1e-9)).min(f64::from(left));
        self.lost += lost;
        if answers > 0.0 { answers / (answers + lost) } else { 1.0 }
    }

    /// A target that stayed silent.
    pub(crate) fn silent(&mut self, miss: f64) {
        self.silent += 1.0;
        self.missed += miss;
    }

    /// Whether anything is settled.
    pub(crate) fn has_any(&self) -> bool {
        self.answers > 0.0 || self.silent > 0.0
    }

    /// The estimate; 1 while nothing is settled.
    pub(crate) fn estimate(&self) -> f64 {
        let ports = if self.answers > 0.0 { self.answers / (self.answers + self.lost) } else { 1.0 };
        let hosts = if self.silent > 0.0 { 1.0 - self.missed / self.silent } else { 1.0 };
        ports * hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_lowers_the_estimate_by_its_share() {
        let mut recall = Recall::default();
        assert!((recall.estimate() - 1.0).abs() < 1e-9);
        assert!((recall.host(20, 0, 0.5) - 1.0).abs() < 1e-9);
        assert!((recall.estimate() - 1.0).abs() < 1e-9, "nothing is left to be missed");
        assert!((recall.host(90, 100, 0.1) - 0.9).abs() < 1e-9);
        assert!((recall.estimate() - 110.0 / 120.0).abs() < 1e-9, "ten of a hundred were lost");
        recall.silent(0.02);
        recall.silent(0.0);
        assert!((recall.estimate() - 0.99 * 110.0 / 120.0).abs() < 1e-9);
    }
}
