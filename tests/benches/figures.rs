//! Samples, their quantiles, and tables of them in Markdown.

use std::time::Duration;

/// Measured values of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn add_ms(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e3);
    }

    pub(crate) fn add_s(&mut self, time: Duration) {
        self.add(time.as_secs_f64());
    }

    /// Values that are sorted already: many at once.
    pub(crate) fn sorted(values: Vec<f64>) -> Self {
        Self(values)
    }

    /// The smallest value that at least `percent` of the values do not exceed (nearest rank); 0 of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Prints the head of a table.
pub(crate) fn head(columns: &[&str]) {
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// Prints a row.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints a table of one sample: how many, its quantiles, and the goal.
pub(crate) fn summary(what: &str, unit: &str, sample: &Sample, goal: &str) {
    head(&["what", "n", "p50", "p95", "p99", "max", "goal"]);
    let show = |percent| format!("{:.1} {unit}", sample.percentile(percent));
    let count = sample.len().to_string();
    row(&[what.to_owned(), count, show(50), show(95), show(99), show(100), goal.to_owned()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut sample = Sample::default();
        for value in (1..=20).rev() {
            sample.add(f64::from(value));
        }
        assert_eq!([50, 95, 99, 100].map(|percent| sample.percentile(percent)), [10.0, 19.0, 20.0, 20.0]);
        assert_eq!(Sample::default().median(), 0.0);
    }
}
